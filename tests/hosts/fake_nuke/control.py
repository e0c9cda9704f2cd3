"""The side of the tests: what an artist, a render farm and the clock do to the fake Nuke.

``cost``, ``cancel_execute``, ``fail_execute`` and ``answer`` are set as attributes of this module;
the other fields of the session are read so: ``control.messages``, ``control.faults``…
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, Callable

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)

import nuke  # noqa: E402
from nuke import _files, _interface, _pixels, _script, _session, _threads  # noqa: E402
from nuke._state import state, user_code  # noqa: E402

Picture = _pixels.Picture

# Fields of the session that tests may set, and those that they read.
_SETTABLE = ("cost", "cancel_execute", "fail_execute", "answer", "longest")
_READABLE = (
    "calls", "entries", "messages", "printed", "asked",
    "faults", "load_errors", "undo_depth", "undo_log", "written", "reloads",
)  # fmt: skip


class _Control(types.ModuleType):
    """This module: some of its attributes are fields of the session."""


def _field(name: str, settable: bool) -> property:
    def read(module: Any) -> Any:
        return getattr(state, name)

    def write(module: Any, value: Any) -> None:
        setattr(state, name, value)

    return property(read, write if settable else None)


for _name in _SETTABLE + _READABLE:
    setattr(_Control, _name, _field(_name, _name in _SETTABLE))


def _live_tasks(module: Any) -> list[Any]:
    found = [one() for one in state.tasks]
    return [one for one in found if one is not None]


_Control.tasks = property(_live_tasks)
sys.modules[__name__].__class__ = _Control


def reset() -> None:
    """A new session in a terminal with an empty script; ends the process for pictures."""
    _files.end()
    _session.start_session()


def set_gui(on: bool) -> None:
    """With a user interface, or in a terminal (``nuke -t``, a render farm)."""
    state.gui = on
    _session.tell_constants()


def start_gui() -> None:
    """As Nuke at its start: with a user interface, then the ``menu.py`` of each plug-in folder."""
    set_gui(True)
    for path in list(state.plugin_paths):
        _interface.run_file(Path(path) / "menu.py")


def set_version(major: int, minor: int, release: int) -> None:
    """Which Nuke it says it is."""
    state.version = (major, minor, release)
    _session.tell_constants()


def set_views(names: list[str]) -> None:
    """The views of the script; the first becomes the current one."""
    _script.set_views(names)


def look_through(view: str) -> None:
    """Make a view the current one."""
    state.current_view = view


def run_events(seconds: float = 0.0) -> None:
    """Let the main thread do what other threads queue, for a while; at least once."""
    _threads.run_until(lambda: False, seconds)


def run_until(predicate: Callable[[], Any], seconds: float = 20.0) -> None:
    """Let the main thread do what other threads queue until a predicate holds.

    Raises:
        AssertionError: it did not in time.
    """
    held = _threads.run_until(predicate, seconds)
    assert held, f"waited {seconds} s in vain; faults: {state.faults}"


def pending() -> int:
    """How many calls wait for the main thread."""
    return _threads.pending()


def press(node: Any, knob: str) -> None:
    """Press a button of a node; what its script raises passes on."""
    node[knob].execute()


def press_cancel(task: Any) -> None:
    """Press the cancel button of a progress bar."""
    task._cancelled = True


def progress(task: Any) -> tuple[str, int, str]:
    """Name, percent and message of a progress bar."""
    return task._name, task._progress, task._message


def run_menu(menu: str, path: str) -> None:
    """Choose a command of a menu.

    Raises:
        AssertionError: there is no such command.
    """
    found = nuke.menu(menu).findItem(path)
    assert found is not None, f"no command {path} in the menu {menu}"
    found.invoke()


def render(node: Any, frame: float, view: str = "main") -> Picture:
    """What a node shows at a frame, in full size."""
    return _pixels.render(node._core, frame, view)


def write_picture(picture: Picture, path: str | Path) -> None:
    """Write a picture as a float EXR."""
    planes = [(_pixels.file_channel(name), plane) for name, plane in picture.channels.items()]
    _files.write(str(path), (picture.width, picture.height), picture.bbox, planes)


def script_text() -> str:
    """The script as it would be saved."""
    return _script.script_text()


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the plug-in as the main loop does: its host calls cost, and its time is recorded."""
    with user_code(getattr(function, "__qualname__", repr(function))):
        return function(*args, **kwargs)


def forget_times() -> None:
    """Begin to measure anew."""
    state.longest = 0.0
    state.calls = 0
    state.entries = []
