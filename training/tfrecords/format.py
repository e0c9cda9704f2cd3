"""TFRecord files of `Example`s, as bytes: read with nothing but the standard library.

A file is one record after the other, each

    length, 8 bytes · checksum of those 8, 4 bytes · data · checksum of the data, 4 bytes

all little-endian; a checksum is a CRC-32C, turned and moved (TensorFlow, `lib/io/record_writer.h`).
The data is a protobuf `Example`: a map from keys to lists of bytes, of floats or of integers
(`core/example/example.proto`). An index has a line a record: where it begins, and its bytes with
all of the above.

Training reads records through this file, on machines without `tfrecord` and protobuf. Where the
package `crc32c` is missing too, checksums of data are not looked at: in plain Python that takes
seconds a frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

try:
    from crc32c import crc32c as _quick_crc
except ImportError:  # a bare machine
    _quick_crc = None  # type: ignore[assignment]

CHECKS_DATA = _quick_crc is not None
AROUND = 16  # bytes of a record that are not its data
_HEAD = 12
_MASK = 0xA282EAD8


class DamagedRecord(Exception):
    """What is wrong with the bytes of a record or an index, without the file's name.

    Attributes:
        frame: the record's place in the file, from 0; None = the whole file.
    """

    def __init__(self, what: str, frame: int | None = None):
        super().__init__(what)
        self.frame = frame


@dataclass(frozen=True)
class Place:
    """Where a record lies in its file, in bytes; ``length`` is that of all four parts."""

    offset: int
    length: int


@dataclass(frozen=True)
class Example:
    """One frame.

    Attributes:
        pictures: the keys that hold one string of bytes.
        index: the frame's number, if there is one.
    """

    pictures: Mapping[str, bytes]
    index: int | None


def masked_crc(data: bytes) -> int:
    """The checksum of TFRecord files."""
    crc = _slow_crc(data) if _quick_crc is None else _quick_crc(data)
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def walk(path: Path) -> Iterator[tuple[Place, bytes | None]]:
    """All records in their order, with their data; None where it does not match its checksum.

    Raises:
        DamagedRecord: the length of one is damaged, or the file ends within one, or holds none.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if not size:
        raise DamagedRecord("the file is empty")
    with path.open("rb") as file:
        offset = number = 0
        while offset < size:
            place = Place(offset, _whole_length(file.read(_HEAD), size - offset, number))
            data, check = file.read(place.length - AROUND), file.read(4)
            if len(check) < 4:
                raise DamagedRecord("the file became shorter while it was read", number)
            good = struct.unpack("<I", check)[0] == masked_crc(data) if CHECKS_DATA else True
            yield place, data if good else None
            offset, number = offset + place.length, number + 1


def places(path: Path) -> tuple[Place, ...]:
    """Where the records lie, told by their lengths alone.

    Raises:
        DamagedRecord: as `walk`.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if not size:
        raise DamagedRecord("the file is empty")
    found: list[Place] = []
    with path.open("rb") as file:
        offset = 0
        while offset < size:
            file.seek(offset)
            place = Place(offset, _whole_length(file.read(_HEAD), size - offset, len(found)))
            found.append(place)
            offset += place.length
    return tuple(found)


def read_data(file: BinaryIO, place: Place, number: int) -> bytes:
    """The data of one record.

    Raises:
        DamagedRecord: no record of that length lies there, or a checksum does not match.
        OSError: the file cannot be read.
    """
    file.seek(place.offset)
    whole = file.read(place.length)
    if _whole_length(whole[:_HEAD], len(whole), number) != place.length:
        raise DamagedRecord("the index does not belong to this record", number)
    data, check = whole[_HEAD:-4], whole[-4:]
    if CHECKS_DATA and struct.unpack("<I", check)[0] != masked_crc(data):
        raise DamagedRecord("its data and their checksum disagree", number)
    return data


def read_index(path: Path) -> tuple[Place, ...]:
    """The lines of an index.

    Raises:
        DamagedRecord: a line is not two numbers.
        OSError: the file cannot be read.
    """
    found = []
    for number, line in enumerate(path.read_bytes().splitlines()):
        parts = line.split()
        if len(parts) != 2 or not all(part.isdigit() for part in parts):
            raise DamagedRecord(f"line {number + 1} of the index is not an offset and a length")
        found.append(Place(int(parts[0]), int(parts[1])))
    return tuple(found)


def covers(index: Sequence[Place], size: int) -> bool:
    """Whether an index tells of records that follow each other and fill a file of that size."""
    offset = 0
    for place in index:
        if place.offset != offset or place.length < AROUND:
            return False
        offset += place.length
    return offset == size and bool(index)


def index_text(records: Sequence[Place]) -> str:
    """The index as a file: ``offset length``, a line a record."""
    return "".join(f"{place.offset} {place.length}\n" for place in records)


def parse_example(data: bytes, number: int) -> Example:
    """One `Example` of protobuf. Other keys than pictures and ``index`` are passed over.

    Args:
        data: of one record.
        number: its place, for messages.

    Raises:
        DamagedRecord: it is no `Example`.
    """
    pictures: dict[str, bytes] = {}
    index = None
    try:
        for features in _lengths(memoryview(data), 1):
            for entry in _lengths(features, 1):
                key = b"".join(_lengths(entry, 1)).decode()
                for feature in _lengths(entry, 2):
                    texts = [one for many in _lengths(feature, 1) for one in _lengths(many, 1)]
                    numbers = [one for many in _lengths(feature, 3) for one in _integers(many)]
                    if len(texts) == 1:
                        pictures[key] = bytes(texts[0])
                    elif key == "index" and len(numbers) == 1:
                        index = numbers[0]
    except (IndexError, ValueError) as error:
        raise DamagedRecord("its data are no Example", number) from error
    return Example(pictures, index)


def _whole_length(head: bytes, left: int, number: int) -> int:
    """A record's length with what is around its data, from its first twelve bytes."""
    if len(head) < _HEAD:
        raise DamagedRecord(f"the last {len(head)} bytes of the file are no record", number)
    length, check = struct.unpack("<QI", head)
    if check != masked_crc(head[:8]):
        raise DamagedRecord(
            "its length and the checksum of it disagree, or no record lies here; what follows "
            "cannot be found",
            number,
        )
    if length + AROUND > left:
        raise DamagedRecord(f"{length + AROUND - left} bytes are missing at its end", number)
    return int(length) + AROUND


def _lengths(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The fields of a message with that number that have a length: texts, messages, lists."""
    for number, kind, value in _fields(message):
        if number == wanted and kind == 2 and isinstance(value, memoryview):
            yield value


def _integers(message: memoryview) -> Iterator[int]:
    """An `Int64List`: packed, as proto3 writes it, or not."""
    for number, _, value in _fields(message):
        if number != 1:
            continue
        if isinstance(value, memoryview):  # packed
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                yield _signed(one)
        else:
            yield _signed(value)


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """The fields of a protobuf message: number, wire type, value.

    Raises:
        ValueError, IndexError: it is none.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, kind, value
            continue
        length = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            length, at = _varint(message, at)
        if length is None or at + length > len(message):
            raise ValueError
        yield tag >> 3, kind, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _slow_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = tuple(_table_entry(value) for value in range(256))
