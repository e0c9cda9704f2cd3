"""Nuke has no timer: a thread asks its main thread to look at what has come, while there is any."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..client.desk import TICK
from . import adapter

SOON = 0.005  # seconds, while there is something to do that waits for nobody

_LOG = logging.getLogger("dvm.nuke")


class Ticker:
    """Calls something in Nuke's main thread again and again, until it says that it is enough.

    Args:
        call: for the main thread; returns in how many seconds it wants to be called again, or None.
    """

    def __init__(self, call: Callable[[], float | None]):
        self._call = call
        self._pause = 0.0
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self._done = threading.Event()

    def wake(self) -> None:
        """Begin, unless it goes on. For the main thread."""
        if self._thread is None and not self._end.is_set():
            self._thread = threading.Thread(target=self._run, name="dvm ticker", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for it. For the main thread."""
        self._end.set()
        self._done.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(5.0)

    def _run(self) -> None:
        while not self._end.is_set():
            self._done.clear()
            adapter.in_main_thread(self._tick)
            # One at a time: while Nuke renders, or shows a dialogue, nothing piles up.
            self._done.wait()
            if self._thread is not threading.current_thread():
                return
            self._end.wait(self._pause)

    def _tick(self) -> None:
        """In the main thread; so nobody else starts or stops us meanwhile."""
        pause: float | None = None
        try:
            if not self._end.is_set():
                pause = self._call()
        except Exception:  # noqa: BLE001  it must not end what other nodes wait for
            _LOG.exception("a fault in the plug-in")
            pause = TICK
        finally:
            if pause is None:
                self._thread = None
            else:
                self._pause = pause
            self._done.set()
