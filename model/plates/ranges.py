"""Frame ranges and frame patterns.

Nuke, OpenJD and fileseq write ranges differently, and where they look alike they disagree silently
(``1-10:2`` is 1, 3, 5 … in OpenJD and 1, 3, 5, 7, 9, 2, 4 … in fileseq). So there is one type here,
and the dialect is always named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from model.errors import InputError

MAX_FRAMES = 100_000
DIALECTS = ("nuke", "openjd", "fileseq")

_NUMBER = r"\s*([+-]?\d{1,9})\s*"
_STEP_SIGN = {"nuke": "x", "openjd": ":", "fileseq": "x"}
_EXAMPLE = {"nuke": "1001-1010x2 1020", "openjd": "1001-1010:2,1020", "fileseq": "1001-1010x2,1020"}
_UNSUPPORTED_FILESEQ = (
    (re.compile(r"\d\s*:"), "staggers frames (:)"),
    (re.compile(r"\d\s*y"), "leaves frames out (y)"),
    (re.compile(r"\d\.\d"), "has sub-frames"),
)


@dataclass(frozen=True)
class FrameRange:
    """Frame numbers, each once, in ascending order; at most `MAX_FRAMES`.

    Attributes:
        frames: the numbers.
    """

    frames: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        ascending = tuple(sorted(set(self.frames)))
        if len(ascending) > MAX_FRAMES:
            raise _too_many(f"{len(ascending)} frames")
        object.__setattr__(self, "frames", ascending)

    @classmethod
    def parse(cls, text: str, dialect: str = "nuke") -> FrameRange:
        """Read a range as one program writes it.

        =======  =========  ========  ==================================================
        dialect  separates  steps by  and
        =======  =========  ========  ==================================================
        nuke     space      ``x``     commas separate too
        openjd   ``,``      ``:``     a descending range needs a negative step
        fileseq  ``,``      ``x``     spaces are refused: fileseq reads ``1 3`` as 13;
                                      ``:`` and ``y`` are refused, see its documentation
        =======  =========  ========  ==================================================

        The order in the text is not kept: a matte does not depend on it.

        Raises:
            InputError: ``input.frame_range``, saying what is wrong and what is right.
        """
        if dialect not in DIALECTS:
            raise ValueError(f"no dialect {dialect!r}, only {DIALECTS}")
        if dialect == "fileseq":
            _refuse_fileseq(text)
        if dialect == "nuke":
            parts = text.replace(",", " ").split()
        else:
            parts = text.split(",")
        if not parts:
            raise _malformed(text, dialect)
        frames: set[int] = set()
        for part in parts:
            frames.update(_parse_part(part, text, dialect))
            if len(frames) > MAX_FRAMES:
                raise _too_many(repr(text))
        return cls(tuple(frames))

    @classmethod
    def from_triples(cls, triples: Iterable[Sequence[int]]) -> FrameRange:
        """From ``[[first, last, step], …]`` as in shot.json, both ends inclusive.

        Raises:
            InputError: ``input.frame_range`` if one is not three whole numbers, its step is 0, it
                is empty or there are too many frames.
        """
        frames: set[int] = set()
        for triple in triples:
            if len(triple) != 3 or not all(type(one) is int for one in triple):
                raise InputError(
                    "input.frame_range",
                    f"{list(triple)!r} is not [first, last, step] in whole numbers",
                    hint="write e.g. [[1001, 1010, 1]]",
                )
            first, last, step = triple
            frames.update(_expand(first, last, step, repr(list(triple))))
            if len(frames) > MAX_FRAMES:
                raise _too_many("the list of ranges")
        return cls(tuple(frames))

    def triples(self) -> list[list[int]]:
        """The fewest ``[first, last, step]`` found greedily; ``[]`` for no frames."""
        found = []
        start = 0
        while start < len(self.frames):
            end = self._end_of_run(start)
            first, last = self.frames[start], self.frames[end]
            step = self.frames[start + 1] - first if end > start else 1
            found.append([first, last, step])
            start = end + 1
        return found

    def format(self, dialect: str = "nuke") -> str:
        """As one program writes it; `parse` of the same dialect reads it back."""
        if dialect not in DIALECTS:
            raise ValueError(f"no dialect {dialect!r}, only {DIALECTS}")
        sign = _STEP_SIGN[dialect]
        parts = []
        for first, last, step in self.triples():
            if first == last:
                parts.append(str(first))
            else:
                parts.append(f"{first}-{last}" + (f"{sign}{step}" if step > 1 else ""))
        return (" " if dialect == "nuke" else ",").join(parts)

    def _end_of_run(self, start: int) -> int:
        """Index of the last frame of the run from ``start`` on; two frames apart are no run."""
        frames = self.frames
        if start + 1 == len(frames):
            return start
        step = frames[start + 1] - frames[start]
        end = start + 1
        while end + 1 < len(frames) and frames[end + 1] - frames[end] == step:
            end += 1
        return end if end - start > 1 or step == 1 else start

    @cached_property
    def _set(self) -> frozenset[int]:
        return frozenset(self.frames)

    def __iter__(self) -> Iterator[int]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __contains__(self, frame: object) -> bool:
        return frame in self._set


@dataclass(frozen=True)
class FramePattern:
    """A file name with a place for the frame number.

    Attributes:
        before: the path up to the number.
        after: what follows it.
        digits: least width, filled with zeros; 0 for a single image, which has no number.
    """

    before: str
    after: str = ""
    digits: int = 0

    @classmethod
    def parse(cls, text: str | Path) -> FramePattern:
        """Read ``a.####.exr``, ``a.%04d.exr``, ``a.%d.exr``, ``a.$F4.exr``, ``a.@@@@.exr``.

        The number of ``#`` or ``@`` is its width. A name with digits but no sign is one image. A
        lone ``#`` or ``@`` in a folder's name is part of that: homes are called ``jane@studio``.

        Raises:
            InputError: ``input.pattern`` if the name has two places, or one is in a folder's name.
        """
        text = str(text)
        name = max(text.rfind(one) for one in {"/", os.sep})
        signs = [
            one for one in _SIGN.finditer(text) if one.start() > name or one.group() not in "#@"
        ]
        if not signs:
            return cls(text)
        if len(signs) > 1:
            raise InputError(
                "input.pattern",
                f"{text} has {len(signs)} places for the frame number",
                hint="leave one, e.g. plate.####.exr",
            )
        (sign,) = signs
        if "/" in text[sign.end() :] or os.sep in text[sign.end() :]:
            raise InputError(
                "input.pattern",
                f"{text} has the frame number in a folder's name",
                hint="put it in the file's name, e.g. plate.####.exr",
            )
        return cls(text[: sign.start()], text[sign.end() :], _digits(sign.group()))

    @property
    def is_single(self) -> bool:
        """Whether this is one image without a frame number."""
        return self.digits == 0

    def path(self, frame: int) -> Path:
        """The file of a frame. A minus sign counts into the width, as in C: ``-007``."""
        if self.is_single:
            return Path(self.before)
        return Path(f"{self.before}{frame:0{self.digits}d}{self.after}")

    def frames_on_disk(self) -> FrameRange:
        """The frames whose files exist, told from their names; empty for a single image.

        Raises:
            InputError: ``input.missing_plate`` if the folder is not there or closed to us,
                ``input.frame_range`` if there are more than `MAX_FRAMES`.
        """
        if self.is_single:
            return FrameRange()
        example = Path(self.before + "0" + self.after)
        start = Path(self.before + "0").name[:-1]
        name = re.compile(re.escape(start) + r"(-?\d{1,9})" + re.escape(self.after))
        frames = []
        try:
            with os.scandir(example.parent) as entries:
                for entry in entries:
                    match = name.fullmatch(entry.name)
                    # 1 and 0001 are files of different patterns
                    if match and match[1] == f"{int(match[1]):0{self.digits}d}" and entry.is_file():
                        frames.append(int(match[1]))
        except OSError as error:
            raise InputError(
                "input.missing_plate",
                f"the folder {example.parent} cannot be listed: {error.strerror}",
                hint="check the path of the plates",
            ) from error
        return FrameRange(tuple(frames))

    def __str__(self) -> str:
        return self.before + "#" * self.digits + self.after


_SIGN = re.compile(r"#+|@+|%(?:0\d{1,2})?d|\$F\d{0,2}")


def _digits(sign: str) -> int:
    if sign[0] in "#@":
        return len(sign)
    return max(int(sign.strip("%d$F") or "1"), 1)


def _parse_part(part: str, text: str, dialect: str) -> range:
    step_sign = re.escape(_STEP_SIGN[dialect])
    match = re.fullmatch(rf"{_NUMBER}(?:-{_NUMBER}(?:{step_sign}{_NUMBER})?)?", part)
    if not match:
        raise _malformed(text, dialect)
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if match[3] is None:
        if dialect == "openjd" and last < first:
            raise _malformed(text, dialect)
        step = 1 if last >= first else -1
    else:
        step = int(match[3])
        if dialect != "openjd" and last < first:
            step = -abs(step)
    return _expand(first, last, step, text)


def _expand(first: int, last: int, step: int, text: str) -> range:
    if step == 0:
        raise InputError("input.frame_range", f"{text} steps by 0", hint="step by 1 or more")
    frames = range(first, last + (1 if step > 0 else -1), step)
    if not frames:
        raise InputError(
            "input.frame_range",
            f"{text} has no frames: a step of {step} does not lead from {first} to {last}",
            hint="turn the ends round, or the sign of the step",
        )
    if len(frames) > MAX_FRAMES:
        raise _too_many(text)
    return frames


def _refuse_fileseq(text: str) -> None:
    for sign, what in _UNSUPPORTED_FILESEQ:
        if sign.search(text):
            raise InputError(
                "input.frame_range",
                f"the frame range {text!r} {what}, which a matte has no use for",
                hint=f"write it as {_EXAMPLE['fileseq']}",
            )
    if re.search(r"\d\s+[\d-]", text.strip()):
        raise InputError(
            "input.frame_range",
            f"the frame range {text!r} has spaces, which fileseq ignores",
            hint="separate with commas",
        )


def _malformed(text: str, dialect: str) -> InputError:
    return InputError(
        "input.frame_range",
        f"{text[:100]!r} is not a frame range in the manner of {dialect}",
        hint=f"write it as {_EXAMPLE[dialect]}",
    )


def _too_many(what: str) -> InputError:
    return InputError(
        "input.frame_range",
        f"{what[:100]} is more than {MAX_FRAMES} frames",
        hint="submit it in parts",
    )
