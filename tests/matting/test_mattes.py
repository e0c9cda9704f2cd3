"""Mattes as files, and the spool between the passes."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model.engine import FrameMatte
from model.errors import InputError
from model.plates import atomic
from model.plates.image_files import read_header, read_plate
from model.plates.mattes import (
    LAYERS,
    check_outputs,
    matte_paths,
    read_trimap_spool,
    write_matte,
    write_trimap_spool,
)
from model.plates.plate import PlateHeader, Trimap, Window

EVAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "eval"
HEIGHT, WIDTH = 9, 14


def matte_of(header: PlateHeader | None = None, **fields) -> FrameMatte:
    window = Window.of_size(WIDTH, HEIGHT, -2, 3)
    header = header or PlateHeader(
        ("R", "G", "B"),
        window,
        Window(0, 0, 19, 19),
        pixel_aspect=2.0,
        metadata={"smpte:TimeCode": (18880518, 0), "nuke/node_hash": "ab"},
        colourspace="lin_ap1_scene",
        pixel_type="half",
    )
    shape = header.data_window.height, header.data_window.width
    rng = np.random.default_rng(6)
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), shape)
    alpha = np.where(trimap == 128, rng.random(shape), trimap / 255).astype(np.float32)
    matte = FrameMatte(
        1001,
        alpha,
        trimap,
        rng.random(shape, np.float32),
        (rng.random((*shape, 3)) * 8 - 1).astype(np.float32),
        header,
        "painted",
    )
    return replace(matte, **fields)


def channels_of(path: Path) -> dict[str, np.ndarray]:
    """Past our reader, on purpose."""
    source = oiio.ImageInput.open(str(path))
    assert source, oiio.geterror()
    names = source.spec().channelnames
    pixels = source.read_image(0, 0, 0, len(names), oiio.UNKNOWN)
    assert pixels.dtype == np.float16
    return {name: pixels[:, :, index] for index, name in enumerate(names)}


def attributes_of(path: Path) -> dict[str, object]:
    spec = oiio.ImageInput.open(str(path)).spec()
    return {one.name: one.value for one in spec.extra_attribs}


@pytest.mark.parametrize(
    ("pattern", "alpha", "trimap"),
    [
        ("out/alpha.####.exr", "out/alpha.0007.exr", "out/alpha.trimap.0007.exr"),
        ("alpha.%04d.exr", "alpha.0007.exr", "alpha.trimap.0007.exr"),
        ("out/alpha_####.exr", "out/alpha_0007.exr", "out/alpha.trimap_0007.exr"),
        ("alpha####.exr", "alpha0007.exr", "alpha.trimap.0007.exr"),
        ("out/####.exr", "out/0007.exr", "out/trimap.0007.exr"),
        ("out/alpha.exr", "out/alpha.exr", "out/alpha.trimap.exr"),
        ("v1.2/a.$F4.EXR", "v1.2/a.0007.EXR", "v1.2/a.trimap.0007.EXR"),
    ],
)
def test_names_of_split_files(pattern, alpha, trimap):
    paths = matte_paths(pattern, 7, ["trimap", "alpha"], True)
    assert paths == {"alpha": Path(alpha), "trimap": Path(trimap)}
    assert matte_paths(pattern, 7, LAYERS, False) == {"alpha": Path(alpha)}
    assert list(matte_paths(pattern, 7, ["confidence"], True)) == ["confidence"]


def test_split_files_of_one_frame_are_all_different():
    paths = matte_paths("a.####.exr", 7, LAYERS, True)
    assert set(paths) == set(LAYERS) and len(set(paths.values())) == 4


@pytest.mark.parametrize("pattern", ["a.####.png", "a.####", "a.####.b##.exr"])
def test_names_that_are_refused(pattern):
    with pytest.raises(InputError) as caught:
        matte_paths(pattern, 7, ["alpha"], False)
    assert caught.value.code in ("input.output_unwritable", "input.pattern")


def test_one_file_with_layers(tmp_path):
    matte = matte_of()
    paths = matte_paths(tmp_path / "a.####.exr", 1001, LAYERS, False)
    digests = write_matte(paths, matte, layers=LAYERS, split=False)
    assert list(tmp_path.iterdir()) == [paths["alpha"]] == list(digests)
    found = channels_of(paths["alpha"])
    assert set(found) == {
        "A",
        "trimap.A",
        "confidence.A",
        "foreground.R",
        "foreground.G",
        "foreground.B",
    }
    np.testing.assert_array_equal(found["A"], matte.alpha.astype(np.float16))
    np.testing.assert_array_equal(found["trimap.A"][matte.trimap == 0], 0)
    np.testing.assert_array_equal(found["trimap.A"][matte.trimap == 128], 0.5)
    np.testing.assert_array_equal(found["trimap.A"][matte.trimap == 255], 1)
    for index, name in enumerate("RGB"):
        expected = matte.foreground[:, :, index].astype(np.float16)
        np.testing.assert_array_equal(found[f"foreground.{name}"], expected)
    assert digests[paths["alpha"]] == hashlib.sha256(paths["alpha"].read_bytes()).hexdigest()


def test_a_file_for_each_layer_has_bare_names(tmp_path):
    """Blender loads an EXR with any ``name.A`` as multilayer, without pixels."""
    matte = matte_of()
    paths = matte_paths(tmp_path / "a.####.exr", 1001, LAYERS, True)
    digests = write_matte(paths, matte, layers=LAYERS, split=True)
    assert set(digests) == set(paths.values()) == set(tmp_path.iterdir())
    names = {layer: set(channels_of(path)) for layer, path in paths.items()}
    assert names == {layer: {"A"} for layer in LAYERS[:3]} | {"foreground": set("RGB")}


@pytest.mark.parametrize("compression", ["zip", "zips", "dwaa", "dwab", "pxr24", "none"])
def test_certain_pixels_are_exact_under_every_compression_that_is_let_through(
    tmp_path, compression
):
    header = replace(matte_of().header, data_window=Window(0, 0, 99, 79))
    matte = matte_of(header)
    paths = matte_paths(tmp_path / "a.####.exr", 1, LAYERS, False)
    write_matte(paths, matte, layers=LAYERS, split=False, compression=compression)
    found = channels_of(paths["alpha"])
    assert attributes_of(paths["alpha"])["compression"] == compression
    assert (found["A"][matte.trimap == 0] == 0).all()
    assert (found["A"][matte.trimap == 255] == 1).all()
    np.testing.assert_array_equal(found["A"], matte.alpha.astype(np.float16))
    np.testing.assert_array_equal(found["confidence.A"], matte.confidence.astype(np.float16))


@pytest.mark.parametrize("compression", ["b44", "b44a", "htj2k", "nonsense"])
@pytest.mark.parametrize("split", [False, True])
def test_compressions_that_would_damage_it_are_refused_early(tmp_path, compression, split):
    with pytest.raises(InputError) as early:
        check_outputs(LAYERS, split, compression)
    paths = matte_paths(tmp_path / "a.####.exr", 1, LAYERS, split)
    with pytest.raises(InputError) as late:
        write_matte(paths, matte_of(), layers=LAYERS, split=split, compression=compression)
    assert early.value.code == late.value.code
    assert late.value.code in ("input.lossy_compression", "input.unknown_compression")
    assert list(tmp_path.iterdir()) == []
    check_outputs(LAYERS, split, "zips")


def test_windows_aspect_metadata_and_provenance(tmp_path):
    matte = matte_of()
    paths = matte_paths(tmp_path / "a.####.exr", 1, ["alpha"], False)
    ours = {"dvm:engine": "e", "dvm:key": "k", "dvm:composited_in": "linear"}
    write_matte(paths, matte, layers=["alpha"], split=False, attributes=ours)
    spec = oiio.ImageInput.open(str(paths["alpha"])).spec()
    assert (spec.x, spec.y, spec.width, spec.height) == (-2, 3, WIDTH, HEIGHT)
    assert (spec.full_x, spec.full_y, spec.full_width, spec.full_height) == (0, 0, 20, 20)
    found = attributes_of(paths["alpha"])
    assert found["PixelAspectRatio"] == 2.0 and found["smpte:TimeCode"] == (18880518, 0)
    assert {name: found[name] for name in ours} == ours
    assert "nuke/node_hash" not in found
    assert "colorInteropID" not in found, "an alpha has no colour"


@pytest.mark.parametrize(
    ("fields", "attributes", "said"),
    [
        ({}, {}, "lin_ap1_scene"),
        ({"colourspace": "", "pixel_type": "uint8"}, {}, "srgb_rec709_scene"),
        ({"colourspace": ""}, {}, "lin_rec709_scene"),
        ({}, {"dvm:colourspace": "Linear Rec.2020"}, "lin_rec2020_scene"),
    ],
)
def test_a_foreground_says_which_colours_it_has(tmp_path, fields, attributes, said):
    matte = matte_of(replace(matte_of().header, **fields))
    paths = matte_paths(tmp_path / "a.####.exr", 1, ["foreground"], True)
    write_matte(paths, matte, layers=["foreground"], split=True, attributes=attributes)
    assert attributes_of(paths["foreground"])["colorInteropID"] == said


def test_two_runs_write_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths = matte_paths(tmp_path / folder / "a.####.exr", 1, LAYERS, True)
        write_matte(paths, matte_of(), layers=LAYERS, split=True)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_all_files_of_a_frame_or_none(tmp_path):
    paths = matte_paths(tmp_path / "a.####.exr", 1, LAYERS, True)
    paths["confidence"].mkdir()
    with pytest.raises(InputError) as caught:
        write_matte(paths, matte_of(), layers=LAYERS, split=True)
    assert caught.value.code == "input.output_unwritable"
    assert list(tmp_path.iterdir()) == [paths["confidence"]]
    paths["confidence"] = tmp_path / "nowhere" / "a.exr"
    with pytest.raises(InputError, match="nowhere"):
        write_matte(paths, matte_of(), layers=LAYERS, split=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.confidence.0001.exr"]


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("links", [True, False])
def test_what_somebody_else_wrote_stays(tmp_path, monkeypatch, links):
    """Also on file systems that have no hard links (exFAT, some network shares)."""
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    paths = matte_paths(tmp_path / "a.####.exr", 1, LAYERS, True)
    paths["confidence"].write_bytes(b"precious")
    with pytest.raises(InputError, match="written by somebody else") as caught:
        write_matte(paths, matte_of(), layers=LAYERS, split=True, made_before={})
    assert (caught.value.code, caught.value.frame) == ("input.output_exists", 1001)
    assert str(paths["confidence"]) in caught.value.message
    assert files_in(tmp_path) == {"a.confidence.0001.exr": b"precious"}
    paths["confidence"].unlink()
    write_matte(paths, matte_of(), layers=LAYERS, split=True, made_before={})
    assert sorted(files_in(tmp_path)) == sorted(path.name for path in paths.values())
    assert {path.stat().st_nlink for path in paths.values()} == {1}


def no_links(path: Path, target: Path) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted", str(path))


def test_what_comes_up_between_looking_and_naming_stays(tmp_path, monkeypatch):
    paths = matte_paths(tmp_path / "a.####.exr", 1, LAYERS, True)
    last = list(paths.values())[-1]
    look = atomic._may_replace

    def late(path: Path, *rest: object) -> bool:
        found = look(path, *rest)
        if path == last:
            path.write_bytes(b"precious")
        return found

    monkeypatch.setattr(atomic, "_may_replace", late)
    with pytest.raises(InputError, match="written by somebody else"):
        write_matte(paths, matte_of(), layers=LAYERS, split=True, made_before={})
    assert files_in(tmp_path) == {last.name: b"precious"}


def test_the_same_bytes_and_what_was_made_before_may_be_replaced(tmp_path):
    """A worker that died left some of a frame's files; others are of an earlier run."""
    paths = matte_paths(tmp_path / "a.####.exr", 1, LAYERS, True)
    write_matte(paths, matte_of(), layers=LAYERS, split=True, made_before={})
    wanted = files_in(tmp_path)
    paths["trimap"].unlink()
    paths["alpha"].write_bytes(b"older")
    old = {paths["alpha"]: hashlib.sha256(b"older").hexdigest()}
    write_matte(paths, matte_of(), layers=LAYERS, split=True, made_before=old)
    assert files_in(tmp_path) == wanted
    paths["alpha"].write_bytes(b"newer")
    with pytest.raises(InputError, match="written by somebody else"):
        write_matte(paths, matte_of(), layers=LAYERS, split=True, made_before=old)
    assert files_in(tmp_path) == {**wanted, paths["alpha"].name: b"newer"}
    write_matte(paths, matte_of(), layers=LAYERS, split=True)  # as with --overwrite
    assert files_in(tmp_path) == wanted


