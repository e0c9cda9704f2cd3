"""The header of an EXR: windows, channels, attributes. Reads no pixels and needs no library.

The layout is that of "OpenEXR File Layout" (openexr.com): a magic number, a version, and for each
part attributes ``name 0 type 0 size value``, ended by an empty name; all numbers are little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Union

from .errors import InputError

MAGIC = b"\x76\x2f\x31\x01"

Value = Union[str, int, float]
Window = tuple[int, int, int, int]

# A name is at most 255 bytes long; a header of more attributes than this is damaged.
_LONGEST_NAME = 255
_MOST_ATTRIBUTES = 4096
# Texts beyond this are no notes but data (manifests of ids), and are passed over.
_LONGEST_TEXT = 1 << 16
_LONGEST_CHANNELS = 1 << 20
_NUMBERS = {"int": "<i", "float": "<f", "double": "<d"}


@dataclass(frozen=True)
class ExrHeader:
    """What an EXR says of itself; of one with several parts, its first.

    Attributes:
        data_window: where pixels are stored: x0, y0, x1, y1, both ends inclusive.
        display_window: the frame, in the same coordinates.
        channels: names, in the file's order.
        attributes: those that are texts or numbers. Others are left out, and texts beyond 64 KiB.
    """

    data_window: Window
    display_window: Window
    channels: tuple[str, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the display window, in pixels."""
        x0, y0, x1, y1 = self.display_window
        return x1 - x0 + 1, y1 - y0 + 1


def read_exr_header(path: Path, frame: int | None = None) -> ExrHeader:
    """Read the header of an EXR.

    Args:
        path: of the file.
        frame: it belongs to, for messages; None if it belongs to none.

    Raises:
        InputError: ``input.unreadable`` if it is not there, cannot be opened, is not an EXR, or
            its header is cut short or damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _Reader(file, os.fstat(file.fileno()).st_size).header()
    except _Damaged as error:
        raise unreadable(path, frame, str(error)) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            "input.unreadable",
            f"{_named(path, frame)} cannot be opened: {reason}",
            frame=frame,
            hint="check its name and permissions",
        ) from error


def unreadable(path: Path, frame: int | None, why: str) -> InputError:
    """The error for a picture whose header says that it cannot be used."""
    return InputError(
        "input.unreadable",
        f"{_named(path, frame)} cannot be read: {why}",
        frame=frame,
        hint="render or copy it again; it may also still be being written",
    )


class _Damaged(Exception):
    """Why a header cannot be read, to be told with the file's name."""


class _Reader:
    """Reads one header from an open file of a known size; never more than it has checked."""

    def __init__(self, file: BinaryIO, size: int):
        self._file = file
        self._left = size

    def header(self) -> ExrHeader:
        if self._left == 0:
            raise _Damaged("it is empty")
        if self._take(min(4, self._left)) != MAGIC:
            raise _Damaged("it is not an EXR")
        (version,) = struct.unpack("<I", self._take(4))
        if version & 0xFF != 2:
            raise _Damaged(f"it is an EXR of version {version & 0xFF}, not 2")
        found: dict[str, Any] = {}
        for _ in range(_MOST_ATTRIBUTES):
            name = self._name()
            if not name:
                break
            kind = self._name()
            value = self._value(kind, name)
            if value is not None:
                found[name] = value
        else:
            raise _Damaged(f"its header has more than {_MOST_ATTRIBUTES} attributes")
        if self._left == 0:
            raise _Damaged("it ends with its header and has no pixels")
        windows = {}
        for name in ("dataWindow", "displayWindow"):
            windows[name] = found.pop(name, None)
            if not isinstance(windows[name], tuple) or len(windows[name]) != 4:
                raise _Damaged(f"its header has no {name}")
        channels = found.pop("channels", None)
        if not isinstance(channels, list) or not channels:
            raise _Damaged("its header has no channels")
        attributes = {
            name: value for name, value in found.items() if isinstance(value, (str, int, float))
        }
        return ExrHeader(
            windows["dataWindow"], windows["displayWindow"], tuple(channels), attributes
        )

    def _value(self, kind: str, name: str) -> Value | Window | list[str] | None:
        """The value of an attribute; None for one that is passed over."""
        (size,) = struct.unpack("<i", self._take(4))
        if size < 0 or size > self._left:
            raise _Damaged(f"it ends within the attribute {name[:40]!r}")
        if kind in _NUMBERS and size == struct.calcsize(_NUMBERS[kind]):
            number: int | float = struct.unpack(_NUMBERS[kind], self._take(size))[0]
            return number
        if kind == "string" and size <= _LONGEST_TEXT:
            return _text(self._take(size))
        if kind == "box2i" and size == 16:
            return _window(self._take(size), name)
        if kind == "chlist" and size <= _LONGEST_CHANNELS:
            return _channel_names(self._take(size))
        self._file.seek(size, os.SEEK_CUR)
        self._left -= size
        return None

    def _name(self) -> str:
        """A text that ends with a zero byte."""
        taken = bytearray()
        while len(taken) <= _LONGEST_NAME:
            byte = self._take(1)
            if byte == b"\0":
                return _text(bytes(taken))
            taken += byte
        raise _Damaged(f"its header has a name of more than {_LONGEST_NAME} letters")

    def _take(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self._left else b""
        if len(data) != count:
            raise _Damaged("it ends within its header")
        self._left -= count
        return data


def _window(data: bytes, name: str) -> Window:
    x0, y0, x1, y1 = struct.unpack("<4i", data)
    if name in ("dataWindow", "displayWindow") and (x1 < x0 or y1 < y0):
        raise _Damaged(f"its {name} is empty: ({x0}, {y0}) to ({x1}, {y1})")
    return x0, y0, x1, y1


def _channel_names(data: bytes) -> list[str]:
    """Each channel is a name and 16 bytes: type, pLinear and sampling; an empty name ends it."""
    names: list[str] = []
    at = 0
    while True:
        end = data.find(b"\0", at)
        if end < 0 or end - at > _LONGEST_NAME:
            raise _Damaged("its list of channels is cut short")
        if end == at:
            return names
        names.append(_text(data[at:end]))
        at = end + 1 + 16


def _text(data: bytes) -> str:
    # Some writers end texts with a zero byte, and old ones wrote Latin-1.
    return data.split(b"\0")[0].decode("utf-8", errors="replace")


def _named(path: Path, frame: int | None) -> str:
    return str(path) if frame is None else f"frame {frame} ({path})"
