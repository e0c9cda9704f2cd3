"""Blender's data and its differences from version to version: every call is here, nothing else of
the add-on knows them. (What Blender registers, the classes of `properties`, `operators` and
`panel`, derives from `bpy.types` and draws; it asks here for all else.)

Conventions: paths come in and go out absolute; frames are the scene's unless called plates.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..client.errors import InputError
from ..client.timing import Timing, count_plates, is_movie, pattern_of
from .raster import Layer, Spline

GROUP = "CompositorNodeGroup"
TREE = "CompositorNodeTree"

# What changed, and in which version. Nothing outside of this file asks for a version.
_INTERFACE = bpy.app.version >= (4, 0, 0)  # group sockets: tree.interface, not tree.inputs
_SCENE_HAS_GROUP = bpy.app.version >= (5, 0, 0)  # scene.compositing_node_group, not node_tree
_TYPES_ARE_SOCKETS = bpy.app.version >= (5, 0, 0)  # e.g. Set Alpha's type
_MATH = "ShaderNodeMath" if bpy.app.version >= (5, 0, 0) else "CompositorNodeMath"
_MEDIA_TYPE = bpy.app.version >= (5, 0, 0)  # format.media_type is chosen before file_format
_ITEMS = bpy.app.version >= (5, 0, 0)  # File Output has items and a directory, not slots
_PROGRESS = bpy.app.version >= (4, 0, 0)  # layout.progress
_TEMP_OVERRIDE = bpy.app.version >= (3, 2, 0)

# Options of a property that holds a path which may begin with //: Blender wants to be told.
RELATIVE = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()

# The server's config knows colourspaces by interop ids and OCIO names; Blender by its own.
_COLOURSPACES = {
    "sRGB": "srgb_rec709_scene",
    "Linear": "lin_rec709_scene",
    "Linear Rec.709": "lin_rec709_scene",
    "Linear Rec.2020": "lin_rec2020_scene",
    "Linear DCI-P3 D65": "lin_p3d65_scene",
    "ACEScg": "lin_ap1_scene",
    "Linear ACEScg": "lin_ap1_scene",
    "ACES2065-1": "lin_ap0_scene",
    "Linear ACES": "lin_ap0_scene",
    "Linear CIE-XYZ D65": "lin_ciexyzd65_scene",
    "Non-Color": "",
    "Raw": "",
}


def host_name() -> str:
    """For the server's log and shot.json: ``blender 4.2.23``."""
    return f"blender {bpy.app.version_string}"


def in_background() -> bool:
    """No window, so no timers and no panels."""
    return bool(bpy.app.background)


def has_progress_bar() -> bool:
    return _PROGRESS


def package_preferences(package: str):
    """The add-on's preferences, or None while it is not enabled."""
    found = bpy.context.preferences.addons.get(package)
    return found.preferences if found else None


# Paths


def saved_as() -> Path | None:
    """The .blend's own path; None while it has none."""
    return Path(bpy.data.filepath) if bpy.data.filepath else None


def absolute(path: str, owner=None) -> str:
    """A path as the system knows it; ``//`` is the folder of the .blend, or of the library that
    ``owner`` came from."""
    library = getattr(owner, "library", None)
    return os.path.normpath(bpy.path.abspath(path, library=library)) if path else ""


def stored(path: str) -> str:
    """How a path is kept in the .blend: relative to it where that is possible."""
    if not bpy.data.filepath:
        return path
    try:
        return bpy.path.relpath(path)
    except ValueError:  # on Windows, another drive
        return path


def user_folder() -> Path:
    """Where files of an unsaved .blend go: it survives Blender, unlike its temporary folder."""
    return Path(bpy.utils.user_resource("DATAFILES", path="deep_video_matte", create=True))


# Trees and nodes


def scene_tree(scene, *, make: bool = False):
    """The scene's compositing tree; None if it has none and none is to be made."""
    if _SCENE_HAS_GROUP:
        if scene.compositing_node_group is None and make:
            scene.compositing_node_group = bpy.data.node_groups.new("Compositing", TREE)
        return scene.compositing_node_group
    if make and scene.node_tree is None:
        scene.use_nodes = True
    return scene.node_tree if scene.use_nodes else None


