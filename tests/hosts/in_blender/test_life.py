"""What happens to a node in an artist's day: undo, copies, renamed things, files that move, links,
masks, paintings, rendered inputs, an add-on that is disabled."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import bpy
import pytest

from host_plugins.blender import (
    adapter,
    farm,
    group,
    live,
    paths,
    preferences,
    shots,
    showing,
)
from host_plugins.client.errors import InputError
from tests.hosts.contract import finish, near, started
from tests.hosts.serving import (
    PYTHON,
    REPOSITORY,
    Server,
    make_clip,
    make_mattes,
    read_pictures,
    run_in_project,
)


def tree_of(node):
    return adapter.tree_of(node)


def draw(mask, name, centre, half):
    """A square on a layer of a mask; place and size in parts of the larger side."""
    layer = mask.layers.get(name) or mask.layers.new(name=name)
    spline = layer.splines.new()
    spline.use_cyclic = True
    spline.points.add(3)
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    for point, (x, y) in zip(spline.points, corners):
        point.handle_type = "VECTOR"
        place = (centre[0] + half * x, centre[1] + half * y)
        point.co = point.handle_left = point.handle_right = place
    return layer


def missing(frames):
    """What a render of the scene lacks."""
    return farm.missing(adapter.nodes_in_use(bpy.context.scene), frames)


def wait(host, node):
    while live.live().pending(node):
        live.live().pump()
        time.sleep(0.01)


def test_masks_become_a_trimap_at_plate_size(host, clip):
    node = host.new_node(clip, 1001, 1006)
    shot = tree_of(node).dvm
    bpy.ops.dvm.new_masks()
    draw(shot.mask, "core", (0.5, 0.5), 0.1)
    draw(shot.mask, "edge", (0.5, 0.5), 0.2)
    bpy.context.scene.frame_set(3)
    bpy.ops.dvm.trimap_from_masks()
    wait(host, node)
    assert host.keyframes(node) == [1003]
    path = Path(adapter.absolute(shot.keyframes[0].path))
    _, (rows, columns, _), values = read_pictures(path)[str(path)]
    assert (rows, columns) == (48, 64)
    # Mask space is the larger side: 64 pixels, and 8 above and below of the 48 rows.
    inner = {(y, x) for y in range(18, 30) for x in range(26, 38)}
    for y in range(rows):
        for x in range(columns):
            value = round(255 * values[y * columns + x])
            if (y, x) in inner:
                assert value == 255
            elif not (11 <= y < 37 and 19 <= x < 45):
                assert value == 0
            elif 12 <= y < 36 and 20 <= x < 44 and not (17 <= y < 31 and 25 <= x < 39):
                assert value == 128
    host.run(node, "matte")
    assert not finish(host, node).failed


def test_a_core_alone_gets_a_band(host, clip):
    node = host.new_node(clip, 1001, 1006)
    shot = tree_of(node).dvm
    bpy.ops.dvm.new_masks()
    draw(shot.mask, "core", (0.5, 0.5), 0.1)
    shot.band, shot.shrink = 5, 2
    bpy.context.scene.frame_set(1)
    bpy.ops.dvm.trimap_from_masks()
    wait(host, node)
    path = Path(adapter.absolute(shot.keyframes[0].path))
    _, (_, columns, _), values = read_pictures(path)[str(path)]
    row = [round(255 * v) for v in values[24 * columns : 25 * columns]]
    assert row.count(255) in (8, 9) and row.count(128) in (14, 15, 16)


def test_a_trimap_that_cannot_be_written_is_said(host, clip, tmp_path):
    node = host.new_node(clip, 1001, 1006)
    shot = tree_of(node).dvm
    bpy.ops.dvm.new_masks()
    draw(shot.mask, "core", (0.5, 0.5), 0.1)
    bpy.context.scene.frame_set(1)
    (tmp_path / "dvm").write_text("a file where the folder should be")
    bpy.ops.dvm.trimap_from_masks()
    wait(host, node)
    told = host.told(node)
    assert told.failed and str(tmp_path / "dvm") in told.text and "permissions" in told.hint


def test_what_nobody_foresaw_is_told_and_work_goes_on(host, clip, capsys):
    node = started(host, clip)

    def broken():
        raise ZeroDivisionError("of the test")

    live.live().errand(node, broken, print)
    wait(host, node)
    told = host.told(node)
    assert told.failed and "ZeroDivisionError: of the test" in told.text
    assert "Traceback" in capsys.readouterr().err
    host.run(node, "matte")
    assert not finish(host, node).failed


def test_an_empty_mask_is_said(host, clip):
    node = host.new_node(clip, 1001, 1006)
    bpy.ops.dvm.new_masks()
    with pytest.raises(RuntimeError, match="no shapes"):
        bpy.ops.dvm.trimap_from_masks()
    assert host.keyframes(node) == []


def test_frames_outside_of_the_clip_are_said(host, clip):
    host.new_node(clip, 1001, 1006)
    bpy.context.scene.frame_set(40)
    with pytest.raises(RuntimeError, match="no plate 1040"):
        bpy.ops.dvm.keyframe_add(filepath=str(clip.parent / "key.1001.png"))


def test_a_painting_becomes_a_trimap(host, clip):
    node = host.new_node(clip, 1001, 1006)
    bpy.context.scene.frame_set(2)
    bpy.ops.dvm.paint()
    wait(host, node)
    image = tree_of(node).dvm.keyframes[0].image
    assert tuple(image.size) == (64, 48)
    pixels = list(image.pixels)
    assert 0.05 < sum(pixels[0::4]) / (64 * 48) < 0.95  # the plate is in it
    for y in range(48):
        for x in range(64):
            if 10 <= x < 40:
                colour = (1, 0, 0) if 20 <= x < 30 else (0, 0, 1)
                pixels[4 * (y * 64 + x) : 4 * (y * 64 + x) + 3] = colour
    image.pixels = pixels
    bpy.ops.dvm.use_painting()
    wait(host, node)
    path = Path(adapter.absolute(tree_of(node).dvm.keyframes[0].path))
    _, _, values = read_pictures(path)[str(path)]
    row = [round(255 * v) for v in values[5 * 64 : 6 * 64]]
    assert row == [0] * 10 + [128] * 10 + [255] * 10 + [128] * 10 + [0] * 24
    bpy.ops.dvm.paint()  # again: what was begun is opened
    assert tree_of(node).dvm.keyframes[0].image == image
    # The painting is kept beside the .blend.
    assert Path(adapter.absolute(image.filepath_raw)).is_file()


def test_a_rendered_input_is_matted(host, clip):
    """What comes into the node is not a clip but something made of it."""
    node = host.new_node(clip, 1001, 1006)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 6
    scene.render.resolution_x, scene.render.resolution_y = 64, 48
    scene.render.resolution_percentage = 100
    inside = adapter.scene_tree(scene)
    ours = inside.nodes.active
    source = inside.nodes.new("CompositorNodeMovieClip")
    source.clip = tree_of(node).dvm.clip
    flip = inside.nodes.new("CompositorNodeFlip")
    if "Flip X" in flip.inputs:  # a property before 4.5, and on
        flip.inputs["Flip X"].default_value = True
    inside.links.new(source.outputs["Image"], flip.inputs["Image"])
    inside.links.new(flip.outputs["Image"], ours.inputs["Image"])
    inside.links.new(ours.outputs["Image"], adapter.output_socket(scene))
    before = len(bpy.data.scenes), len(bpy.data.node_groups), scene.frame_current
    bpy.ops.dvm.render_plates()
    assert (len(bpy.data.scenes), len(bpy.data.node_groups), scene.frame_current) == before
    assert tree_of(node).dvm.source == "INPUT"
    plate = shots.rendered_folder(tree_of(node)) / "plate.0003.exr"
    original = clip.parent / "plate.1003.exr"
    read = read_pictures(plate, original)
    names, (rows, columns, count), values = read[str(plate)]
    red = values[names.index("R") :: count]
    wanted = read[str(original)][2][0::3]
    mirrored = [wanted[y * columns + columns - 1 - x] for y in range(rows) for x in range(columns)]
    assert near(red, mirrored)
    bpy.ops.dvm.keyframe_add(filepath=str(clip.parent / "key.1001.png"), frame=1)
    host.run(node, "matte")
    told = finish(host, node)
    assert not told.failed, told
    assert host.files(node, 3)["alpha"].is_file()


def put_clip_before(node, frames):
    """Have the node's clip come into it, for some frames of the scene; the node."""
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end, scene.frame_step = frames[0], frames[-1], frames.step
    scene.render.resolution_x, scene.render.resolution_y = 64, 48
    scene.render.resolution_percentage = 100
    inside = adapter.scene_tree(scene)
    ours = next(n for n in inside.nodes if n.bl_idname == adapter.GROUP)
    source = inside.nodes.new("CompositorNodeMovieClip")
    source.clip = tree_of(node).dvm.clip
    inside.links.new(source.outputs["Image"], ours.inputs["Image"])
    return ours


