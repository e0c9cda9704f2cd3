"""Which files a node's Reads read: as they come, and where the plates lie in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..client.outputs import layer_pattern
from ..client.shot import Shot
from . import adapter
from .group import LAYERS, reader
from .plates import Laid, Source


def shown(node: Any) -> dict[str, str]:
    """The pattern of each layer that a node reads."""
    found = {layer: adapter.shown_file(node, reader(layer)) for layer in LAYERS}
    return {layer: pattern for layer, pattern in found.items() if pattern}


def folder_of(pattern: str) -> Path:
    """The shot's folder in the cache, that files of this pattern lie in, in one for each view or
    not."""
    folder = Path(pattern).parent
    return folder.parent if folder.name == "%V" else folder


def steps(node: Any, shot: Shot, source: Source) -> Iterator[None]:
    """Have a node read a shot's files, as far as they are there; a little at each step.

    Args:
        node: ours.
        shot: of any of its views.
        source: of its plates.
    """
    for layer in shot.outputs.layers:
        pattern = layer_pattern(_of_all_views(shot, source), layer)
        inner = reader(layer)
        with adapter.without_undo():
            adapter.show_file(node, inner, pattern)
        yield
    # All of them, each time: what is above may have been moved where nobody was told.
    yield from lay(node, source.laid)
    for layer in shot.outputs.layers:
        inner = reader(layer)
        if layer == "foreground":
            with adapter.without_undo():
                adapter.show_in_colourspace(node, inner, source.shown_in)
            yield
        with adapter.undisturbed():
            adapter.reload(node, inner)
        yield
    if "alpha" in shot.outputs.layers:
        with adapter.without_undo():
            adapter.switch(node, "dvm_ready", 1)
            adapter.switch(node, "dvm_colours", int("foreground" in shot.outputs.layers))


def _of_all_views(shot: Shot, source: Source) -> str:
    path = Path(shot.outputs.pattern)
    return str(path.parent.parent / "%V" / path.name) if source.views else str(path)


def lay(node: Any, laid: Laid) -> Iterator[None]:
    """Move what a node reads to where its plates lie now; a little at each step."""
    for layer in LAYERS:
        there = adapter.shown_file(node, reader(layer))
        yield
        if there:
            with adapter.without_undo():
                adapter.lay(node, reader(layer), laid)
            yield


def choose_colours(node: Any) -> None:
    """Take the foreground's own colours if they are wanted and there."""
    wanted = adapter.value(node, "dvm_foreground")
    there = bool(adapter.shown_file(node, reader("foreground")))
    if adapter.switched(node, "dvm_ready"):
        adapter.switch(node, "dvm_colours", int(wanted and there))