def scene_named(name: str):
    """A scene of this file; None if there is none of that name any more."""
    return bpy.data.scenes.get(name)


def ensure_output(scene) -> None:
    """A Composite node (or the group's output): Blender 3.x crashes in an animation without."""
    tree = scene_tree(scene, make=True)
    if _SCENE_HAS_GROUP:
        if not any(one.in_out == "OUTPUT" for one in tree.interface.items_tree):
            add_socket(tree, "Image", "OUTPUT", "NodeSocketColor")
        if not any(one.bl_idname == "NodeGroupOutput" for one in tree.nodes):
            tree.nodes.new("NodeGroupOutput")
    elif not any(one.bl_idname == "CompositorNodeComposite" for one in tree.nodes):
        tree.nodes.new("CompositorNodeComposite")


def output_socket(scene):
    """Where the scene's picture is taken from; `ensure_output` first."""
    name = "NodeGroupOutput" if _SCENE_HAS_GROUP else "CompositorNodeComposite"
    return next(one for one in scene_tree(scene).nodes if one.bl_idname == name).inputs[0]


def new_tree(name: str):
    """An empty compositing group."""
    return bpy.data.node_groups.new(name, TREE)


def add_socket(tree, name: str, in_out: str, kind: str):
    """A socket of a group: ``INPUT`` or ``OUTPUT``; ``NodeSocketColor``, ``NodeSocketFloat``."""
    if _INTERFACE:
        return tree.interface.new_socket(name=name, in_out=in_out, socket_type=kind)
    return (tree.inputs if in_out == "INPUT" else tree.outputs).new(kind, name)


def set_alpha_node(tree, mode: str):
    """A Set Alpha node: ``APPLY`` multiplies, ``REPLACE_ALPHA`` leaves the colours."""
    node = tree.nodes.new("CompositorNodeSetAlpha")
    set_alpha_mode(node, mode)
    return node


_ALPHA_TYPES = {"APPLY": "Apply Mask", "REPLACE_ALPHA": "Replace Alpha"}


def set_alpha_mode(node, mode: str) -> None:
    if _TYPES_ARE_SOCKETS:
        node.inputs["Type"].default_value = _ALPHA_TYPES[mode]
    else:
        node.mode = mode


def has_alpha_mode(node, mode: str) -> bool:
    if _TYPES_ARE_SOCKETS:
        return bool(node.inputs["Type"].default_value == _ALPHA_TYPES[mode])
    return bool(node.mode == mode)


def shot_trees() -> list:
    """All node trees of this file that hold a shot of ours."""
    return [tree for tree in bpy.data.node_groups if tree.bl_idname == TREE and tree.dvm.uid]


def tree_of(uid: str):
    """The tree of a shot, or None: it may have been removed, or another file opened."""
    return next((tree for tree in shot_trees() if tree.dvm.uid == uid), None)


def is_editable(datablock) -> bool:
    """Not linked from a library."""
    return datablock.library is None and datablock.override_library is None


def nodes_in_use(scene) -> Iterator:
    """Our nodes that a render of the scene passes, in groups too; muted ones are left out."""
    tree = scene_tree(scene)
    yield from _ours_among(tree.nodes if tree else (), set())


def _ours_among(nodes, seen: set) -> Iterator:
    """Our nodes among these and in their groups; ``seen`` are groups that were walked already."""
    for node in nodes:
        if node.bl_idname != GROUP or node.mute or node.node_tree is None:
            continue
        if node.node_tree.dvm.uid:
            if any(socket.is_linked for socket in node.outputs):
                yield node
        elif node.node_tree not in seen:
            seen.add(node.node_tree)
            yield from _ours_among(node.node_tree.nodes, seen)


