"""What the node's buttons do, and what scripts may call.

    from deep_video_matte.nuke import actions
    node = actions.create()
    node.setInput(0, nuke.toNode("Read1"))
    actions.matte(node, wait=True)        # in a terminal; raises what went wrong

Buttons call `press`, which tells what went wrong; all others raise it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..client.errors import DvmError, SetupError, sentence
from ..client.timing import Timing
from . import adapter, keyframes, knobs, live
from .group import FILE

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


def propagate(node: Any, *, wait: bool = False) -> None:
    """Carry the trimaps of the keyframes to all frames.

    Args:
        node: ours.
        wait: until it is done: for a terminal, where nothing goes on by itself.

    Raises:
        DvmError: what can be seen at once; with ``wait``, all that goes wrong.
    """
    _run(node, "propagate", wait)


def matte(node: Any, *, wait: bool = False) -> None:
    """Find the alpha of all frames; trimaps are carried first. See `propagate`."""
    _run(node, "matte", wait)


def _run(node: Any, what: str, wait: bool = False) -> None:
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


def _timing(node: Any) -> Timing | None:
    source = live.at_once(live.source_now(node))
    return source.timing if source else None


def _plate(node: Any) -> tuple[int, Timing | None]:
    """The plate that is looked at."""
    timing = _timing(node)
    now = adapter.frame()
    return (now if timing is None else timing.plate(now)), timing


def add_keyframe(node: Any) -> None:
    """Make the frame that is looked at a keyframe, with what comes into Trimap.

    Raises:
        InputError: ``input.no_trimap``, ``input.frame_range``, ``input.render``.
    """
    live.at_once(live.live().taking_trimap(node))


def _add_keyframe(node: Any) -> None:
    """The same as the button does it: in steps."""
    running = live.live()
    running.ask_for(node, running.taking_trimap(node))
    if not adapter.has_window():
        running.wait(running.own(node))


def keyframes_of(node: Any) -> Mapping[int, str]:
    """File by plate."""
    return keyframes.read(str(adapter.value(node, "dvm_keyframe_files")))


def remove_keyframe(node: Any) -> None:
    """Take this frame off the list.

    Raises:
        InputError: ``input.no_keyframe`` if it is not on it.
    """
    plate, timing = _plate(node)
    left = dict(keyframes_of(node))
    if left.pop(plate, None) is None:
        raise keyframes.not_one(adapter.frame())
    live.keep_keyframes(node, left, timing)


def _jump(ahead: bool) -> Callable[[Any], None]:
    def jump(node: Any) -> None:
        plate, timing = _plate(node)
        _go_to(keyframes.neighbour(keyframes_of(node), plate, ahead=ahead), timing)

    return jump


def suggest(node: Any) -> None:
    """Go to the frame that is best painted next.

    Raises:
        InputError: ``input.no_suggestion``.
    """
    running = live.live()
    _go_to(running.suggested(running.own(node)), _timing(node))


def _go_to(plate: int, timing: Timing | None) -> None:
    adapter.go_to(plate if timing is None else timing.frame(plate))


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


BUTTONS: Mapping[str, Callable[[Any], None]] = {
    "connect": _connect,
    "start_server": _start_server,
    "stop_server": _stop_server,
    "add_keyframe": _add_keyframe,
    "remove_keyframe": remove_keyframe,
    "previous_keyframe": _jump(ahead=False),
    "next_keyframe": _jump(ahead=True),
    "suggest": suggest,
    "propagate": propagate,
    "matte": matte,
    "cancel": _cancel,
    "clear_cache": _clear_cache,
}
