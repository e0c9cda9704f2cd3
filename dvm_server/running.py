"""Run one shot to its end for a command: by path or by value, with its progress told."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from dvm_server.interrupts import Interrupts
from dvm_server.reporting import Reporter
from host_plugins.client.connection import Connection
from host_plugins.client.errors import Cancelled
from host_plugins.client.run import Progress, Summary, run_shot
from host_plugins.client.session import Session
from host_plugins.client.shot import Shot
from model.plates.movies import extract, is_movie
from model.plates.ranges import FramePattern


@dataclass(frozen=True)
class ShotFiles:
    """What travels by value, by frame: plates, and trimaps painted or given."""

    plates: Mapping[int, Path]
    trimaps: Mapping[int, Path]


def by_value_files(
    shot: Shot, stack: ExitStack, report: Reporter, interrupts: Interrupts
) -> ShotFiles:
    """The files a shot names by path. Frames of a movie are extracted to a temporary folder.

    Args:
        shot: with absolute paths.
        stack: removes the folder when it is closed.
        report: told of each frame that is extracted.
        interrupts: end it.

    Raises:
        InputError: as `FramePattern.parse` and `movies.extract`.
        CapacityError: ``capacity.disk_full``.
        Terminated: by SIGTERM.
        KeyboardInterrupt: by Ctrl-C.
    """
    frames, source = shot.all_numbers(), shot.plates.pattern
    pattern = FramePattern.parse(source)
    if pattern.is_single and is_movie(source):
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dvm-movie-"))
        done = itertools.count(1)

        def told(frame: int | None) -> None:
            interrupts.check()
            if frame is not None:
                report.progress(Progress("extracting", next(done), len(frames), frame))

        plates = extract(source, frames, folder, told)
    else:
        plates = {frame: pattern.path(frame) for frame in frames}
    trimaps = {one.frame: Path(one.trimap) for one in shot.keyframes}
    if shot.trimaps is not None:
        given = FramePattern.parse(shot.trimaps.pattern)
        there = given.frames_on_disk()
        trimaps = {f: given.path(f) for f in frames if f in there} | trimaps
    return ShotFiles(plates, trimaps)


def run_to_end(
    connection: Connection,
    shot: Shot,
    files: ShotFiles | None,
    report: Reporter,
    interrupts: Interrupts,
) -> Summary:
    """Submit the shot and follow it.

    Args:
        connection: to the server.
        shot: with absolute paths.
        files: what goes by value; None = the server reads and writes the paths of the shot.
        report: told about progress.
        interrupts: cancel the job.

    Raises:
        DvmError: as `run_shot`.
        Terminated: cancelled by SIGTERM.
    """
    client = {"host": "dvm", "version": version("deep-video-matte")}
    try:
        with Session(connection, client=client) as session:
            return run_shot(
                session,
                shot,
                plates=files.plates if files else None,
                trimaps=files.trimaps if files else None,
                progress=report.progress,
                cancel=interrupts.cancel,
            )
    except Cancelled:
        interrupts.check()
        raise
