"""What the window test does inside of Blender: steps, one after the other, from a timer, as an
artist would do them by hand. Run by Blender itself.

The argument after ``--`` is a JSON file, see `running.run_script`. Pictures and ``told.json`` go
into its ``folder``.
"""

import json
import subprocess
import sys
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path

import bpy

SETTINGS = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text())
FOLDER = Path(SETTINGS["folder"])
TOLD = {"stalls": [], "steps": [], "warned": [], "aside": []}
STAGES = {"propagate": "propagating", "matte": "matting"}


def window():
    return bpy.context.window_manager.windows[0]


def area_of(kind):
    return next((a for a in window().screen.areas if a.type == kind), None)


def picture(name):
    """The whole screen, as it is seen."""
    subprocess.run(["import", "-window", "root", str(FOLDER / f"{name}.png")], check=True)


def click(x, y):
    subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", "1"], check=True)


def scroll(steps):
    """Over the panel: negative is down."""
    x, y = SETTINGS["panel"]
    subprocess.run(["xdotool", "mousemove", str(x), str(y)], check=True)
    button = "4" if steps > 0 else "5"
    subprocess.run(["xdotool", "click", "--repeat", str(abs(steps)), button], check=True)


def operator(area, call, **arguments):
    """Call an operator in an area, as its button does."""
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(
        window=window(), screen=window().screen, area=area, region=region
    ):
        return timed(call.idname(), call)(**arguments)


