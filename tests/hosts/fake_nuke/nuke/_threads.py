"""Calls that other threads hand to the main thread, as ``nuke.executeInMainThread`` does."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Callable

from nuke._state import state, user_code


class _Request:
    def __init__(self, call: Callable[..., Any], args: Any, kwargs: Any):
        self.call = call
        self.args = args if isinstance(args, tuple) else (args,)
        self.kwargs = {} if kwargs is None else kwargs
        self.done = threading.Event()
        self.result: Any = None

    def run(self) -> None:
        try:
            with user_code(getattr(self.call, "__qualname__", repr(self.call))):
                self.result = self.call(*self.args, **self.kwargs)
        except Exception as error:  # noqa: BLE001 real Nuke prints whatever it was and goes on
            state.faults.append(error)
        finally:
            self.done.set()


_queue: deque[_Request] = deque()
_arrived = threading.Event()


def _put(call: Callable[..., Any], args: Any, kwargs: Any, name: str) -> _Request:
    if threading.current_thread() is threading.main_thread():
        raise RuntimeError(f"nuke.{name} cannot be called from the main thread")
    request = _Request(call, args, kwargs)
    _queue.append(request)
    _arrived.set()
    return request


def executeInMainThread(call: Callable[..., Any], args: Any = (), kwargs: Any = None) -> None:
    """Queue a call for the main thread and go on."""
    _put(call, args, kwargs, "executeInMainThread")


def executeInMainThreadWithResult(
    call: Callable[..., Any], args: Any = (), kwargs: Any = None
) -> Any:
    """Queue a call and wait for it; ``None`` if it raised (the error is printed, not passed on)."""
    request = _put(call, args, kwargs, "executeInMainThreadWithResult")
    request.done.wait()
    return request.result


def run_until(predicate: Callable[[], Any], seconds: float) -> bool:
    """Run what is queued, first come first served, until a predicate holds; whether it did."""
    end = time.monotonic() + seconds
    while True:
        while _queue:
            _queue.popleft().run()
        _arrived.clear()
        if predicate():
            return True
        left = end - time.monotonic()
        if left <= 0:
            return False
        if not _queue:
            _arrived.wait(min(left, 0.01))


def pending() -> int:
    """How many calls are queued."""
    return len(_queue)


def drop_all() -> None:
    """Forget what is queued; threads that wait get ``None``."""
    while _queue:
        _queue.popleft().done.set()
