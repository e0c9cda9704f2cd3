"""What the fake holds between calls, and the wrapper around every call of the host.

There is one ``state``; the test side (``control.py``) reads and sets its fields.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

# Methods with these names are host calls as well as those without an underscore.
_HOST_DUNDERS = ("__init__", "__getitem__", "__len__", "__enter__", "__exit__", "__iter__")


class State:
    """Everything that may change. ``reset`` gives each field its first value."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.gui = False
        self.version = (15, 1, 2)
        # Cost and timing of calls.
        self.cost = 0.0
        self.calls = 0
        self.depth = 0
        self.longest = 0.0
        self.host_seconds = 0.0  # of the processor, within calls of the host
        # Of each entry into the plug-in: its name, how many calls of the host it made, and the
        # processor's seconds that it took itself.
        self.entries: list[tuple[str, int, float]] = []
        # What the artist saw, and what went wrong where real Nuke only prints.
        self.messages: list[str] = []
        self.printed: list[str] = []
        self.asked: list[str] = []
        self.answer: Any = True
        self.faults: list[BaseException] = []
        self.load_errors: list[str] = []
        self.tasks: list[Any] = []
        # Undo.
        self.undo_depth = 0
        self.undo_log: list[tuple[str, str, Any]] = []
        # Rendering.
        self.executing = False
        self.cancel_execute: bool | int = False
        self.fail_execute = ""
        self.written: list[dict[str, Any]] = []
        self.reloads: dict[str, int] = {}
        # The script.
        self.root: Any = None
        self.group_stack: list[Any] = []
        self.this_stack: list[tuple[Any, Any]] = []
        self.current_view = "main"
        self.layers: dict[str, list[str]] = {
            "rgba": ["rgba.red", "rgba.green", "rgba.blue", "rgba.alpha"],
            "depth": ["depth.Z"],
            "forward": ["forward.u", "forward.v"],
            "backward": ["backward.u", "backward.v"],
            "mask": ["mask.a"],
        }
        self.formats: list[Any] = []
        self.loading = 0
        self.next_number = 0
        # Callbacks.
        self.callbacks: dict[str, list[Any]] = {}
        self.callback_depth = 0
        self.knob_changed_of: list[Any] = []
        # The user interface.
        self.menus: dict[str, Any] = {}
        self.plugin_paths: list[str] = []
        self.menus_run = 0


state = State()


def require_main_thread(what: str) -> None:
    """Raise RuntimeError in any thread but the main one; a fault too, however it is caught."""
    if threading.current_thread() is not threading.main_thread():
        error = RuntimeError(f"nuke: {what} called outside of the main thread")
        state.faults.append(error)
        raise error


def host(function: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the host: main thread only; the outermost one is counted and takes its cost."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        require_main_thread(function.__qualname__)
        if state.depth == 0:
            state.calls += 1
            if state.cost:
                time.sleep(state.cost)
        outermost, begun = state.depth == 0, time.thread_time()
        state.depth += 1
        try:
            return function(*args, **kwargs)
        finally:
            state.depth -= 1
            if outermost:
                state.host_seconds += time.thread_time() - begun

    return call


def host_class(cls: type) -> type:
    """Make every public method that a class defines itself a host call."""
    for name, value in list(vars(cls).items()):
        if name.startswith("_") and name not in _HOST_DUNDERS:
            continue
        if isinstance(value, staticmethod):
            setattr(cls, name, staticmethod(host(value.__func__)))
        elif callable(value) and not isinstance(value, type):
            setattr(cls, name, host(value))
    return cls


@contextlib.contextmanager
def user_code(name: str) -> Iterator[None]:
    """Around code of the plug-in that the host calls: its calls cost again, and it is timed."""
    depth, state.depth = state.depth, 0
    begun, calls = time.monotonic(), state.calls
    worked, in_host = time.thread_time(), state.host_seconds
    try:
        yield
    finally:
        state.depth = depth
        own = time.thread_time() - worked - (state.host_seconds - in_host)
        state.entries.append((name, state.calls - calls, own))
        state.longest = max(state.longest, time.monotonic() - begun)
