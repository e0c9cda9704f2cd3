"""Renders: no frame is made from a matte that is not there.

Before a render, all its frames are looked at. What is missing is fetched from the server if one
answers; else the render is stopped with the reason, for Blender itself would show black, or in some
versions abort.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..client.errors import DvmError, sentence
from ..client.outputs import output_path
from . import adapter, group, live, shots

STOPPED = 10  # the exit code of what an artist must act on


def missing(scene, frames) -> list[tuple[str, int, Path]]:
    """The files that a render would read and that are not there: node, plate, path."""
    found = []
    for node in adapter.nodes_in_use(scene):
        tree = node.node_tree
        shown = group.shown(tree)
        timing = shots.source_of(tree).timing
        first, last = shots.numbers_of(tree, timing)
        for frame in frames:
            plate = timing.plate(frame)
            if not first <= plate <= last:
                continue
            for layer, path in shown.items():
                file = output_path(str(path.parent / "alpha.####.exr"), plate, layer)
                if not (file.is_file() and file.stat().st_size):
                    found.append((tree.name, plate, file))
        if not shown and len(tree.dvm.keyframes):
            found.append((tree.name, first, Path("(never matted)")))
    return found


def check(scene, frames) -> None:
    """Fetch what is missing, or stop the render: see `stop`."""
    try:
        gone = missing(scene, frames)
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
        gone = missing(scene, frames)
    if gone:
        name, plate, path = gone[0]
        text = f"the matte of plate {plate} of {name}, {path}, is not there"
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