def add_node(scene, tree, place: tuple[float, float] = (0.0, 0.0)):
    """A group node with that tree in the scene's compositing tree, the only one selected."""
    into = scene_tree(scene, make=True)
    ensure_output(scene)
    for one in into.nodes:
        one.select = False
    node = into.nodes.new(GROUP)
    node.node_tree = tree
    node.location = place
    node.width = 220
    node.select = True
    into.nodes.active = node
    return node


def active_tree(context):
    """The shot a panel or an operator is about: the active node's in a node editor, else the only
    one of the scene, else the one that was worked on last."""
    space = getattr(context, "space_data", None)
    if space is not None and space.type == "NODE_EDITOR" and space.tree_type == TREE:
        edited = space.edit_tree
        node = edited.nodes.active if edited else None
        if node is not None and _is_ours(node):
            return node.node_tree
        if edited is not None and edited.dvm.uid:
            return edited  # inside of the group
    tree = scene_tree(context.scene) if context.scene else None
    ours = [] if tree is None else [n for n in tree.nodes if _is_ours(n)]
    active = [n for n in ours if n == tree.nodes.active]
    chosen = active or ours
    return chosen[0].node_tree if chosen else None


def _is_ours(node) -> bool:
    return node.bl_idname == GROUP and node.node_tree is not None and bool(node.node_tree.dvm.uid)


# Pictures


def sequence_image(name: str, path: str, colourspace: str):
    """An image sequence that need not be there yet.

    Args:
        name: of the datablock; one of that name is used again.
        path: of the sequence's first file.
        colourspace: Blender's name of it; "" = data, as mattes are.
    """
    image = bpy.data.images.get(name)
    if image is None:
        image = bpy.data.images.new(name, 1, 1, float_buffer=True)
    # Each setting makes Blender read the file anew, so none is set to what it is.
    if image.source != "SEQUENCE":
        image.source = "SEQUENCE"
    if absolute(image.filepath) != os.path.normpath(path):
        image.filepath = stored(path)
    wanted = colourspace or "Non-Color"
    if image.colorspace_settings.name != wanted:
        with contextlib.suppress(TypeError):  # a config without that name keeps what it has
            image.colorspace_settings.name = wanted
    # Each file is one layer, its channels as they stand: nothing is multiplied or divided.
    if image.alpha_mode != "CHANNEL_PACKED":
        image.alpha_mode = "CHANNEL_PACKED"
    return image


def show_sequence(node, image, timing: Timing) -> None:
    """Have an Image node show the plates of a clip's length at the clip's place in time."""
    wanted = {
        "image": image,
        "frame_start": timing.start,
        "frame_duration": max(timing.count, 1),
        "frame_offset": timing.first - 1,
        "use_auto_refresh": True,
        "use_cyclic": False,
    }
    for name, value in wanted.items():
        if getattr(node, name) != value:
            setattr(node, name, value)


def shows_at(node, timing: Timing) -> bool:
    """Whether an Image node shows the plates of a clip where the clip has them."""
    now = node.frame_start, node.frame_offset, node.frame_duration
    return bool(now == (timing.start, timing.first - 1, max(timing.count, 1)))


def reload(image) -> None:
    """Its files are new or have changed: what is held of them is dropped, to be read when it is
    wanted. (`Image.reload` reads one at once: up to 54 ms at 1080p.)"""
    image.buffers_free()


def compose_again(tree) -> None:
    """Have the compositor make its picture again: new files alone do not make it (3.4).

    A setting that is set, be it to what it was, does. One of Set Alpha costs nothing; where that
    leads nowhere yet, one of an Image node, which then reads its first file.
    """
    cut = tree.nodes["cut"]
    if any(socket.is_linked for socket in cut.outputs):
        if _TYPES_ARE_SOCKETS:
            cut.inputs["Type"].default_value = cut.inputs["Type"].default_value
        else:
            cut.mode = cut.mode
        return
    for node in tree.nodes:
        if node.bl_idname == "CompositorNodeImage" and any(s.is_linked for s in node.outputs):
            node.frame_duration = node.frame_duration
            return


def go_to(scene, frame: int) -> None:
    """Show a frame. (Through `frame_set` the compositor is not told.)"""
    scene.frame_current = frame


