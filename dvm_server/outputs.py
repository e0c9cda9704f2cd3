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
from model.errors import CapacityError, EngineError
from model.plates.file_errors import not_a_file


@dataclass(frozen=True)
class Outputs:
    """How files are recognised.

    Attributes:
        ledger: what was made here.
        key_in: reads ``dvm:key`` of a file; "" if it has none. Raises EngineError if unreadable.
        key_in_whole: the same, and decodes all of the file.
    """

    ledger: Ledger
    key_in: Callable[[Path], str]
    key_in_whole: Callable[[Path], str]

    def check_folder(self, folder: Path) -> None:
        """Refuse a folder that cannot be written to, before a frame is computed.

        Raises:
            InputError: ``input.output_unwritable``.
        """
        if not os.path.isdir(folder):  # noqa: PTH112  Path's raises where it may not look
            raise _unwritable(folder, "it is not there", "make the folder first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _unwritable(folder, "permission denied", "check the folder's permissions")


@dataclass(frozen=True)
class There:
    """What is there before a job begins.

    Attributes:
        done: frames whose files the client has.
        ready: frames whose files only need to be sent.
        adopted: events to journal, of files that no journal knows.
        ours: by path: sha256 of files that this shot made and that are made again, because they
            are broken or because others of their frame are missing.
    """

    done: frozenset[int]
    ready: frozenset[int]
    adopted: list[dict[str, Any]]
    ours: dict[Path, str]


def sort_outputs(plan: Plan, outputs: Outputs, spool: Spool, look: Callable[[Path], None]) -> There:
    """What is there of a plan's outputs.

    Args:
        plan: of the shot.
        outputs: how files are recognised.
        spool: of the server.
        look: called before a file is looked at, and while it is read; raises to give up.

    Raises:
        InputError: a file is there that is not this shot's, and ``overwrite`` is off:
            ``input.plate_changed``, ``input.trimap_changed``, ``input.guide_changed``,
            ``input.options_changed`` if it was made here from something else,
            ``input.output_exists`` if it was not.
    """
    layers = files_of(plan.offer.shot)
    done, ready = set(), set()
    adopted: list[dict[str, Any]] = []
    ours: dict[Path, str] = {}
    conflicts: list[_Found] = []
    for frame in plan.frames:
        found = {
            layer: one
            for layer in layers
            if (one := _found(plan, frame, layer, outputs, spool, look)) is not None
        }
        if len(found) == len(layers) and all(one.current for one in found.values()):
            done.add(frame)
            if any(one.record is None for one in found.values()):
                adopted.append(_adoption(plan, frame, found))
            continue
        conflicts += [one for one in found.values() if not one.current and not one.broken]
        ours |= {Path(one.name): one.sha256 for one in found.values() if one.current or one.broken}
        if plan.offer.by_value and all(
            spool.has(Spool.matte_name(plan.keys[frame], layer)) for layer in layers
        ):
            ready.add(frame)
    if conflicts and not plan.offer.shot.options.overwrite:
        raise _conflict(plan, conflicts)
    return There(frozenset(done), frozenset(ready), adopted, ours)


@dataclass(frozen=True)
class _Found:
    """A file in an output's place.

    Attributes:
        frame: whose it is.
        name: for messages; the path, if it is on this machine.
        sha256: of its bytes.
        current: it is just what this shot would make.
        record: what is known of it.
        broken: this shot made it, and not all of it is there.
    """

    frame: int
    name: str
    sha256: str
    current: bool
    record: Record | None
    broken: bool = False


def _found(
    plan: Plan,
    frame: int,
    layer: str,
    outputs: Outputs,
    spool: Spool,
    look: Callable[[Path], None],
) -> _Found | None:
    expected = plan.keys[frame]
    if plan.offer.by_value:
        sha256 = plan.offer.have.get((frame, layer), "")
        if not sha256:
            return None
        record = outputs.ledger.find(sha256, layer)
        current = _is(record, expected, layer)
        return _Found(frame, f"the client's {layer} of frame {frame}", sha256, current, record)
    path = plan.outputs[frame][layer]
    look(path)
    try:
        if not _is_there(path, frame):
            return None
        # Of a link that leads nowhere: whoever made it, a matte would take its place.
        sha256 = spool.digest_of(path, lambda: look(path)) if path.exists() else ""
    except OSError as error:
        raise InputError(
            "input.unreadable",
            f"{path} is there and cannot be read ({error.strerror})",
            frame=frame,
            hint="check the file's permissions",
        ) from error
    record = outputs.ledger.find(sha256, layer)
    current = _is(record, expected, layer)
    broken = False
    if record is None and not _is(outputs.ledger.at(path), expected, layer):
        # A server killed between writing the file and its journal, or the journal of another
        # machine: the file itself says what it was made of. Its copy may have been cut short.
        # If the journal knows the very same matte with other bytes, somebody has changed it.
        look(path)
        current = _says(outputs.key_in, path) == expected
        look(path)
        broken = current and _says(outputs.key_in_whole, path) != expected
        current = current and not broken
    return _Found(frame, str(path), sha256, current, record, broken)


def _says(key_in: Callable[[Path], str], path: Path) -> str:
    """The key in a file; "" if it cannot be read."""
    try:
        return key_in(path)
    except CapacityError:  # it may well be readable
        raise
    except EngineError:
        return ""


def _is_there(path: Path, frame: int) -> bool:
    """Whether a file has an output's name, or a link has.

    Raises:
        InputError: what has it is no file, so no matte can take its place, whatever ``overwrite``
            says. It is never opened: a pipe would keep the server waiting for ever.
        OSError: nobody can tell.
    """
    try:
        other = not_a_file(path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return path.is_symlink()
    if other:
        raise InputError(
            "input.output_unwritable",
            f"{path} is {other}, and a matte is to be written there",
            frame=frame,
            hint="move it away, or choose another output",
        )
    return True


def _is(record: Record | None, key: str, layer: str) -> bool:
    return record is not None and record.key == key and record.layer == layer


def _adoption(plan: Plan, frame: int, found: Mapping[str, _Found]) -> dict[str, Any]:
    """The event that takes files into the ledger that are known by their own word only."""
    files: dict[str, Any] = {}
    for layer, one in found.items():
        stat = Path(one.name).stat()
        files[layer] = {
            "path": one.name,
            "sha256": one.sha256,
            "bytes": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
        }
    return {**frame_event(frame, plan.keys[frame], files), "adopted": True}


def _conflict(plan: Plan, conflicts: list[_Found]) -> InputError:
    """The error that says most: which of our files is stale, and for what; else whose it is not."""
    now = plan.sources()
    ours = [(one, one.record.sources) for one in conflicts if one.record is not None]
    # The file whose own plate has changed, if there is one: the others follow from it.
    ours.sort(key=lambda pair: pair[0].frame not in pair[1].changed_plates(now))
    if not ours:
        first = conflicts[0]
        message = (
            f"{first.name} is there and was not made for this shot, or elsewhere with other "
            "options, precision or threads"
        )
        return _refused(plan, "input.output_exists", message, first.frame, conflicts)
    stale, before = ours[0]
    if plates := before.changed_plates(now):
        frame = stale.frame if stale.frame in plates else plates[0]
        plate = f"of frame {frame}" if plan.offer.by_value else plan.plates[frame].path
        message = f"the plate {plate} has changed since {stale.name} was made"
        return _refused(plan, "input.plate_changed", message, frame, conflicts)
    if trimaps := before.changed_trimaps(now):
        frame = trimaps[0]
        message = f"the trimap of frame {frame} has changed since {stale.name} was made"
        return _refused(plan, "input.trimap_changed", message, frame, conflicts)
    if guides := before.changed_guides(now):
        frame = guides[0]
        what = "a garbage matte, core matte or clean plate"
        message = f"{what} of frame {frame} has changed since {stale.name} was made"
        return _refused(plan, "input.guide_changed", message, frame, conflicts)
    message = f"{stale.name} was made with other options, or by another version of the engine"
    return _refused(plan, "input.options_changed", message, stale.frame, conflicts)


def _refused(
    plan: Plan, code: str, message: str, frame: int, conflicts: list[_Found]
) -> InputError:
    more = f" ({len(conflicts)} files)" if len(conflicts) > 1 else ""
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
