"""`dvm matte` and `dvm submit` with what helps: holdouts, clean plate, shapes, region, handles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from host_plugins.client import connection as connection_file
from model.plates.image_files import write_image
from model.plates.plate import Window
from tests.server.serving import SIZE, Clip, header, pixels

CONNECTION = connection_file.CONNECTION_FILE


@pytest.fixture
def matte(dvm, engine_server, clip) -> Callable[..., object]:
    """`dvm matte` of the clip with the closed form, which is quick."""

    def run(*more: object, keys: tuple[int, ...] = (1001, 1006)) -> object:
        trimaps = [text for f in keys for text in ("--trimap", f"{f}:{clip.trimap(f)}")]
        return dvm(
            "matte", clip.folder / "plate.####.exr", "--out", clip.folder / "out/alpha.####.exr",
            "--server", engine_server.state / CONNECTION, "--network", "closed_form",
            *trimaps, *more,
        )  # fmt: skip

    return run


def written(clip: Clip) -> list[str]:
    folder = clip.folder / "out"
    return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []


def paint(path: Path, rows: slice, value: float = 1.0) -> Path:
    grey = np.zeros(SIZE, np.float32)
    grey[rows] = value
    write_image(path, grey, ("A",))
    return path


@pytest.mark.parametrize("said", ["short", "holdout"])
def test_garbage_and_core_pin_alpha(said, matte, clip):
    garbage, core = paint(clip.folder / "g.exr", np.s_[:3]), clip.folder / "core.####.exr"
    for frame in clip.frames:
        paint(clip.folder / f"core.{frame}.exr", np.s_[6:])
    told = {
        "short": ("--garbage", garbage, "--core", core),
        "holdout": ("--holdout", f"garbage={garbage}", "--holdout", f"core={core}"),
    }
    ran = matte(*told[said])
    assert ran.code == 0, ran.err
    for frame in clip.frames:
        alpha = pixels(clip.out(frame))
        assert (alpha[:3] == 0).all() and (alpha[6:] == 1).all()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--garbage", "nowhere/g.exr"), "the garbage matte is not there"),
        (("--core", "nowhere/c.####.exr"), "the core matte of frame 1001 is not there"),
        (("--holdout", "inside=x.exr"), "neither garbage=PATTERN nor core=PATTERN"),
        (("--garbage", "a.exr", "--holdout", "garbage=b.exr"), "there are two garbage mattes"),
    ],
)
def test_a_slip_is_told_before_the_shot_starts(more, words, matte, clip):
    ran = matte(*more)
    assert (ran.code, written(clip)) == (10, [])
    assert words in ran.sentence()


def test_a_matte_of_another_size_is_told_before_the_shot_starts(matte, clip):
    write_image(clip.folder / "g.png", np.zeros((9, 13)), ("Y",), pixel_type="uint8")
    ran = matte("--garbage", clip.folder / "g.png")
    assert (ran.code, written(clip)) == (10, [])
    assert "13×9" in ran.sentence() and "14×9" in ran.sentence()


def submitted(dvm, engine_server, clip, content, *more):
    """`dvm submit` of a shot.json with relative paths, into another folder."""
    (clip.folder / "by_json").mkdir(exist_ok=True)
    shot = {
        "schema": 1,
        "name": "clip",
        "frames": [[1001, 1006, 1]],
        "plates": {"pattern": "plate.####.exr"},
        "keyframes": [{"frame": f, "trimap": f"key.{f}.png"} for f in (1001, 1006)],
        "outputs": {"pattern": "by_json/alpha.####.exr"},
        "options": {"network": "closed_form", "precision": "auto"},
        **content,
    }
    (clip.folder / "shot.json").write_text(json.dumps(shot))
    server = engine_server.state / CONNECTION
    return dvm("submit", clip.folder / "shot.json", "--server", server, *more)


@pytest.mark.parametrize("more", [(), ("--by-value",)])
def test_a_shot_json_says_the_same(more, dvm, engine_server, matte, clip):
    garbage = paint(clip.folder / "g.exr", np.s_[:3], 0.6)
    assert matte("--garbage", garbage).code == 0
    ran = submitted(dvm, engine_server, clip, {"guides": {"garbage": {"pattern": "g.exr"}}}, *more)
    assert ran.code == 0, ran.err
    for frame in clip.frames:
        alpha = pixels(clip.out(frame))
        assert alpha[:3].max() <= np.float16(0.4)
        if frame == 1001:  # where the painted trimap says foreground
            assert alpha[:3].max() == np.float16(0.4)
        assert np.array_equal(alpha, pixels(clip.out(frame, "by_json")))


def test_handles_are_read_and_not_written(matte, clip):
    assert matte().code == 0
    whole = {f: pixels(clip.out(f)) for f in clip.frames}
    for frame in clip.frames:
        clip.out(frame).unlink()
    ran = matte("--frames", "1003-1004", "--handles", "2")
    assert ran.code == 0, ran.err
    assert written(clip) == ["alpha.1003.exr", "alpha.1004.exr"]
    for frame in (1003, 1004):
        assert np.array_equal(pixels(clip.out(frame)), whole[frame])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--handles", "1"), "frame 1000, a handle, is not there"),
        (("--frames", "1002-1004", "--handles", "1"), "a trimap for frame 1006, which is not"),
    ],
)
def test_handles_that_do_not_fit_are_told_before_the_shot_starts(more, words, matte, clip):
    ran = matte(*more)
    assert (ran.code, written(clip)) == (10, [])
    assert words in ran.sentence()


def test_negative_handles_are_a_slip_of_usage(matte, clip):
    assert matte("--handles", "-1").code == 2


@pytest.mark.parametrize("said", ["5x4+6+3", "6,3,10,6"])
def test_a_region_is_a_smaller_data_window(said, matte, clip):
    ran = matte("--roi", said)
    assert ran.code == 0, ran.err
    for frame in clip.frames:
        found = header(clip.out(frame))
        assert (found.data_window, found.display_window) == (
            Window(6, 3, 10, 6),
            Window.of_size(14, 9),
        )
        assert pixels(clip.out(frame)).shape == (4, 5, 1)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("14x2+20+0", "lies outside of the plate, which spans (0, 0)–(13, 8)"),
        ("0x2+2+0", "'0x2+2+0' is no region"),
        ("9,9,3,3", "'9,9,3,3' is no region"),
        ("here", "'here' is no region"),
    ],
)
def test_a_region_that_is_none_is_told_before_the_shot_starts(said, words, matte, clip):
    ran = matte("--roi", said)
    assert (ran.code, written(clip)) == (10, [])
    assert words in ran.sentence()


@pytest.mark.parametrize("kind", ["premultiplied", "straight"])
def test_the_foreground_is_premultiplied_or_straight(kind, matte, clip):
    ran = matte("--outputs", "alpha,foreground", "--foreground", kind)
    assert ran.code == 0, ran.err
    alpha, colour = np.split(pixels(clip.out(1001)).astype(np.float32), [1], axis=2)
    plate = pixels(clip.plate(1001))
    whole, none = alpha[..., 0] == 1, alpha[..., 0] == 0
    assert whole.any() and np.array_equal(colour[whole], plate[whole].astype(np.float32))
    assert (colour[none] == 0).all() == (kind == "premultiplied")


def test_a_rough_shape_stands_for_a_trimap(matte, clip):
    shape = np.zeros(SIZE, np.float32)
    shape[:, 7:] = 1
    write_image(clip.folder / "shape.png", shape, ("Y",), pixel_type="uint8")
    told = ("--roto", f"1003:{clip.folder / 'shape.png'}", "--roto-shrink", "1", "--roto-grow", "2")
    ran = matte(*told, "--outputs", "alpha,trimap", keys=())
    assert ran.code == 0, ran.err
    row = pixels(clip.out(1003))[0, :, 1]
    assert (row[5:8] == 0.5).all() and row[0] in (0, 0.5)  # at least; noise may seem to move
    assert set(np.unique(row)) <= {0, 0.5, 1}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--roto", "1003:{shape}"), "lies within 10 pixels of its edge"),
        (("--roto", "1001:{shape}"), "frame 1001 has a trimap and a shape"),
        (("--roto", "{shape}"), "is not FRAME:FILE"),
        (("--roto", "1009:{shape}"), "a trimap for frame 1009, which is not one of"),
    ],
)
def test_a_shape_that_will_not_do_is_told_before_the_shot_starts(more, words, matte, clip):
    paint(clip.folder / "shape.exr", np.s_[4:])
    ran = matte(*(one.format(shape=clip.folder / "shape.exr") for one in more))
    assert (ran.code, written(clip)) == (10, [])
    assert words in ran.sentence()


def test_a_clean_plate_tells_what_is_background(matte, clip):
    """Half of what is unknown shows the background just as it is: alpha is 0 there."""
    for frame in clip.frames:
        noise = 0.2 + 0.6 * np.random.default_rng(7).random((*SIZE, 3), np.float32)
        write_image(clip.folder / f"clean.{frame}.exr", noise, ("R", "G", "B"))
        noise[:, 9:] = (2.0, 1.5, 0.1)
        write_image(clip.plate(frame), noise, ("R", "G", "B"))
    assert matte().code == 0
    without = pixels(clip.out(1001))[:, 4:9]
    ran = matte("--clean-plate", clip.folder / "clean.####.exr", "--overwrite")
    assert ran.code == 0, ran.err
    found = pixels(clip.out(1001))
    assert np.abs(found[:, 4:9]).mean() < 0.5 * np.abs(without).mean()
    assert (found[:, :4] == 0).all() and (found[:, -4:] == 1).all()


def test_a_clean_plate_of_another_size_is_told_before_the_shot_starts(matte, clip):
    write_image(clip.folder / "c.exr", np.zeros((9, 13, 3)), ("R", "G", "B"))
    ran = matte("--clean-plate", clip.folder / "c.exr")
    assert (ran.code, written(clip)) == (10, [])
    assert "the clean plate" in ran.sentence() and "13×9" in ran.sentence()
