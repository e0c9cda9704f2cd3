"""Callbacks: who is called at which event."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Callable

from nuke._state import host, state, user_code

_EVENTS = (
    "OnUserCreate", "OnCreate", "OnDestroy", "KnobChanged", "OnScriptLoad", "OnScriptSave",
    "OnScriptClose", "BeforeRender", "AfterRender", "BeforeFrameRender", "AfterFrameRender",
    "UpdateUI",
)  # fmt: skip


class _Entry:
    """One registration; equal to another of the same call for the same nodes."""

    def __init__(self, call: Any, args: Any, kwargs: Any, nodeClass: str, node: Any):
        self.call, self.args, self.kwargs = call, tuple(args), dict(kwargs or {})
        self.node_class, self.node = nodeClass, node

    def key(self) -> tuple[Any, ...]:
        kwargs = tuple(sorted(self.kwargs.items()))
        return (self.call, self.args, kwargs, self.node_class, self.node)

    def suits(self, core: Any) -> bool:
        if self.node is not None:
            return self.node == core.python()
        return self.node_class in ("*", core.class_name)


def _add(event: str, entry: _Entry) -> None:
    _remove(event, entry)
    state.callbacks.setdefault(event, []).append(entry)


def _remove(event: str, entry: _Entry) -> None:
    kept = [one for one in state.callbacks.get(event, []) if one.key() != entry.key()]
    state.callbacks[event] = kept


def _pair(event: str, change: Callable[[str, _Entry], None]) -> Callable[..., None]:
    def plain(call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "*") -> None:
        change(event, _Entry(call, args, kwargs, nodeClass, None))

    def of_node(
        call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "*", node: Any = None
    ) -> None:
        change(event, _Entry(call, args, kwargs, nodeClass, node))

    made = of_node if event == "KnobChanged" else plain
    made.__name__ = made.__qualname__ = ("add" if change is _add else "remove") + event
    return host(made)


addOnUserCreate, removeOnUserCreate = _pair("OnUserCreate", _add), _pair("OnUserCreate", _remove)
addOnCreate, removeOnCreate = _pair("OnCreate", _add), _pair("OnCreate", _remove)
addOnDestroy, removeOnDestroy = _pair("OnDestroy", _add), _pair("OnDestroy", _remove)
addKnobChanged, removeKnobChanged = _pair("KnobChanged", _add), _pair("KnobChanged", _remove)
addOnScriptLoad, removeOnScriptLoad = _pair("OnScriptLoad", _add), _pair("OnScriptLoad", _remove)
addOnScriptSave, removeOnScriptSave = _pair("OnScriptSave", _add), _pair("OnScriptSave", _remove)
addOnScriptClose = _pair("OnScriptClose", _add)
removeOnScriptClose = _pair("OnScriptClose", _remove)
addBeforeRender, removeBeforeRender = _pair("BeforeRender", _add), _pair("BeforeRender", _remove)
addAfterRender, removeAfterRender = _pair("AfterRender", _add), _pair("AfterRender", _remove)
addBeforeFrameRender = _pair("BeforeFrameRender", _add)
removeBeforeFrameRender = _pair("BeforeFrameRender", _remove)
addAfterFrameRender = _pair("AfterFrameRender", _add)
removeAfterFrameRender = _pair("AfterFrameRender", _remove)
addUpdateUI, removeUpdateUI = _pair("UpdateUI", _add), _pair("UpdateUI", _remove)


@contextlib.contextmanager
def this(core: Any, knob: Any = None) -> Iterator[None]:
    """While ``nuke.thisNode()`` is a node."""
    state.this_stack.append((core, knob))
    try:
        yield
    finally:
        state.this_stack.pop()


def fire(event: str, core: Any, knob: Any = None, text: str = "") -> None:
    """Call what is registered for an event of a node, and the node's own Python text.

    What they raise is a fault: real Nuke prints it and goes on.
    """
    calls = [one for one in state.callbacks.get(event, []) if one.suits(core)]
    if not calls and not text:
        return
    state.callback_depth += 1
    state.group_stack.append(core.group or core)
    try:
        with this(core, knob):
            for one in calls:
                _guarded(event, one.call, one.args, one.kwargs)
            if text:
                _guarded(event, _run_text, (text, event), {})
    finally:
        state.group_stack.pop()
        state.callback_depth -= 1


def _guarded(event: str, call: Any, args: Any, kwargs: Any) -> None:
    try:
        with user_code(f"{event}:{getattr(call, '__qualname__', call)}"):
            call(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 whatever it was, the host goes on
        state.faults.append(error)


def _run_text(text: str, event: str) -> None:
    names = {"nuke": __import__("nuke"), "__name__": "__main__"}
    exec(compile(text, f"<{event}>", "exec"), names)


def knob_changed(core: Any, knob: Any) -> None:
    """knobChanged of a node: with a user interface only, and not from inside of its own.

    A knob with KNOB_CHANGED_RECURSIVE is told even so.
    """
    from nuke._knobs import FLAGS

    if not state.gui or state.loading:
        return
    if core in state.knob_changed_of and not knob._flags & FLAGS["KNOB_CHANGED_RECURSIVE"]:
        return
    own = core.knobs.get("knobChanged")
    state.knob_changed_of.append(core)
    try:
        fire("KnobChanged", core, knob, own._raw if own is not None else "")
    finally:
        state.knob_changed_of.pop()
