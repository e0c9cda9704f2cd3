"""Which plates are there and fit together, and which mattes are finished."""

import struct
from dataclasses import replace

import pytest

from host_plugins.client.errors import InputError
from host_plugins.client.plate_files import (
    FilePattern,
    check_plates,
    finished_frames,
    matte_files,
    plate_size,
)
from host_plugins.client.shot import Outputs
from tests.client.material import HEIGHT, WIDTH, write_png
from tests.client.test_exr_header import exr_bytes

FRAMES = range(1001, 1007)


def jpeg_bytes(width, height, before=b""):
    """The head of a JPEG: an APP0, what is asked for, and the frame header."""
    app = b"\xff\xe0" + struct.pack(">H", 2 + 4) + b"JFIF"
    frame = b"\xff\xff\xc2" + struct.pack(">HBHHB", 8, 8, height, width, 1)
    return b"\xff\xd8" + app + before + frame


@pytest.fixture
def pattern(clip):
    return str(clip.folder / "plate.####.png")


@pytest.fixture
def exrs(tmp_path):
    """Six EXRs of one size."""
    for frame in FRAMES:
        (tmp_path / f"p.{frame}.exr").write_bytes(exr_bytes(640, 360))
    return tmp_path


def refused(*args):
    with pytest.raises(InputError) as caught:
        check_plates(*args)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("text", "name"),
    [("p.####.exr", "p.0007.exr"), ("p%03d.exr", "p007.exr"), ("p.$F.exr", "p.7.exr")],
)
def test_patterns_are_those_of_outputs(text, name):
    found = FilePattern.parse(f"/m/{text}")
    assert found.numbered and found.path(7).name == name


def test_a_name_without_a_number_is_one_file():
    found = FilePattern.parse("/m/clip2.mov")
    assert not found.numbered and found.path(1) == found.path(9)


@pytest.mark.parametrize("text", ["", "/m/p.####.%04d.exr", "/m/####/p.exr", "/m/p\0.####.exr"])
def test_what_is_no_pattern(text):
    with pytest.raises(InputError, match="no pattern of plates") as caught:
        FilePattern.parse(text)
    assert caught.value.code == "input.pattern" and "plate.####.exr" in caught.value.hint


def test_a_whole_clip(clip, pattern):
    report = check_plates(pattern, reversed(clip.frames))
    assert report.size == (WIDTH, HEIGHT)
    assert report.missing == ()
    assert report.bytes == sum(path.stat().st_size for path in clip.plates.values())


def test_the_first_missing_plate_is_named(clip, pattern):
    for frame in (1005, 1003):
        clip.plates[frame].unlink()
    error = refused(pattern, FRAMES)
    assert (error.code, error.frame) == ("input.missing_plate", 1003)
    assert str(clip.plates[1003]) in error.message and "2 plates are missing" in error.message


@pytest.mark.parametrize("policy", ["hold", "black"])
def test_missing_plates_are_listed_if_the_shot_allows_them(clip, pattern, policy):
    for frame in (1005, 1003):
        clip.plates[frame].unlink()
    report = check_plates(pattern, FRAMES, policy)
    assert report.missing == (1003, 1005) and report.size == (WIDTH, HEIGHT)


def test_that_none_is_there_is_never_allowed(tmp_path):
    error = refused(str(tmp_path / "p.####.exr"), FRAMES, "hold")
    assert error.code == "input.missing_plate" and error.frame == 1001
    assert "nor is any up to frame 1006" in error.message


def test_an_empty_plate(clip, pattern):
    clip.plates[1004].write_bytes(b"")
    error = refused(pattern, FRAMES, "hold")
    assert (error.code, error.frame) == ("input.unreadable", 1004)
    assert "it is empty" in error.message and str(clip.plates[1004]) in error.message


def test_a_plate_that_is_a_folder(clip, pattern):
    clip.plates[1004].unlink()
    clip.plates[1004].mkdir()
    error = refused(pattern, FRAMES)
    assert (error.code, error.frame) == ("input.unreadable", 1004)
    assert str(clip.plates[1004]) in error.message


@pytest.mark.parametrize("data", [b"RIFF, not an EXR", exr_bytes()[:60], b"v/1\1"])
def test_a_damaged_exr(exrs, data):
    (exrs / "p.1002.exr").write_bytes(data)
    error = refused(str(exrs / "p.####.exr"), FRAMES)
    assert (error.code, error.frame) == ("input.unreadable", 1002)
    assert "p.1002.exr" in error.message