@pytest.fixture
def stopped(monkeypatch):
    """What renders were stopped for: the process would end."""
    said = []
    monkeypatch.setattr(farm, "stop", lambda message, hint: said.append(message))
    return said


def test_plates_are_rendered_though_the_nodes_image_goes_on(host, clip, stopped, tmp_path):
    """Onto another node, as it does in a comp; nothing has been matted."""
    node = host.new_node(clip, 1001, 1006)
    ours = put_clip_before(node, range(1, 3))
    scene = bpy.context.scene
    inside = adapter.scene_tree(scene)
    over = inside.nodes.new("CompositorNodeAlphaOver")
    inside.links.new(ours.outputs["Image"], over.inputs[2])
    inside.links.new(over.outputs["Image"], adapter.output_socket(scene))
    tree_of(node).dvm.source = "INPUT"
    assert bpy.ops.dvm.render_plates() == {"FINISHED"}
    bpy.ops.dvm.keyframe_add(filepath=str(clip.parent / "key.1001.png"), frame=1)
    assert bpy.ops.dvm.render_plates() == {"FINISHED"}  # again, with a keyframe and no matte
    assert "2 plates rendered" in host.told(node).text
    assert stopped == []
    host.connect_to(str(tmp_path / "no-server.json"))
    farm.before_render(scene)  # the scene itself is not let off
    assert len(stopped) == 1


