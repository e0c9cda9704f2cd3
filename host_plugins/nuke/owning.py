"""Whose a uid is: copies of a node have it too, until one of their buttons is pressed. Beside it a
node keeps the full name it had when the uid was its own; a copy has another name. No call of
Nuke's."""

from __future__ import annotations

import re
from collections.abc import Mapping


def owner(stamps: Mapping[str, str]) -> str:
    """The node that a uid belongs to, whichever of them is asked about.

    Where no name is the one that was kept (renamed without the plug-in, scripts of older releases),
    it is the first as people count, for Nuke numbers copies upwards.

    Args:
        stamps: by the full name of each node with the uid, the name that it keeps; "" for none.

    Returns:
        The owner's full name.
    """
    same = [name for name, stamp in stamps.items() if name == stamp]
    return min(same or stamps, key=_counted)


def _counted(name: str) -> list[tuple[str, int]]:
    """``Hair``, ``Hair2``, ``Hair10``."""
    return [(text, int(number or -1)) for text, number in re.findall(r"(\D+)(\d*)", name)]
