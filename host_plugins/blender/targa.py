"""A painted trimap out of an uncompressed Targa: what Blender writes without compressing is read
here without a library, millions of pixels in well under a second.

The paint is pure red where it is surely foreground, pure blue where it is unknown; all else,
the plate that is painted over, is background.
"""

from __future__ import annotations

import struct
from pathlib import Path

from ..client.errors import InputError

_HEADER = struct.Struct("<BBBHHBHHHHBB")
_TRUE_COLOUR = 2
_TOP_FIRST = 0x20


def trimap_rows(path: Path, frame: int) -> tuple[list[bytes], int, int]:
    """The trimap, a row of bytes a line, top first; width and height.

    Raises:
        InputError: ``input.unreadable``; ``input.no_unknown`` if nothing was painted unknown.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, frame, error.strerror or str(error)) from error
    if len(data) < _HEADER.size:
        raise _unreadable(path, frame, "it is too short")
    fields = _HEADER.unpack_from(data)
    comment, kind, width, height, depth, flags = (*(fields[i] for i in (0, 2, 8, 9, 10, 11)),)
    channels = depth // 8
    start = _HEADER.size + comment
    if kind != _TRUE_COLOUR or channels not in (3, 4):
        raise _unreadable(path, frame, "it is not an uncompressed colour picture")
    if len(data) < start + width * height * channels:
        raise _unreadable(path, frame, "it is too short")
    row_bytes = width * channels
    rows = [
        _classes(data[start + y * row_bytes : start + (y + 1) * row_bytes], channels)
        for y in range(height)
    ]
    if not flags & _TOP_FIRST:
        rows.reverse()
    if not any(128 in row for row in rows):
        raise InputError(
            "input.no_unknown",
            f"nothing on the painting of plate {frame} is unknown",
            frame=frame,
            hint="paint the unknown band in pure blue, the foreground in pure red",
        )
    return rows, width, height


_IS_FULL = bytes([0] * 255 + [1])  # 255 → 1
_IS_NONE = bytes([1] + [0] * 255)  # 0 → 1


def _classes(row: bytes, channels: int) -> bytes:
    """One row: whole rows at a time as large numbers, for a loop over pixels would take seconds."""
    blue, green, red = (row[i::channels] for i in range(3))
    no_green = _number(green, _IS_NONE)
    foreground = _number(red, _IS_FULL) & no_green & _number(blue, _IS_NONE)
    unknown = _number(blue, _IS_FULL) & no_green & _number(red, _IS_NONE)
    return (foreground * 255 + unknown * 128).to_bytes(len(blue), "big")


def _number(channel: bytes, table: bytes) -> int:
    return int.from_bytes(channel.translate(table), "big")


def _unreadable(path: Path, frame: int, why: str) -> InputError:
    return InputError(
        "input.unreadable",
        f"the painting of plate {frame}, {path}, cannot be read: {why}",
        frame=frame,
        hint="paint it again",
    )