def test_a_render_in_a_window_says_what_is_missing_and_touches_nothing(
    host, clip, monkeypatch, capsys
):
    """Its handlers are called in the render's thread."""
    node = started(host, clip)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 6
    inside = adapter.scene_tree(scene)
    inside.links.new(inside.nodes.active.outputs["Image"], adapter.output_socket(scene))
    host.run(node, "matte")
    assert not finish(host, node).failed
    for plate in (1002, 1005):
        host.files(node, plate)["alpha"].unlink()
    asked, said, aside = [], [], []
    monkeypatch.setattr(adapter, "in_background", lambda: False)
    monkeypatch.setattr(adapter, "soon", asked.append)
    monkeypatch.setattr(adapter, "warn", said.append)
    for name in ("run", "pump", "errand"):

        def watched(*given, before=getattr(live.Live, name), name=name):
            if threading.current_thread() is not threading.main_thread():
                aside.append(name)
            return before(*given)

        monkeypatch.setattr(live.Live, name, watched)

    def render():
        farm.before_render(scene)
        farm.before_frame(scene)

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert aside == said == [] and len(asked) == 1
    asked[0]()  # by the main thread
    wait(host, "")
    (text,) = said
    assert "plate 1002" in text and "2 plates lack theirs" in text and "Press Matte on" in text
    assert text in capsys.readouterr().err
    assert not live.live().busy() and not host.files(node, 1002)["alpha"].exists()
    host.files(node, 1002)["alpha"].write_bytes(b"there")
    host.files(node, 1005)["alpha"].write_bytes(b"there")
    asked[0]()
    wait(host, "")
    assert said == [text]


def test_plates_behind_another_node_want_its_mattes(host, clip):
    node, behind = started(host, clip), host.new_node(clip, 1001, 1006)
    ours = put_clip_before(node, range(1, 7))
    inside = adapter.scene_tree(bpy.context.scene)
    last = next(n for n in inside.nodes if n.bl_idname == adapter.GROUP and n != ours)
    inside.links.new(ours.outputs["Image"], last.inputs["Image"])
    name = tree_of(behind).name
    with pytest.raises(RuntimeError, match=f"matte of plate 1001 of {tree_of(node).name}"):
        bpy.ops.dvm.render_plates(tree=name)
    assert host.told(behind).failed and not shots.rendered_folder(tree_of(behind)).exists()
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert bpy.ops.dvm.render_plates(tree=name) == {"FINISHED"}


def test_plates_of_two_renders_are_not_mixed(host, clip):
    node = host.new_node(clip, 1001, 1006)
    put_clip_before(node, range(1, 5))
    bpy.ops.dvm.render_plates()
    assert shots.source_of(tree_of(node)).plates == range(1, 5)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 5, 6  # right after those there are
    bpy.ops.dvm.render_plates()
    assert shots.source_of(tree_of(node)).plates == range(5, 7)
    live.live().render_plates(scene, tree_of(node))
    while not live.live().state(node).done:
        live.live().pump()
    host.cancel(node)
    finish(host, node)
    # The first of them may be another picture than the second.
    with pytest.raises(InputError, match="not to the end"):
        shots.source_of(tree_of(node))


def test_every_other_plate_is_rendered_and_matted(host, clip):
    node = host.new_node(clip, 1001, 1006)
    put_clip_before(node, range(1, 6, 2))
    bpy.ops.dvm.render_plates()
    assert shots.source_of(tree_of(node)).plates == range(1, 6, 2)
    key = str(clip.parent / "key.1001.png")
    with pytest.raises(RuntimeError, match="no plate 2: its plates are 1 to 5, 2 apart"):
        bpy.ops.dvm.keyframe_add(filepath=key, frame=2)
    bpy.ops.dvm.keyframe_add(filepath=key, frame=1)
    host.run(node, "matte")
    told = finish(host, node)
    assert not told.failed and told.total == 3, told
    assert [host.files(node, n)["alpha"].is_file() for n in (1, 2, 3, 5)] == [
        True,
        False,
        True,
        True,
    ]
    shot = tree_of(node).dvm
    shot.use_range, shot.first, shot.last = True, 2, 4
    assert shots.numbers_of(tree_of(node), shots.source_of(tree_of(node))) == range(3, 5, 2)


