"""Colour: the pinned config, what plates say of themselves, exact and finite conversions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from model.errors import InputError, SetupError
from model.plates import colour
from model.plates.image_files import read_header, write_image
from model.plates.plate import PlateHeader, Window
from model.plates.same_files import file_stamp

ROOT = Path(__file__).parents[2]
# Red, green, blue and white, as cameras write them.
REC2020 = (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)
AP0 = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
LINEAR, SRGB = "lin_rec709_scene", "srgb_rec709_scene"

SMALL_CONFIG = """ocio_profile_version: 2
roles: {{default: plain, scene_linear: lin_rec709, aces_interchange: lin_rec709}}
file_rules:
  - !<Rule> {{name: Plates, pattern: "*_log*", extension: exr, colorspace: camera}}
  - !<Rule> {{name: Default, colorspace: plain}}
displays: {{monitor: [!<View> {{name: plain, colorspace: plain}}]}}
colorspaces:
  - !<ColorSpace> {{name: lin_rec709, isdata: false, encoding: scene-linear}}
  - !<ColorSpace>
    name: {srgb}
    isdata: false
    to_scene_reference: !<ExponentWithLinearTransform> {{gamma: 2.4, offset: 0.055}}
  - !<ColorSpace>
    name: camera
    isdata: false
    to_scene_reference: !<LogTransform> {{base: 2, direction: inverse}}
  - !<ColorSpace> {{name: plain, isdata: true}}
"""


@pytest.fixture(autouse=True)
def no_config_from_outside(monkeypatch):
    monkeypatch.delenv("OCIO", raising=False)


@pytest.fixture
def small_config(tmp_path, monkeypatch):
    def make(srgb: str = "sRGB - Texture") -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.ocio"
        path.write_text(SMALL_CONFIG.format(srgb=srgb))
        monkeypatch.setenv("OCIO", str(path))
        return path

    return make


def header(**fields) -> PlateHeader:
    window = Window.of_size(4, 4)
    return PlateHeader(("R", "G", "B"), window, window, **fields)


def hdr(height: int = 33, width: int = 21) -> np.ndarray:
    """From −0.2 to 60, as plates have it."""
    rng = np.random.default_rng(4)
    values = rng.random((height, width, 3), np.float32) * 1.2 - 0.2
    values[::5] = np.exp2(rng.random(values[::5].shape) * 6)
    return values.astype(np.float32)


def srgb_of(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, with the straight part going on below 0."""
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve)


def test_the_config_is_pinned_by_its_full_name():
    assert colour.BUILT_IN_CONFIG.startswith("ocio://") and "v" in colour.BUILT_IN_CONFIG
    assert "default" not in colour.BUILT_IN_CONFIG and "latest" not in colour.BUILT_IN_CONFIG
    names = oiio.ColorConfig(colour.BUILT_IN_CONFIG).getColorSpaceNames()
    assert len(names) == 57  # a config that cannot be loaded gives a dozen made-up ones


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ACEScg", "ACEScg"),
        ("acescg", "ACEScg"),
        ("lin_ap1_scene", "ACEScg"),  # interop id
        ("scene_linear", "ACEScg"),  # role
        ("Utility - Linear - sRGB", "Linear Rec.709 (sRGB)"),  # of ACES 1.0.3 configs
        ("sRGB - Texture", "sRGB Encoded Rec.709 (sRGB)"),  # of the configs before this one
        ("lin_rec709", "Linear Rec.709 (sRGB)"),
        ("ARRI LogC3 (EI800)", "ARRI LogC3 (EI800)"),
        ("logc3ei800_alexawide", "ARRI LogC3 (EI800)"),
    ],
)
def test_names_aliases_roles_and_interop_ids(name, found):
    assert colour.resolve(name) == found


