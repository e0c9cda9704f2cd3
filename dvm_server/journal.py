"""A job's journal: one JSON line an event, with a crc32, fsynced before anybody is told of it.

A line is ``{"crc32":"089abcde","event":{…}}``; the crc is over the event as it stands in the line
(sorted keys, no spaces, UTF-8). Pinned by ``tests/golden/journal.jsonl``.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Journal:
    """What a journal file holds.

    Attributes:
        events: in the order they happened.
        good_bytes: length of the readable beginning of the file.
        dropped: why the rest is not read; "" if all of it was.
    """

    events: tuple[Event, ...]
    good_bytes: int = 0
    dropped: str = ""


def line(event: Event) -> bytes:
    """An event as it stands in the file.

    Raises:
        ValueError: it holds what JSON cannot carry.
    """
    text = json.dumps(event, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    data = text.encode("utf-8")
    return b'{"crc32":"%08x","event":%s}\n' % (zlib.crc32(data), data)


def parse(data: bytes) -> Journal:
    """Read lines up to the first that is cut short or damaged; a power cut leaves such a tail."""
    events: list[Event] = []
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        if end < 0:
            return _cut(events, position, data, "its last line is cut short")
        event = _event(data[position : end + 1])
        if event is None:
            return _cut(events, position, data, f"line {len(events) + 1} is damaged")
        events.append(event)
        position = end + 1
    return Journal(tuple(events), position)


def read(path: Path) -> Journal:
    """Read a journal; an absent file is an empty one."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return Journal(())


def append(path: Path, event: Event) -> None:
    """Add an event; it is on disk when this returns.

    Raises:
        OSError: the disk is full or closed to us. The journal is what it was then.
    """
    fresh = not path.exists()
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        data = line(event)
        try:
            written = file.write(data)
            if written < len(data):  # the disk took a part: the rest fails, and says why
                file.write(data[written:])
            os.fsync(file.fileno())
        except OSError:
            # Events after half a line would be lost with it.
            file.truncate(before)
            raise
    if fresh:
        sync_folder(path.parent)


def mend(path: Path, journal: Journal) -> None:
    """Cut the unreadable tail off, so that new events follow readable ones."""
    if journal.dropped:
        with path.open("r+b") as file:
            file.truncate(journal.good_bytes)
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _event(data: bytes) -> Event | None:
    head, tail = b'{"crc32":"', b'","event":'
    start = len(head) + 8 + len(tail)
    if not data.startswith(head) or data[len(head) + 8 : start] != tail or data[-2:] != b"}\n":
        return None
    body = data[start:-2]
    if data[len(head) : len(head) + 8] != b"%08x" % zlib.crc32(body):
        return None
    event = json.loads(body)
    return event if isinstance(event, dict) else None


def _cut(events: list[Event], position: int, data: bytes, why: str) -> Journal:
    return Journal(tuple(events), position, f"{why}; {len(data) - position} bytes dropped")