def test_a_layer_that_was_not_computed_is_not_made_up(tmp_path):
    paths = matte_paths(tmp_path / "a.####.exr", 1, LAYERS, True)
    for layer in ("confidence", "foreground"):
        with pytest.raises(ValueError, match=layer):
            write_matte(paths, matte_of(**{layer: None}), layers=LAYERS, split=True)
    assert list(tmp_path.iterdir()) == []


def test_a_plate_from_a_file_gives_its_matte_the_same_frame(tmp_path):
    if not EVAL.is_dir():
        pytest.skip("no shared data here")
    plate = read_plate(EVAL / "exr_linear_dancer" / "comp.1001.exr")
    paths = matte_paths(tmp_path / "a.####.exr", 1001, ["alpha"], False)
    write_matte(paths, matte_of(plate.header), layers=["alpha"], split=False)
    spec = oiio.ImageInput.open(str(paths["alpha"])).spec()
    window, display = plate.header.data_window, plate.header.display_window
    assert (spec.x, spec.y, spec.width, spec.height) == (
        window.x0,
        window.y0,
        window.width,
        window.height,
    )
    assert (spec.full_width, spec.full_height) == (display.width, display.height)
    camera = {"screenWindowCenter", "screenWindowWidth"}
    found = attributes_of(paths["alpha"])
    assert {name: found[name] for name in camera} == {
        name: plate.header.metadata[name] for name in camera
    }
    with pytest.raises(InputError, match="A"):
        read_header(paths["alpha"])  # an alpha is not a plate


