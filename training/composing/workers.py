"""The processes that compose, or this one alone: they stop within a frame when it is interrupted,
and end when it is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeVar

import cv2

from model.errors import CapacityError, EngineError, InputError, SetupError
from training.composing.folder import compose_clip
from training.composing.manifest import Entry
from training.composing.selection import Clip, Request

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Failure:
    """An error of the engine on its way between processes, which the exception cannot travel."""

    kind: type[EngineError]
    code: str
    message: str
    hint: str

    def error(self) -> EngineError:
        return self.kind(self.code, self.message, hint=self.hint)


class Pool:
    """What does things on many items. Without an executor this process does them."""

    def __init__(self, executor: ProcessPoolExecutor | None):
        self._executor = executor

    def each(self, do: Callable[[Given], Made], items: Sequence[Given]) -> Iterable[Made]:
        """As `map`; in order."""
        if self._executor is None:
            return map(do, items)
        return self._executor.map(do, items)

    def composed(
        self, clips: Sequence[Clip], request: Request, out: Path
    ) -> Iterator[tuple[Clip, Entry | Failure]]:
        """Compose clips to staging, in whatever order they are done.

        Raises:
            KeyboardInterrupt: they were stopped.
        """
        do = partial(_compose, out, request.root, request.seed, request.bg_blur)
        if self._executor is None:
            for clip in clips:
                yield clip, _there(do(clip))
            return
        futures: dict[Future[Entry | Failure | None], Clip] = {
            self._executor.submit(do, clip): clip for clip in clips
        }
        for future in as_completed(futures):
            yield futures[future], _there(future.result())


@contextmanager
def processes(workers: int) -> Iterator[Pool]:
    """So many processes; 1 = this one alone.

    Raises:
        CapacityError: ``capacity.worker_ended``.
    """
    cv2.setNumThreads(1)
    if workers <= 1:
        yield Pool(None)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    executor = ProcessPoolExecutor(workers, context, _begin, (stop,))
    try:
        yield Pool(executor)
    except BrokenProcessPool as error:
        raise CapacityError(
            "capacity.worker_ended",
            "a process that composes was ended from outside, maybe for want of memory",
            hint="run it again with fewer --workers; finished clips are kept",
        ) from error
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)


_stop: Event | None = None


def _begin(stop: Event) -> None:
    """In each process: the interrupt key is for the one that started it."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # nobody is left to tell


def _compose(out: Path, root: Path, seed: int, bg_blur: bool, clip: Clip) -> Entry | Failure | None:
    stop = _stop.is_set if _stop is not None else _never
    try:
        return compose_clip(clip, out, root, seed, bg_blur, stop)
    except (InputError, SetupError, CapacityError) as error:
        return Failure(type(error), error.code, error.message, error.hint)


def _never() -> bool:
    return False


def _there(result: Entry | Failure | None) -> Entry | Failure:
    if result is None:
        raise KeyboardInterrupt  # only a run that was interrupted stops its processes
    return result
