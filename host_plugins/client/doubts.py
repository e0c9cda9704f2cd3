"""How doubtful carried trimaps are: their files say so."""

from __future__ import annotations

from pathlib import Path

from .exr_header import read_exr_header


def doubts_in(folder: Path) -> dict[int, float]:
    """How doubtful the carried trimaps in a folder are, by plate."""
    found = {}
    for path in sorted(folder.glob("alpha.trimap.*.exr")):
        doubt = doubt_of(path)
        number = path.name.split(".")[-2]
        if doubt is not None and number.lstrip("-").isdigit():
            found[int(number)] = doubt
    return found


def doubt_of(path: Path) -> float | None:
    """Of one trimap's file, 0 sure … 1; None if it was not carried.

    Raises:
        InputError: ``input.unreadable``.
    """
    value = read_exr_header(path).attributes.get("dvm:doubt")
    return float(value) if isinstance(value, (int, float)) else None
