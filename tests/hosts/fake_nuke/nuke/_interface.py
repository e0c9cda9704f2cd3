"""Messages, menus, progress bars, undo, and the plug-in path."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nuke._state import host, host_class, state, user_code


@host
def message(prompt: str) -> None:
    """A box with a text; ``control.messages`` has them."""
    state.messages.append(str(prompt))


@host
def ask(prompt: str) -> bool:
    """A question; ``control.answer`` is the answer."""
    state.asked.append(str(prompt))
    return bool(state.answer)


@host
def askWithCancel(prompt: str) -> bool:
    state.asked.append(str(prompt))
    return bool(state.answer)


@host
def getInput(prompt: str, default: str = "") -> Any:
    state.asked.append(str(prompt))
    return state.answer


@host
def getFilename(
    message: str, pattern: str | None = None, default: str | None = None,
    favorites: str | None = None, type: str | None = None, multiple: bool = False,
) -> Any:  # fmt: skip
    state.asked.append(str(message))
    return state.answer


@host
def tprint(*args: Any, sep: str = " ", end: str = "\n", file: Any = None) -> None:
    """A line in the terminal; ``control.printed`` has them."""
    state.printed.append(sep.join(str(one) for one in args))


@host
def warning(message: str) -> None:
    state.printed.append(f"WARNING: {message}")


@host
def error(message: str) -> None:
    state.printed.append(f"ERROR: {message}")


@host
def debug(message: str) -> None:
    state.printed.append(f"DEBUG: {message}")


@host_class
class ProgressTask:
    """A progress bar; it goes when the object goes."""

    def __init__(self, name: str = "") -> None:
        self._name, self._message = name, ""
        self._progress, self._cancelled = 0, False
        state.tasks.append(weakref.ref(self))

    def setProgress(self, i: int) -> None:
        if isinstance(i, bool) or not isinstance(i, int):
            raise TypeError("progress is a whole number")
        if not 0 <= i <= 100:
            raise ValueError("progress is from 0 to 100")
        self._progress = i

    def setMessage(self, s: str) -> None:
        if not isinstance(s, str):
            raise TypeError("the message is a string")
        self._message = s

    def isCancelled(self) -> bool:
        return self._cancelled


@host_class
class Undo:
    """Undo steps; ``disable`` and ``enable`` nest."""

    def __init__(self, name: str = "") -> None:
        self._name = name

    def __enter__(self) -> Undo:
        return self

    def __exit__(self, type: Any, value: Any, traceback: Any) -> None:
        return None

    @staticmethod
    def begin(name: str = "") -> None:
        """Begin a step."""

    @staticmethod
    def end() -> None:
        """End a step."""

    @staticmethod
    def name(name: str = "") -> None:
        """Name the step."""

    @staticmethod
    def cancel() -> None:
        """Take the step back; not in this fake."""
        raise NotImplementedError("Undo.cancel is not in this fake")

    @staticmethod
    def disable() -> None:
        state.undo_depth += 1

    @staticmethod
    def enable() -> None:
        if state.undo_depth == 0:
            raise RuntimeError("Undo.enable() without disable()")
        state.undo_depth -= 1

    @staticmethod
    def disabled() -> bool:
        return state.undo_depth > 0


@host_class
class MenuItem:
    """A command of a menu."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("menu items are made with addCommand")

    def _start(self, name: str, command: Any, shortcut: Any, icon: Any) -> None:
        self._name, self._command, self._shortcut, self._icon = name, command, shortcut, icon
        self._enabled = self._visible = True

    def name(self) -> str:
        return self._name

    def script(self) -> str:
        return self._command if isinstance(self._command, str) else ""

    def icon(self) -> str:
        return self._icon or ""

    def shortcut(self) -> str:
        return self._shortcut or ""

    def setEnabled(self, enabled: bool, recursive: bool = False) -> None:
        self._enabled = bool(enabled)

    def setVisible(self, visible: bool) -> None:
        self._visible = bool(visible)

    def setIcon(self, icon: str) -> None:
        self._icon = icon

    def setShortcut(self, keySequence: str) -> None:
        self._shortcut = keySequence

    def invoke(self) -> None:
        """Run the command, as a click does."""
        if not self._enabled or self._command is None:
            return
        with user_code(f"menu {self._name}"):
            if callable(self._command):
                self._command()
            else:
                names = {"nuke": __import__("nuke"), "__name__": "__main__"}
                exec(compile(self._command, f"<{self._name}>", "exec"), names)


