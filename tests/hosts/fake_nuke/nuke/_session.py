"""Starting a session, and what a script has in general: views, layers, channels."""

from __future__ import annotations

import sys

from nuke import _interface, _script, _threads
from nuke._nodes import Node
from nuke._pixels import look
from nuke._state import host, state
from nuke._values import view_names


def start_session() -> None:
    """Forget everything; then an empty script in a terminal session."""
    _threads.drop_all()
    state.reset()
    _script.new_script()
    _script.default_format()
    tell_constants()


def tell_constants() -> None:
    """Set GUI, the version and the like in the module."""
    module = sys.modules["nuke"]
    for name, value in _interface.session_facts().items():
        setattr(module, name, value)


@host
def views() -> list[str]:
    return view_names()


@host
def thisView() -> str:
    return state.current_view


@host
def layers(node: Node | None = None) -> list[str]:
    """The layers of the script, or of what a node shows."""
    if node is None:
        return list(state.layers)
    picture = look(node._live())
    names = [] if picture is None else [one.split(".")[0] for one in picture.channels]
    return list(dict.fromkeys(names))


@host
def channels(node: Node | None = None) -> list[str]:
    """The channels of the script, or of what a node shows."""
    if node is None:
        return [one for many in state.layers.values() for one in many]
    picture = look(node._live())
    return [] if picture is None else list(picture.channels)