def clip_path(clip) -> str:
    """Absolute path of a movie clip's first file."""
    return absolute(clip.filepath, clip)


def clip_timing(clip) -> Timing:
    """Where a movie clip's plates lie; its proxies are not looked at.

    ``frame_offset`` is added to the file's number: with 10, the clip begins with its tenth file.
    """
    _, first = pattern_of(clip_path(clip))
    offset = clip.frame_offset
    return Timing(first + offset, max(clip.frame_duration - offset, 1), clip.frame_start)


def image_timing(image, start: int) -> Timing:
    """Where an image's plates lie; ``start`` is the frame that shows the first one."""
    path = absolute(image.filepath, image)
    pattern, first = pattern_of(path)
    if is_movie(path):
        return Timing(1, max(image.frame_duration, 1), start)
    return Timing(first, max(count_plates(pattern, first), 1), start)


def colourspace_of(datablock) -> str:
    """The server's name of a clip's or an image's colourspace; Blender's where it has no other."""
    name = datablock.colorspace_settings.name
    return _COLOURSPACES.get(name, name)


def blender_colourspace(datablock) -> str:
    return datablock.colorspace_settings.name


def matte_socket(node):
    """The output of an Image node that has a matte's plate, a file of one channel, unchanged."""
    return node.outputs["Alpha"]


# Masks


def mask_layers(mask, name: str) -> tuple[Layer, ...]:
    """The layer of that name at the scene's current frame, as `raster` wants it; () without one.

    Raises:
        InputError: ``input.parented_mask``: the position of such a mask is not told to add-ons.
    """
    evaluated = mask.evaluated_get(bpy.context.evaluated_depsgraph_get())
    layer = evaluated.layers.get(name)
    if layer is None or not layer.splines:
        return ()
    splines = []
    for spline in layer.splines:
        for point in spline.points:
            if point.parent.id is not None:
                raise InputError(
                    "input.parented_mask",
                    f"layer {name!r} of the mask {mask.name!r} follows a track",
                    hint="clear the parent of its points on the keyframe, or add the trimap as a "
                    "file",
                )
        points = tuple(
            (tuple(p.handle_left)[:2], tuple(p.co)[:2], tuple(p.handle_right)[:2])
            for p in spline.points
        )
        splines.append(Spline(points, closed=spline.use_cyclic, fill=spline.use_fill))
    return (
        Layer(tuple(splines), invert=layer.invert, blend=layer.blend, holes=layer.use_fill_holes),
    )


def new_mask(name: str, layers: tuple[str, ...]):
    """A mask with empty layers."""
    mask = bpy.data.masks.new(name)
    for one in layers:
        mask.layers.new(name=one)
    return mask


def show_mask(mask, clip) -> None:
    """Have the open Movie Clip Editors show a mask, over the clip, ready to be drawn."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager else ():
        for area in window.screen.areas:
            space = area.spaces.active
            if area.type == "CLIP_EDITOR":
                space.mode = "MASK"
                if clip is not None:
                    space.clip = clip
                space.mask = mask


def likely_clip(context):
    """The clip an artist means before saying so: of the scene, or the only one there is."""
    if context.scene is not None and context.scene.active_clip is not None:
        return context.scene.active_clip
    clips = list(bpy.data.movieclips)
    return clips[0] if len(clips) == 1 else None


def clip_size(clip) -> tuple[int, int] | None:
    """Width and height of a clip's plates in pixels; None if Blender does not know them."""
    width, height = (0, 0) if clip is None else clip.size
    return (int(width), int(height)) if width and height else None


@dataclass(frozen=True)
class Seen:
    """A plate as Blender sees it: float RGBA in scene-linear light, the lowest row first."""

    pixels: array[float]
    width: int
    height: int


