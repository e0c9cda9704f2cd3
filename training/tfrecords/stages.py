"""The three stages of `dvm-train records`: write, check, verify. One clip is one piece of work.

Threads share the clips: reading, decoding and checksums are done outside of Python's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from model.errors import InputError
from model.plates.file_errors import writing
from training.tfrecords.check import (
    ClipReport,
    Fault,
    check_clip,
    clips_in,
    record_path,
    with_duplicates,
)
from training.tfrecords.layout import MODES, SourceClip, require_known
from training.tfrecords.manifest import (
    NAME,
    Listed,
    Manifest,
    read_manifest,
    write_manifest,
)
from training.tfrecords.source_folder import SourceFolder, read_source
from training.tfrecords.writing import clear_leftovers, rewrite_index, write_clip

Say = Callable[[ClipReport], None]
Piece = TypeVar("Piece")


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        source: folder of the clips' pictures; None = not there, for `check` alone.
        out: folder of the records.
        mode: one of `MODES`; "" = what `records.json` says, else ``vfba``.
        only: names of clips; None = all.
        foreground, light: see `Listed`; "" = what the source folder's manifest says, else
            `records.json`, else as published.
        workers: clips at a time.
        overwrite: good records too.
    """

    source: Path | None
    out: Path
    mode: str = ""
    only: frozenset[str] | None = None
    foreground: str = ""
    light: str = ""
    workers: int = 1
    overwrite: bool = False


def write(request: Request, say: Say) -> list[ClipReport]:
    """Write records of all clips of the source folder; good ones that are there are kept.

    If any clip's files do not fit together, nothing is written at all.

    Returns:
        A report a clip: ``written``, ``kept``, ``repaired`` (its index), ``bad``.

    Raises:
        InputError: no clips, ``input.other_records``, or OUT cannot be written to.
        CapacityError: ``capacity.disk_full``.
    """
    before, broken = _manifest(request.out)
    if broken and not request.overwrite:
        read_manifest(request.out)  # raises what it is
    source = _source(request, before)
    if request.only is not None and request.source is not None:
        require_known(request.only, {*source.clips, *source.misfits}, request.source)
    if source.misfits:
        reports = [_misfit(name, told) for name, told in source.misfits.items()]
        for report in reports:
            say(report)
        return reports
    if before is not None and not _alike(request, before):
        if not request.overwrite or not set(before.clips) <= set(source.clips):
            raise _other_records(request, before)
        before = None
    keys = MODES[_mode(request, before)]
    with writing(request.out.parent):
        request.out.mkdir(parents=True, exist_ok=True)
    clear_leftovers(request.out, source.clips)
    announced = _announced(request, before, source)
    if announced != before:
        write_manifest(request.out, announced)

    def one(clip: SourceClip) -> ClipReport:
        if request.overwrite or not record_path(request.out, clip.name).exists():
            return write_clip(request.out, clip, keys)
        found = check_clip(request.out, clip.name, keys, clip)
        if not found.bad:
            return replace(found, state="kept")
        if found.intact:
            rewrite_index(request.out, clip.name)
            return replace(found, state="repaired")
        if _partial(found, clip):
            return write_clip(request.out, clip, keys)
        told = Fault("source", "it was left as it is; --overwrite writes it anew")
        return replace(found, faults=(*found.faults, told))

    reports = list(_each(one, source.clips.values(), request.workers, say))
    kept = dict(announced.clips)
    for report in reports:
        if report.bad:  # it is told of as before, or not at all
            kept.pop(report.clip, None)
            if before is not None and report.clip in before.clips:
                kept[report.clip] = before.clips[report.clip]
    finished = Manifest(announced.mode, {name: one for name, one in kept.items() if one.sha256})
    _write_manifest(request, finished, source, reports, announced)
    return reports


