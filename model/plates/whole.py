"""Whether an image file that was just written is all there, told by its own bytes.

OpenImageIO does not tell of every write that failed. What is still buffered when a file is closed
is lost in silence: of an EXR the last kilobytes and the table of where its rows lie, of a TIFF its
last strips. Of a PNG no failed write is told at all. A disk that is full, a quota and a limit of
file size all end so.

    exr   the table, which is written last and over zeros, names pieces that follow each other and
          end where the file does
    png   every chunk has its checksum, and the last one, IEND, ends the file
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

_EXR, _PNG = b"\x76\x2f\x31\x01", b"\x89PNG\r\n\x1a\n"


def is_whole(path: Path, file_format: str) -> bool:
    """Whether a file of ours is all there.

    Args:
        path: the file; an EXR has one part of rows.
        file_format: ``openexr`` or ``png``.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            return _exr(file, size) if file_format == "openexr" else _png(file, size)
        except EOFError:
            return False


def _exr(file: BinaryIO, size: int) -> bool:
    if _exactly(file, 8)[:4] != _EXR:
        return False
    while _text(file):  # attributes: name, type, size, value; an empty name ends them
        _text(file)
        file.seek(struct.unpack("<I", _exactly(file, 4))[0], 1)
    table = file.tell()
    first: int = struct.unpack("<Q", _exactly(file, 8))[0]
    count, rest = divmod(first - table, 8)  # pieces begin where the table ends
    if count < 1 or rest or first > size:
        return False
    file.seek(table)
    end = first
    for place in struct.unpack(f"<{count}Q", _exactly(file, 8 * count)):
        if place != end:
            return False
        file.seek(place + 4)  # past the number of its first row
        end = place + 8 + struct.unpack("<I", _exactly(file, 4))[0]
    return end == size


def _png(file: BinaryIO, size: int) -> bool:
    if _exactly(file, len(_PNG)) != _PNG:
        return False
    kind = b""
    while kind != b"IEND":
        length = struct.unpack(">I", _exactly(file, 4))[0]
        if length > size:
            return False
        kind = _exactly(file, 4)
        checksum = zlib.crc32(_exactly(file, length), zlib.crc32(kind))
        if struct.pack(">I", checksum) != _exactly(file, 4):
            return False
    return file.tell() == size


def _text(file: BinaryIO) -> bytes:
    """Up to a zero."""
    found = b""
    while (one := _exactly(file, 1)) != b"\0":
        found += one
    return found


def _exactly(file: BinaryIO, count: int) -> bytes:
    found = file.read(count)
    if len(found) < count:
        raise EOFError
    return found
