"""Ctrl-C and SIGTERM, as a wish to cancel that work under way can see."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Terminated(Exception):
    """The process was sent SIGTERM."""


class Interrupts:
    """While it is entered, Ctrl-C and SIGTERM set ``cancel``; a second Ctrl-C interrupts at once.

    Only the main thread may enter it.

    Attributes:
        cancel: set once somebody wants us to stop.
        terminated: SIGTERM was among it.
    """

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.terminated = False

    def check(self) -> None:
        """Raise `Terminated` or KeyboardInterrupt if somebody wants us to stop."""
        if self.terminated:
            raise Terminated
        if self.cancel.is_set():
            raise KeyboardInterrupt

    def __enter__(self) -> Interrupts:
        self._before = {
            one: signal.signal(one, self._handle) for one in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.cancel.is_set():
            raise KeyboardInterrupt
        self.terminated = self.terminated or number == signal.SIGTERM
        self.cancel.set()