def check(request: Request, say: Say) -> list[ClipReport]:
    """Look at every record, and for those that should be there; change nothing.

    Raises:
        InputError: ``input.no_records``, or the source folder cannot be used.
    """
    manifest, broken = _manifest(request.out)
    source = SourceFolder() if request.source is None else _source(request, manifest)
    listed = manifest.clips if manifest else {}
    names = _names(request, source, listed)
    keys = MODES[_mode(request, manifest)]
    broken = broken or _unlisted(request, source, manifest)
    for report in broken:
        say(report)

    def one(name: str) -> ClipReport:
        found = check_clip(request.out, name, keys, source.clips.get(name), listed.get(name))
        misfits = source.misfits.get(name, [])
        return _with_faults(found, [Fault("layout", told) for told in misfits])

    reports = with_duplicates(list(_each(one, names, request.workers, say)))
    return [*broken, *reports]


def verify(request: Request, say: Say) -> list[ClipReport]:
    """Check, and write anew from the source folder what is bad or not there.

    Returns:
        A report a clip: ``good``, ``repaired`` (its faults are what was wrong), or ``bad``.

    Raises:
        InputError, CapacityError: as `write`.
    """
    manifest, broken = _manifest(request.out)
    if manifest is not None and not _alike(request, manifest):
        raise _other_records(request, manifest)
    source = _source(request, manifest)
    clips = source.clips
    listed = manifest.clips if manifest else {}
    names = _names(request, source, listed)
    keys = MODES[_mode(request, manifest)]
    broken = broken or _unlisted(request, source, manifest)
    clear_leftovers(request.out, names)

    def one(name: str) -> ClipReport:
        found = check_clip(request.out, name, keys, clips.get(name), listed.get(name))
        if not found.bad:
            return found
        if found.intact:
            rewrite_index(request.out, name)
        elif name not in clips:
            why = source.misfits.get(name) or [
                f"{request.source} holds no such clip to repair it from"
            ]
            return _with_faults(found, [Fault("layout", told) for told in why])
        else:
            failed = write_clip(request.out, clips[name], keys)
            if failed.bad:
                return _with_faults(found, failed.faults)
        again = check_clip(request.out, name, keys, clips.get(name))
        return again if again.bad else replace(again, state="repaired", faults=found.faults)

    reports = with_duplicates(list(_each(one, names, request.workers, say)))
    if manifest is not None or broken:
        _write_manifest(request, manifest, source, reports, manifest)
        broken = [_manifest_anew(report) for report in broken]
    return [*broken, *reports]


def _each(
    work: Callable[[Piece], ClipReport], pieces: Iterable[Piece], workers: int, say: Say
) -> Iterator[ClipReport]:
    """Reports in the order of the pieces. An error, or Ctrl-C, begins no more of them."""
    pool = ThreadPoolExecutor(workers)
    try:
        for report in pool.map(work, pieces):
            say(report)
            yield report
    finally:
        pool.shutdown(cancel_futures=True)


def _source(request: Request, manifest: Manifest | None) -> SourceFolder:
    if request.source is None:
        raise ValueError("this stage reads a source folder")
    return read_source(request.source, _mode(request, manifest), request.only)


def _mode(request: Request, manifest: Manifest | None) -> str:
    return request.mode or (manifest.mode if manifest else "vfba")


def _names(request: Request, source: SourceFolder, listed: Collection[str]) -> list[str]:
    """All clips that are there, or should be."""
    names = {*_clips_in(request.out), *source.clips, *source.misfits, *listed}
    if request.only is None:
        return sorted(names)
    require_known(request.only, names, request.out)
    return sorted(request.only)


def _clips_in(folder: Path) -> list[str]:
    try:
        found = clips_in(folder) if folder.is_dir() else []
    except OSError as error:
        raise InputError(
            "input.no_records",
            f"{folder} cannot be read: {error.strerror}",
            hint="check its permissions",
        ) from error
    if not found:
        raise InputError(
            "input.no_records", f"there are no records in {folder}", hint="write them first"
        )
    return found


def _manifest(folder: Path) -> tuple[Manifest | None, list[ClipReport]]:
    """The manifest, or a report of what is wrong with it."""
    try:
        return read_manifest(folder), []
    except InputError as error:
        return None, [ClipReport(NAME, "bad", faults=(Fault("manifest", error.message),))]


