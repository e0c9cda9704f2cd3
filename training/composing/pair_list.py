"""Pair lists: which foreground goes over which background, one clip a line.

The published form is ``kind+foreground+background``; a fourth column may tell the foreground's
class:

    image+16452523375_08591714cf_o.png+0105.mp4
    video+0000+0041.mp4
    image+hair (1).png+0007.mp4+hard

Names may hold ``+`` themselves, so a line can have several readings: `readings` gives them all, and
whoever knows which files there are picks one.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from model.errors import InputError

KINDS = ("image", "video")
CLASSES = ("easy", "medium", "hard")
# Most file systems stop at 255 bytes; a little is kept for what a copy may add.
_LONGEST_NAME = 200
_TAG = 8


@dataclass(frozen=True)
class Pair:
    """One clip to be made.

    Attributes:
        kind: of the foreground: ``image`` or ``video``.
        foreground: file name of an image, folder name of a video.
        background: file or folder name.
        level: the foreground's class if the list tells it, else ``""``.
    """

    kind: str
    foreground: str
    background: str
    level: str = ""

    @property
    def line(self) -> str:
        """As it stands in a list."""
        level = (self.level,) if self.level else ()
        return "+".join((self.kind, self.foreground, self.background, *level))

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it one clip and no other."""
        return self.kind, self.foreground, self.background


def clip_name(pair: Pair) -> str:
    """The name of the pair's clip: no other pair has it, and it depends on nothing but the pair.

    It is the published ``kind_foreground_background`` without suffixes where that can be read
    backwards in one way only: a ``.png`` image over an ``.mp4`` whose name has no underscore. Any
    other pair has ``~`` and eight digits of its SHA-256 behind it.
    """
    foreground, background = pair.foreground, pair.background
    plain = background.endswith(".mp4") and not {"_", "~"} & set(background)
    if pair.kind == "image":
        plain = plain and foreground.endswith(".png")
        foreground = Path(foreground).stem
    name = f"{pair.kind}_{foreground}_{Path(background).stem}"
    if plain and len(name.encode()) <= _LONGEST_NAME:
        return name
    tag = hashlib.sha256(json.dumps(pair.key).encode()).hexdigest()[:_TAG]
    cut = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
    return f"{cut}~{tag}"


def readings(line: str) -> tuple[Pair, ...]:
    """All pairs that a line may mean; the likeliest first, none if it is no pair at all."""
    kind, *rest = line.split("+")
    if kind not in KINDS:
        return ()
    found: list[Pair] = []
    if len(rest) > 2 and rest[-1] in CLASSES:
        found += _splits(kind, rest[:-1], rest[-1])
    found += _splits(kind, rest, "")
    return tuple(found)


def read_pair_list(path: Path) -> list[tuple[int, str]]:
    """Numbers, from 1, and texts of the lines that hold a pair: not empty, not a ``#`` comment.

    Raises:
        InputError: ``input.pair_list``: it is not there, is no text in UTF-8, or has no pairs.
    """
    try:
        found = lines_of(read_text(path))
    except OSError as error:
        raise InputError(
            "input.pair_list",
            f"the pair list {path} cannot be read: {error.strerror}",
            hint="a pair list has lines like image+NAME.png+0105.mp4 or video+0000+0041.mp4",
        ) from error
    if not found:
        raise InputError(
            "input.pair_list",
            f"the pair list {path} holds no pairs",
            hint="give another list, or none: then one is made from --seed",
        )
    return found


def read_text(path: Path) -> str:
    """A list as text.

    Raises:
        OSError: it cannot be read, or is no text in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "it is no text in UTF-8", str(path)) from error


def lines_of(text: str) -> list[tuple[int, str]]:
    """Numbers, from 1, and texts of a list's lines that are neither empty nor a ``#`` comment."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return [
        (number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]


def list_text(pairs: Iterable[Pair], comment: str) -> str:
    """A pair list with one line of comment at its head."""
    return "".join(f"{line}\n" for line in (f"# {comment}", *(pair.line for pair in pairs)))


def _splits(kind: str, parts: list[str], level: str) -> Iterator[Pair]:
    for place in range(1, len(parts)):
        foreground, background = "+".join(parts[:place]), "+".join(parts[place:])
        if _is_name(foreground) and _is_name(background):
            yield Pair(kind, foreground, background, level)


def _is_name(text: str) -> bool:
    """Of a file in its folder, and not a way out of it."""
    return bool(text) and text not in (".", "..") and not {"/", "\\", "\0"} & set(text)