def test_rendering_plates_from_a_scene_that_is_gone_is_said(host, clip):
    """Undo takes the copy away that plates are rendered from."""
    node = host.new_node(clip, 1001, 1006)
    put_clip_before(node, range(1, 7))
    live.live().render_plates(bpy.context.scene, tree_of(node))
    while live.live().state(node).done < 2:
        live.live().pump()
    bpy.data.scenes.remove(bpy.data.scenes["DVM plates"])
    told = finish(host, node)
    assert told.failed and "removed before frame 3" in told.text and "again" in told.hint
    assert tree_of(node).dvm.source == "CLIP"


def test_nothing_at_the_nodes_input_is_said(host, clip):
    host.new_node(clip, 1001, 1006)
    with pytest.raises(RuntimeError, match="Nothing is linked"):
        bpy.ops.dvm.render_plates()


def test_rendering_plates_can_be_cancelled(host, clip):
    node = host.new_node(clip, 1001, 1006)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 6
    inside = adapter.scene_tree(scene)
    ours = inside.nodes.active
    source = inside.nodes.new("CompositorNodeMovieClip")
    source.clip = tree_of(node).dvm.clip
    inside.links.new(source.outputs["Image"], ours.inputs["Image"])
    live.live().render_plates(scene, tree_of(node))
    while live.live().state(node).done < 2:
        live.live().pump()
    host.cancel(node)
    told = finish(host, node)
    assert not told.failed and "cancel" in told.text
    made = sorted(shots.rendered_folder(tree_of(node)).glob("plate.*.exr"))
    assert 2 <= len(made) < 6
    assert [one.name for one in bpy.data.scenes] == [scene.name]


