"""Which plate a scene's frame shows, and back. A plate's number is the one in its file's name; the
plates of a movie count from 1.

All of a shot is kept in plate numbers, so a clip may be moved in time and nothing has to be painted
or matted again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_LAST_NUMBER = re.compile(r"(\d+)(?=\D*\Z)")
MOVIES = (".avi", ".mkv", ".mov", ".mp4", ".m4v", ".mpg", ".mpeg", ".mxf", ".ogv", ".webm")


@dataclass(frozen=True)
class Timing:
    """How a clip lies in the scene's time.

    Attributes:
        first: number of its first plate.
        count: of plates.
        start: the scene's frame that shows the first plate.
    """

    first: int
    count: int
    start: int

    @property
    def last(self) -> int:
        """Number of the last plate."""
        return self.first + self.count - 1

    def plate(self, frame: int) -> int:
        """The number of the plate that a scene's frame shows, be it in the clip or not."""
        return self.first + frame - self.start

    def frame(self, plate: int) -> int:
        """The scene's frame that shows a plate."""
        return self.start + plate - self.first

    def holds(self, plate: int) -> bool:
        """Whether the clip has such a plate."""
        return self.first <= plate <= self.last


def is_movie(path: str) -> bool:
    """Whether a file is one movie, and not one plate of many."""
    return path.lower().endswith(MOVIES)


def pattern_of(path: str) -> tuple[str, int]:
    """The pattern of a sequence, and the number of the plate that names it.

    Args:
        path: absolute path of one plate, or of a movie.

    Returns:
        ``/clip/plate.####.exr`` and 1001 for ``/clip/plate.1001.exr``; the path itself and 1 for a
        movie, or a name without a number.
    """
    folder, name = str(Path(path).parent), Path(path).name
    number = None if is_movie(path) else _LAST_NUMBER.search(Path(name).stem)
    if number is None:
        return path, 1
    digits = number.group()
    # A number without leading zeros may grow longer, and ### would still find it: width is a least.
    name = f"{name[: number.start()]}{'#' * len(digits)}{name[number.end() :]}"
    return str(Path(folder) / name), int(digits)


def sequence_or_one(path: str, plates: Sequence[int]) -> str:
    """What a file that was picked stands for: the sequence it belongs to, if there are files of
    that for others of the plates; else itself, for all of them.

    Args:
        path: absolute; one with ``####`` is taken as it is.
        plates: numbers of those that are wanted.
    """
    pattern, own = pattern_of(path)
    if "#" in path or "#" not in pattern:
        return path
    others = _numbers(pattern, _stamp(pattern)) - {own}
    return path if others.isdisjoint(plates) else pattern


def count_plates(pattern: str, first: int) -> int:
    """How many plates there are from the first one on, up to the first gap.

    Panels ask at each drawing: the folder is read again only if something came or went in it.
    """
    if "#" not in pattern:
        return 1
    there, number = _numbers(pattern, _stamp(pattern)), first
    while number in there:
        number += 1
    return number - first


def _stamp(pattern: str) -> int | None:
    """When something last came or went in its folder; None if that is not there."""
    try:
        return Path(pattern).parent.stat().st_mtime_ns
    except OSError:
        return None


@lru_cache(maxsize=64)
def _numbers(pattern: str, stamp: int | None) -> frozenset[int]:
    """Of a pattern's files that are there."""
    if stamp is None:
        return frozenset()
    name = Path(pattern).name
    signs = re.search("#+", name)
    assert signs is not None
    head, tail, width = name[: signs.start()], name[signs.end() :], len(signs.group())
    there = set()
    for one in Path(pattern).parent.iterdir():
        middle = one.name[len(head) : len(one.name) - len(tail)]
        fits = one.name.startswith(head) and one.name.endswith(tail)
        if fits and middle.isdigit() and len(middle) >= width:
            there.add(int(middle))
    return frozenset(there)
