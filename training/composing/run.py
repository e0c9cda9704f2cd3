"""Compose a data set: what is there already is seen to, the rest is composed by so many processes.

What a clip is depends on its own name and the seed alone, so neither the number of processes nor
their order, nor an interruption, changes a byte.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from model.errors import InputError
from model.plates.atomic import write_bytes
from training.composing.check import check_clips
from training.composing.folder import (
    forget_staged,
    is_finished,
    locked,
    publish_clip,
    recovered,
    require_unclaimed,
)
from training.composing.layout import Trouble, troubles_told
from training.composing.manifest import SCHEMA, Entry, read_manifest, write_manifest
from training.composing.selection import Clip, Request, Selection
from training.composing.workers import Failure, Pool, processes

Say = Callable[[str], None]
_FLUSH = 5.0  # seconds between two writings of the manifest


@dataclass(frozen=True)
class Composed:
    """What a run did: names of clips composed and of those that were there, and what it skipped."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    skipped: tuple[Trouble, ...]


def compose_set(
    request: Request,
    selection: Selection,
    out: Path,
    say: Say,
    workers: int = 1,
    skip_missing: bool = False,
    quick: bool = False,
    listed: tuple[str, bytes] = ("", b""),
    write_list: bool = False,
) -> Composed:
    """Compose a selection into a folder.

    Args:
        request: what was asked for.
        selection: what it came to.
        out: the data set; made if need be, gone on with if it is there.
        say: takes one line at a time of what is going on.
        workers: processes; 1 = this one alone.
        skip_missing: leave out what cannot be composed instead of stopping before the first clip.
        quick: of finished clips count the files and do not read them.
        listed: the pair list's name and bytes, for the manifest.
        write_list: whether the list is written into the folder as well.

    Raises:
        InputError: ``input.incomplete_layout`` for missing and mismatched files; ``input.damaged``
            for what showed while composing, when all other clips are done;
            ``input.other_settings``, ``input.output_taken``, ``input.manifest``,
            ``input.output_unwritable``.
        SetupError: ``setup.no_movies``.
        CapacityError: ``capacity.disk_full``, or ``capacity.worker_ended``.
    """
    with processes(workers) as pool:
        clips, troubles = list(selection.clips), list(selection.troubles)
        say(f"checking the files of {len(clips)} clips")
        broken = check_clips(clips, pool.each)
        troubles += broken
        bad = {trouble.pair for trouble in broken}
        clips = [clip for clip in clips if clip.pair.line not in bad]
        for trouble in troubles:
            say(f"cannot be composed: {trouble}")
        if troubles and not (skip_missing and clips):
            raise _incomplete(troubles, len(selection.clips) + len(selection.troubles))
        with locked(out):
            manifest = _manifest(request, out, listed)
            if write_list:
                write_bytes(out / listed[0], listed[1])
            rescued = recovered(out)
            manifest["clips"].update(rescued)
            run = _Run(request, out, manifest, pool, say, list(rescued))
            return run.all(clips, troubles, quick, skip_missing)


class _Run:
    """One run in a locked folder."""

    def __init__(
        self,
        request: Request,
        out: Path,
        manifest: dict[str, Any],
        pool: Pool,
        say: Say,
        unwritten: list[str],
    ):
        self._request, self._out, self._manifest = request, out, manifest
        self._pool, self._say = pool, say
        self._unwritten = unwritten  # names that the manifest on disk does not have yet
        self._written = time.monotonic()

    def all(
        self, clips: Sequence[Clip], troubles: list[Trouble], quick: bool, skip_missing: bool
    ) -> Composed:
        kept = self._finished(clips, quick)
        there = set(kept)
        wanted = [clip for clip in clips if clip.name not in there]
        for clip in wanted:
            if clip.name not in self._manifest["clips"]:
                require_unclaimed(self._out, clip.name)
        made: list[str] = []
        failed: list[Trouble] = []
        try:
            for clip, result in self._pool.composed(wanted, self._request, self._out):
                if isinstance(result, Failure):
                    if result.kind is not InputError:
                        raise result.error()
                    failed.append(Trouble(clip.pair.line, (result.message,)))
                    self._say(f"cannot be composed: {failed[-1]}")
                    continue
                publish_clip(self._out, clip.name, result)
                self._manifest["clips"][clip.name] = result
                self._unwritten.append(clip.name)
                made.append(clip.name)
                self._say(f"{len(made) + len(failed)}/{len(wanted)} {clip.name}")
                self._flush(_FLUSH)
            skipped = [*troubles, *failed]
            self._manifest["skipped"] = [
                {"pair": one.pair, "reasons": list(one.reasons)} for one in skipped
            ]
        finally:
            self._flush(0.0)
        if failed and not skip_missing:
            raise _incomplete(failed, len(clips))
        return Composed(tuple(made), tuple(kept), tuple(skipped))

    def _finished(self, clips: Sequence[Clip], quick: bool) -> list[str]:
        entries = self._manifest["clips"]
        known = [clip for clip in clips if clip.name in entries]
        if known:
            self._say(f"seeing to {len(known)} finished clips")
        check = partial(_is_finished, self._out, self._request.root, quick)
        good = self._pool.each(check, [(clip, entries[clip.name]) for clip in known])
        kept = []
        for clip, whole in zip(known, good, strict=True):
            if whole:
                kept.append(clip.name)
            else:
                self._say(f"{clip.name} was changed, or its sources were: composed again")
        return kept

    def _flush(self, after: float) -> None:
        """Write the manifest if that was so many seconds ago; then staging may go."""
        if time.monotonic() - self._written < after:
            return
        write_manifest(self._out, self._manifest)
        for name in self._unwritten:
            forget_staged(self._out, name)
        self._unwritten, self._written = [], time.monotonic()


def _manifest(request: Request, out: Path, listed: tuple[str, bytes]) -> dict[str, Any]:
    """The folder's, if it was made with the same settings, or a new one."""
    settings = {"phase": request.phase, "seed": request.seed, "bg_blur": request.bg_blur}
    found = read_manifest(out, by_name=True)
    if found is None:
        found = {"schema": SCHEMA, "light": "display", "foreground": "straight", "clips": {}}
    elif found.get("settings") != settings:
        raise InputError(
            "input.other_settings",
            f"{out} was composed with {_told(found.get('settings') or {})}, and now it is "
            f"{_told(settings)}",
            hint="give the same settings to go on, or another folder with --output",
        )
    pairs = {"file": listed[0], "sha256": hashlib.sha256(listed[1]).hexdigest()}
    return {**found, "settings": settings, "layout": request.root.name, "pairs": pairs}


def _told(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items()) or "something else"


def _incomplete(troubles: Sequence[Trouble], total: int) -> InputError:
    return InputError(
        "input.incomplete_layout",
        f"{len(troubles)} of {total} pairs cannot be composed: {troubles_told(troubles)}",
        hint="bring the files, or leave these pairs out with --skip-missing",
    )


def _is_finished(out: Path, root: Path, quick: bool, pair: tuple[Clip, Entry]) -> bool:
    return is_finished(out, pair[0], pair[1], root, quick)