def test_a_clip_that_was_moved_is_followed_by_itself(host, clip):
    node = started(host, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    tree = tree_of(node)
    tree.dvm.clip.frame_start = 31
    end = time.monotonic() + 5
    while tree.nodes["alpha"].frame_start != 31 and time.monotonic() < end:
        live.live().pump()
        time.sleep(0.05)
    assert tree.nodes["alpha"].frame_start == tree.nodes["trimap"].frame_start == 31


def as_image(node, clip):
    """Have a node take its plates from an image instead of the clip."""
    image = bpy.data.images.load(str(clip).replace("####", "1001"))
    image.source = "SEQUENCE"
    shot = tree_of(node).dvm
    shot.source, shot.image = "IMAGE", image
    return shot


def cut_of(tree):
    return [adapter.has_alpha_mode(tree.nodes["cut"], one) for one in ("APPLY", "REPLACE_ALPHA")]


def test_an_image_that_was_moved_is_followed_by_itself(host, clip):
    node = started(host, clip)
    shot = as_image(node, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    tree = tree_of(node)
    assert tree.nodes["alpha"].frame_start == 1 and cut_of(tree) == [True, False]
    shot.start, shot.premultiply = 101, False
    end = time.monotonic() + 5
    while tree.nodes["alpha"].frame_start != 101 and time.monotonic() < end:
        live.live().pump()
        time.sleep(0.05)
    assert {tree.nodes[layer].frame_start for layer in group.shown(tree)} == {101}
    assert cut_of(tree) == [False, True]
    shot.start = 1
    bpy.context.scene.frame_start = bpy.context.scene.frame_end = 3
    ours = adapter.scene_tree(bpy.context.scene).nodes.active
    inside = adapter.scene_tree(bpy.context.scene)
    inside.links.new(ours.outputs["Image"], adapter.output_socket(bpy.context.scene))
    farm.before_render(bpy.context.scene)  # at once where no timer does it
    assert tree.nodes["alpha"].frame_start == 1
    # Plates that cannot be counted now do not make a matte shorter.
    clip.parent.rename(clip.parent.with_name("away"))
    assert not showing.follow(tree) and tree.nodes["alpha"].frame_duration == 6


def test_what_is_shown_again_lies_where_the_plates_do(host, clip, monkeypatch):
    monkeypatch.setattr(showing, "follow", lambda tree: False)  # before it has got round to it
    node = started(host, clip)
    shot = as_image(node, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    tree = tree_of(node)
    for what, start in (("matte", 101), ("propagate", 51)):
        shot.start, shot.premultiply = start, not shot.premultiply
        host.run(node, what)
        assert not finish(host, node).failed
        assert len(group.shown(tree)) == 4
        assert {tree.nodes[layer].frame_start for layer in group.shown(tree)} == {start}
        assert cut_of(tree) == [shot.premultiply, not shot.premultiply]


def test_propagating_after_a_matte_leaves_its_image(host, clip):
    node = started(host, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    tree, before = tree_of(node), host.files(node, 1003)
    host.add_keyframe(node, 1003, clip.parent / "key.1003.png")
    host.run(node, "propagate")
    assert not finish(host, node).failed
    after = host.files(node, 1003)
    assert after["trimap"] != before["trimap"]
    assert (after["alpha"], after["foreground"]) == (before["alpha"], before["foreground"])
    assert tree.nodes["cut"].inputs["Image"].links[0].from_node == tree.nodes["foreground"]
    host.set_option(node, "foreground", False)
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert "foreground" not in host.files(node, 1003)


@pytest.mark.parametrize("foreground", [True, False])
@pytest.mark.parametrize("premultiplied", [True, False])
def test_the_image_as_it_is_wanted(host, clip, tmp_path, foreground, premultiplied):
    node = started(host, clip)
    host.set_option(node, "foreground", foreground)
    host.set_option(node, "premultiply", premultiplied)
    host.run(node, "matte")
    assert not finish(host, node).failed
    files = host.files(node, 1002)
    assert ("foreground" in files) == foreground
    colours = files["foreground"] if foreground else clip.parent / "plate.1002.exr"
    out = host.render(node, 1002, tmp_path / "out")
    read = read_pictures(files["alpha"], colours, out["Image"])
    alpha = read[str(files["alpha"])][2]
    names, shape, values = read[str(out["Image"])]
    for channel, name in enumerate("RGB"):
        straight = read[str(colours)][2][channel::3]
        wanted = [c * a if premultiplied else c for c, a in zip(straight, alpha)]
        assert near(values[names.index(name) :: shape[2]], wanted)
    assert near(values[names.index("A") :: shape[2]], alpha)


def test_a_server_that_is_started_from_here(host, clip, tmp_path, monkeypatch):
    """No server runs: one is started by its command, mattes, and ends."""
    monkeypatch.setattr(adapter, "user_folder", lambda: tmp_path / "user")
    program = Path(PYTHON).parent / "dvm"
    host._set = preferences.Options(command=str(program))
    bpy.ops.dvm.start_server()
    end = time.monotonic() + 60
    while not live.live().server.up:
        assert time.monotonic() < end, live.live().server
        live.live().pump()
        time.sleep(0.05)
    assert "st_fam_s" in live.live().server.text
    assert "closed_form" in live.live().server.networks
    node = started(host, clip)
    host.set_option(node, "network", "closed_form")
    host.run(node, "matte")
    told = finish(host, node, 90)
    assert not told.failed, told
    assert live.live().has_local
    bpy.ops.dvm.stop_server()
    assert not live.live().has_local and not live.live().server.up


def test_a_command_that_is_not_there_is_said(host, tmp_path):
    host._set = preferences.Options(command=str(tmp_path / "dvm"))
    with pytest.raises(RuntimeError, match="is not there"):
        bpy.ops.dvm.start_server()


def test_two_nodes_on_one_clip_are_two_shots(host, clip):
    one, other = started(host, clip), host.new_node(clip, 1001, 1006)
    assert one != other and host.keyframes(other) == []
    host.add_keyframe(other, 1002, clip.parent / "key.1002.png")
    for node in (one, other):
        host.run(node, "matte")
    for node in (one, other):
        assert not finish(host, node).failed
    assert host.files(one, 1001) != host.files(other, 1001)


def test_undo_takes_back_a_keyframe_and_leaves_a_job_alone(host, clip):
    node = started(host, clip)
    host.set_option(node, "network", "paint slow=0.2")
    bpy.ops.ed.undo_push(message="before")
    host.run(node, "matte")
    host.add_keyframe(node, 1003, clip.parent / "key.1003.png")
    bpy.ops.ed.undo_push(message="keyframe")
    assert host.keyframes(node) == [1001, 1003, 1006]
    bpy.ops.ed.undo()
    assert host.keyframes(node) == [1001, 1006]
    assert not finish(host, node).failed
    assert host.files(node, 1003)["alpha"].is_file()


def test_renamed_scenes_and_nodes_change_nothing(host, clip):
    node = started(host, clip)
    host.run(node, "matte")
    bpy.context.scene.name = "renamed"
    tree_of(node).name = "hair"
    assert not finish(host, node).failed
    files = host.files(node, 1001)
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert host.files(node, 1001) == files


def test_an_unsaved_file_has_its_mattes_in_the_users_folder(host, clip, tmp_path, monkeypatch):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.data.filepath == ""
    monkeypatch.setattr(adapter, "user_folder", lambda: tmp_path / "user")
    adapter.scene_tree(bpy.context.scene, make=True).nodes.clear()
    node = started(host, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    alpha = host.files(node, 1001)["alpha"]
    assert alpha.is_file() and tmp_path / "user" in alpha.parents


def test_a_file_that_moves_with_its_folder_finds_all(host, clip, tmp_path):
    """Paths are kept relative to the .blend."""
    node = started(host, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    movie_clip = tree_of(node).dvm.clip
    movie_clip.filepath = bpy.path.relpath(movie_clip.filepath)  # as Blender opens clips
    bpy.ops.wm.save_mainfile()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("shot.blend", "dvm", "clip"):
        shutil.move(str(tmp_path / name), str(elsewhere / name))
    bpy.ops.wm.open_mainfile(filepath=str(elsewhere / "shot.blend"))
    assert missing(range(1, 7)) == []
    files = host.files(node, 1003)
    assert elsewhere in files["alpha"].parents and files["alpha"].is_file()
    # Another path is another shot to the server: it is matted anew, beside the file.
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert elsewhere / "dvm" in host.files(node, 1003)["alpha"].parents


def test_a_file_saved_into_another_folder_finds_all(host, clip, tmp_path):
    """Save As, which rewrites Blender's own relative paths and not ours."""
    node = host.new_node(clip, 1001, 1006)
    make_mattes(tmp_path)
    tree_of(node).dvm.garbage_matte = "//garbage.####.png"
    tree_of(node).dvm.core_matte = "//core.png"
    folder = shots.trimap_folder(tree_of(node))
    folder.mkdir(parents=True)
    for plate in (1001, 1006):
        trimap = shutil.copy(clip.parent / f"key.{plate}.png", folder)
        host.add_keyframe(node, plate, trimap)
    put_clip_before(node, range(1, 3))
    bpy.ops.dvm.render_plates()
    tree_of(node).dvm.source = "CLIP"
    (tmp_path / "b").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "b" / "shot_v2.blend"))
    host.run(node, "matte")
    told = finish(host, node)
    assert not told.failed, told
    alpha = host.files(node, 1003)["alpha"]
    assert tmp_path / "b" in alpha.parents
    row = read_pictures(alpha)[str(alpha)][2][36 * 64 : 37 * 64]
    assert set(row[:25]) == {0.0} and set(row[26:]) != {0.0}  # by the garbage matte
    tree_of(node).dvm.source = "INPUT"
    assert shots.source_of(tree_of(node)).plates == range(1, 3)
    # From here on they lead there again, also where both folders have moved.
    bpy.ops.wm.save_mainfile()
    for folder in (tmp_path, tmp_path / "b"):
        assert str(folder) not in "".join(one.path for one in tree_of(node).dvm.keyframes)
    (tmp_path / "moved").mkdir()
    for name in ("b", "dvm", "garbage.1001.png"):
        shutil.move(str(tmp_path / name), str(tmp_path / "moved" / name))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "b" / "shot_v2.blend"))
    for one in tree_of(node).dvm.keyframes:
        assert Path(paths.find(one, "path")).is_file()
    assert paths.find(tree_of(node).dvm, "garbage_matte").startswith(str(tmp_path / "moved"))
    assert shots.source_of(tree_of(node)).plates == range(1, 3)


def test_a_trimap_that_is_neither_here_nor_where_it_was_is_said(host, clip, tmp_path):
    node = started(host, clip)
    shot = tree_of(node).dvm
    shot.keyframes[0].path_at = ""  # as files had it that were saved before there was that
    bpy.ops.wm.save_mainfile()
    (tmp_path / "b").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "b" / "shot.blend"))
    first, last = shot.keyframes
    assert [paths.find(one, "path") for one in (first, last)] == [
        str(clip.parent / f"key.{plate}.png") for plate in (1001, 1006)
    ]
    last.path = "//key.1006.png"  # set anew: where the one before it was is no matter now
    assert not Path(paths.find(last, "path")).exists()
    bpy.ops.wm.save_mainfile()
    (tmp_path / "c").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "c" / "shot.blend"))
    host.run(node, "matte")
    told = host.told(node)
    assert told.failed and "plate 1006" in told.text
    for folder in ("b", "c"):
        assert str(tmp_path / folder / "key.1006.png") in told.text


