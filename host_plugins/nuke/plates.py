"""Where a node's plates are, from what Nuke says of the Read above it. No call of Nuke's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..client.errors import InputError
from ..client.plate_files import FilePattern
from ..client.timing import Timing
from .colour import server_name

_PRINTF = re.compile(r"%0?(\d*)d")
_SHIFT = re.compile(r"frame(?:\s*([+-])\s*(\d+))?\Z")
_MISSING = {"error": "error", "nearest frame": "hold", "black": "black"}


@dataclass(frozen=True)
class Laid:
    """How a Read lies in time; those of mattes lie as the one of the plates does.

    Attributes:
        first, last: its frame range, as its files are numbered.
        before, after: what it shows outside of that.
        frame_mode: ``expression``, ``start at`` or ``offset``.
        frame: what goes with it.
    """

    first: int
    last: int
    before: str = "hold"
    after: str = "hold"
    frame_mode: str = "expression"
    frame: str = ""


@dataclass(frozen=True)
class ReadFacts:
    """What a Read says.

    Attributes:
        files: pattern by view, evaluated, absolute, with ``%04d`` or ``####``; one entry named ""
            if all views read the same.
        laid: how it lies in time.
        colourspace: as the knob shows it.
        raw: files are taken as they are, in the working space.
        premultiplied: colours are divided by alpha before they are converted.
        on_error: ``error``, ``black``, ``checkerboard`` or ``nearest frame``.
        working_space: of the script, as the knob shows it.
    """

    files: Mapping[str, str]
    laid: Laid
    colourspace: str = ""
    raw: bool = False
    premultiplied: bool = False
    on_error: str = "error"
    working_space: str = ""


@dataclass(frozen=True)
class Source:
    """The plates of a node.

    Attributes:
        patterns: by view, absolute, ``####`` for the number, or a movie; one entry named "" if
            all views have the same.
        timing: where they lie in the script's time.
        laid: how Reads of their mattes must be set.
        colourspace: the server's name of it; "" = from the files.
        shown_in: how Reads of the foreground's colours are set; "" = raw, in the working space.
        premultiplied: the plates are.
        missing: what is done about plates that are not there.
    """

    patterns: Mapping[str, str]
    timing: Timing
    laid: Laid
    colourspace: str = ""
    shown_in: str = ""
    premultiplied: bool = False
    missing: str = "error"

    @property
    def views(self) -> tuple[str, ...]:
        """Views that have plates of their own; none if all have the same."""
        return tuple(view for view in self.patterns if view)

    def plate(self, number: int, view: str = "") -> Path:
        """The file of a plate."""
        return FilePattern.parse(self.patterns[view]).path(number)


def hashed(path: str) -> str:
    """A path with ``%04d`` as one with ``####``; ``%d`` becomes ``#``."""
    return _PRINTF.sub(lambda found: "#" * int(found.group(1) or 1), path)


def printed(pattern: str) -> str:
    """A path with ``####`` as one with ``%04d``, which is Nuke's own form."""
    return re.sub("#+", lambda found: f"%0{len(found.group())}d", pattern)


def timing_of(laid: Laid) -> Timing | None:
    """Where its plates lie in the script's time; None if not one frame after the other."""
    count = laid.last - laid.first + 1
    if laid.frame_mode == "start at" and _whole(laid.frame):
        return Timing(laid.first, count, int(laid.frame))
    if laid.frame_mode == "offset" and _whole(laid.frame):
        return Timing(laid.first, count, laid.first + int(laid.frame))
    shift = _SHIFT.match(laid.frame.strip() or "frame")
    if laid.frame_mode != "expression" or shift is None:
        return None
    # The expression says which plate a frame shows.
    ahead = int(shift.group(2) or 0) * (-1 if shift.group(1) == "-" else 1)
    return Timing(laid.first, count, laid.first - ahead)


def source_of(facts: ReadFacts, *, colourspace: str = "", missing: str = "") -> Source | None:
    """The plates that a Read reads; None if they have to be rendered: its frames are rearranged.

    Args:
        facts: of the Read.
        colourspace: what an artist says it is; "" = what the Read says.
        missing: likewise; "" = as the Read, and an error where it shows a checkerboard.

    Raises:
        InputError: ``input.no_plates`` if the Read names no file.
    """
    if not any(facts.files.values()):
        raise InputError(
            "input.no_plates", "the Read above Source names no file", hint="choose its file"
        )
    timing = timing_of(facts.laid)
    if timing is None:
        return None
    shown = facts.working_space if facts.raw else facts.colourspace
    return Source(
        patterns={view: hashed(path) for view, path in facts.files.items()},
        timing=timing,
        laid=facts.laid,
        colourspace=colourspace or server_name(shown),
        shown_in="" if facts.raw else facts.colourspace,
        premultiplied=facts.premultiplied,
        missing=missing or _MISSING.get(facts.on_error, "error"),
    )


def rendered_source(
    patterns: Mapping[str, str], first: int, last: int, *, working_space: str, colourspace: str = ""
) -> Source:
    """Plates that were rendered from what comes into Source; they are numbered by the script."""
    return Source(
        patterns=dict(patterns),
        timing=Timing(first, last - first + 1, first),
        laid=Laid(first, last),
        colourspace=colourspace or server_name(working_space),
    )


def frames_wanted(source: Source, first: int | None, last: int | None) -> tuple[int, int]:
    """First and last plate that are wanted.

    Args:
        source: the plates.
        first, last: frames of the script; None = the whole clip.

    Raises:
        InputError: ``input.frame_range`` if they are the wrong way round, or outside of the clip.
    """
    timing = source.timing
    if first is None or last is None:
        return timing.first, timing.last
    plates = timing.plate(first), timing.plate(last)
    if first > last or not all(timing.holds(one) for one in plates):
        raise InputError(
            "input.frame_range",
            f"frames {first} to {last} are wanted, and the clip has {timing.frame(timing.first)} "
            f"to {timing.frame(timing.last)}",
            hint="correct the part of the clip, or turn it off",
        )
    return plates


def _whole(text: str) -> bool:
    return re.fullmatch(r"\s*-?\d+\s*", text) is not None
