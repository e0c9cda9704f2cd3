"""What the farm tests do inside of Blender's Python: make a file, or render one.

    python farm_script.py make SETTINGS.json
    python farm_script.py render SETTINGS.json

Settings: ``file``, ``clip`` (first plate), ``keys`` {plate: trimap}, ``server`` ("" = none),
``addon`` (register it), ``out``, ``frames`` [first, last].
"""

import json
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
sys.path[:0] = [str(REPOSITORY)]
sys.path.append(str(REPOSITORY / ".hosts" / "vendor"))

import bpy  # noqa: E402


def addon(settings):
    import host_plugins.blender
    from host_plugins.blender import preferences

    options = preferences.Options(server=settings["server"], travel="PATHS")
    preferences.current = lambda: options
    host_plugins.blender.register()


def make(settings):
    """A scene whose compositor is clip → our node → output, matted and saved."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon(settings)
    from host_plugins.blender import adapter, live

    bpy.ops.wm.save_as_mainfile(filepath=settings["file"])
    scene = bpy.context.scene
    tree = adapter.scene_tree(scene, make=True)
    tree.nodes.clear()
    adapter.ensure_output(scene)
    clip = bpy.data.movieclips.load(settings["clip"])
    scene.render.resolution_x, scene.render.resolution_y = clip.size
    scene.render.resolution_percentage = 100
    scene.frame_start, scene.frame_end = settings["frames"]
    bpy.ops.dvm.add_node()
    ours = tree.nodes.active
    ours.node_tree.dvm.clip = clip
    for plate, path in settings["keys"].items():
        bpy.ops.dvm.keyframe_add(filepath=path, frame=int(plate))
    source = tree.nodes.new("CompositorNodeMovieClip")
    source.clip = clip
    tree.links.new(source.outputs["Image"], ours.inputs["Image"])
    tree.links.new(ours.outputs["Image"], adapter.output_socket(scene))
    if settings.get("matte", True):
        assert bpy.ops.dvm.run(what="matte", wait=True) == {"FINISHED"}
        assert not live.live().busy()
    # What an artist renders to; chosen before saving, so that every version reads it.
    if bpy.app.version >= (5, 0, 0):
        scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.image_settings.color_depth = "32"
    bpy.ops.wm.save_mainfile()
    import host_plugins.blender

    host_plugins.blender.unregister()


def render(settings):
    if settings["addon"]:
        addon(settings)
    bpy.ops.wm.open_mainfile(filepath=settings["file"])
    scene = bpy.context.scene
    scene.render.filepath = settings["out"]
    bpy.ops.render.render(animation=True)
    if settings["addon"]:
        import host_plugins.blender

        host_plugins.blender.unregister()


{"make": make, "render": render}[sys.argv[-2]](json.loads(Path(sys.argv[-1]).read_text()))