def _unlisted(
    request: Request, source: SourceFolder, manifest: Manifest | None
) -> list[ClipReport]:
    """A report if records lack what `records.json` has to tell of them, by the source's manifest:
    they would be read as published ones are."""
    listed = manifest.clips if manifest else {}
    read_as, keys = Listed(0, 0, ""), MODES[_mode(request, manifest)]
    lacking = {
        name: told
        for name in source.clips
        if name not in listed and record_path(request.out, name).exists()
        if (told := _told(request, source, name, read_as)) != read_as
        if "f" in keys or told.light != read_as.light
    }
    if not lacking:
        return []
    name, told = next(iter(lacking.items()))
    why = (
        f"{'it does not list' if manifest else 'it is missing, and with it'} {len(lacking)} "
        f"records, which would be read as {read_as.foreground} and in {read_as.light} light; "
        f"{name} is {told.foreground} and in {told.light} light"
    )
    return [ClipReport(NAME, "bad", faults=(Fault("manifest", why),))]


def _manifest_anew(report: ClipReport) -> ClipReport:
    told = (
        "written anew; what f holds and the light come from --foreground, --light and the source's"
        " manifest, else they are as published: premultiplied, display"
    )
    return replace(report, state="repaired", faults=(*report.faults, Fault("manifest", told)))


def _alike(request: Request, held: Manifest) -> bool:
    """A folder holds records of one mode."""
    return request.mode in ("", held.mode)


def _other_records(request: Request, held: Manifest) -> InputError:
    return InputError(
        "input.other_records",
        f"{request.out} holds records of mode {held.mode}, not {request.mode}",
        hint="use another folder, or write all of its clips anew with -s write --overwrite",
    )


def _partial(found: ClipReport, clip: SourceClip) -> bool:
    """Whether a record is what an interruption or a bad disk left of this clip, and no other's."""
    kinds = {fault.kind for fault in found.faults}
    fits = not any(fault.kind == "source" and fault.frame is not None for fault in found.faults)
    return "damaged" in kinds or (fits and kinds <= {"source", "index"} and (
        found.frames < len(clip.frames)))  # fmt: skip


def _misfit(name: str, told: list[str]) -> ClipReport:
    return ClipReport(name, "bad", faults=tuple(Fault("layout", one) for one in told))


def _with_faults(report: ClipReport, faults: Iterable[Fault]) -> ClipReport:
    both = (*report.faults, *faults)
    return replace(report, state="bad", faults=both) if both else report


def _told(request: Request, source: SourceFolder, name: str, known: Listed) -> Listed:
    """An entry with what is said of its clip by now."""
    return replace(
        known,
        foreground=request.foreground or source.foregrounds.get(name, known.foreground),
        light=request.light or source.lights.get(name, known.light),
    )


def _announced(request: Request, before: Manifest | None, source: SourceFolder) -> Manifest:
    """What is told before the first record is written, so that none is read as what it is not:
    an interrupted run leaves records that are whole."""
    clips = dict(before.clips) if before else {}
    for name in source.clips:
        known = Listed(0, 0, "") if request.overwrite else clips.get(name, Listed(0, 0, ""))
        clips[name] = _told(request, source, name, known)
    return Manifest(_mode(request, before), clips)


def _write_manifest(
    request: Request,
    before: Manifest | None,
    source: SourceFolder,
    reports: list[ClipReport],
    on_disk: Manifest | None,
) -> None:
    clips = dict(before.clips) if before else {}
    for one in reports:
        if one.bad:
            continue
        known = clips.get(one.clip, Listed(0, 0, ""))
        looked = replace(known, frames=one.frames, bytes=one.bytes, sha256=one.sha256)
        clips[one.clip] = _told(request, source, one.clip, looked)
    manifest = Manifest(_mode(request, before), clips)
    if manifest != on_disk:
        write_manifest(request.out, manifest)