def test_a_damaged_png(clip, pattern):
    for data in (clip.plates[1002].read_bytes()[:20], b"\x89PNG\r\n\x1a\n" + b"\0" * 16):
        clip.plates[1002].write_bytes(data)
        assert refused(pattern, FRAMES).frame == 1002


def test_a_plate_of_another_size(exrs):
    (exrs / "p.1004.exr").write_bytes(exr_bytes(640, 361))
    error = refused(str(exrs / "p.####.exr"), FRAMES)
    assert (error.code, error.frame) == ("input.plate_size", 1004)
    assert "640×361 where frame 1001 is 640×360" in error.message and "p.1004.exr" in error.message


def test_it_is_the_display_window_that_counts(exrs):
    (exrs / "p.1004.exr").write_bytes(exr_bytes(640, 360, data_window=(-9, -9, 700, 400)))
    assert check_plates(str(exrs / "p.####.exr"), FRAMES).size == (640, 360)


def test_other_kinds_have_only_to_be_there(tmp_path):
    (tmp_path / "p.1001.dpx").write_bytes(b"SDPX")
    (tmp_path / "p.1002.dpx").write_bytes(b"SDPX and more")
    report = check_plates(str(tmp_path / "p.####.dpx"), [1001, 1002])
    assert (report.size, report.bytes) == (None, 17)


def test_a_movie_is_looked_at_once(tmp_path):
    movie = tmp_path / "clip.mov"
    assert refused(str(movie), range(1, 100)).frame == 1
    movie.write_bytes(b"\0\0\0\x14ftyp")
    assert check_plates(str(movie), range(1, 100)).bytes == 8


def test_sizes_of_kinds_that_are_known(tmp_path):
    long = b"\xff\xe1" + struct.pack(">H", 2 + 300) + b"\xff\xc0" * 150  # like a preview within
    tables = b"\xff\xc4" + struct.pack(">H", 2 + 9) + b"\x09" * 9  # its marker is like a frame's
    kinds = {
        "a.exr": exr_bytes(5, 7),
        "a.jpg": jpeg_bytes(5, 7),
        "b.jpeg": jpeg_bytes(5, 7, long),
        "c.jpeg": jpeg_bytes(5, 7, tables),
        "c.jpg": exr_bytes(5, 7),  # called by a wrong name, and read by its content
    }
    for name, data in kinds.items():
        (tmp_path / name).write_bytes(data)
    write_png(tmp_path / "a.png", [bytes(5)] * 7, 1)
    for path in sorted(tmp_path.iterdir()):
        assert plate_size(path) == (5, 7), path


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("p.exr", None, "input.missing_plate"),
        ("p.exr", b"", "input.unreadable"),
        ("p.jpg", jpeg_bytes(5, 0), "input.unreadable"),
        ("p.jpg", jpeg_bytes(5, 7)[:-4], "input.unreadable"),
        ("p.jpg", b"\xff\xd8\xff\xda\0\2", "input.unreadable"),
        ("p.jpg", b"\xff\xd8\xff\xe0\0\0", "input.unreadable"),
        ("p.tif", b"II*\0", "input.unknown_size"),
    ],
)
def test_sizes_that_cannot_be_told(tmp_path, name, data, code):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        plate_size(path)
    assert caught.value.code == code and str(path) in caught.value.message and caught.value.hint


def test_files_of_a_matte(clip):
    folder = clip.folder
    assert matte_files(clip.shot(), 1002) == {"alpha": folder / "alpha.1002.exr"}
    split = Outputs(str(folder / "a.%04d.exr"), layers=("alpha", "trimap"), split=True)
    assert matte_files(clip.shot(outputs=split), 3) == {
        "alpha": folder / "a.0003.exr",
        "trimap": folder / "a.trimap.0003.exr",
    }


def test_a_frame_is_finished_once_all_its_files_are_whole(clip):
    layers = Outputs(str(clip.folder / "a.####.exr"), layers=("alpha", "trimap"), split=True)
    shot = clip.shot(outputs=layers)
    assert finished_frames(shot) == []
    for frame in (1001, 1002, 1003, 1005):
        for path in matte_files(shot, frame).values():
            path.write_bytes(exr_bytes())
    matte_files(shot, 1002)["trimap"].unlink()
    matte_files(shot, 1003)["trimap"].write_bytes(exr_bytes()[:50])
    assert finished_frames(shot) == [1001, 1005]


def test_a_shot_without_outputs_has_no_files(clip):
    shot = replace(clip.shot(), outputs=Outputs())
    with pytest.raises(InputError) as caught:
        finished_frames(shot)
    assert caught.value.code == "input.pattern"