@host_class
class Menu(MenuItem):
    """A menu: commands and menus, found by their path ``a/b``."""

    def _open(self, name: str) -> None:
        self._start(name, None, None, None)
        self._items: list[Any] = []

    def _find(self, path: str) -> Any:
        first, _, rest = path.partition("/")
        for one in self._items:
            if one is not None and one._name == first:
                if not rest:
                    return one
                return one._find(rest) if isinstance(one, Menu) else None
        return None

    def _menu_of(self, path: str) -> tuple[Menu, str]:
        """The menu that a path leads to, made if need be, and the last name."""
        menu: Menu = self
        *before, last = path.split("/")
        for name in before:
            menu = menu._sub(name)
        return menu, last

    def _sub(self, name: str) -> Menu:
        found = self._find(name)
        if found is None:
            found = Menu.__new__(Menu)
            found._open(name)
            self._items.append(found)
        return found

    def name(self) -> str:
        return self._name

    def items(self) -> list[Any]:
        return [one for one in self._items if one is not None]

    def findItem(self, name: str) -> Any:
        return self._find(name)

    def menu(self, name: str) -> Any:
        found = self._find(name)
        return found if isinstance(found, Menu) else None

    def addMenu(
        self, name: str, icon: str | None = None, tooltip: str | None = None, index: int = -1
    ) -> Menu:
        menu, last = self._menu_of(name)
        made = menu._sub(last)
        made._icon = icon or made._icon
        return made

    def addCommand(
        self, name: str, command: Any = None, shortcut: str | None = None,
        icon: str | None = None, tooltip: str | None = None, index: int = -1,
        readonly: bool = False, node: bool = False, shortcutContext: int = 0,
    ) -> MenuItem:  # fmt: skip
        menu, last = self._menu_of(name)
        made = MenuItem.__new__(MenuItem)
        made._start(last, command, shortcut, icon)
        # A command of the same name takes the other's place.
        menu._items = [one for one in menu._items if one is None or one._name != last]
        menu._items.append(made)
        return made

    def addSeparator(self, index: int = -1) -> None:
        self._items.append(None)

    def removeItem(self, name: str) -> None:
        self._items = [one for one in self._items if one is None or one._name != name]

    def clearMenu(self) -> None:
        self._items = []


@host
def menu(name: str) -> Menu:
    """A menu bar: Nuke, Nodes, Node Graph, Viewer, Properties, Animation, Axis, Pane.

    Raises:
        RuntimeError: without a user interface.
    """
    if not state.gui:
        raise RuntimeError("nuke.menu: there is no user interface")
    known = ("Nuke", "Nodes", "Node Graph", "Viewer", "Properties", "Animation", "Axis", "Pane")
    if name not in known:
        raise RuntimeError(f"no such menu: {name!r}")
    if name not in state.menus:
        made = Menu.__new__(Menu)
        made._open(name)
        state.menus[name] = made
    return state.menus[name]


@host
def pluginPath() -> list[str]:
    return list(state.plugin_paths)


@host
def pluginAddPath(args: Any, addToSysPath: bool = True) -> None:
    """Put folders first on the plug-in path, and run their ``init.py``."""
    for one in [args] if isinstance(args, (str, Path)) else args:
        _add_path(str(one), addToSysPath, 0)


@host
def pluginAppendPath(args: Any, addToSysPath: bool = True) -> None:
    """Put folders last on the plug-in path, and run their ``init.py``."""
    for one in [args] if isinstance(args, (str, Path)) else args:
        _add_path(str(one), addToSysPath, len(state.plugin_paths))


def _add_path(path: str, on_sys_path: bool, at: int) -> None:
    if path in state.plugin_paths:
        return
    state.plugin_paths.insert(at, path)
    if on_sys_path and path not in sys.path:
        sys.path.insert(0 if at == 0 else len(sys.path), path)
    run_file(Path(path) / "init.py")


def run_file(path: Path) -> None:
    """Run a start-up file of a plug-in folder, if there is one."""
    if path.is_file():
        names = {"__file__": str(path), "__name__": path.stem}
        with user_code(path.name):
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)


class GlobalsEnvironment:
    """``nuke.env``: facts of the session, like a dict."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}

    def __getitem__(self, index: str) -> Any:
        return self._facts[index]

    def __setitem__(self, index: str, object: Any) -> None:
        self._facts[index] = object

    def __contains__(self, other: str) -> bool:
        return other in self._facts

    def __len__(self) -> int:
        return len(self._facts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def get(self, key: str, default: Any = None) -> Any:
        return self._facts.get(key, default)

    def keys(self) -> list[str]:
        return list(self._facts)

    def values(self) -> list[Any]:
        return list(self._facts.values())

    def items(self) -> list[tuple[str, Any]]:
        return list(self._facts.items())


env = GlobalsEnvironment()


def session_facts() -> dict[str, Any]:
    """What ``nuke.env`` and the constants of the module say of the session."""
    major, minor, release = state.version
    text = f"{major}.{minor}v{release}"
    env._facts = {
        "gui": state.gui,
        "interactive": state.gui,
        "NukeVersionMajor": major,
        "NukeVersionMinor": minor,
        "NukeVersionRelease": release,
        "NukeVersionString": text,
        "ExecutablePath": f"Nuke{major}.{minor}",
        "numCPUs": 2,
        "threads": 2,
        "nc": False,
        "WIN32": sys.platform == "win32",
        "LINUX": sys.platform.startswith("linux"),
        "MACOS": sys.platform == "darwin",
    }
    return {
        "GUI": state.gui,
        "INTERACTIVE": state.gui,
        "NUKE_VERSION_MAJOR": major,
        "NUKE_VERSION_MINOR": minor,
        "NUKE_VERSION_RELEASE": release,
        "NUKE_VERSION_STRING": text,
    }