@settings(max_examples=30, deadline=None)
@given(
    pixels=arrays.arrays(np.uint8, (7, 5), elements=st.sampled_from([0, 128, 255])),
    window=st.none() | st.builds(Window.of_size, st.just(5), st.just(7), st.integers(-9, 9)),
    source=st.sampled_from(["painted", "propagated", "given"]),
    confidence=st.none() | arrays.arrays(np.uint8, (7, 5)),
    hint=st.none() | arrays.arrays(np.uint8, (2, 7, 5)),
)
def test_the_spool_gives_back_what_it_was_given(
    tmp_path_factory, pixels, window, source, confidence, hint
):
    path = tmp_path_factory.mktemp("spool") / "a.trimap"
    write_trimap_spool(path, Trimap(pixels, window, source, confidence, hint=hint))
    found = read_trimap_spool(path)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert (found.window, found.source) == (window, source)
    assert (found.confidence is None) == (confidence is None)
    if confidence is not None:
        np.testing.assert_array_equal(found.confidence, confidence)
    assert (found.hint is None) == (hint is None)
    if hint is not None:
        np.testing.assert_array_equal(found.hint, hint)
    assert [one.name for one in path.parent.iterdir()] == ["a.trimap"]


def test_a_spoiled_spool_is_told_and_not_believed(tmp_path):
    path = tmp_path / "a.trimap"
    write_trimap_spool(path, Trimap(np.zeros((40, 40), np.uint8)))
    whole = path.read_bytes()
    write_trimap_spool(path, Trimap(np.zeros((40, 40), np.uint8)))
    assert path.read_bytes() == whole, "the same trimap is the same bytes"
    for length in (0, 1, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError):
            read_trimap_spool(path)
    for position in range(len(whole)):
        spoiled = bytearray(whole)
        spoiled[position] ^= 0xFF
        path.write_bytes(spoiled)
        with pytest.raises(ValueError):
            read_trimap_spool(path)
    with pytest.raises(FileNotFoundError):
        read_trimap_spool(tmp_path / "none.trimap")
