"""Names of outputs, and writing them so that a name never stands for half a file."""

import errno
import os
from pathlib import Path

import pytest

from host_plugins.client import files
from host_plugins.client.errors import CapacityError, InputError
from host_plugins.client.outputs import check_folder, output_path
from host_plugins.client.shot import Outputs

NAMES = [
    ("/m/a.####.exr", 7, "alpha", "/m/a.0007.exr"),
    ("/m/a.####.exr", 7, "trimap", "/m/a.trimap.0007.exr"),
    ("/m/a_%04d.exr", 12345, "trimap", "/m/a.trimap_12345.exr"),
    ("/m/a.%d.exr", 7, "alpha", "/m/a.7.exr"),
    ("/m/a.$F3.exr", 7, "alpha", "/m/a.007.exr"),
    ("/m/a.$F.exr", 7, "alpha", "/m/a.7.exr"),
    ("/m/a@@@.exr", 7, "confidence", "/m/a.confidence.007.exr"),
    ("/m/####.exr", -7, "alpha", "/m/-007.exr"),
    ("/m/####.exr", 7, "foreground", "/m/foreground.0007.exr"),
    ("/jane@studio/a.####.exr", 7, "alpha", "/jane@studio/a.0007.exr"),
    ("/take #2/a.####.exr", 7, "trimap", "/take #2/a.trimap.0007.exr"),
    ("/jane@studio/still.exr", 7, "alpha", "/jane@studio/still.exr"),
    ("/m/still.exr", 7, "alpha", "/m/still.exr"),
    ("/m/still.exr", 7, "trimap", "/m/still.trimap.exr"),
]


@pytest.mark.parametrize(("pattern", "frame", "layer", "expected"), NAMES)
def test_names(pattern, frame, layer, expected):
    assert output_path(pattern, frame, layer) == Path(expected)


@pytest.mark.parametrize("pattern", ["", "/m/a.####.%04d.exr", "/m/####/a.exr"])
def test_what_is_no_pattern(pattern):
    with pytest.raises(InputError) as caught:
        output_path(pattern, 1)
    assert caught.value.code == "input.pattern" and caught.value.hint


def test_mattes_are_exrs_and_are_called_so(tmp_path):
    check_folder(Outputs(str(tmp_path / "a.####.EXR")), [1, 2])
    with pytest.raises(InputError, match="mattes are EXRs") as caught:
        check_folder(Outputs(str(tmp_path / "a.####.png")), [1, 2])
    assert caught.value.code == "input.output_unwritable" and ".exr" in caught.value.hint


def test_many_frames_want_a_frame_number(tmp_path):
    check_folder(Outputs(str(tmp_path / "still.exr")), [1])
    with pytest.raises(InputError, match="no place for the frame number"):
        check_folder(Outputs(str(tmp_path / "still.exr")), [1, 2])


def test_written_whole_under_its_name(tmp_path):
    path = tmp_path / "a.0001.exr"
    files.write_atomically(path, b"first", 1)
    files.write_atomically(path, memoryview(b"second"), 1)
    assert path.read_bytes() == b"second"
    assert files.digest(path) == files.read_part("matte", path, 1).sha256
    assert [one.name for one in tmp_path.iterdir()] == ["a.0001.exr"]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, CapacityError, "capacity.disk_full"),
        (errno.EDQUOT, CapacityError, "capacity.disk_full"),
        (errno.EIO, InputError, "input.output_unwritable"),
    ],
)
def test_when_writing_fails_the_old_file_stays(tmp_path, monkeypatch, number, kind, code):
    path = tmp_path / "a.0001.exr"
    path.write_bytes(b"old")

    def fails(_handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(kind) as caught:
        files.write_atomically(path, b"new", 1)
    assert (caught.value.code, caught.value.frame) == (code, 1)
    assert str(path) in caught.value.message
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.0001.exr"]


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError) as caught:
        files.read_part("plate", tmp_path / "p.exr", 3)
    assert caught.value.code == "input.missing_plate" and caught.value.frame == 3
    with pytest.raises(InputError) as caught:
        files.read_part("trimap", tmp_path, 3)
    assert caught.value.code == "input.unreadable"


def test_a_link_laid_where_a_file_is_written_is_not_followed(tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    (tmp_path / f".a.exr.tmp-{os.getpid()}").symlink_to(other)
    files.write_atomically(tmp_path / "a.exr", b"a matte")
    assert other.read_text() == "mine"
    assert (tmp_path / "a.exr").read_bytes() == b"a matte" and not (tmp_path / "a.exr").is_symlink()
