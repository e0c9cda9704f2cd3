"""Trimaps: three classes out of what artists save, their place, and what is not a trimap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InputError
from model.plates.image_files import write_image
from model.plates.plate import PlateHeader, Trimap, Window
from model.plates.trimap import place_trimap, read_trimap

EVAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "eval"

CLASSES = np.repeat(np.array([[0, 0, 128, 128, 255, 255, 128]], np.uint8), 9, axis=0)
GREY = np.where(CLASSES == 128, 0.5, CLASSES / 255).astype(np.float32)


def header(data: Window, display: Window | None = None) -> PlateHeader:
    return PlateHeader(("R", "G", "B"), data, display or data, path="plate.exr")


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_trimap(path, frame=1001)
    assert str(path) in caught.value.message and caught.value.hint
    assert caught.value.frame == 1001
    return caught.value


@pytest.mark.parametrize(
    ("name", "kind", "channels"),
    [
        ("a.png", "uint8", "Y"),
        ("a.png", "uint16", "Y"),
        ("a.png", "uint8", "RGB"),
        ("a.png", "uint8", "RGBA"),
        ("a.tif", "uint16", "RGB"),
        ("a.tif", "float", "Y"),
        ("a.exr", "half", "A"),
        ("a.exr", "half", "RGB"),
        ("a.exr", "float", "RGBA"),
        ("a.exr", "half", "Y"),
    ],
)
def test_the_ways_a_trimap_is_saved(tmp_path, name, kind, channels):
    pixels = np.repeat(GREY[:, :, None], len(channels), axis=2)
    if channels == "RGBA":
        pixels[:, :, 3] = 1  # opaque, as paint programs write it
    write_image(tmp_path / name, pixels, channels, pixel_type=kind)
    found = read_trimap(tmp_path / name)
    np.testing.assert_array_equal(found.pixels, CLASSES)
    assert found.pixels.dtype == np.uint8 and found.source == "painted"
    assert found.path == str(tmp_path / name)
    assert found.window == (Window(0, 0, 6, 8) if name == "a.exr" else None)


def test_a_layer_of_its_own_is_found(tmp_path):
    write_image(tmp_path / "a.exr", GREY, ["trimap.A"])
    np.testing.assert_array_equal(read_trimap(tmp_path / "a.exr").pixels, CLASSES)


def test_an_exr_keeps_its_window_and_given_ones_say_so(tmp_path):
    window = Window(-3, 2, 3, 10)
    write_image(tmp_path / "a.exr", GREY, ["A"], header=header(window))
    found = read_trimap(tmp_path / "a.exr", source="given")
    assert found.window == window and found.source == "given"


@settings(max_examples=30, deadline=None)
@given(error=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_few_steps_off_are_forgiven(tmp_path_factory, error, seed):
    rng = np.random.default_rng(seed)
    off = rng.integers(-error, error + 1, CLASSES.shape)
    path = tmp_path_factory.mktemp("off") / "a.png"
    pixels = (CLASSES.astype(int) + off).clip(0, 255).astype(np.uint8)
    write_image(path, pixels, ["Y"], pixel_type="uint8")
    np.testing.assert_array_equal(read_trimap(path).pixels, CLASSES)


@pytest.mark.parametrize("grey", [55, 100, 188])
def test_another_grey_will_do_if_it_is_one(tmp_path, grey):
    """One half through a colour transform is 188 or 55."""
    pixels = np.where(CLASSES == 128, grey, CLASSES).astype(np.uint8)
    write_image(tmp_path / "a.png", pixels, ["Y"], pixel_type="uint8")
    np.testing.assert_array_equal(read_trimap(tmp_path / "a.png").pixels, CLASSES)


def test_smooth_edges_are_unknown_up_to_two_in_a_hundred(tmp_path):
    pixels = np.zeros((100, 100), np.uint8)
    pixels[:, 40:] = 128
    pixels[:, 60:] = 255
    pixels[:, 40] = 70
    pixels[:, 59] = 200
    write_image(tmp_path / "a.png", pixels, ["Y"], pixel_type="uint8")
    found = read_trimap(tmp_path / "a.png").pixels
    assert (found[:, 40:60] == 128).all() and (found == 128).sum() == 2000
    pixels[:, 58] = 200
    write_image(tmp_path / "b.png", pixels, ["Y"], pixel_type="uint8")
    assert refusal(tmp_path / "b.png").code == "input.not_a_trimap"


def test_without_unknown_foreground_or_background_it_is_still_a_trimap(tmp_path):
    for values in ([0, 255], [0, 128], [128, 255], [0], [255]):
        pixels = np.resize(np.array(values, np.uint8), (8, 8))
        write_image(tmp_path / "a.png", pixels, ["Y"], pixel_type="uint8")
        np.testing.assert_array_equal(read_trimap(tmp_path / "a.png").pixels, pixels)


def test_unknown_everywhere_says_nothing_of_the_foreground(tmp_path):
    write_image(tmp_path / "a.png", np.full((8, 8), 128, np.uint8), ["Y"], pixel_type="uint8")
    assert refusal(tmp_path / "a.png").code == "input.trimap_empty"


def test_a_photograph_is_told_with_its_values(tmp_path):
    rng = np.random.default_rng(0)
    photo = rng.normal(0.45, 0.2, (64, 64, 3)).clip(0, 1)
    write_image(tmp_path / "photo.png", photo, "RGB", pixel_type="uint8")
    error = refusal(tmp_path / "photo.png")
    assert error.code == "input.not_a_trimap"
    assert (
        "% of it is coloured" in error.message
        and "64–127:" in error.message
        and "%" in error.message
    )
    assert "128 unknown" in error.hint
    grey = np.repeat(photo[:, :, :1], 3, axis=2)
    write_image(tmp_path / "grey.png", grey, "RGB", pixel_type="uint8")
    error = refusal(tmp_path / "grey.png")
    assert error.code == "input.not_a_trimap" and "neither black" in error.message


def test_what_is_said_of_colours_is_true_of_all_of_them(tmp_path):
    green = np.zeros((8, 8, 3), np.float32)
    green[:, 4:, 1] = 1
    write_image(tmp_path / "a.png", green, "RGB", pixel_type="uint8")
    told = refusal(tmp_path / "a.png").message
    assert "50% of it is coloured (values 0: 83%, 255: 17%)" in told


@pytest.mark.parametrize(
    ("name", "channels"), [("a.exr", "RGBA"), ("a.exr", "YA"), ("a.png", "RGBA")]
)
def test_a_trimap_in_the_alpha_alone(tmp_path, name, channels):
    """As Nuke's Roto writes it."""
    pixels = np.zeros((*GREY.shape, len(channels)), np.float32)
    pixels[:, :, -1] = GREY
    write_image(tmp_path / name, pixels, channels, pixel_type="half" if "exr" in name else "uint8")
    np.testing.assert_array_equal(read_trimap(tmp_path / name).pixels, CLASSES)


