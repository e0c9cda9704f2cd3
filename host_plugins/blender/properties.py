"""What is saved in the .blend: a shot, on the node tree of its group. Registered by Blender, and
kept there without the add-on too."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..client.shot_parts import LIGHTS, MISSING, WINDOWS
from . import paths
from .adapter import RELATIVE

SOURCES = [
    ("CLIP", "Movie Clip", "A clip of the Movie Clip Editor: an image sequence or a movie"),
    ("IMAGE", "Image", "An image sequence or a movie as the Image node has it"),
    ("INPUT", "Node input", "What comes into the node: it is rendered to plates first"),
]
KINDS = [
    ("MASK", "Masks", "Made from two layers of a mask, core and edge"),
    ("PAINT", "Painted", "Painted over the plate in the Image Editor"),
    ("FILE", "File", "A trimap image: 0 background, middle grey unknown, white foreground"),
]
_FILES = "A sequence numbered as the plates are, or one image for all of them"
_TEXTS = {
    "": ("From the clip", "Linear for scene-linear and log plates, display for video and pictures"),
    "linear": ("Linear", "The matte is composited in scene-linear light"),
    "display": ("Display", "The matte is composited in display-encoded light"),
    "centred": ("Centred", "Each matte sees two frames to either side"),
    "causal": ("Causal", "Each matte sees the two frames before it only"),
    "error": ("Stop", "Stop and name the plate"),
    "hold": ("Hold", "The nearest earlier plate stands in"),
    "black": ("Black", "Write an empty matte"),
}


def _path(called, name, description, kind="FILE_PATH"):
    """A path that may be relative to the .blend; beside it `_at` keeps where that leads."""
    return StringProperty(
        name=name,
        subtype=kind,
        options=RELATIVE,
        description=description,
        update=paths.note(called),
    )


def _at():
    return StringProperty(options={"HIDDEN"})


def _choices(names):
    return [(name or "AUTO", *_TEXTS[name]) for name in names]


class DVM_PG_keyframe(bpy.types.PropertyGroup):
    """A painted trimap: on which plate, and where it came from."""

    frame: IntProperty(name="Plate", description="Number of the plate it belongs to")
    kind: EnumProperty(name="Kind", items=KINDS, default="FILE")
    path: _path("path", "Trimap", "The trimap's file")
    path_at: _at()
    image: PointerProperty(
        name="Painting", type=bpy.types.Image, description="What is painted on, for Painted"
    )


class DVM_PG_shot(bpy.types.PropertyGroup):
    """All that makes a shot. ``uid`` tells shots apart while Blender runs, no more."""

    uid: StringProperty(options={"HIDDEN"})
    owner: StringProperty(options={"HIDDEN"}, description="Name of the group the uid belongs to")
    source: EnumProperty(name="Plates", items=SOURCES, default="CLIP")
    clip: PointerProperty(name="Clip", type=bpy.types.MovieClip)
    image: PointerProperty(name="Image", type=bpy.types.Image)
    start: IntProperty(
        name="Starts at", default=1, description="The scene's frame that shows the first plate"
    )
    use_range: BoolProperty(
        name="Part of the clip", description="Matte some plates only, given by their numbers"
    )
    first: IntProperty(name="First", description="Number of the first plate to matte")
    last: IntProperty(name="Last", description="Number of the last plate to matte")
    colourspace: StringProperty(
        name="Colourspace",
        description="An OCIO name of the server's config; empty: as the clip has it",
    )
    composited_in: EnumProperty(name="Composited in", items=_choices(LIGHTS), default="AUTO")
    premultiplied: BoolProperty(
        name="Premultiplied plates", description="Plates' colours are multiplied by their alpha"
    )

    keyframes: CollectionProperty(type=DVM_PG_keyframe)
    active: IntProperty(name="Keyframe")
    mask: PointerProperty(name="Mask", type=bpy.types.Mask)
    core: StringProperty(
        name="Core", default="core", description="Mask layer of what is surely foreground"
    )
    edge: StringProperty(
        name="Edge",
        default="edge",
        description="Mask layer around all that may be foreground; the gap to the core is unknown",
    )
    band: IntProperty(
        name="Band",
        default=20,
        min=1,
        max=1000,
        description="Width of the unknown band in pixels of the plate, without an edge layer",
    )
    shrink: IntProperty(
        name="Shrink", min=0, max=1000, description="The core, in pixels of the plate"
    )
    grow: IntProperty(name="Grow", min=0, max=1000, description="The edge, in pixels of the plate")

    rendered: _path("rendered", "Rendered plates", "Their folder, for Node input", "DIR_PATH")
    rendered_at: _at()

    garbage_matte: _path(
        "garbage_matte", "Garbage matte", f"Where it is white, alpha is 0. {_FILES}"
    )
    garbage_matte_at: _at()
    core_matte: _path(
        "core_matte",
        "Core matte",
        f"Where it is white, alpha is 1, unless garbage says 0. {_FILES}",
    )
    core_matte_at: _at()
    clean_plate: _path(
        "clean_plate", "Clean plate", f"The background alone, filmed or painted. {_FILES}"
    )
    clean_plate_at: _at()

    network: StringProperty(name="Network", description="Empty: the server's best one")
    checkpoint: _path(
        "checkpoint",
        "Checkpoint",
        "Weights of your own, a path on the server; empty: those that came with it",
    )
    checkpoint_at: _at()
    window: EnumProperty(name="Window", items=_choices(WINDOWS), default="centred")
    missing: EnumProperty(name="Missing plates", items=_choices(MISSING), default="error")
    use_foreground: BoolProperty(
        name="Estimate foreground",
        default=True,
        description="Colours of the foreground alone, where it is mixed with the background. "
        "Without it the node's own input is cut out",
    )
    premultiply: BoolProperty(
        name="Premultiplied image",
        default=True,
        description="The Image output is multiplied by alpha, as Alpha Over wants it",
    )


def settings_of(tree):
    """The shot of a node tree."""
    return tree.dvm


CLASSES = (DVM_PG_keyframe, DVM_PG_shot)


def register():
    for one in CLASSES:
        bpy.utils.register_class(one)
    bpy.types.NodeTree.dvm = PointerProperty(type=DVM_PG_shot)


def unregister():
    del bpy.types.NodeTree.dvm
    for one in reversed(CLASSES):
        bpy.utils.unregister_class(one)
