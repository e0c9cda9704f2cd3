"""Options of `dvm matte` that hold more than one value in a text."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from host_plugins.client.guides import NAMES
from host_plugins.client.shot import Guides
from model.errors import InputError

_SIZE_AT = re.compile(r"(\d{1,6})x(\d{1,6})([+-]\d{1,6})([+-]\d{1,6})")
_CORNERS = re.compile(r"(-?\d{1,6}),(-?\d{1,6}),(-?\d{1,6}),(-?\d{1,6})")


def parse_keyframes(given: Sequence[str], option: str = "--trimap") -> dict[int, Path]:
    """``1001:key.1001.png`` to frame and absolute path.

    Args:
        given: the option's values.
        option: its name, for messages.

    Raises:
        InputError: ``input.keyframe``.
    """
    found: dict[int, Path] = {}
    for text in given:
        number, colon, name = text.partition(":")
        if not colon or not name or not number.strip().lstrip("+-").isdecimal():
            raise InputError(
                "input.keyframe",
                f"{option} {text!r} is not FRAME:FILE",
                hint=f"write e.g. {option} 1001:key.1001.png",
            )
        frame = int(number)
        if frame in found:
            raise InputError(
                "input.keyframe", f"frame {frame} has two trimaps", frame=frame, hint="leave one"
            )
        found[frame] = Path(os.path.abspath(name))  # noqa: PTH100
    return found


def parse_roi(text: str) -> tuple[int, int, int, int] | None:
    """``640x480+100+50`` or ``100,50,739,529`` to a window, both corners inside, origin top left;
    None for an empty text.

    Raises:
        InputError: ``input.roi``.
    """
    if not text:
        return None
    if size := _SIZE_AT.fullmatch(text.replace(" ", "")):
        width, height, x, y = (int(one) for one in size.groups())
        if width and height:
            return x, y, x + width - 1, y + height - 1
    elif corners := _CORNERS.fullmatch(text.replace(" ", "")):
        x0, y0, x1, y1 = (int(one) for one in corners.groups())
        if x0 <= x1 and y0 <= y1:
            return x0, y0, x1, y1
    raise InputError(
        "input.roi",
        f"--roi {text!r} is no region",
        hint="write width x height + left + top, 640x480+100+50, or both corners, 100,50,739,529",
    )


def parse_holdouts(given: Sequence[str], **named: str) -> Guides:
    """``garbage=g.####.exr`` and ``core=c.exr``, beside patterns that are given by role.

    Raises:
        InputError: ``input.holdout``.
    """
    found = {role: pattern for role, pattern in named.items() if pattern}
    for text in given:
        role, sign, pattern = text.partition("=")
        if not sign or not pattern or role not in ("garbage", "core"):
            raise InputError(
                "input.holdout",
                f"--holdout {text!r} is neither garbage=PATTERN nor core=PATTERN",
                hint="write e.g. --holdout garbage=garbage.####.exr",
            )
        if role in found:
            raise InputError(
                "input.holdout", f"there are two {NAMES[role]}s", hint="give one of each"
            )
        found[role] = pattern
    return Guides.of_patterns(found)