@pytest.mark.parametrize(
    ("grey", "alpha", "found"),
    [
        (GREY, 1 - GREY, CLASSES),  # both say something: the picture
        (GREY * 0, GREY * 0, CLASSES * 0),
        (GREY * 0, GREY * 0 + 1, CLASSES * 0),  # all background, on an opaque picture
        (GREY * 0 + 1, GREY, CLASSES * 0 + 255),
    ],
)
def test_an_alpha_beside_a_picture_that_says_something_is_not_looked_at(
    tmp_path, grey, alpha, found
):
    write_image(tmp_path / "a.exr", np.stack([grey, grey, grey, alpha], 2), "RGBA")
    np.testing.assert_array_equal(read_trimap(tmp_path / "a.exr").pixels, found)


@pytest.mark.parametrize(
    ("value", "told"),
    [(np.nan, "not finite: 1%"), (np.inf, "not finite"), (4.0, "above 255: 1%"), (-1.0, "below 0")],
)
def test_values_that_no_trimap_has(tmp_path, value, told):
    import OpenImageIO as oiio  # our writer would make them finite

    pixels = np.zeros((10, 10, 1), np.float32)
    pixels[3, 4] = value
    spec = oiio.ImageSpec(10, 10, 1, "float")
    spec.channelnames = ("A",)
    target = oiio.ImageOutput.create("openexr")
    assert target.open(str(tmp_path / "a.exr"), spec) and target.write_image(pixels)
    target.close()
    error = refusal(tmp_path / "a.exr")
    assert error.code == "input.not_a_trimap" and told in error.message


def test_missing_and_damaged_trimaps(tmp_path):
    assert refusal(tmp_path / "none.png").code == "input.missing_trimap"
    (tmp_path / "text.png").write_text("no")
    error = refusal(tmp_path / "text.png")
    assert (error.code, error.hint) == ("input.damaged", "save or copy the trimap again")


def test_its_place_on_the_display_window_repeats_the_edge_into_overscan():
    display, data = Window(0, 0, 6, 8), Window(-2, -1, 7, 9)
    placed = place_trimap(Trimap(CLASSES), header(data, display))
    assert placed.shape == (11, 10) and placed.dtype == np.uint8
    np.testing.assert_array_equal(placed[1:10, 2:9], CLASSES)
    np.testing.assert_array_equal(placed[0], placed[1])
    np.testing.assert_array_equal(placed[:, 0], placed[:, 2])
    np.testing.assert_array_equal(placed[:, 9], placed[:, 8])


