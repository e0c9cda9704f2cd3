"""A clip's pictures into a record and its index, by the library `tfrecord`.

Of the library are the protobuf classes and the checksum. Its `TFRecordWriter.write` is not used:
it lays the keys out in the order of a hash that differs from run to run, so that equal clips would
be unequal files; and its command for an index runs over the file again.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tfrecord import example_pb2
from tfrecord.writer import TFRecordWriter

from model.plates.atomic import discard, publish, temporary_path, write_bytes
from model.plates.file_errors import writing
from training.tfrecords.check import INDEX, RECORD, ClipReport, Fault, index_path, record_path
from training.tfrecords.format import Place, index_text, places
from training.tfrecords.layout import SourceClip
from training.tfrecords.pictures import Looked, faults_of_clip, look_at


def record_bytes(pictures: Mapping[str, bytes], number: int) -> bytes:
    """One frame as it stands in a record: files of pictures by key, and the frame's number."""
    features = {
        key: example_pb2.Feature(bytes_list=example_pb2.BytesList(value=[data]))
        for key, data in pictures.items()
    }
    features["index"] = example_pb2.Feature(int64_list=example_pb2.Int64List(value=[number]))
    example = example_pb2.Example(features=example_pb2.Features(feature=features))
    data = example.SerializeToString(deterministic=True)
    length = struct.pack("<Q", len(data))
    crc = TFRecordWriter.masked_crc
    return b"".join((length, crc(length), data, crc(data)))


def write_clip(folder: Path, clip: SourceClip, keys: Sequence[str]) -> ClipReport:
    """Write a clip's record and index: both, or neither if a picture cannot be used.

    The record gets its name last, so whoever sees it sees its index.

    Returns:
        ``written``, or ``bad`` with what is wrong with the pictures.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    record, index = record_path(folder, clip.name), index_path(folder, clip.name)
    staged = {index: temporary_path(index), record: temporary_path(record)}
    faults: list[Fault] = []
    looked: list[Looked] = []
    lie: list[Place] = []
    digest, size = hashlib.sha256(), 0
    try:
        with writing(folder), staged[record].open("wb") as file:
            for number, files in enumerate(clip.frames):
                pictures, told = _read({key: files[key] for key in keys})
                seen = look_at(pictures, tuple(pictures))
                looked.append(seen)
                told += [f"{text} ({clip.first + number} in the source)" for text in seen.faults]
                faults += (Fault("content", text, number) for text in told)
                if faults:
                    continue  # to tell of all of them
                data = record_bytes(pictures, number)
                file.write(data)
                digest.update(data)
                lie.append(Place(size, len(data)))
                size += len(data)
            file.flush()
            os.fsync(file.fileno())
        faults += (Fault("content", text) for text in faults_of_clip(looked))
        if faults:
            return ClipReport(clip.name, "bad", faults=tuple(faults))
        _stage(staged[index], index_text(lie))
        publish(staged)
    finally:
        discard(*staged.values())
    return ClipReport(clip.name, "written", len(lie), size, digest.hexdigest(), True)


def clear_leftovers(folder: Path, clips: Collection[str]) -> None:
    """Remove temporary files that interrupted runs left of these clips."""
    with writing(folder):
        there = list(folder.iterdir())
    for path in there:
        name, marked, _ = path.name.rpartition(".tmp-")
        clip, _, suffix = name.removeprefix(".").rpartition(".")
        if marked and name.startswith(".") and f".{suffix}" in (RECORD, INDEX) and clip in clips:
            discard(path)


def rewrite_index(folder: Path, clip: str) -> None:
    """The index of a record that is whole, written anew.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    text = index_text(places(record_path(folder, clip)))
    write_bytes(index_path(folder, clip), text.encode())


def _read(files: Mapping[str, Path]) -> tuple[dict[str, bytes], list[str]]:
    pictures, faults = {}, []
    for key, path in files.items():
        try:
            pictures[key] = path.read_bytes()
        except OSError as error:
            faults.append(f"{path} cannot be read: {error.strerror}")
    return pictures, faults


def _stage(path: Path, text: str) -> None:
    with writing(path.parent), path.open("w", encoding="ascii", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
