"""Renders: no frame is made from a matte that is not there.

Before a render, all its frames are looked at. What is missing is fetched from the server if one
answers; else the render is stopped with the reason, for Blender itself would show black, or in some
versions abort.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..client.errors import DvmError, InputError, sentence
from ..client.outputs import output_path
from . import adapter, group, live, shots, showing

STOPPED = 10  # the exit code of what an artist must act on


def missing(nodes, frames) -> list[tuple[str, int, Path]]:
    """The files that a render of those nodes would read and that are not there: node's name, plate,
    path."""
    found = []
    for node in nodes:
        tree = node.node_tree
        shown = group.shown(tree)
        source = shots.source_of(tree)
        wanted = shots.numbers_of(tree, source)
        for frame in frames:
            plate = source.timing.plate(frame)
            if not wanted[0] <= plate <= wanted[-1]:
                continue
            for layer, path in shown.items():
                file = output_path(str(path.parent / "alpha.####.exr"), plate, layer)
                if not (file.is_file() and file.stat().st_size):
                    found.append((tree.name, plate, file))
        if not shown and len(tree.dvm.keyframes):
            found.append((tree.name, wanted[0], Path("(never matted)")))
    return found


def check_input(scene, tree) -> None:
    """Before what comes into a node is rendered to plates: it may come from other nodes of ours.

    Raises:
        InputError: ``input.missing_matte``; ``input.no_input`` if nothing comes in.
    """
    gone = missing(adapter.nodes_before(scene, tree), adapter.render_frames(scene))
    if gone:
        hint = f"press Matte on {gone[0][0]} first"
        raise InputError("input.missing_matte", _sentence(gone), hint=hint)


def _sentence(gone: list[tuple[str, int, Path]]) -> str:
    name, plate, path = gone[0]
    return f"the matte of plate {plate} of {name}, {path}, is not there"


def check(scene, frames) -> None:
    """Fetch what is missing, or stop the render: see `stop`.

    Not what Render Plates renders: our node is behind it, and `check_input` has looked before it.
    """
    if adapter.renders_plates(scene):
        return
    if adapter.in_background():
        for node in adapter.nodes_in_use(scene):
            showing.follow(node.node_tree)  # no timer has done it
    try:
        gone = missing(adapter.nodes_in_use(scene), frames)
    except DvmError as error:
        stop(error.message, error.hint)
        return
    why = DvmError("", "")
    if gone:
        names = {name for name, _, _ in gone}
        trees = [node.node_tree for node in adapter.nodes_in_use(scene)]
        for tree in trees:
            if tree.name in names and adapter.is_editable(tree):
                why = fetch(tree) or why
        gone = missing(adapter.nodes_in_use(scene), frames)
    if gone:
        text = _sentence(gone)
        if why.message:
            text += f", and {why.message}"
        stop(text, why.hint or "open the file with a server and press Matte")


def fetch(tree) -> DvmError | None:
    """Matte what is missing, and wait for it; what went wrong, if anything did."""
    running = live.live()
    try:
        if not running.state(tree.dvm.uid).busy:
            running.run(tree, "matte")
    except DvmError as error:
        return error
    state = running.wait(tree.dvm.uid)
    return DvmError("", state.text, hint=state.hint) if state.failed else None


def stop(message: str, hint: str) -> None:
    """Stop a render so that nobody takes what it made for a picture.

    In the background the process ends, with exit code 10. In a window nothing that an add-on can do
    stops a render: there a message says what is missing.
    """
    text = f"Deep Video Matte: {sentence(message, hint)}"
    print(text, file=sys.stderr, flush=True)  # noqa: T201
    if not adapter.in_background():
        adapter.warn(text)
        return
    # An exception in a handler is printed and the render goes on; only the end of the process ends
    # it, and a farm sees the code. Threads are ended first, for they have finished nothing.
    live.end()
    os._exit(STOPPED)


@adapter.persistent
def before_render(scene, *_):
    """All frames are looked at once; Blender calls this before the first."""
    check(scene, adapter.render_frames(scene))


@adapter.persistent
def before_frame(scene, *_):
    """A still, or a frame whose file has gone since the render began."""
    check(scene, [scene.frame_current])


def register():
    adapter.listen("render_pre", before_frame)
    adapter.listen("render_init", before_render)


def unregister():
    adapter.unlisten("render_init", before_render)
    adapter.unlisten("render_pre", before_frame)
