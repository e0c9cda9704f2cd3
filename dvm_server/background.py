"""Work that would block the main loop: done in a thread, its result handed back to the loop.

Work that waits for a file server which answers nobody cannot be ended. It can be left alone: then
others are not held up by it.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")
_LOG = logging.getLogger("dvm.background")

# So long work under way may take to end when all ends; a file on a dead share would take for ever.
_PATIENCE_SECONDS = 10.0


@dataclass
class _Task:
    """What is to be done, and what of it is handed back: one of both, once."""

    work: Callable[[], Any]
    then: Callable[[Any], None]
    failed: Callable[[Exception], None]
    settled: bool = False

    def settle(self, callback: Callable[[], None]) -> None:
        if not self.settled:
            self.settled = True
            callback()


class _Lane:
    """A thread that does what is queued, until it is ended or left alone."""

    def __init__(
        self,
        name: str,
        queued: queue.SimpleQueue[_Task | None],
        hand_back: Callable[[Callable[[], None]], None],
    ):
        self.queued = queued
        self._hand_back = hand_back
        self._lock = threading.Lock()
        self._task: _Task | None = None
        self._sign: tuple[float, object] = (0.0, "a file")
        self._left = False
        # A daemon: a process that has been told to end must not wait for a file that never comes.
        self.thread = threading.Thread(target=self._run, name=f"background {name}", daemon=True)
        self.thread.start()

    def go_on(self, at: object) -> None:
        """What is under way gives a sign of life."""
        self._sign = (time.monotonic(), at)

    def silent(self) -> tuple[float, object]:
        """Seconds since the last sign of what is under way, and what it is at; 0 if nothing is."""
        with self._lock:
            when, at = self._sign
            return (0.0 if self._task is None else time.monotonic() - when), at

    def leave(self) -> _Task | None:
        """The thread takes nothing else on. Returns what it is at; None = nothing, it goes on."""
        with self._lock:
            self._left = self._task is not None
            return self._task

    def end(self) -> None:
        """The thread takes nothing else on, and ends if it is at nothing."""
        with self._lock:
            self._left = True
        self.queued.put(None)

    def _run(self) -> None:
        while (task := self.queued.get()) is not None:
            with self._lock:
                self._task, self._sign = task, (time.monotonic(), "a file")
            self._do(task)
            with self._lock:
                self._task = None
                if self._left:
                    return

    def _do(self, task: _Task) -> None:
        try:
            result = task.work()
        except Exception as caught:  # noqa: BLE001  handed to whoever asked for the work
            error = caught
            self._hand_back(lambda: task.settle(lambda: task.failed(error)))
        else:
            self._hand_back(lambda: task.settle(lambda: task.then(result)))


class Background:
    """Lanes of one thread each: within a lane, work is done and handed back in order.

    The loop polls `fileno` and calls `collect`, which runs the callbacks; so callbacks never run
    at the same time as anything else of the loop.
    """

    def __init__(self, *lanes: str):
        self._closed = False
        self._finished: deque[Callable[[], None]] = deque()
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)
        self._lanes = {name: _Lane(name, queue.SimpleQueue(), self._hand_back) for name in lanes}

    def run(
        self,
        lane: str,
        work: Callable[[], Result],
        then: Callable[[Result], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Do ``work`` in a lane, then call ``then`` or ``failed`` in the loop."""
        self._lanes[lane].queued.put(_Task(work, then, failed))

    def go_on(self, lane: str, at: object) -> None:
        """Said by work under way in a lane: it has come further, and is ``at`` this now."""
        self._lanes[lane].go_on(at)

    def silent(self, lane: str) -> tuple[float, object]:
        """Seconds since work under way in a lane began or came further, and what it is at; 0 if
        there is none."""
        return self._lanes[lane].silent()

    def leave(self, lane: str, error: Exception) -> None:
        """Leave what is under way in a lane alone: it has failed with ``error``, whatever becomes
        of it, and what is queued is done in another thread."""
        before = self._lanes[lane]
        task = before.leave()
        if task is None:
            return
        _LOG.warning("%s is left alone: %s", before.thread.name, error)
        self._lanes[lane] = _Lane(lane, before.queued, self._hand_back)
        task.settle(lambda: task.failed(error))

    def fileno(self) -> int:
        return self._here.fileno()

    def collect(self) -> None:
        """Run the callbacks of what has been finished."""
        try:
            self._here.recv(4096)
        except BlockingIOError:
            return
        while self._finished:
            self._finished.popleft()()

    def close(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Finish what is under way, drop what is queued. Callbacks are not called any more.

        Args:
            patience: seconds; what has not ended by then is left alone, and ends with the process.
        """
        self._closed = True
        for lane in self._lanes.values():
            lane.end()
        until = time.monotonic() + patience
        for lane in self._lanes.values():
            thread = lane.thread
            thread.join(max(until - time.monotonic(), 0.0))
            if thread.is_alive():
                _LOG.warning("%s has not ended in %g s and is left alone", thread.name, patience)
        self._here.close()
        self._there.close()

    def _hand_back(self, callback: Callable[[], Any]) -> None:
        if self._closed:
            return
        self._finished.append(callback)
        try:
            self._there.send(b"\0")
        except BlockingIOError:
            _LOG.debug("the loop has many wake-ups waiting already")