def test_a_linked_node_is_shown_and_not_touched(host, clip, tmp_path):
    node = started(host, clip)
    host.run(node, "matte")
    assert not finish(host, node).failed
    name = tree_of(node).name
    bpy.ops.wm.save_mainfile()
    library = bpy.data.filepath
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other.blend"))
    with bpy.data.libraries.load(library, link=True) as (there, here):
        here.node_groups = [one for one in there.node_groups if one == name]
    linked = bpy.data.node_groups[name]
    adapter.scene_tree(bpy.context.scene, make=True).nodes.clear()
    adapter.add_node(bpy.context.scene, linked)
    assert not adapter.is_editable(linked)
    assert group.shown(linked)["alpha"].is_file()
    with pytest.raises(RuntimeError, match="make it local first"):
        bpy.ops.dvm.run(what="matte")
    live.live().pump()
    local = linked.copy()  # as Make Local does while the linked one is in use
    live.live().part_twins()
    assert linked.dvm.uid == node != local.dvm.uid


def test_disabled_during_a_job_nothing_hangs_and_no_thread_stays(host, clip):
    node = started(host, clip)
    host.set_option(node, "network", "paint slow=0.5")
    host.run(node, "matte")
    while not live.live().state(node).arrived:
        live.live().pump()
    began = time.monotonic()
    assert host.close() == []
    assert time.monotonic() - began < 10
    assert not [one for one in threading.enumerate() if one is not threading.main_thread()]