def see(plate: Path, colourspace: str) -> Seen:
    """Read a plate.

    Args:
        plate: its file.
        colourspace: Blender's name of the plate's.

    Raises:
        InputError: ``input.unreadable`` if Blender cannot read it.
    """
    try:
        shown = bpy.data.images.load(str(plate), check_existing=False)
    except RuntimeError as error:
        raise InputError(
            "input.unreadable",
            f"Blender cannot read the plate {plate}",
            hint="check the file; a movie's plates cannot be painted on, use masks",
        ) from error
    try:
        if colourspace:
            with contextlib.suppress(TypeError):
                shown.colorspace_settings.name = colourspace
        width, height = shown.size
        pixels = array("f", [0.0]) * (4 * width * height)
        shown.pixels.foreach_get(pixels)
        return Seen(pixels, width, height)
    finally:
        bpy.data.images.remove(shown)


def new_painting(name: str, seen: Seen, path: Path):
    """An 8-bit image to paint a trimap on, with a plate in it; it is saved at once, and with the
    .blend if it has changed."""
    made = bpy.data.images.new(name, seen.width, seen.height, alpha=False)
    made.colorspace_settings.name = "sRGB"
    made.pixels.foreach_set(seen.pixels)
    made.use_fake_user = True
    made.filepath_raw, made.file_format = str(path), "TARGA_RAW"
    made.save()
    made.filepath_raw = stored(str(path))
    return made


def open_for_painting(image) -> None:
    """Show an image in an open Image Editor, in paint mode, with a hard brush."""
    context = bpy.context
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "IMAGE_EDITOR":
                space = area.spaces.active
                space.image, space.mode = image, "PAINT"
    brush = context.tool_settings.image_paint.brush
    if brush is not None:
        brush.curve_preset, brush.strength = "CONSTANT", 1.0
        brush.use_pressure_strength = False
        brush.color = (0.0, 0.0, 1.0)


def save_painting(image) -> Path:
    """Save what was painted, as uncompressed Targa: what is read here without a library."""
    path = absolute(image.filepath_raw, image)
    before = image.filepath_raw
    try:
        image.filepath_raw, image.file_format = path, "TARGA_RAW"
        image.save()
    finally:
        image.filepath_raw = before
    return Path(path)


# Rendering what comes into a node

_PLATES = "dvm_plates"  # a property of the scene that plates are rendered from


def renders_plates(scene) -> bool:
    """Whether a scene is the one that `render_input` renders: our node is behind what it makes."""
    return _PLATES in scene


def nodes_before(scene, tree) -> Iterator:
    """Our nodes that a render of what comes into a node passes.

    Raises:
        InputError: ``input.no_input``.
    """
    waiting = [link.from_node for link in node_with_input(scene, tree).inputs["Image"].links]
    found: list = []
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.append(one)
            waiting += [link.from_node for socket in one.inputs for link in socket.links]
    yield from _ours_among(found, set())


def render_input(scene, tree, folder: Path, name: str, frames: Sequence[int]) -> Iterator[int]:
    """Render what comes into a node's Image input as half EXRs in scene-linear light; a frame at
    each step.

    A copy of the scene is rendered whose compositor ends there, so that nothing else is written
    and the scene stays as it is. It is gone when the last step is done, or the generator closed.

    Args:
        scene: whose compositor has the node.
        tree: of the node.
        folder: of the plates; made if need be.
        name: of the files, with ``####`` and without suffix.
        frames: of the scene.

    Yields:
        The frames that are done.

    Raises:
        InputError: ``input.no_input``; ``input.scene_gone`` if the copy was removed meanwhile:
            something was undone, another file was opened.
    """
    own, node = scene_tree(scene), node_with_input(scene, tree)
    folder.mkdir(parents=True, exist_ok=True)
    copy, shared = scene.copy(), None
    copy.name = "DVM plates"
    copy[_PLATES] = True
    if _SCENE_HAS_GROUP:
        shared = own.copy()
        copy.compositing_node_group = shared
    names = copy.name, shared.name if shared is not None else ""
    try:
        inside = scene_tree(copy)
        upstream = inside.nodes[node.name].inputs["Image"].links[0].from_socket
        for one in list(inside.nodes):
            if one.bl_idname in ("CompositorNodeOutputFile", "CompositorNodeViewer"):
                inside.nodes.remove(one)
        writer = exr_writer(inside, folder, name)
        inside.links.new(upstream, writer.inputs[0])
        ensure_output(copy)
        inside.links.new(upstream, output_socket(copy))
        for frame in frames:
            copy = bpy.data.scenes.get(names[0])
            if copy is None:
                raise InputError(
                    "input.scene_gone",
                    f"the copy of the scene that plates were rendered from was removed before "
                    f"frame {frame}",
                    hint="undo nothing and open no other file meanwhile, and press Render Plates "
                    "again",
                )
            copy.frame_current = frame
            # A still is of the context's scene, whatever scene is named.
            with bpy.context.temp_override(scene=copy):
                bpy.ops.render.render()
            yield frame
    finally:
        copy = bpy.data.scenes.get(names[0])
        if copy is not None:
            bpy.data.scenes.remove(copy)
        shared = bpy.data.node_groups.get(names[1]) if names[1] else None
        if shared is not None:
            bpy.data.node_groups.remove(shared)


