"""Which files a node's group shows, and when: as a shot's come, and where its clip lies in time."""

from __future__ import annotations

from collections.abc import Iterator

from ..client.errors import InputError
from ..client.outputs import output_path
from ..client.shot import Shot
from . import adapter, group, shots


def steps(uid: str, shot: Shot) -> Iterator[None]:
    """Have a group show the files of a shot, as far as they are there; a little at each step.

    Blender reads a plate's file at some of them, so that all at once would be felt. Between steps
    anything may happen to the tree, so it is looked up each time.
    """
    tree = _editable(uid)
    if tree is None:
        return
    source = shots.source_of(tree)
    first = source.timing.first
    wanted = {
        layer: output_path(shot.outputs.pattern, first, layer) for layer in shot.outputs.layers
    }
    before = group.shown(tree)
    if any(before.get(layer) != path for layer, path in wanted.items()):
        kept = [layer for layer in before if layer not in wanted and layer != "foreground"]
        for layer, path in wanted.items():
            tree = _editable(uid)
            if tree is None:
                return
            space = source.shown_in
            group.show_layer(tree, layer, path, source.timing, colourspace=space)
            yield
        tree = _editable(uid)
        if tree is not None:
            group.connect(tree, {*kept, *wanted})
        yield
    for layer in wanted:
        tree = _editable(uid)
        if tree is None:
            return
        adapter.reload(tree.nodes[layer].image)
        yield
    tree = _editable(uid)
    if tree is not None:
        adapter.compose_again(tree)


def _editable(uid: str):
    tree = adapter.tree_of(uid)
    return tree if tree is not None and adapter.is_editable(tree) else None


def refresh(tree) -> None:
    """Build a group again from its settings and what it shows: the clip has moved, an option of the
    node has changed."""
    source = shots.source_of(tree)
    shown = group.shown(tree)
    first = source.timing.first
    moved = {
        layer: output_path(str(path.parent / "alpha.####.exr"), first, layer)
        for layer, path in shown.items()
        if layer != "foreground" or tree.dvm.use_foreground
    }
    group.show(tree, moved, source.timing, colourspace=source.shown_in)


def follow(tree) -> bool:
    """Go with a movie clip that was moved in time, or options that were changed; True if so."""
    if not adapter.is_editable(tree) or tree.dvm.source != "CLIP" or not group.shown(tree):
        return False
    try:
        timing = shots.source_of(tree).timing
    except InputError:
        return False  # no clip any more: what is shown stays
    if group.lies_at(tree, timing):
        return False
    refresh(tree)
    return True