def test_an_unknown_name_is_told_with_examples():
    with pytest.raises(InputError, match="'Rec708'") as caught:
        colour.resolve("Rec708")
    assert caught.value.code == "input.unknown_colourspace"
    for convert in (colour.to_linear_rec709, colour.to_display, colour.from_display):
        with pytest.raises(InputError):
            convert(hdr(2, 2), "Rec708")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ACEScgg", "ACEScg"),
        ("S-Log3", "S-Log3 S-Gamut3"),
        ("LogC3", "ARRI LogC3 (EI800)"),
        ("lin_rec708", "Linear Rec.709 (sRGB)"),
        ("xyzzy", "Linear Rec.709 (sRGB)"),
    ],
)
def test_the_nearest_names_are_given(name, nearest):
    with pytest.raises(InputError) as caught:
        colour.resolve(name)
    assert nearest in caught.value.hint


def test_interop_ids():
    assert colour.interop_id("ACEScg") == "lin_ap1_scene"
    assert colour.interop_id("sRGB - Texture") == SRGB


@pytest.mark.parametrize(
    ("name", "linear", "light"),
    [
        ("ACEScg", True, "linear"),
        ("lin_rec709", True, "linear"),
        ("ACES2065-1", True, "linear"),
        ("sRGB - Texture", False, "display"),
        ("Gamma 2.4 Rec.709 - Texture", False, "display"),
        ("Camera Rec.709", False, "display"),
        ("sRGB - Display", False, "display"),
        ("ARRI LogC3 (EI800)", False, "linear"),
        ("S-Log3 S-Gamut3", False, "linear"),
        ("Apple Log", False, "linear"),
        ("ACEScct", False, "linear"),
    ],
)
def test_the_light_plates_are_composited_in(name, linear, light):
    assert colour.is_scene_linear(name) is linear
    assert colour.default_composited_in(name) == light


def test_acescg_to_rec709_is_the_published_matrix():
    """From the primaries of both, Bradford-adapted; values of OCIO's and Academy's documents."""
    matrix = [
        [1.70505, -0.62179, -0.08326],
        [-0.13026, 1.14080, -0.01055],
        [-0.02400, -0.12897, 1.15297],
    ]
    pixels = hdr()
    expected = pixels @ np.array(matrix, np.float32).T
    np.testing.assert_allclose(colour.to_linear_rec709(pixels, "ACEScg"), expected, atol=2e-3)


def test_display_is_the_srgb_curve_and_is_not_clamped():
    pixels = hdr()
    found = colour.to_display(pixels, LINEAR)
    # OCIO's tables are good to 2e-4 of the value; its line below 0 has the slope 12.92 too
    np.testing.assert_allclose(found, srgb_of(pixels), rtol=5e-4, atol=1e-5)
    assert found.min() < -2 and found.max() > 4
    np.testing.assert_allclose(
        colour.to_display(np.array([[[-0.02, 0.18, 4.0]]], np.float32), "ACEScg"),
        [[[-6.19, 0.444, 1.936]]],
        atol=5e-3,
    )


@pytest.mark.parametrize("name", ["ACEScg", "Linear Rec.2020", "sRGB - Texture", "lin_rec709"])
def test_there_and_back(name):
    pixels = hdr()
    scale = np.maximum(np.abs(pixels).max(axis=2, keepdims=True), 1)
    for there, back in (
        (colour.to_linear_rec709, colour.from_linear_rec709),
        (colour.to_display, colour.from_display),
    ):
        error = np.abs(back(there(pixels, name), name) - pixels) / scale
        assert error.max() < 1e-4, there.__name__
        assert np.median(error) < 1e-5, there.__name__


def test_a_log_picture_there_and_back():
    codes = np.random.default_rng(1).random((9, 9, 3), np.float32)
    light = colour.to_linear_rec709(codes, "ARRI LogC3 (EI800)")
    back = colour.from_linear_rec709(light, "logc3ei800_alexawide")
    np.testing.assert_allclose(back, codes, atol=5e-4)