def node_with_input(scene, tree):
    """The scene's node with that tree, outside of groups.

    Raises:
        InputError: ``input.no_input`` if there is none, or nothing comes into it.
    """
    own = scene_tree(scene)
    for node in own.nodes if own else ():
        if node.bl_idname == GROUP and node.node_tree == tree and node.inputs["Image"].is_linked:
            return node
    raise InputError(
        "input.no_input",
        f"nothing is linked to the Image input of {tree.name} in the scene {scene.name!r}",
        hint="link a picture to it, or choose a clip",
    )


def exr_writer(tree, folder: Path, name: str):
    """A File Output node for one half EXR a frame."""
    node = tree.nodes.new("CompositorNodeOutputFile")
    if _MEDIA_TYPE:
        node.format.media_type = "IMAGE"
    node.format.file_format = "OPEN_EXR"
    node.format.color_mode, node.format.color_depth = "RGBA", "16"
    node.format.exr_codec = "ZIP"
    if _ITEMS:
        node.directory, node.file_name = str(folder), name
        node.file_output_items.new("RGBA", "")
    else:
        node.base_path = str(folder)
        node.file_slots.clear()
        node.file_slots.new(name)
    return node


# The program around us


def redraw() -> None:
    """Show what has changed, in all windows."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager else ():
        for area in window.screen.areas:
            if area.type in ("NODE_EDITOR", "CLIP_EDITOR", "IMAGE_EDITOR", "DOPESHEET_EDITOR"):
                area.tag_redraw()


def start_timer(function: Callable[[], float | None]) -> None:
    """Call a function in the main thread now and then: it returns seconds until the next time."""
    if not bpy.app.timers.is_registered(function):
        bpy.app.timers.register(function, first_interval=0.1, persistent=True)


def stop_timer(function: Callable[[], float | None]) -> None:
    if bpy.app.timers.is_registered(function):
        bpy.app.timers.unregister(function)


def soon(function: Callable[[], None]) -> None:
    """Call a function in the main thread, at its next turn. A render's thread may ask for it."""
    bpy.app.timers.register(function)


def warn(text: str) -> None:
    """Show a message where it cannot be overlooked."""
    manager = bpy.context.window_manager
    if manager is not None and manager.windows:
        with bpy.context.temp_override(window=manager.windows[0]):
            manager.popup_menu(
                lambda menu, _: menu.layout.label(text=text), title="Render", icon="ERROR"
            )


def render_frames(scene) -> range:
    """The frames that an animation render would make."""
    return range(scene.frame_start, scene.frame_end + 1, max(scene.frame_step, 1))


def listen(event: str, function) -> None:
    """Add a handler, once: ``load_post``, ``render_init`` and so on."""
    handlers = getattr(bpy.app.handlers, event)
    if function not in handlers:
        handlers.append(function)


def unlisten(event: str, function) -> None:
    handlers = getattr(bpy.app.handlers, event)
    if function in handlers:
        handlers.remove(function)


def persistent(function):
    """A handler that stays when another file is opened."""
    return bpy.app.handlers.persistent(function)
