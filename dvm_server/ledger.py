"""What this server has ever made: every matte file by the sha256 of its bytes, from the journals.

A file is recognised by what is in it, not by where it lies; so an output is known again after a
restart, from another job, and on a client's disk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dvm_server import journal
from dvm_server.journal import Event
from host_plugins.client.errors import SetupError
from model.plates.file_errors import keeping

_LOG = logging.getLogger("dvm.ledger")
# Of a digest, to tell whether something changed: keys have all 64.
_ENOUGH = 16


@dataclass(frozen=True)
class Sources:
    """What a job was made from: digests of plates, of painted and given trimaps, and of guides
    together, by frame."""

    plates: Mapping[int, str]
    trimaps: Mapping[int, str]
    guides: Mapping[int, str] = field(default_factory=dict)

    def changed_plates(self, now: Sources) -> list[int]:
        """Frames whose plate is another one now."""
        return _differing(self.plates, now.plates, self.plates.keys() & now.plates.keys())

    def changed_trimaps(self, now: Sources) -> list[int]:
        """Frames whose painted or given trimap is another one now, is new, or is gone."""
        return _differing(self.trimaps, now.trimaps, self.trimaps.keys() | now.trimaps.keys())

    def changed_guides(self, now: Sources) -> list[int]:
        """Frames whose garbage or core matte or clean plate is another one now, new, or gone."""
        return _differing(self.guides, now.guides, self.guides.keys() | now.guides.keys())


@dataclass(frozen=True)
class Record:
    """A matte file that was made here: frame and layer, the key and what it was made from."""

    frame: int
    layer: str
    key: str
    sha256: str
    sources: Sources


class Ledger:
    """The journals of all jobs, and the index over them. Safe to use from several threads."""

    def __init__(self, state: Path):
        """Read every journal; damaged tails are cut off, and the log says so.

        Raises:
            SetupError: ``setup.state`` naming a journal that cannot be read.
            model.errors.EngineError: ``setup.state``, ``capacity.disk_full``.
        """
        self._state = state
        self._folder = state / "jobs"
        with keeping(state):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._guard = threading.Lock()
        self._records: dict[str, dict[str, Record]] = {}
        self._places: dict[str, Record] = {}
        self._sources: dict[str, Sources] = {}
        self._doubts: dict[str, float] = {}
        for path in sorted(self._folder.glob("*/journal.jsonl")):
            found = _read(path)
            if found.dropped:
                _LOG.warning("%s: %s", path, found.dropped)
                with keeping(path):
                    journal.mend(path, found)
            for event in found.events:
                self._take(path.parent.name, event)

    def path(self, job: str) -> Path:
        """Of a job's journal; its folder is made if need be. Raises what `write` does."""
        folder = self._folder / job
        with keeping(self._state):
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder / "journal.jsonl"

    def write(self, job: str, event: Event) -> None:
        """Add an event to a job's journal and to the index. It is durable when this returns.

        Raises:
            model.errors.EngineError: ``capacity.disk_full``, ``setup.state``.
        """
        with self._guard, keeping(self._state):
            journal.append(self.path(job), event)
            self._take(job, event)

    def find(self, sha256: str, layer: str) -> Record | None:
        """The record of a file with these bytes, or None if it was not made here.

        Two layers may have the same bytes: where all is certain, alpha and trimap are equal. The
        record is then that of ``layer``.
        """
        found = self._records.get(sha256, {})
        return found.get(layer) or next(iter(found.values()), None)

    def at(self, path: Path) -> Record | None:
        """The record of what was last written there, whatever is there now."""
        return self._places.get(str(path))

    def doubts(self, keys: Mapping[int, str]) -> dict[int, float]:
        """How doubtful the trimaps with these keys were when they were carried, by frame.

        Those that never were, or by a release that did not say so, are left out.
        """
        return {frame: self._doubts[key] for frame, key in keys.items() if key in self._doubts}

    def _take(self, job: str, event: Event) -> None:
        """Index what an event says about files and trimaps."""
        if event.get("event") == "submitted":
            self._sources[job] = Sources(
                _by_frame(event["plates"]),
                _by_frame(event["trimaps"]),
                _by_frame(event.get("guides", {})),
            )
        elif event.get("event") == "trimap" and "doubt" in event:
            self._doubts[event["key"]] = event["doubt"]
        elif event.get("event") == "frame":
            sources = self._sources.get(job, Sources({}, {}))
            for layer, file in event["files"].items():
                sha256 = file["sha256"]
                record = Record(event["frame"], layer, event["key"], sha256, sources)
                self._records.setdefault(sha256, {})[layer] = record
                self._places[file["path"]] = record


def submitted_event(name: str, sources: Sources) -> dict[str, Any]:
    """The event that a shot was surveyed and found well; later frames are made from these."""
    event: dict[str, Any] = {
        "event": "submitted",
        "name": name,
        "plates": {str(f): one[:_ENOUGH] for f, one in sources.plates.items()},
        "trimaps": {str(f): one[:_ENOUGH] for f, one in sources.trimaps.items()},
    }
    if sources.guides:
        event["guides"] = {str(f): one[:_ENOUGH] for f, one in sources.guides.items()}
    return event


def frame_event(frame: int, key: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """The event that a frame's files are on disk.

    Args:
        frame: its number.
        key: key B.
        files: by layer ``{path, sha256, bytes, mtime_ns}``.
    """
    return {"event": "frame", "frame": frame, "key": key, "files": dict(files)}


def _read(path: Path) -> journal.Journal:
    try:
        return journal.read(path)
    except OSError as error:
        raise SetupError(
            "setup.state",
            f"the journal {path} cannot be read: {error.strerror}",
            hint="move it away: mattes that it tells of are known by their dvm:key, too",
        ) from error


def _by_frame(plain: Mapping[str, str]) -> dict[int, str]:
    return {int(frame): one for frame, one in plain.items()}


def _differing(before: Mapping[int, str], now: Mapping[int, str], frames: set[int]) -> list[int]:
    return sorted(f for f in frames if before.get(f, "")[:_ENOUGH] != now.get(f, "")[:_ENOUGH])