def test_nan_and_infinity_are_gone_before_the_matrix():
    """Left to the matrix, one bad channel would make the pixel bad."""
    pixels = np.full((3, 4, 3), 0.5, np.float32)
    clean = colour.to_linear_rec709(pixels, "ACEScg")
    pixels[0, 0, 0], pixels[1, 1, 2], pixels[2, 2, 1] = np.nan, np.inf, -np.inf
    found = colour.to_linear_rec709(pixels, "ACEScg")
    assert np.isfinite(found).all()
    untouched = np.ones((3, 4), bool)
    untouched[[0, 1, 2], [0, 1, 2]] = False
    np.testing.assert_array_equal(found[untouched], clean[untouched])
    without_red = colour.to_linear_rec709(np.array([[[0, 0.5, 0.5]]], np.float32), "ACEScg")
    np.testing.assert_array_equal(found[0, 0], without_red[0, 0])


def test_a_log_curve_that_runs_off_stays_finite():
    assert np.isfinite(colour.to_linear_rec709(np.full((2, 2, 3), 300.0), "ACEScc")).all()


@pytest.mark.parametrize("name", [LINEAR, "ACEScg"])
def test_any_layout_and_half(name):
    pixels = hdr(16, 12)
    plain = colour.to_linear_rec709(pixels, name)
    four = np.concatenate([pixels, pixels[:, :, :1]], axis=2)
    for view in (four[:, :, :3], np.asfortranarray(pixels), pixels[::-1, ::-1][::-1, ::-1]):
        found = colour.to_linear_rec709(view, name)
        np.testing.assert_array_equal(found, plain)
        assert found.flags.c_contiguous and found.dtype == np.float32
    half = pixels.astype(np.float16)
    as_float = colour.to_linear_rec709(half.astype(np.float32), name)
    np.testing.assert_array_equal(colour.to_linear_rec709(half, name), as_float)
    assert not np.shares_memory(plain, pixels)
    with pytest.raises(ValueError):
        colour.to_linear_rec709(four, name)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"pixel_type": "half"}, LINEAR),
        ({"pixel_type": "float"}, LINEAR),
        ({}, LINEAR),
        ({"pixel_type": "uint8"}, SRGB),
        ({"pixel_type": "uint16"}, SRGB),
        ({"pixel_type": "half", "colourspace": "lin_ap1_scene"}, "ACEScg"),
        ({"pixel_type": "uint8", "colourspace": "g22_rec709_scene"}, "g22_rec709_scene"),
        ({"pixel_type": "uint8", "colourspace": "unknown"}, SRGB),
        ({"pixel_type": "half", "colourspace": "data"}, LINEAR),
        ({"metadata": {"colorInteropID": "lin_ap0_scene"}, "colourspace": "ACEScg"}, "ACES2065-1"),
        ({"metadata": {"chromaticities": REC2020}}, "lin_rec2020_scene"),
        ({"metadata": {"chromaticities": list(AP0)}}, "ACES2065-1"),
        ({"metadata": {"chromaticities": (0.5, 0.3, 0.2, 0.6, 0.1, 0.1, 0.3, 0.3)}}, LINEAR),
    ],
)
def test_what_a_plate_says_of_its_colours(said, found):
    assert colour.plate_colourspace(header(**said)) == colour.resolve(found)
    assert colour.plate_colourspace(header(**said), "ACEScct") == "ACEScct"


def test_files_say_it(tmp_path):
    pixels = np.ones((3, 3, 3), np.float32)
    write_image(tmp_path / "a.exr", pixels, "RGB", attributes={"colorInteropID": "lin_ap1_scene"})
    write_image(tmp_path / "b.exr", pixels, "RGB")
    write_image(tmp_path / "c.png", pixels, "RGB", pixel_type="uint8")
    spaces = [colour.plate_colourspace(read_header(p)) for p in sorted(tmp_path.iterdir())]
    assert spaces == ["ACEScg", colour.resolve(LINEAR), colour.resolve(SRGB)]