def settle(seconds=0.6):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def steps():
    bpy.ops.preferences.addon_enable(module=SETTINGS["addon"])
    adapter, group, live, panel = (
        import_module(f"{SETTINGS['addon']}.blender.{name}")
        for name in ("adapter", "group", "live", "panel")
    )
    measured(live, group, adapter)
    bpy.context.preferences.addons[SETTINGS["addon"]].preferences.server = SETTINGS["server"]
    bpy.ops.wm.save_as_mainfile(filepath=str(FOLDER / "shot.blend"))
    window().workspace = bpy.data.workspaces["Compositing"]
    yield from settle(1.0)

    # Clip and node.
    clip = bpy.data.movieclips.load(SETTINGS["clip"])
    scene = bpy.context.scene
    scene.active_clip = clip
    scene.frame_start, scene.frame_end = 1, clip.frame_duration
    scene.render.resolution_x, scene.render.resolution_y = clip.size
    tree = adapter.scene_tree(scene, make=True)
    tree.nodes.clear()
    nodes = area_of("NODE_EDITOR")
    nodes.spaces.active.show_region_ui = True
    yield from settle()
    operator(nodes, bpy.ops.dvm.add_node)
    ours = tree.nodes.active
    shot = ours.node_tree
    source = tree.nodes.new("CompositorNodeMovieClip")
    source.clip, source.location = clip, (-460, 160)
    ours.location = (-120, 60)
    adapter.ensure_output(scene)
    output = next(n for n in tree.nodes if n.bl_idname == "CompositorNodeComposite")
    output.location = (220, 160)
    viewer = tree.nodes.new("CompositorNodeViewer")
    viewer.location = (220, 0)
    tree.links.new(source.outputs["Image"], ours.inputs["Image"])
    tree.links.new(ours.outputs["Image"], output.inputs["Image"])
    tree.links.new(ours.outputs["Alpha"], viewer.inputs["Image"])
    tree.nodes.active = ours
    TOLD["uid"] = shot.dvm.uid

    # Masks on the first and the last frame.
    shot.dvm.mask = adapter.new_mask("Trimap", ("core", "edge"))
    for frame in (1, clip.frame_duration):
        scene.frame_set(frame)
        draw_masks(shot.dvm.mask, frame, clip)
        operator(nodes, bpy.ops.dvm.trimap_from_masks)
        yield from settle(1.0)
    TOLD["keyframes"] = [key.frame for key in shot.dvm.keyframes]
    TOLD["trimaps"] = [adapter.absolute(key.path) for key in shot.dvm.keyframes]
    for x, y in SETTINGS["clicks"]:
        click(x, y)
        yield from settle()
    yield from settle(1.5)
    picture("panel")

    # Propagate, and matte: with pictures of the progress.
    for what in ("propagate", "matte"):
        operator(nodes, bpy.ops.dvm.run, what=what)
        state = live.live().state(shot.dvm.uid)
        pictured = False
        while state.busy:
            state = live.live().state(shot.dvm.uid)
            if not pictured and state.stage == STAGES[what] and state.done > 2:
                scroll(-40)
                bpy.ops.dvm.jump(plate=2, tree=shot.name)
                yield from settle(0.5)
                picture(f"{what}-progress")
                pictured = True
            yield
        TOLD["steps"].append({"what": what, "text": state.text, "failed": state.failed,
                              "hint": state.hint})  # fmt: skip
        yield from settle(1.5)
    strip = panel.buckets(live.live().state(shot.dvm.uid).doubts, panel.BUCKETS)
    TOLD["strip"] = [plate for plate, _ in strip]
    TOLD["doubts"] = {str(k): v for k, v in live.live().state(shot.dvm.uid).doubts.items()}
    TOLD["files"] = {k: str(p) for k, p in group.shown(shot).items()}
    bpy.ops.dvm.jump(plate=clip.frame_duration // 2, tree=shot.name)
    yield from settle(2.0)
    scroll(-40)
    yield from settle(1.0)
    picture("result")
    image = bpy.data.images.get("Viewer Node")
    TOLD["viewer"] = seen(image)

    # A render, as F12 begins it, of a frame whose matte has gone: in a thread of Blender's own.
    scene.frame_set(2)
    kept = Path(group.shown(shot)["alpha"]).with_name("alpha.0002.exr").rename(FOLDER / "kept.exr")
    warn, rendered = adapter.warn, []
    adapter.warn = lambda text: (TOLD["warned"].append([text, in_main_thread()]), warn(text))
    bpy.app.handlers.render_complete.append(lambda *_: rendered.append(True))
    bpy.context.preferences.view.render_display_type = "NONE"
    bpy.ops.render.render("INVOKE_DEFAULT")
    end = time.monotonic() + 20
    while not (rendered and TOLD["warned"]) and time.monotonic() < end:
        yield
    yield from settle()
    TOLD["busy"] = live.live().state(shot.dvm.uid).busy
    picture("warned")
    kept.rename(Path(group.shown(shot)["alpha"]).with_name("alpha.0002.exr"))

    # What a farm gets.
    scene.render.filepath = str(FOLDER / "render.")
    scene.render.image_settings.file_format = "PNG"
    scene.frame_end = 2
    bpy.ops.wm.save_mainfile()
    TOLD["uses"] = len(list(adapter.nodes_in_use(scene)))
    bpy.ops.preferences.addon_disable(module=SETTINGS["addon"])
    TOLD["threads"] = [one.name for one in threading.enumerate() if "dvm" in one.name]
    TOLD["done"] = True


def seen(image):
    """Size and mean of what the viewer shows: the backdrop."""
    if image is None or not len(image.pixels):
        return [0, 0, 0.0]
    red = image.pixels[:][::4]
    return [*image.size, sum(red) / len(red)]


def draw_masks(mask, frame, clip):
    """Circles around the disc of the clip: what an artist draws."""
    share = (frame - 1) / max(clip.frame_duration - 1, 1)
    middle = 0.35 + 0.3 * share
    for name, radius in (("core", 0.13), ("edge", 0.19)):
        layer = mask.layers[name]
        if layer.splines:
            points = layer.splines[0].points
        else:
            spline = layer.splines.new()
            spline.use_cyclic = True
            points = spline.points
            points.add(3)
        bend = 0.5523 * radius
        circle = [(radius, 0, 0, bend), (0, radius, -bend, 0), (-radius, 0, 0, -bend),
                  (0, -radius, bend, 0)]  # fmt: skip
        for point, (x, y, dx, dy) in zip(points, circle):
            point.handle_type = "FREE"
            point.co = (middle + x, 0.5 + y)
            point.handle_left = (middle + x - dx, 0.5 + y - dy)
            point.handle_right = (middle + x + dx, 0.5 + y + dy)


def measured(live, group, adapter):
    """Note how long each of our calls holds Blender's main thread."""
    for owner, name in ((live.Live, "pump"), (group, "show_layer"), (group, "connect"),
                        (adapter, "reload"), (adapter, "compose_again")):  # fmt: skip
        setattr(owner, name, timed(name, getattr(owner, name)))


def in_main_thread():
    return threading.current_thread() is threading.main_thread()


def timed(name, function):
    def call(*arguments, **named):
        if not in_main_thread():
            TOLD["aside"].append(name)
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            TOLD["stalls"].append([name, time.perf_counter() - began])

    return call


def run():
    going = steps()

    last = [time.perf_counter()]

    def tick():
        now = time.perf_counter()
        TOLD["gap"] = max(TOLD.get("gap", 0.0), now - last[0])
        last[0] = now
        try:
            next(going)
        except StopIteration:
            finish()
            return None
        except Exception:  # noqa: BLE001  told to the test, which fails by it
            TOLD["error"] = traceback.format_exc()
            finish()
            return None
        return 0.05

    def finish():
        (FOLDER / "told.json").write_text(json.dumps(TOLD))
        bpy.ops.wm.quit_blender()

    bpy.app.timers.register(tick, first_interval=2.0)


run()
