"""The node: a plain compositing group, so that a file renders anywhere without the add-on.

    Image ─────────────┬─ or ─┐
    Image node: foreground ───┴→ Set Alpha ─→ Image
    Image node: alpha ─────────────┴────────→ Alpha
    Image node: trimap ─────────────────────→ Trimap
    Image node: confidence ─────────────────→ Confidence

The Image nodes read the matte's plates, one sequence a layer. Before there are any, the picture
passes unchanged and alpha is 1: the node does nothing rather than cut everything away.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from pathlib import Path

from ..client.timing import Timing
from . import adapter

NAME = "Deep Video Matte"
LAYERS = ("alpha", "trimap", "confidence", "foreground")
_OUTPUTS = (
    ("Image", "NodeSocketColor"),
    ("Alpha", "NodeSocketFloat"),
    ("Trimap", "NodeSocketFloat"),
    ("Confidence", "NodeSocketFloat"),
)
# What the outputs are while nothing has been matted.
_NOTHING_YET = {"Alpha": 1.0, "Trimap": 0.5, "Confidence": 0.0}


def new_group():
    """A group with a shot of its own."""
    tree = adapter.new_tree(NAME)
    adapter.add_socket(tree, "Image", "INPUT", "NodeSocketColor")
    for name, kind in _OUTPUTS:
        adapter.add_socket(tree, name, "OUTPUT", kind)
    _node(tree, "NodeGroupInput", "input", (-700, 0))
    out = _node(tree, "NodeGroupOutput", "output", (300, 0))
    for i, layer in enumerate(LAYERS):
        _node(tree, "CompositorNodeImage", layer, (-400, 300 - 260 * i)).label = layer.capitalize()
    cut = adapter.set_alpha_node(tree, "APPLY")
    cut.name, cut.location = "cut", (0, 200)
    out.is_active_output = True
    tree.dvm.uid, tree.dvm.owner = uuid.uuid4().hex, tree.name
    connect(tree, ())
    return tree


def show(tree, files: Mapping[str, Path], timing: Timing, *, colourspace: str) -> None:
    """Have the group show what there is, at once.

    Args:
        tree: a group of ours.
        files: of each layer that has been made, the path of its first plate's file.
        timing: of the clip.
        colourspace: Blender's name of the clip's, in which foreground plates are.
    """
    for layer, path in files.items():
        show_layer(tree, layer, path, timing, colourspace=colourspace)
    connect(tree, files)


def show_layer(tree, layer: str, path: Path, timing: Timing, *, colourspace: str) -> None:
    """Have a layer's Image node show a sequence; see `show`. Blender reads a file for it."""
    space = colourspace if layer == "foreground" else ""
    image = adapter.sequence_image(_image_name(tree, layer), str(path), space)
    adapter.show_sequence(tree.nodes[layer], image, timing)


def connect(tree, layers: Collection[str]) -> None:
    """Link the layers that there are to the group's outputs."""
    nodes = tree.nodes
    out, given, cut = nodes["output"], nodes["input"], nodes["cut"]
    for name, layer in (("Alpha", "alpha"), ("Trimap", "trimap"), ("Confidence", "confidence")):
        if layer in layers:
            _link(tree, adapter.matte_socket(nodes[layer]), out.inputs[name])
        else:
            _unlink(tree, out.inputs[name])
            out.inputs[name].default_value = _NOTHING_YET[name]
    if "alpha" not in layers:
        _link(tree, given.outputs["Image"], out.inputs["Image"])
        return
    if "foreground" in layers:
        colours = nodes["foreground"].outputs["Image"]
    else:
        _unlink_from(tree, nodes["foreground"])
        colours = given.outputs["Image"]
    _link(tree, colours, cut.inputs["Image"])
    _link(tree, adapter.matte_socket(nodes["alpha"]), cut.inputs["Alpha"])
    _link(tree, cut.outputs["Image"], out.inputs["Image"])
    adapter.set_alpha_mode(cut, _cut_mode(tree))


def lies_at(tree, timing: Timing) -> bool:
    """Whether what is shown lies where the clip does, and as the options say."""
    nodes = [tree.nodes[layer] for layer in shown(tree)]
    return all(adapter.shows_at(node, timing) for node in nodes) and adapter.has_alpha_mode(
        tree.nodes["cut"], _cut_mode(tree)
    )


def _cut_mode(tree) -> str:
    return "APPLY" if tree.dvm.premultiply else "REPLACE_ALPHA"


def shown(tree) -> dict[str, Path]:
    """The layers that the group shows, each with the path of its sequence's first file."""
    found = {}
    for layer in LAYERS:
        node = tree.nodes.get(layer)
        if node is not None and node.image is not None and _is_used(node):
            found[layer] = Path(adapter.absolute(node.image.filepath, tree))
    return found


def own_images(tree) -> None:
    """Have a copied group read its sequences through images of its own: its files may become
    others than those of the group it was copied from."""
    for layer in LAYERS:
        node = tree.nodes[layer]
        if node.image is not None:
            node.image = node.image.copy()
            node.image.name = _image_name(tree, layer)


def _image_name(tree, layer: str) -> str:
    return f"DVM {layer} {tree.dvm.uid[:8]}"


def _is_used(node) -> bool:
    return any(socket.is_linked for socket in node.outputs)


def _node(tree, kind: str, name: str, place: tuple[float, float]):
    node = tree.nodes.new(kind)
    node.name, node.location = name, place
    return node


def _link(tree, source, target) -> None:
    """Blender builds its compositor anew for a link that is made, be it there already."""
    if not any(link.from_socket == source for link in target.links):
        tree.links.new(source, target)


def _unlink_from(tree, node) -> None:
    for link in list(tree.links):
        if link.from_node == node:
            tree.links.remove(link)


def _unlink(tree, socket) -> None:
    for link in list(tree.links):
        if link.to_socket == socket:
            tree.links.remove(link)