def test_a_space_that_a_file_names_and_the_config_lacks_is_not_guessed():
    with pytest.raises(InputError, match="KodakLog") as caught:
        colour.plate_colourspace(header(colourspace="KodakLog", pixel_type="uint16", path="a.dpx"))
    assert caught.value.code == "input.unknown_colourspace"
    assert "a.dpx" in caught.value.message and "--colourspace" in caught.value.hint


def test_ocio_in_the_environment_wins(small_config):
    small_config()
    assert colour.resolve("camera") == "camera"
    with pytest.raises(InputError):
        colour.resolve("ACEScg")
    half_way = np.full((2, 2, 3), 0.5, np.float32)
    np.testing.assert_allclose(colour.to_linear_rec709(half_way, "camera"), 2**0.5, rtol=1e-4)


def test_its_file_rules_are_asked_and_its_default_rule_is_not(small_config):
    small_config()
    assert colour.plate_colourspace(header(path="/shots/a_log.0001.exr")) == "camera"
    assert colour.plate_colourspace(header(path="/shots/a.0001.exr")) == "lin_rec709"
    said = header(path="/shots/a_log.1.exr", metadata={"colorInteropID": "lin_rec709"})
    assert colour.plate_colourspace(said) == "lin_rec709"


def test_a_config_that_lacks_what_we_need(small_config):
    path = small_config(srgb="something")
    with pytest.raises(SetupError, match=str(path)) as caught:
        colour.to_display(hdr(2, 2), "lin_rec709")
    assert caught.value.code == "setup.ocio" and SRGB in caught.value.message


@pytest.mark.parametrize("content", [None, "", "ocio_profile_version: [", "a text", "folder"])
def test_a_broken_config_is_an_error_with_its_path(tmp_path, monkeypatch, content):
    path = tmp_path / "broken.ocio"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    monkeypatch.setenv("OCIO", str(path))
    for ask in (colour.config_digest, lambda: colour.to_display(hdr(2, 2), "lin_rec709")):
        with pytest.raises(SetupError, match=str(path)) as caught:
            ask()
        assert caught.value.code == "setup.ocio" and "$OCIO" in caught.value.hint


@pytest.mark.parametrize("name", ["ocio://default", "ocio://cg-config-latest"])
def test_configs_that_change_with_the_release_are_refused(monkeypatch, name):
    monkeypatch.setenv("OCIO", name)
    with pytest.raises(SetupError, match=name) as caught:
        colour.config_digest()
    assert caught.value.code == "setup.ocio" and colour.BUILT_IN_CONFIG in caught.value.hint


def test_the_digest_is_the_config_s(small_config, monkeypatch):
    built_in = colour.config_digest()
    assert len(built_in) == 64 and built_in == colour.config_digest()
    code = "from model.plates.colour import config_digest; print(config_digest())"
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert elsewhere.stdout.strip() == built_in
    monkeypatch.setenv("OCIO", "ocio://cg-config-v2.1.0_aces-v1.3_ocio-v2.3")
    assert colour.config_digest() != built_in
    first = small_config()
    digest = colour.config_digest()
    second = small_config()
    assert first != second and colour.config_digest() == digest  # the bytes count, not the path
    second.write_text(second.read_text() + "# changed\n")
    assert colour.config_digest() != digest


def test_a_config_that_is_edited_is_read_again(small_config):
    path = small_config()
    stamp = file_stamp(colour.config_file())
    colour.require_config(stamp)
    before = colour.to_linear_rec709(hdr(2, 2), "sRGB - Texture")
    path.write_text(SMALL_CONFIG.format(srgb="Screen").replace("gamma: 2.4", "gamma: 2.0"))
    with pytest.raises(InputError, match="sRGB - Texture"):
        colour.resolve("sRGB - Texture")
    assert np.abs(colour.to_linear_rec709(hdr(2, 2), "Screen") - before).max() > 1e-3
    with pytest.raises(SetupError, match=str(path)) as caught:
        colour.require_config(stamp)
    assert caught.value.code == "setup.ocio_changed"


def test_built_in_configs_do_not_change():
    assert colour.config_file() == ""
    colour.require_config("")
