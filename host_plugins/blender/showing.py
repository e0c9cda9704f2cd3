"""Which files a node's group shows, and when: as a shot's come, and where its clip lies in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
    wanted = {
        layer: output_path(shot.outputs.pattern, source.timing.first, layer)
        for layer in shot.outputs.layers
    }
    kept = {
        layer: path
        for layer, path in _shown(tree, source).items()
        # A foreground goes with the alpha that it was estimated with.
        if layer not in wanted and (layer != "foreground" or "alpha" not in wanted)
    }
    for layer, path in {**kept, **wanted}.items():
        tree = _editable(uid)
        if tree is None:
            return
        # Also where the path is what it was: the clip may lie elsewhere than it did.
        group.show_layer(tree, layer, path, source.timing, colourspace=source.shown_in)
        if layer in wanted:
            adapter.reload(tree.nodes[layer].image)
        yield
    tree = _editable(uid)
    if tree is None:
        return
    group.connect(tree, {*kept, *wanted})
    yield
    tree = _editable(uid)
    if tree is not None:
        adapter.compose_again(tree)


def _shown(tree, source: shots.Source) -> dict[str, Path]:
    """What a group shows, each layer with the file of the first plate there is now."""
    return {
        layer: output_path(str(path.parent / "alpha.####.exr"), source.timing.first, layer)
        for layer, path in group.shown(tree).items()
    }


def _editable(uid: str):
    tree = adapter.tree_of(uid)
    return tree if tree is not None and adapter.is_editable(tree) else None


def refresh(tree) -> None:
    """Build a group again from its settings and what it shows: the clip has moved, an option of the
    node has changed."""
    source = shots.source_of(tree)
    moved = {
        layer: path
        for layer, path in _shown(tree, source).items()
        if layer != "foreground" or tree.dvm.use_foreground
    }
    group.show(tree, moved, source.timing, colourspace=source.shown_in)


def follow(tree) -> bool:
    """Go with plates that were moved in time, or options that were changed; True if so."""
    if not adapter.is_editable(tree) or not group.shown(tree):
        return False
    try:
        source = shots.source_of(tree)
    except InputError:
        return False  # no plates any more: what is shown stays
    if group.lies_at(tree, source.timing):
        return False
    if tree.dvm.source == "IMAGE" and not source.plate(source.timing.first).is_file():
        return False  # the plates of an image are counted on the disk, and that is not there now
    refresh(tree)
    return True
