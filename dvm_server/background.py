"""Work that would block the main loop: done in a thread, its result handed back to the loop."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")
_LOG = logging.getLogger("dvm.background")

# So long work under way may take to end when all ends; a file on a dead share would take for ever.
_PATIENCE_SECONDS = 10.0


class Background:
    """Lanes of one thread each: within a lane, work is done and handed back in order.

    The loop polls `fileno` and calls `collect`, which runs the callbacks; so callbacks never run
    at the same time as anything else of the loop.
    """

    def __init__(self, *lanes: str):
        self._lanes: dict[str, queue.SimpleQueue[Callable[[], None]]] = {
            name: queue.SimpleQueue() for name in lanes
        }
        # Daemons: a process that has been told to end must not wait for a file that never comes.
        self._threads = [
            threading.Thread(
                target=self._work, args=(lane,), name=f"background {name}", daemon=True
            )
            for name, lane in self._lanes.items()
        ]
        self._closed = False
        self._finished: deque[Callable[[], None]] = deque()
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)
        for thread in self._threads:
            thread.start()

    def run(
        self,
        lane: str,
        work: Callable[[], Result],
        then: Callable[[Result], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Do ``work`` in a lane, then call ``then`` or ``failed`` in the loop."""

        def do() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  handed to whoever asked for the work
                self._hand_back(lambda error=error: failed(error))  # type: ignore[misc]
            else:
                self._hand_back(lambda: then(result))

        self._lanes[lane].put(do)

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
            lane.put(lambda: None)  # wakes it up
        until = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))
            if thread.is_alive():
                _LOG.warning("%s has not ended in %g s and is left alone", thread.name, patience)
        self._here.close()
        self._there.close()

    def _work(self, lane: queue.SimpleQueue[Callable[[], None]]) -> None:
        while not self._closed:
            do = lane.get()
            if not self._closed:
                do()

    def _hand_back(self, callback: Callable[[], Any]) -> None:
        if self._closed:
            return
        self._finished.append(callback)
        try:
            self._there.send(b"\0")
        except BlockingIOError:
            _LOG.debug("the loop has many wake-ups waiting already")
