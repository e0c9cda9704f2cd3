"""What this server has ever made: every matte file by the sha256 of its bytes, from the journals.

A file is recognised by what is in it, not by where it lies; so an output is known again after a
restart, from another job, and on a client's disk.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvm_server import journal
from dvm_server.identity import MatteKey
from dvm_server.journal import Event

_LOG = logging.getLogger("dvm.ledger")


@dataclass(frozen=True)
class Record:
    """A matte file that was made here: frame and layer, the key and the plate it was made of."""

    frame: int
    layer: str
    key: MatteKey
    plate: str


class Ledger:
    """The journals of all jobs, and the index over them."""

    def __init__(self, state: Path):
        """Read every journal; damaged tails are cut off, and the log says so."""
        self._folder = state / "jobs"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._records: dict[str, Record] = {}
        for path in sorted(self._folder.glob("*/journal.jsonl")):
            found = journal.read(path)
            if found.dropped:
                _LOG.warning("%s: %s", path, found.dropped)
                journal.mend(path, found)
            for event in found.events:
                self._records.update(records_of(event))

    def path(self, job: str) -> Path:
        """Of a job's journal; its folder is made if need be."""
        folder = self._folder / job
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / "journal.jsonl"

    def write(self, job: str, event: Event) -> None:
        """Add an event to a job's journal and to the index. It is durable when this returns.

        Raises:
            OSError: the disk is full or closed to us.
        """
        journal.append(self.path(job), event)
        self._records.update(records_of(event))

    def find(self, sha256: str) -> Record | None:
        """The record of a file with these bytes, or None if it was not made here."""
        return self._records.get(sha256)


def frame_event(frame: int, key: MatteKey, plate: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """The event that a frame's files are on disk.

    Args:
        frame: its number.
        key: key B.
        plate: digest of the frame's own plate.
        files: by layer ``{path, sha256, bytes, mtime_ns}``.
    """
    return {
        "event": "frame",
        "frame": frame,
        "key": key.key,
        "plates": key.plates,
        "trimaps": key.trimaps,
        "options": key.options,
        "plate": plate,
        "files": dict(files),
    }


def records_of(event: Event) -> Iterator[tuple[str, Record]]:
    """What an event says about files, by sha256."""
    if event.get("event") == "frame":
        key = MatteKey(event["key"], event["plates"], event["trimaps"], event["options"])
        for layer, file in event["files"].items():
            yield file["sha256"], Record(event["frame"], layer, key, event["plate"])