def test_a_movie_is_a_clip_too(host, tmp_path):
    clip = make_clip(tmp_path / "frames", 1, 8, suffix=".png")
    movie = tmp_path / "movie.mp4"
    write_movie(clip, movie, 8)
    clip_data = bpy.data.movieclips.load(str(movie))
    bpy.ops.dvm.add_node()
    tree = adapter.active_tree(bpy.context)
    tree.dvm.clip = clip_data
    node = tree.dvm.uid
    timing = shots.source_of(tree).timing
    assert (timing.first, timing.last) == (1, 8)
    for plate in (1, 8):
        host.add_keyframe(node, plate, clip.parent / f"key.{plate:04d}.png")
    host.run(node, "matte")
    told = finish(host, node)
    assert not told.failed, told
    assert host.files(node, 8)["alpha"].is_file()


def write_movie(clip, path, count):
    code = """
import json, sys
from pathlib import Path
import av, numpy as np
import OpenImageIO as oiio
pattern, path, count = json.loads(sys.argv[1])
with av.open(path, "w") as out:
    stream = out.add_stream("mpeg4", rate=24)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for i in range(1, count + 1):
        pixels = oiio.ImageBuf(pattern.replace("####", f"{i:04d}")).get_pixels(oiio.UINT8)
        for packet in stream.encode(av.VideoFrame.from_ndarray(pixels[..., :3], format="rgb24")):
            out.mux(packet)
    for packet in stream.encode():
        out.mux(packet)
"""
    run_in_project(code, [str(clip), str(path), count])


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_said(host, clip, server, tmp_path):
    """By value, mattes are written here; the folder of mattes is made one that nothing fits in."""
    from host_plugins.client import files

    def full(path, data, frame=None):
        from host_plugins.client.errors import CapacityError

        with Path("/dev/full").open("wb", buffering=0) as file:
            try:
                file.write(b"x")
            except OSError as error:
                raise CapacityError(
                    "capacity.disk_full", f"no space left to write {path}", frame=frame,
                    hint="free some space and submit again; finished frames are kept",
                ) from error  # fmt: skip

    host.connect_to(str(server.file), by_value=True)
    node = started(host, clip)
    before = files.write_atomically
    try:
        # What the worker thread writes mattes with; the manifest has its own, written before.
        from host_plugins.client import delivery

        delivery.files.write_atomically = full
        host.run(node, "matte")
        told = finish(host, node)
    finally:
        files.write_atomically = before
    assert told.failed and "space" in told.text and "free" in told.hint
    host.run(node, "matte")
    assert not finish(host, node).failed


def test_a_part_of_the_clip(host, clip):
    node = started(host, clip)
    shot = tree_of(node).dvm
    shot.use_range, shot.first, shot.last = True, 1001, 1003
    host.run(node, "matte")
    assert not finish(host, node).failed
    assert host.files(node, 1003)["alpha"].is_file()
    assert not host.files(node, 1004)["alpha"].exists()
    assert missing(range(1, 7)) == []  # beyond the part nothing is missed
    shot.last = 1999
    host.run(node, "matte")
    told = host.told(node)
    assert told.failed and "1999" in told.text and "1006" in told.text


def test_a_server_that_knows_its_clients_by_their_keys(host, clip, tmp_path):
    state = tmp_path / "locked"
    code = """
import json, shutil, sys
from pathlib import Path
import zmq.auth
folder, clients = map(Path, json.loads(sys.argv[1]))
clients.mkdir(parents=True)
folder.mkdir()
public, secret = zmq.auth.create_certificates(folder, "artist")
shutil.copy(public, clients)
zmq.auth.create_certificates(folder, "stranger")
"""
    run_in_project(code, [str(tmp_path / "own"), str(state / "keys" / "clients")])
    locked = Server(state, curve=True).start()
    try:
        node = started(host, clip)
        for name, comes_in in (("stranger", False), ("artist", True), ("nobody", False)):
            keys = str(tmp_path / "own" / f"{name}.key_secret")
            host._set = preferences.Options(server=str(locked.file), keys=keys, travel="PATHS")
            host.run(node, "matte")
            told = finish(host, node)
            assert told.failed != comes_in, (name, told)
            if name == "nobody":
                assert "nobody.key_secret" in told.text and "preferences" in told.hint
    finally:
        locked.kill()


QUIT = """
import json, sys
from pathlib import Path
sys.path[:0] = [{repository!r}]
sys.path.append({vendor!r})
import bpy
import host_plugins.blender as addon
from host_plugins.blender import adapter, live, preferences
preferences.current = lambda: preferences.Options(server={server!r}, travel="PATHS")
bpy.ops.wm.read_factory_settings(use_empty=True)
addon.register()
bpy.ops.wm.save_as_mainfile(filepath={file!r})
bpy.ops.dvm.add_node()
(tree,) = adapter.shot_trees()
tree.dvm.clip = bpy.data.movieclips.load({clip!r})
tree.dvm.network = "paint slow=0.5"
for plate in (1001, 1006):
    path = str(Path({clip!r}).with_name("key.%d.png" % plate))
    bpy.ops.dvm.keyframe_add(filepath=path, frame=plate)
bpy.ops.dvm.run(what="matte")
while not live.live().state(tree.dvm.uid).arrived:
    live.live().pump()
print("leaving", flush=True)
"""


