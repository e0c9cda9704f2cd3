"""Outputs that are there before a job begins: ours and current, ours and stale, or not ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvm_server.jobs import Plan, files_of
from dvm_server.ledger import Ledger, Record, frame_event
from dvm_server.spool import Spool
from host_plugins.client.errors import InputError
from model.errors import EngineError


@dataclass(frozen=True)
class Outputs:
    """How files are recognised.

    Attributes:
        ledger: what was made here.
        key_in: reads ``dvm:key`` of a file; "" if it has none. Raises EngineError if unreadable.
    """

    ledger: Ledger
    key_in: Callable[[Path], str]

    def check_folder(self, folder: Path) -> None:
        """Refuse a folder that cannot be written to, before a frame is computed.

        Raises:
            InputError: ``input.output_unwritable``.
        """
        if not folder.is_dir():
            raise _unwritable(folder, "it is not there", "make the folder first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _unwritable(folder, "permission denied", "check the folder's permissions")


def sort_outputs(
    plan: Plan, outputs: Outputs, spool: Spool
) -> tuple[frozenset[int], frozenset[int]]:
    """Frames whose files the client has, and those that only need to be sent.

    Raises:
        InputError: a file is there that is not this shot's, and ``overwrite`` is off:
            ``input.plate_changed``, ``input.trimap_changed``, ``input.options_changed`` if it was
            made here from something else, ``input.output_exists`` if it was not.
    """
    layers = files_of(plan.offer.shot)
    done, ready = set(), set()
    conflicts: list[tuple[int, str, Record | None]] = []
    for frame in plan.frames:
        found = {
            layer: one
            for layer in layers
            if (one := _found(plan, frame, layer, outputs, spool)) is not None
        }
        if len(found) == len(layers) and all(one.current for one in found.values()):
            done.add(frame)
            _adopt(plan, frame, found, outputs.ledger)
            continue
        conflicts += [(frame, one.name, one.record) for one in found.values() if not one.current]
        if plan.offer.by_value and all(
            spool.has(Spool.matte_name(plan.keys[frame].key, layer)) for layer in layers
        ):
            ready.add(frame)
    if conflicts and not plan.offer.shot.options.overwrite:
        raise _conflict(plan, conflicts)
    return frozenset(done), frozenset(ready)


@dataclass(frozen=True)
class _Found:
    """A file in an output's place: its name, and what is known of it."""

    name: str
    sha256: str
    current: bool
    record: Record | None


def _found(plan: Plan, frame: int, layer: str, outputs: Outputs, spool: Spool) -> _Found | None:
    expected = plan.keys[frame].key
    if plan.offer.by_value:
        sha256 = plan.offer.have.get((frame, layer), "")
        if not sha256:
            return None
        record = outputs.ledger.find(sha256)
        current = _is(record, expected, layer)
        return _Found(f"the client's {layer} of frame {frame}", sha256, current, record)
    path = plan.outputs[frame][layer]
    if not path.exists():
        return None
    try:
        sha256 = spool.digest_of(path)
    except OSError as error:
        raise InputError(
            "input.unreadable",
            f"{path} is there and cannot be read ({error.strerror})",
            frame=frame,
            hint="check the file's permissions",
        ) from error
    record = outputs.ledger.find(sha256)
    current = _is(record, expected, layer)
    if record is None:
        # A server killed between writing the file and its journal, or the journal of another
        # machine: the file itself says what it was made of, and it is whole, for it has its name.
        try:
            current = outputs.key_in(path) == expected
        except EngineError:
            current = False
    return _Found(str(path), sha256, current, record)


def _is(record: Record | None, key: str, layer: str) -> bool:
    return record is not None and record.key.key == key and record.layer == layer


def _adopt(plan: Plan, frame: int, found: Mapping[str, _Found], ledger: Ledger) -> None:
    """Take files into the ledger that are known by their own word only."""
    if all(one.record is not None for one in found.values()):
        return
    files: dict[str, Any] = {}
    for layer, one in found.items():
        stat = Path(one.name).stat()
        files[layer] = {
            "path": one.name,
            "sha256": one.sha256,
            "bytes": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
        }
    event = frame_event(frame, plan.keys[frame], plan.plates[frame].digest, files)
    ledger.write(plan.offer.id, {**event, "adopted": True})


def _conflict(plan: Plan, conflicts: list[tuple[int, str, Record | None]]) -> InputError:
    """The error for the conflict that says most: a plate's own, then ours, then the first."""

    def weight(one: tuple[int, str, Record | None]) -> int:
        frame, _, record = one
        if record is None:
            return 2
        return 0 if record.plate != plan.plates[frame].digest else 1

    frame, name, record = min(conflicts, key=weight)
    expected = plan.keys[frame]
    more = f" ({len(conflicts)} files)" if len(conflicts) > 1 else ""
    if record is None:
        code, message = "input.output_exists", f"{name} is there and was not made for this shot"
    elif record.plate != plan.plates[frame].digest:
        plate = plan.plates[frame].path if not plan.offer.by_value else f"of frame {frame}"
        code = "input.plate_changed"
        message = f"the plate {plate} has changed since {name} was made from it"
    elif record.key.plates != expected.plates:
        code = "input.plate_changed"
        message = f"plates that {name} was made from have changed near frame {frame}"
    elif record.key.trimaps != expected.trimaps:
        code, message = "input.trimap_changed", f"{name} was made from another trimap"
    else:
        code, message = "input.options_changed", f"{name} was made with other options"
    return InputError(
        code,
        message + more,
        shot=plan.offer.shot.name,
        frame=frame,
        hint="add --overwrite to make such files again, or choose another output",
    )


def _unwritable(folder: Path, why: str, hint: str) -> InputError:
    return InputError(
        "input.output_unwritable", f"cannot write mattes to {folder}: {why}", hint=hint
    )
