"""Reading image files: which channels are the picture, windows, types, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from model.errors import InputError
from model.plates.image_files import read_header, read_plate, rgb, write_image
from model.plates.plate import PlateHeader, Window

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "exr"


def save(path: Path, pixels, names, *, kinds=None, kind="half", config=None) -> Path:
    """Write with OpenImageIO itself: tests of the reader must not lean on our writer."""
    block = np.ascontiguousarray(pixels, np.float32)
    spec = oiio.ImageSpec(block.shape[1], block.shape[0], block.shape[2], kind)
    spec.channelnames = tuple(names)
    if kinds:
        spec.channelformats = tuple(oiio.TypeDesc(one) for one in kinds)
    for name, value in (config or {}).items():
        if name in ("x", "y", "full_x", "full_y", "full_width", "full_height"):
            setattr(spec, name, value)
        elif isinstance(value, tuple) and isinstance(value[0], str):
            spec.attribute(name, *value)
        else:
            spec.attribute(name, value)
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), spec), target.geterror()
    assert target.write_image(block), target.geterror()
    assert target.close()
    return path


def ramp(height: int, width: int, channels: int) -> np.ndarray:
    """Every value another, all exact in half."""
    count = height * width * channels
    return (np.arange(count) % 1024).astype(np.float32).reshape(height, width, channels) / 1024


def code_of(path: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        read_plate(path, **options)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value.code


def test_half_stays_half_and_windows_are_kept(tmp_path):
    windows = {"x": -7, "y": 5, "full_x": 2, "full_y": 3, "full_width": 31, "full_height": 17}
    pixels = ramp(9, 13, 3)
    path = save(tmp_path / "a.exr", pixels, "RGB", config={**windows, "PixelAspectRatio": 2.0})
    plate = read_plate(path)
    assert plate.pixels.dtype == np.float16
    np.testing.assert_array_equal(plate.pixels, pixels)
    assert plate.header.data_window == Window(-7, 5, 5, 13)
    assert plate.header.display_window == Window(2, 3, 32, 19)
    assert plate.header.pixel_aspect == 2.0
    assert plate.header.pixel_type == "half"
    assert read_header(path) == plate.header


@pytest.mark.parametrize(
    ("name", "kind", "stored", "tolerance"),
    [
        ("a.png", "uint8", "uint8", 0.5 / 255),
        ("a.png", "uint16", "uint16", 0.5 / 65535),
        ("a.tif", "uint8", "uint8", 0.5 / 255),
        ("a.tif", "float", "float", 0),
        ("a.dpx", "uint10", "uint16", 0.6 / 1023),
        ("a.jpg", "uint8", "uint8", 6 / 255),
    ],
)
def test_integers_become_float_in_0_to_1(tmp_path, name, kind, stored, tolerance):
    pixels = np.broadcast_to(np.linspace(0, 1, 32, dtype=np.float32)[:, None, None], (32, 16, 3))
    config = {"oiio:BitsPerSample": 10} if kind == "uint10" else {}
    config |= {"CompressionQuality": 100} if name == "a.jpg" else {}
    kind = "uint16" if kind == "uint10" else kind
    path = save(tmp_path / name, pixels, "RGB", kind=kind, config=config)
    plate = read_plate(path)
    assert plate.pixels.dtype == np.float32
    assert plate.header.pixel_type == stored
    assert plate.pixels.min() == 0 and plate.pixels.max() == 1
    assert np.abs(plate.pixels - pixels).max() <= tolerance


def test_rgb_of_a_png_is_not_multiplied_by_its_alpha(tmp_path):
    pixels = np.full((4, 5, 4), 0.8, np.float32)
    pixels[:, :, 3] = 0
    path = tmp_path / "a.png"
    write_image(path, pixels, "RGBA", pixel_type="uint8")
    np.testing.assert_allclose(read_plate(path).pixels[:, :, :3], 204 / 255, rtol=1e-6)


def test_nothing_is_clamped_and_nan_stays(tmp_path):
    values = np.array([[[np.nan, -3.5, 40000.0], [np.inf, -np.inf, 1e-7]]], np.float32)
    pixels = read_plate(save(tmp_path / "a.exr", values, "RGB")).pixels
    np.testing.assert_array_equal(pixels, values.astype(np.float16))


@pytest.mark.parametrize(
    ("names", "picture"),
    [
        (["R", "G", "B", "A"], ["R", "G", "B", "A"]),
        (["r", "g", "b"], ["r", "g", "b"]),
        (["beauty.R", "beauty.G", "beauty.B", "matte.A"], ["beauty.R", "beauty.G", "beauty.B"]),
        (["A", "fg.R", "fg.G", "fg.B", "Y"], ["fg.R", "fg.G", "fg.B"]),
        (["R", "G", "B", "beauty.R", "beauty.G", "beauty.B"], ["R", "G", "B"]),
        (
            ["diffuse.R", "diffuse.G", "diffuse.B", "beauty.R", "beauty.G", "beauty.B"],
            ["beauty.R", "beauty.G", "beauty.B"],
        ),
        (["V.Combined.R", "V.Combined.G", "V.Combined.B"], None),
        (["red", "green", "blue"], ["red", "green", "blue"]),
        (["Y"], ["Y"]),
        (["N.x", "N.y", "N.z", "Y"], ["Y"]),
    ],
)
def test_the_picture_among_layers(tmp_path, names, picture):
    pixels = ramp(3, 4, len(names))
    plate = read_plate(save(tmp_path / "a.exr", pixels, names))
    assert sorted(plate.header.channels) == sorted(picture or names)
    for index, name in enumerate(plate.header.channels):
        np.testing.assert_array_equal(plate.pixels[:, :, index], pixels[:, :, names.index(name)])


def test_rgb_is_in_order_whatever_the_file(tmp_path):
    pixels = ramp(3, 4, 3)
    scrambled = read_plate(save(tmp_path / "a.exr", pixels, ["B", "R", "G"]))
    np.testing.assert_array_equal(rgb(scrambled), pixels[:, :, [1, 2, 0]])
    grey = read_plate(save(tmp_path / "b.exr", pixels[:, :, :1], ["Y"]))
    np.testing.assert_array_equal(rgb(grey), np.repeat(pixels[:, :, :1], 3, axis=2))
    assert rgb(grey).dtype == np.float32 and rgb(grey).flags.c_contiguous


def test_a_float_channel_elsewhere_does_not_make_the_picture_float(tmp_path):
    names, kinds = ["R", "G", "B", "Z"], ["half", "half", "half", "float"]
    plate = read_plate(save(tmp_path / "a.exr", ramp(3, 4, 4), names, kinds=kinds))
    assert plate.pixels.dtype == np.float16 and plate.header.channels == ("R", "G", "B")


def test_what_holds_no_picture_is_told_with_its_channels(tmp_path):
    path = save(tmp_path / "a.exr", ramp(3, 4, 2), ["N.x", "Z"])
    with pytest.raises(InputError, match=r"N\.x, Z|Z, N\.x") as caught:
        read_plate(path, frame=7)
    assert caught.value.code == "input.no_picture" and caught.value.frame == 7
    ids = save(tmp_path / "b.exr", ramp(3, 4, 3), "RGB", kind="uint")
    assert code_of(ids) == "input.no_picture"


def test_files_that_are_not_images(tmp_path):
    assert code_of(tmp_path / "none.0001.exr", frame=1) == "input.missing_plate"
    assert code_of(tmp_path) == "input.unreadable"
    text = tmp_path / "a.exr"
    text.write_text("this is a text")
    assert code_of(text) == "input.damaged"
    empty = tmp_path / "b.png"
    empty.write_bytes(b"")
    assert code_of(empty) == "input.damaged"
    picture = save(tmp_path / "c.bmp", ramp(3, 4, 3), "RGB", kind="uint8")
    assert code_of(picture) == "input.unsupported_image"
    # OpenImageIO makes up a picture for such names, if they get that far
    assert code_of(tmp_path / "x.null?RES=64x64") == "input.missing_plate"


def test_deep_files_are_refused(tmp_path):
    spec = oiio.ImageSpec(2, 2, 3, "half")
    spec.deep = True
    target = oiio.ImageOutput.create("openexr")
    path = tmp_path / "a.exr"
    assert target.open(str(path), spec)
    data = oiio.DeepData()
    data.init(4, 3, oiio.HALF, ("R", "G", "B"))
    assert target.write_deep_image(data), target.geterror()
    target.close()
    assert code_of(path) == "input.deep"


def test_the_first_part_with_a_picture_is_read(tmp_path):
    depth, beauty = oiio.ImageSpec(4, 3, 1, "float"), oiio.ImageSpec(5, 3, 3, "half")
    depth.channelnames = ("Z",)
    for spec, name in ((depth, "depth"), (beauty, "rgba")):
        spec.attribute("oiio:subimagename", name)
        spec.full_width = 5  # display windows must agree
    target = oiio.ImageOutput.create("openexr")
    path = tmp_path / "a.exr"
    assert target.open(str(path), (depth, beauty)), target.geterror()
    assert target.write_image(ramp(3, 4, 1))
    assert target.open(str(path), beauty, "AppendSubimage")
    assert target.write_image(ramp(3, 5, 3))
    target.close()
    np.testing.assert_array_equal(read_plate(path).pixels, ramp(3, 5, 3))


def test_a_header_goes_through_json_and_back(tmp_path):
    config = {"smpte:TimeCode": ("timecode", (18880518, 0)), "owner": "Zoë", "lens": 35.0}
    header = read_header(save(tmp_path / "a.exr", ramp(3, 4, 3), "RGB", config=config))
    assert header.metadata["smpte:TimeCode"] == (18880518, 0)
    assert PlateHeader.from_json(json.loads(json.dumps(header.to_json()))) == header


@pytest.mark.parametrize("kind", ["legal", "selfmade"])
def test_odd_but_legal_files(kind):
    if not SHARED.is_dir():
        pytest.skip("no shared data here")
    refused = {}
    for path in sorted((SHARED / kind).iterdir()):
        try:
            plate = read_plate(path)
        except InputError as error:
            assert path.name in error.message
            refused[path.name] = error.code
            continue
        window = plate.header.data_window
        assert plate.pixels.shape[:2] == (window.height, window.width), path
        assert rgb(plate).shape == (window.height, window.width, 3), path
    expected = {
        "legal": {
            "11.deep.exr": "input.deep",
            "objectid.deep.exr": "input.deep",
            "v2_LowResLeftView_Trunks.exr": "input.deep",
            "Chromaticities_Rec709_YC.exr": "input.unsupported_image",
            "LuminanceChroma_Flowers.exr": "input.unsupported_image",
            "comp_b44.exr": "input.unsupported_image",
            "TestImages_WideFloatRange.exr": "input.no_picture",  # G alone
            "v1.7.test.interleaved.exr": "input.no_picture",  # R and Z
            "v1.7.test.tiled.exr": "input.no_picture",  # G and Z
        },
        "selfmade": {"uint_id_only.exr": "input.no_picture"},
    }
    assert refused == expected[kind]
