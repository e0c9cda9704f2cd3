"""With Nuke's window: the menu entry, and what Nuke tells us of. Nothing that is called when a
script loads changes it."""

from __future__ import annotations

from typing import Any

from . import actions, adapter, live, showing

_TIMES = ("first", "last", "before", "after", "frame_mode", "frame")


def register(menu: Any) -> None:
    """Add the entry to a menu, and listen."""
    adapter.add_command(menu, "Deep Video Matte/DeepVideoMatte", actions.create)
    adapter.listen(EARS)


def unregister() -> None:
    """Listen no more, and end what runs."""
    adapter.unlisten(EARS)
    live.end()


def changed() -> None:
    """A knob of a Group or a Read has changed: mattes follow their plates in time, a node's colours
    its checkbox, and its uid its name."""
    if adapter.is_at_work():
        return
    node, knob = adapter.what_changed()
    if knob in _TIMES and adapter.is_read_of_plates(node):
        live.live().follow(node)
        live.live().wake()
    elif knob == "dvm_foreground" and adapter.is_ours(node):
        with adapter.without_undo():
            showing.choose_colours(node)
    elif knob == "name" and live.LIVE is not None and not adapter.is_read(node):
        live.LIVE.renamed()
        live.LIVE.wake()


def destroyed() -> None:
    """A Group is being deleted."""
    node = adapter.this_node()
    if live.LIVE is not None and adapter.is_ours(node):
        live.LIVE.forget(node)


def loaded() -> None:
    """A script was opened: what its mattes' files know is read, beside the main thread."""
    if adapter.our_nodes():
        live.live().look_at_all()
        live.live().wake()


def saved() -> None:
    """A script is about to be saved: what goes on now is not for whoever opens it."""
    if live.LIVE is not None:
        live.LIVE.say_nothing()


def closed() -> None:
    """A script is closed, or Nuke ends: threads must be gone before its interpreter is."""
    live.end()


EARS = adapter.Ears(changed, destroyed, loaded, saved, closed)