def test_a_cropped_plate_takes_its_part_of_it():
    display, data = Window(0, 0, 6, 8), Window(2, 3, 4, 5)
    placed = place_trimap(Trimap(CLASSES), header(data, display))
    np.testing.assert_array_equal(placed, CLASSES[3:6, 2:5])


def test_its_place_on_the_data_window():
    data = Window(100, 50, 106, 58)
    placed = place_trimap(Trimap(CLASSES), header(data, Window(0, 0, 1919, 1079)))
    np.testing.assert_array_equal(placed, CLASSES)


def test_its_own_window_goes_first():
    display = Window(0, 0, 6, 8)
    placed = place_trimap(Trimap(CLASSES, Window(2, 0, 8, 8)), header(display))
    np.testing.assert_array_equal(placed[:, 2:], CLASSES[:, :5])
    np.testing.assert_array_equal(placed[:, :2], CLASSES[:, [0, 0]])


def cropped(pixels, window, frame=Window(0, 0, 6, 8)):
    return Trimap(pixels, window, frame_window=frame)


def test_one_that_was_cropped_to_what_is_in_it_is_background_around_that():
    display = Window(0, 0, 6, 8)
    inner = Window(1, 2, 5, 6)
    placed = place_trimap(cropped(CLASSES[2:7, 1:6], inner), header(display))
    np.testing.assert_array_equal(placed[2:7, 1:6], CLASSES[2:7, 1:6])
    outside = np.ones(placed.shape, bool)
    outside[2:7, 1:6] = False
    assert CLASSES[outside].any() and not placed[outside].any()
    # An edge of the frame is none of the crop's: there it goes on into the plate's overscan.
    wide = place_trimap(
        cropped(CLASSES[:, :5], Window(0, 0, 4, 8)), header(Window(-2, -1, 8, 9), display)
    )
    np.testing.assert_array_equal(wide[:, 2:7], CLASSES[[0, *range(9), 8], :5])
    np.testing.assert_array_equal(wide[:, :2], wide[:, [2, 2]])
    assert not wide[:, 7:].any()


def test_one_of_another_format_is_refused_though_its_window_lies_on_the_plate():
    half = cropped(CLASSES[:4, :3], Window(0, 0, 2, 3), Window(0, 0, 2, 3))
    with pytest.raises(InputError, match="3×4, the plate is 7×9") as caught:
        place_trimap(half, header(Window(0, 0, 6, 8)), frame=4)
    assert caught.value.code == "input.trimap_size" and caught.value.frame == 4
    # Written over the plate's pixels without a word of its format, it is none the worse.
    data = Window(2, 3, 4, 5)
    exact = cropped(CLASSES[:3, :3], data, data)
    placed = place_trimap(exact, header(data, Window(0, 0, 6, 8)))
    np.testing.assert_array_equal(placed, CLASSES[:3, :3])


def test_a_window_far_away_costs_no_memory():
    data = Window(40_000, 30_000, 40_006, 30_008)
    placed = place_trimap(Trimap(CLASSES), header(data, Window(0, 0, 65_535, 65_535)))
    np.testing.assert_array_equal(placed, CLASSES)


@pytest.mark.parametrize(
    ("trimap", "told"),
    [
        (Trimap(CLASSES[:, :5]), "key.png is 5×9, the plate is 1920×1080 or 7×9"),
        (Trimap(CLASSES, Window(200, 0, 206, 8)), "(200, 0)–(206, 8)"),
    ],
)
def test_sizes_that_do_not_fit(trimap, told):
    plate = header(Window(100, 50, 106, 58), Window(0, 0, 1919, 1079))
    with pytest.raises(InputError) as caught:
        place_trimap(replace(trimap, path="key.png"), plate, frame=12)
    assert caught.value.code == "input.trimap_size" and caught.value.frame == 12
    assert told in caught.value.message and caught.value.hint


def test_trimaps_and_pictures_of_the_evaluation_set():
    if not EVAL.is_dir():
        pytest.skip("no shared data here")
    trimaps = [*EVAL.glob("*/*trimap*.png"), *EVAL.glob("*/trimap/0001.png")]
    assert len(trimaps) > 20
    for path in trimaps:
        assert (read_trimap(path).pixels == 128).mean() > 0.01
    pictures = [*EVAL.glob("*/comp*.*"), *EVAL.glob("*/comp/0001.*"), *EVAL.glob("still*/bg.jpg")]
    assert len(pictures) > 20
    for path in pictures:
        with pytest.raises(InputError) as caught:
            read_trimap(path)
        assert caught.value.code == "input.not_a_trimap", path
