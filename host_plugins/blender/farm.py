"""Renders: no frame is made from a matte that is not there.

Before a render, all its frames are looked at. In the background, what is missing is fetched from
the server if one answers; else the render is stopped with the reason, for Blender itself would show
black, or in some versions abort. In a window a message says what is missing, and what to press: a
window renders in a thread of its own, where nothing of Blender's may be touched and nobody could
cancel, and nothing that an add-on can do stops it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..client.errors import DvmError, InputError, sentence
from ..client.outputs import output_path
from . import adapter, group, live, shots, showing

STOPPED = 10  # the exit code of what an artist must act on

Read = list[tuple[str, int, Path]]  # of a node's name and a plate, the file


def missing(nodes, frames) -> Read:
    """The files that a render of those nodes would read and that are not there."""
    return _gone(_files(nodes, frames))


def _gone(files: Read) -> Read:
    return [one for one in files if not (one[2].is_file() and one[2].stat().st_size)]


def _files(nodes, frames) -> Read:
    """What would be read, without a look at the disk."""
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


def _sentence(gone: Read) -> str:
    name, plate, path = gone[0]
    return f"the matte of plate {plate} of {name}, {path}, is not there"


def check(scene, frames) -> None:
    """Fetch what is missing, or end the process: in the background alone, in its main thread.

    Not what Render Plates renders: our node is behind it, and `check_input` has looked before it.
    """
    if adapter.renders_plates(scene):
        return
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


def warn(name: str) -> None:
    """Say what a render in a window lacks; it goes on. Files are looked at in our own thread.

    Args:
        name: of the scene. Not the scene: it comes from the render's thread, and may be gone.
    """
    scene = adapter.scene_named(name)
    if scene is None or adapter.renders_plates(scene):
        return
    try:
        files = _files(adapter.nodes_in_use(scene), adapter.render_frames(scene))
    except DvmError as error:
        adapter.warn(_printed(error.message, error.hint))
        return
    live.live().errand("", lambda: _gone(files), _tell)


def _tell(gone: Read) -> None:
    if gone:
        text, plates = _sentence(gone), {(node, plate) for node, plate, _ in gone}
        if len(plates) > 1:
            text += f"; {len(plates)} plates lack theirs"
        hint = f"press Matte on {gone[0][0]}, and render again when it is done"
        adapter.warn(_printed(text, hint))


def _printed(message: str, hint: str) -> str:
    text = f"Deep Video Matte: {sentence(message, hint)}"
    print(text, file=sys.stderr, flush=True)  # noqa: T201
    return text


def stop(message: str, hint: str) -> None:
    """End the process, with exit code 10, so that nobody takes what it made for a picture."""
    _printed(message, hint)
    # An exception in a handler is printed and the render goes on; only the end of the process ends
    # it, and a farm sees the code. Threads are ended first, for they have finished nothing.
    live.end()
    os._exit(STOPPED)


@adapter.persistent
def before_render(scene, *_):
    """All frames are looked at once; Blender calls this before the first."""
    if adapter.in_background():
        check(scene, adapter.render_frames(scene))
    else:
        name = scene.name
        adapter.soon(lambda: warn(name))


@adapter.persistent
def before_frame(scene, *_):
    """A still, or a frame whose file has gone since the render began."""
    if adapter.in_background():
        check(scene, [scene.frame_current])


def register():
    adapter.listen("render_pre", before_frame)
    adapter.listen("render_init", before_render)


def unregister():
    adapter.unlisten("render_init", before_render)
    adapter.unlisten("render_pre", before_frame)
