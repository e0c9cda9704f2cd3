"""Garbage mattes, core mattes and clean plates through a real server, by path and by value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from host_plugins.client.errors import InputError, SetupError
from host_plugins.client.guides import Guide, Guides
from host_plugins.client.shot import Keyframe, Outputs, Roto, Shot, shot_id
from model.plates.image_files import write_image
from model.plates.plate import Window
from tests.server.serving import SIZE, Clip, header, pixels, stamps


def paint(path: Path, rows: slice, channels: tuple[str, ...] = ("Y",)) -> Path:
    matte = np.zeros((*SIZE, len(channels)), np.float32)
    matte[rows] = 1
    write_image(path, matte, channels)
    return path


def by_frame(clip: Clip, role: str, rows: slice) -> Guide:
    for frame in clip.frames:
        paint(clip.folder / f"{role}.{frame}.exr", rows)
    return Guide(str(clip.folder / f"{role}.####.exr"))


def test_a_garbage_matte_is_really_0_there_both_ways(start_server, make_clip):
    clip, server = make_clip(4), start_server()
    garbage = Guide(str(paint(clip.folder / "garbage.png", np.s_[:4]).resolve()))
    guides = Guides(garbage=garbage, core=by_frame(clip, "core", np.s_[7:]))
    shot = replace(clip.shot((1001, 1004)), guides=guides)
    assert server.run(shot).computed == 4
    sent, files = clip.by_value(replace(clip.shot((1001, 1004), out="value"), guides=guides))
    assert server.run(sent, **files).computed == 4
    for frame in clip.frames:
        alpha = pixels(clip.out(frame))[..., 0]
        assert (alpha[:4] == 0).all() and (alpha[7:] == 1).all()
        assert ((alpha[4:7, 4:-4] > 0) & (alpha[4:7, 4:-4] < 1)).any()
        assert np.array_equal(alpha, pixels(clip.out(frame, "value"))[..., 0])


def test_another_guide_is_noticed_and_only_its_window_is_made_again(start_server, make_clip):
    clip, server = make_clip(12), start_server()
    shot = replace(clip.shot(), guides=Guides(garbage=by_frame(clip, "garbage", np.s_[:2])))
    assert server.run(shot).computed == 12
    before = stamps(clip.folder / "out")
    assert server.run(shot).computed == 0
    paint(clip.folder / "garbage.1009.exr", np.s_[:3])
    with pytest.raises(InputError) as caught:
        server.run(shot)
    assert caught.value.code == "input.guide_changed" and caught.value.frame == 1009
    assert stamps(clip.folder / "out") == before
    again = replace(shot, options=replace(shot.options, overwrite=True))
    assert server.run(again).computed == 5  # what reads frame 1009
    assert len(server.events("trimap")) == 11  # and nothing was carried again
    assert (pixels(clip.out(1009))[:3] == 0).all()


def test_by_value_another_guide_is_another_job_of_the_same_shot(start_server, make_clip):
    clip, server = make_clip(2, keys=(1001,)), start_server()
    path = paint(clip.folder / "garbage.exr", np.s_[:2])
    shot = replace(clip.shot(), guides=Guides(garbage=Guide(str(path))))
    sent, files = clip.by_value(shot)
    server.run(sent, **files)
    assert server.run(sent, **files).computed == 0
    paint(path, np.s_[:5])
    again = replace(sent, options=replace(sent.options, overwrite=True))
    assert server.run(again, **files).computed == 2
    assert (pixels(clip.out(1002))[:5] == 0).all()


def test_a_guide_survives_a_killed_server(start_server, make_clip):
    clip, server = make_clip(2, keys=(1001,)), start_server()
    path = paint(clip.folder / "garbage.exr", np.s_[:2])
    shot = replace(clip.shot(), guides=Guides(garbage=Guide(str(path))))
    server.run(shot)
    server.kill()
    server.start()
    assert server.run(shot).kept == 2


def test_without_guides_keys_are_those_of_old_shots(start_server, make_clip):
    clip, server = make_clip(2, keys=(1001,)), start_server()
    server.run(clip.shot())
    keys = [one["key"] for one in server.events("frame")]
    shot = replace(clip.shot(out="again"), guides=Guides())
    assert shot_id(shot) == shot_id(clip.shot())
    server.run(replace(shot, name="other"))
    assert [one["key"] for one in server.events("frame")][2:] in (keys, keys[::-1])


@pytest.mark.parametrize("by_value", [False, True])
def test_a_frame_without_its_matte_is_named(by_value, start_server, make_clip):
    clip, server = make_clip(3, keys=(1001,)), start_server()
    shot = replace(clip.shot(), guides=Guides(core=by_frame(clip, "core", np.s_[:2])))
    (clip.folder / "core.1002.exr").unlink()
    files = {}
    if by_value:
        shot, files = clip.by_value(shot)
    with pytest.raises(InputError, match="the core matte of frame 1002 is not there") as caught:
        server.run(shot, **files)
    assert caught.value.code == "input.missing_guide" and caught.value.frame == 1002
    assert not list((clip.folder / "out").iterdir())


@pytest.mark.parametrize("by_value", [False, True])
def test_a_region_is_the_crop_of_the_whole(by_value, start_server, make_clip):
    clip, server = make_clip(3, keys=(1001,)), start_server()
    server.run(clip.shot())
    clip.plate(1003).unlink()
    shot = replace(clip.shot(out="roi", missing="black"), roi=(3, 2, 20, 6))
    files = {}
    if by_value:
        shot, files = clip.by_value(shot)
    assert server.run(shot, **files).computed == 3
    assert server.run(shot, **files).computed == 0
    for frame in (1001, 1002, 1003):
        found = header(clip.out(frame, "roi"))
        assert (found.data_window, found.display_window) == (
            Window(3, 2, 13, 6),
            Window.of_size(14, 9),
        )
    assert (pixels(clip.out(1003, "roi")) == 0).all()
    certain = np.isin(pixels(clip.out(1001)), (0, 1))[2:7, 3:]
    crop = pixels(clip.out(1001))[2:7, 3:]
    assert np.array_equal(pixels(clip.out(1001, "roi"))[certain], crop[certain])
    trimaps = len(server.events("trimap"))
    moved = replace(shot, roi=(4, 2, 20, 6), options=replace(shot.options, overwrite=True))
    assert server.run(moved, **files).computed == 3
    assert len(server.events("trimap")) == trimaps  # they are carried on whole frames


def test_a_region_beside_the_plate_is_named(start_server, make_clip):
    clip, server = make_clip(2, keys=(1001,)), start_server()
    with pytest.raises(InputError, match="lies outside of the plate") as caught:
        server.run(replace(clip.shot(), roi=(14, 0, 20, 6)))
    assert caught.value.code == "input.roi"


def test_sizes_that_differ_are_named(start_server, make_clip):
    clip, server = make_clip(2, keys=(1001,)), start_server()
    write_image(clip.folder / "g.png", np.zeros((9, 13)), ("Y",), pixel_type="uint8")
    shot = replace(clip.shot(), guides=Guides(garbage=Guide(str(clip.folder / "g.png"))))
    with pytest.raises(InputError, match=r"garbage matte .*13×9, the plate is 14×9"):
        server.run(shot)


def test_roots_hold_for_guides_too(start_server, make_clip, tmp_path):
    clip = make_clip(2, keys=(1001,))
    server = start_server(roots=[str(clip.folder)])
    outside = paint(tmp_path / "elsewhere.exr", np.s_[:2])
    shot = replace(clip.shot(), guides=Guides(garbage=Guide(str(outside))))
    with pytest.raises(InputError) as caught:
        server.run(shot)
    assert caught.value.code == "input.outside_roots"
    link = clip.folder / "link.exr"
    link.symlink_to(outside)
    with pytest.raises(InputError) as caught:
        server.run(replace(shot, guides=Guides(garbage=Guide(str(link)))))
    assert caught.value.code == "input.outside_roots"


def test_guides_are_never_written_over(start_server, make_clip):
    clip, server = make_clip(2, keys=(1001,)), start_server()
    shot = clip.shot(overwrite=True)
    paint(clip.out(1002), np.s_[:2])
    shot = replace(shot, guides=Guides(garbage=Guide(str(clip.out(1002)))))
    with pytest.raises(InputError) as caught:
        server.run(shot)
    assert caught.value.code == "input.output_is_input"


@pytest.mark.parametrize("role", ["garbage", "clean"])
def test_guides_in_a_linked_folder_are_never_written_over(start_server, make_clip, role):
    clip, server = make_clip(2, keys=(1001,)), start_server()
    shot = clip.shot(overwrite=True)
    paint(clip.out(1002), np.s_[:2])
    (clip.folder / "linked").symlink_to("out")
    guide = Guide(str(clip.out(1002, "linked")))
    before = clip.out(1002).read_bytes()
    with pytest.raises(InputError) as caught:
        server.run(replace(shot, guides=Guides(**{role: guide})))
    assert caught.value.code == "input.output_is_input"
    assert clip.out(1002).read_bytes() == before


def test_a_server_that_knows_no_guides_is_not_asked(start_server, make_clip):
    clip, server = make_clip(1, keys=(1001,)), start_server()
    shot = replace(clip.shot(), guides=Guides(garbage=Guide("/g.exr")), handles=1)
    with server.session() as session:
        session.welcome = replace(session.hello(), inputs=("handles",))
        with pytest.raises(SetupError, match="does not know garbage") as caught:
            session.submit(shot)
    assert caught.value.code == "setup.old_server"


def with_shape(clip: Clip, frame: int, shrink: int = 1, grow: int = 1, **rest) -> Shot:
    """A keyframe from a shape on the right of the picture."""
    shape = np.zeros(SIZE, np.float32)
    shape[:, 7:] = 1
    path = clip.folder / "shape.exr"
    write_image(path, shape, ("A",))
    key = Keyframe(frame, str(path), roto=Roto(shrink, grow))
    return replace(clip.shot(**rest), keyframes=(key,), outputs=with_trimaps(clip, **rest))


def with_trimaps(clip: Clip, out: str = "out", **rest) -> Outputs:
    pattern = str(clip.folder / out / "alpha.####.exr")
    return Outputs(pattern, layers=("alpha", "trimap"))


@pytest.mark.parametrize("by_value", [False, True])
def test_a_shape_is_a_keyframe_widened_by_motion(by_value, start_server, make_clip):
    clip, server = make_clip(4, keys=(1001,)), start_server()
    shot = with_shape(clip, 1002)
    files = {}
    if by_value:
        shot, files = clip.by_value(shot)
        shot = replace(shot, keyframes=(replace(shot.keyframes[0], roto=Roto(1, 1)),))
    assert server.run(shot, **files).computed == 4
    # The engine of these tests widens by a pixel for each neighbour.
    trimap = pixels(clip.out(1002))[0, :, 1]
    assert trimap.tolist() == [0] * 4 + [0.5] * 6 + [1] * 4
    assert header(clip.out(1002)).metadata["dvm:trimap"] == "painted"
    assert server.run(shot, **files).computed == 0


def test_a_shape_on_the_first_frame_has_one_neighbour(start_server, make_clip):
    clip, server = make_clip(4, keys=(1001,)), start_server()
    server.run(with_shape(clip, 1001))
    assert pixels(clip.out(1001))[0, :, 1].tolist() == [0] * 5 + [0.5] * 4 + [1] * 5
    held = replace(with_shape(clip, 1003, out="held"), frames=((1003, 1003, 1),), handles=1)
    server.run(held)
    assert pixels(clip.out(1003, "held"))[0, :, 1].tolist() == [0] * 4 + [0.5] * 6 + [1] * 4


def test_what_a_shape_is_made_from_is_part_of_what_it_is(start_server, make_clip):
    clip, server = make_clip(40, keys=(1001,)), start_server()
    server.run(with_shape(clip, 1001))
    assert server.run(with_shape(clip, 1001)).computed == 0
    with pytest.raises(InputError) as caught:
        server.run(with_shape(clip, 1001, grow=2))
    assert caught.value.code in ("input.options_changed", "input.trimap_changed")
    assert server.run(with_shape(clip, 1001, grow=2, overwrite=True)).computed == 40


def test_a_shape_that_is_eaten_up_is_named(start_server, make_clip):
    clip, server = make_clip(2, keys=(1001,)), start_server()
    with pytest.raises(InputError, match="lies within 9 pixels of its edge") as caught:
        server.run(with_shape(clip, 1001, shrink=9))
    assert caught.value.code == "input.roto" and caught.value.frame == 1001


@pytest.mark.parametrize("by_value", [False, True])
def test_a_clean_plate_reaches_the_engine(by_value, start_server, make_clip):
    """The engine of these tests calls background what is just as on the clean plate."""
    clip, server = make_clip(3, keys=(1001,)), start_server()
    for frame in clip.frames:
        plate = pixels(clip.plate(frame)).copy()
        plate[4:] += 1
        write_image(clip.folder / f"clean.{frame}.exr", plate, ("R", "G", "B"))
    guides = Guides(clean=Guide(str(clip.folder / "clean.####.exr")))
    shot, files = replace(clip.shot(), guides=guides), {}
    if by_value:
        shot, files = clip.by_value(shot)
    assert server.run(shot, **files).computed == 3
    for frame in clip.frames:
        alpha = pixels(clip.out(frame))[..., 0]
        assert (alpha[:4] == 0).all() and (alpha[4:, -4:] > 0).all()
    assert server.run(shot, **files).computed == 0


def test_a_clean_plate_of_another_size_is_named(start_server, make_clip):
    clip, server = make_clip(2, keys=(1001,)), start_server()
    write_image(clip.folder / "c.exr", np.zeros((9, 13, 3)), ("R", "G", "B"))
    shot = replace(clip.shot(), guides=Guides(clean=Guide(str(clip.folder / "c.exr"))))
    with pytest.raises(InputError, match=r"clean plate .*13×9, the plate is 14×9"):
        server.run(shot)


@pytest.mark.parametrize(
    ("role", "name"),
    [("garbage", "garbage matte"), ("core", "core matte"), ("clean", "clean plate")],
)
def test_what_to_do_about_a_damaged_guide_fits_it(start_server, make_clip, role, name):
    clip, server = make_clip(4), start_server()
    path = clip.folder / f"{role}.png"
    path.write_text("no picture")
    with pytest.raises(InputError) as caught:
        server.run(replace(clip.shot(), guides=Guides(**{role: Guide(str(path))})))
    assert str(path) in caught.value.message
    assert (caught.value.code, caught.value.hint) == (
        "input.damaged",
        f"save or copy the {name} again",
    )
