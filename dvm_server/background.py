"""Work that would block the main loop: done in a thread, its result handed back to the loop."""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")
_LOG = logging.getLogger("dvm.background")


class Background:
    """Lanes of one thread each: within a lane, work is done and handed back in order.

    The loop polls `fileno` and calls `collect`, which runs the callbacks; so callbacks never run
    at the same time as anything else of the loop.
    """

    def __init__(self, *lanes: str):
        self._lanes = {
            name: ThreadPoolExecutor(1, thread_name_prefix=f"background {name}") for name in lanes
        }
        self._finished: deque[Callable[[], None]] = deque()
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

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

        self._lanes[lane].submit(do)

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

    def close(self) -> None:
        """Finish what is under way, drop what is queued. Callbacks are not called any more."""
        for lane in self._lanes.values():
            lane.shutdown(wait=True, cancel_futures=True)
        self._here.close()
        self._there.close()

    def _hand_back(self, callback: Callable[[], Any]) -> None:
        self._finished.append(callback)
        try:
            self._there.send(b"\0")
        except BlockingIOError:
            _LOG.debug("the loop has many wake-ups waiting already")