def test_blender_quits_during_a_job(server, clip, tmp_path):
    """Without a word to the add-on, as it does when its window is closed."""
    code = QUIT.format(
        repository=str(REPOSITORY), vendor=str(REPOSITORY / ".hosts" / "vendor"),
        server=str(server.file), file=str(tmp_path / "quit.blend"),
        clip=str(clip).replace("####", "1001"),
    )  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0 and "leaving" in ran.stdout, ran.stdout[-1000:] + ran.stderr[-2000:]
    assert "Traceback" not in ran.stderr
    finished = list((tmp_path / "dvm" / "mattes").glob("*/alpha.100?.exr"))
    assert finished and not list((tmp_path / "dvm" / "mattes").glob("*/.*tmp*"))


@pytest.mark.parametrize("pressed", ["original", "copy"])
def test_a_copy_gets_a_shot_of_its_own_and_the_original_keeps_its(host, clip, pressed):
    node = started(host, clip)
    tree = tree_of(node)
    copy = tree.copy()
    assert copy.dvm.uid == node
    bpy.ops.dvm.update(tree=(tree if pressed == "original" else copy).name)
    assert tree.dvm.uid == node != copy.dvm.uid
    other = copy.dvm.uid
    tree.name, copy.name = "zebra", "ape"
    live.live().part_twins()
    third = tree.copy()
    third.name = "aardvark"
    bpy.ops.dvm.update(tree=third.name)
    assert (tree.dvm.uid, copy.dvm.uid) == (node, other) and third.dvm.uid not in (node, other)


def test_copies_of_a_file_without_owners(host, clip):
    """As they were saved before a shot knew its group."""
    node = started(host, clip)
    tree = tree_of(node)
    copy = tree.copy()
    tree.dvm.owner = copy.dvm.owner = ""
    bpy.ops.dvm.update(tree=tree.name)
    assert tree.dvm.uid == node != copy.dvm.uid


def test_a_node_that_is_copied_while_it_runs_can_be_cancelled(host, clip):
    node = started(host, clip)
    host.set_option(node, "network", "paint slow=0.5")
    host.run(node, "matte")
    tree = tree_of(node)
    while not live.live().state(node).arrived:
        live.live().pump()
    copy = tree.copy()
    bpy.ops.dvm.jump(tree=tree.name, plate=1002)
    bpy.ops.dvm.cancel(tree=tree.name)
    assert tree.dvm.uid == node and live.live().state(node).stopping
    bpy.ops.dvm.update(tree=copy.name)  # nor is it the original that gets another uid now
    assert tree.dvm.uid == node != copy.dvm.uid
    assert "cancelled" in finish(host, node).text


def test_nothing_is_guessed_of_a_node_that_runs(host, clip):
    node = started(host, clip)
    host.set_option(node, "network", "paint slow=0.5")
    host.run(node, "matte")
    tree = tree_of(node)
    copy = tree.copy()
    copy.dvm.owner = copy.name  # as if both had been
    bpy.ops.dvm.new_masks(tree=copy.name)
    assert tree.dvm.uid == copy.dvm.uid == node
    assert not finish(host, node).failed
    bpy.ops.dvm.update(tree=copy.name)
    assert tree.dvm.uid == node != copy.dvm.uid


def test_a_trimap_that_a_copy_has_too_is_not_written_over(host, clip):
    node = host.new_node(clip, 1001, 1006)
    tree = tree_of(node)
    bpy.ops.dvm.new_masks()
    draw(tree.dvm.mask, "core", (0.5, 0.5), 0.1)
    bpy.context.scene.frame_set(1)
    bpy.ops.dvm.trimap_from_masks()
    wait(host, node)
    copy = tree.copy()
    (path,) = [Path(paths.find(one, "path")) for one in copy.dvm.keyframes]
    before = path.read_bytes()
    for band in (5, 9):
        tree.dvm.band = band
        bpy.ops.dvm.trimap_from_masks(tree=tree.name)
        wait(host, node)
        assert [paths.find(one, "path") for one in copy.dvm.keyframes] == [str(path)]
        (own,) = [Path(paths.find(one, "path")) for one in tree.dvm.keyframes]
        assert path.read_bytes() == before != own.read_bytes()
    assert len(list(path.parent.iterdir())) == 2
    bpy.ops.dvm.trimap_from_masks(tree=copy.name)
    wait(host, copy.dvm.uid)
    (its,) = [Path(paths.find(one, "path")) for one in copy.dvm.keyframes]
    assert its.parent == shots.trimap_folder(copy) != path.parent
