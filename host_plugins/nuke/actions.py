"""What the node's buttons do, and what scripts may call.

    from deep_video_matte.nuke import actions
    node = actions.create()
    node.setInput(0, nuke.toNode("Read1"))
    actions.matte(node, wait=True)        # in a terminal; raises what went wrong

Buttons call `press`, which tells what went wrong; all others raise it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..client.errors import DvmError, SetupError, sentence
from . import adapter, keyframing, knobs, live
from .group import FILE
from .sources import at_once

__all__ = ["BUTTONS", "add_keyframe", "create", "matte", "press", "propagate"]


def create() -> Any:
    """A new node, below the selected one.

    Returns:
        The Group.
    """
    node = adapter.make_node(FILE)
    live.live().own(node)
    return node


def press(name: str) -> None:
    """What a button of the node does. In a window what went wrong is a message.

    Args:
        name: of the button, without ``dvm_``.

    Raises:
        DvmError: without a window.
    """
    node = adapter.this_node()
    try:
        node = current(node)
        BUTTONS[name](node)
    except DvmError as error:
        if not adapter.has_window():
            raise
        adapter.tell(f"{adapter.name_of(node)}: {sentence(error.message, error.hint)}")
    live.live().wake()


def current(node: Any) -> Any:
    """A node as this release makes it: one of an older release is built anew in its place.

    Raises:
        SetupError: ``setup.newer_node`` if it was made by a newer release.
    """
    version = int(adapter.value(node, "dvm_version"))
    if version > knobs.VERSION:
        raise SetupError(
            "setup.newer_node",
            f"the node was made by a newer release of the plug-in (node {version}, here "
            f"{knobs.VERSION})",
            hint="install that release; the node renders without it",
        )
    if version == knobs.VERSION:
        return node
    keep = [one.name for one in knobs.KNOBS if one.value is not None and one.name != "dvm_version"]
    return adapter.replace_node(node, FILE, keep)


def propagate(node: Any, *, wait: bool = False) -> Any:
    """Carry the trimaps of the keyframes to all frames.

    Args:
        node: ours.
        wait: until it is done: for a terminal, where nothing goes on by itself.

    Returns:
        The node; a new one in its place if it was of an older release, see `current`.

    Raises:
        DvmError: what can be seen at once; with ``wait``, all that goes wrong.
    """
    return _run(current(node), "propagate", wait)


def matte(node: Any, *, wait: bool = False) -> Any:
    """Find the alpha of all frames; trimaps are carried first. See `propagate`."""
    return _run(current(node), "matte", wait)


def _run(node: Any, what: str, wait: bool = False) -> Any:
    running = live.live()
    try:
        key = running.run(node, what)
    except DvmError as error:
        running.fail(running.own(node), error)  # stays to be read on the node
        raise
    running.wake()
    if wait or not adapter.has_window():
        state = running.wait(key)
        if state.failed:
            raise SetupError("setup.run_failed", state.text, hint=state.hint)
    return node


def add_keyframe(node: Any) -> Any:
    """Make the frame that is looked at a keyframe, with what comes into Trimap. See `propagate`.

    Raises:
        InputError: ``input.no_source``, ``input.no_trimap``, ``input.frame_range``,
            ``input.render``.
    """
    node, running = current(node), live.live()
    at_once(keyframing.taking_trimap(running, running.own(node), node, adapter.frame()))
    return node


def _in_steps(begin: Callable[..., keyframing.Steps]) -> Callable[[Any], None]:
    """A button that does something about the frame that is looked at now, a little at a time, so
    that Nuke is not held up."""

    def pressed(node: Any) -> None:
        running = live.live()
        key = running.own(node)
        running.ask_for(key, node, begin(running, key, node, adapter.frame()))
        if not adapter.has_window():
            running.wait(key)

    return pressed


def _connect(node: Any) -> None:
    live.live().ask_server(node)


def _start_server(node: Any) -> None:
    live.live().start_local(node)


def _stop_server(node: Any) -> None:
    live.live().own(node)
    live.live().stop_server()


def _cancel(node: Any) -> None:
    live.live().cancel(live.live().own(node))


def _clear_cache(node: Any) -> None:
    live.live().own(node)
    live.live().clear_cache()


BUTTONS: Mapping[str, Callable[[Any], object]] = {
    "connect": _connect,
    "start_server": _start_server,
    "stop_server": _stop_server,
    "add_keyframe": _in_steps(keyframing.taking_trimap),
    "remove_keyframe": _in_steps(keyframing.removing),
    "previous_keyframe": _in_steps(partial(keyframing.walking, ahead=False)),
    "next_keyframe": _in_steps(partial(keyframing.walking, ahead=True)),
    "suggest": _in_steps(keyframing.suggesting),
    "propagate": partial(_run, what="propagate"),
    "matte": partial(_run, what="matte"),
    "cancel": _cancel,
    "clear_cache": _clear_cache,
}
