"""What only opening the sources tells: whether they can be decoded, and whether halves match.

Every file of every clip is opened once before anything is composed: movies are read through and
their first frame decoded, pictures decoded, of folders the first picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.errors import InputError
from training.composing.composer import unlike_sizes
from training.composing.layout import MOVIES, Trouble
from training.composing.layout_frames import alpha_of, open_frames, require_movies
from training.composing.selection import Clip


@dataclass(frozen=True)
class Opened:
    """What a source said; if it cannot be used, ``trouble`` is one sentence, and the rest is 0."""

    count: int = 0
    size: tuple[int, int] = (0, 0)
    trouble: str = ""


Mapped = Callable[
    [Callable[[tuple[Path, bool]], Opened], Sequence[tuple[Path, bool]]], Iterable[Opened]
]


def check_clips(clips: Sequence[Clip], each: Mapped) -> tuple[Trouble, ...]:
    """All clips that cannot be composed, in their order.

    Args:
        clips: to be composed.
        each: does a function on every item of a list, as `map` does, maybe in other processes.

    Raises:
        SetupError: ``setup.no_movies``.
    """
    wanted = dict.fromkeys(
        (path, part == "alpha") for clip in clips for part, path in clip.sources.parts().items()
    )
    for path, _ in wanted:
        if path.suffix.lower() in MOVIES:
            require_movies(path)
            break
    opened = dict(zip(wanted, each(open_source_file, list(wanted)), strict=True))
    found = ((clip, _reasons(clip, opened)) for clip in clips)
    return tuple(Trouble(clip.pair.line, reasons) for clip, reasons in found if reasons)


def open_source_file(wanted: tuple[Path, bool]) -> Opened:
    """Open a source; with True it is an alpha."""
    path, is_alpha = wanted
    try:
        frames = open_frames(path)
        try:
            first = frames.read(0)
            if is_alpha:
                alpha_of(first, path)
            return Opened(frames.count, (first.shape[1], first.shape[0]))
        finally:
            frames.close()
    except InputError as error:
        return Opened(trouble=error.message)


def _reasons(clip: Clip, opened: Mapping[tuple[Path, bool], Opened]) -> tuple[str, ...]:
    parts = clip.sources.parts()
    said = {part: opened[path, part == "alpha"] for part, path in parts.items()}
    found = [one.trouble for one in said.values() if one.trouble]
    colour, alpha = said["colour"], said["alpha"]
    if not colour.trouble and not alpha.trouble:
        if colour.count != alpha.count:
            found.append(
                f"{parts['colour']} has {colour.count} frames and its alpha "
                f"{parts['alpha'].name} {alpha.count}"
            )
        if colour.size != alpha.size:
            found.append(unlike_sizes(clip.sources, colour.size, alpha.size).message)
    return tuple(found)
