"""What the commands print while a shot runs: for a person, or one JSON object a line.

Farms read commands from lines of stdout that begin in a certain way. So every line begins with a
word of ours, and whatever comes from outside (file names, a server's words) follows it on one line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from dvm_server.interrupts import Terminated
from dvm_server.translate import wire_error
from host_plugins.client.errors import Cancelled
from host_plugins.client.outputs import layers_of_files, output_path
from host_plugins.client.run import Progress, Summary
from host_plugins.client.shot import Shot
from model.plates.ranges import FrameRange

_STAGES = {
    "extracting": "extracting frames",
    "sending": "sending plates",
    "propagating": "propagating trimaps",
    "matting": "matting",
}


class Reporter(Protocol):
    """Told how a shot goes. A context manager around the whole of it; sees its errors pass by."""

    def __enter__(self) -> Reporter: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def done(self, summary: Summary) -> None: ...


def reporter(shot: Shot, *, as_json: bool) -> Reporter:
    """JSON lines, a progress bar on a terminal, or plain lines into a log."""
    if as_json:
        return JsonReporter(shot)
    return BarReporter(shot) if sys.stderr.isatty() else LineReporter(shot)


def one_line(text: object) -> str:
    """The text without line breaks and other control characters."""
    return "".join(one if one.isprintable() else " " for one in str(text))


def say(word: str, text: object) -> None:
    """A line on stdout that begins with a word of ours."""
    _put(f"{word}: {one_line(text)}\n")


def _put(line: str) -> None:
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has heard enough (`| head`). What is matted is matted all the same.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115


def complain(message: str, hint: str = "") -> None:
    """One sentence on stderr, and what to do about it."""
    said = f"dvm: {one_line(message).rstrip('.')}.\n"
    if hint:
        said += f"     Hint: {one_line(hint).rstrip('.')}.\n"
    try:
        sys.stderr.write(said)
        sys.stderr.flush()
    except OSError:
        # Stderr goes to a disk that is full, or to nobody. The exit code must tell then, which what
        # is still in the stream's buffer would turn into another one when Python ends.
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115


def say_summary(shot: Shot, summary: Summary) -> None:
    """Where the mattes are and how long they took."""
    numbers = shot.numbers()
    rate = summary.computed / summary.seconds if summary.seconds > 0 else 0.0
    if "alpha" in layers_of_files(shot.outputs):
        say("mattes", shot.outputs.pattern)
    for layer in layers_of_files(shot.outputs):
        if layer != "alpha":
            say(layer, output_path(shot.outputs.pattern, numbers[0], layer))
    frames = FrameRange(numbers).format("nuke")
    say("frames", f"{frames} ({summary.computed} computed, {summary.kept} kept)")
    where = f"with {summary.network} on {summary.device}"
    say("speed", f"{rate:.2f} frames/s, {summary.seconds:.1f} s {where}")
    if summary.suggest is not None:
        say("next keyframe", f"a trimap of frame {summary.suggest} would help the others most")


class LineReporter:
    """A line on stdout for each step."""

    def __init__(self, shot: Shot):
        self._shot = shot

    def __enter__(self) -> LineReporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def progress(self, progress: Progress) -> None:
        frame = "" if progress.frame is None else f", frame {progress.frame}"
        say(_STAGES.get(progress.stage, "working"), f"{progress.done} of {progress.total}{frame}")

    def done(self, summary: Summary) -> None:
        say_summary(self._shot, summary)


class BarReporter(LineReporter):
    """A progress bar on stderr, with stage, frame, frames per second and time left."""

    def __enter__(self) -> BarReporter:
        self._bar = rich.progress.Progress(
            TextColumn("{task.description:<19}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[frame]:>11}"),
            TextColumn("{task.fields[rate]:>12}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, frame="", rate="")
        self._stage, self._start = "", (0.0, 0)
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def progress(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._stage = progress.stage
            self._start = (time.monotonic(), progress.done)
            self._bar.reset(self._task, total=progress.total)
        began, done_before = self._start
        seconds, done = time.monotonic() - began, progress.done - done_before
        self._bar.update(
            self._task,
            description=_STAGES.get(progress.stage, "working"),
            completed=progress.done,
            total=progress.total,
            frame="" if progress.frame is None else f"frame {progress.frame}",
            rate=f"{done / seconds:.2f} frames/s" if done and seconds > 0 else "",
        )

    def done(self, summary: Summary) -> None:
        self._bar.stop()
        say_summary(self._shot, summary)


class JsonReporter(LineReporter):
    """One JSON object a line on stdout: ``progress``, ``matte``, ``done``; see `failures`."""

    def __init__(self, shot: Shot):
        super().__init__(shot)
        self._told: set[int] = set()

    def progress(self, progress: Progress) -> None:
        say_json("progress", **asdict(progress))
        frame = progress.frame
        if progress.stage == "matting" and frame is not None and frame not in self._told:
            self._told.add(frame)
            say_json("matte", frame=frame, paths=self._paths(frame))

    def done(self, summary: Summary) -> None:
        say_json("done", **asdict(summary))

    def _paths(self, frame: int) -> dict[str, str]:
        return {
            layer: str(output_path(self._shot.outputs.pattern, frame, layer))
            for layer in layers_of_files(self._shot.outputs)
        }


def say_json(kind: str, **content: Any) -> None:
    """One JSON object as one line on stdout."""
    _put(json.dumps({"type": kind, **content}) + "\n")


@contextmanager
def failures(*, as_json: bool) -> Iterator[None]:
    """Around a whole command: whatever ends it early is told as ``failed`` too, if in JSON."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if as_json:
            stopped = isinstance(error, KeyboardInterrupt | Terminated)
            say_json("failed", error=(Cancelled() if stopped else wire_error(error)).to_wire())
        raise
