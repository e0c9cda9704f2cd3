"""A painted trimap is read from an uncompressed Targa."""

import struct

import pytest

from host_plugins.blender.targa import trimap_rows
from host_plugins.client.errors import InputError

RED, BLUE, GREEN, NEARLY = (255, 0, 0), (0, 0, 255), (0, 255, 0), (254, 0, 0)
VIOLET = (255, 0, 255)


def targa(path, rows, channels=4, top_first=False):
    """Rows top first, pixels (r, g, b)."""
    flags = 0x20 if top_first else 0
    header = struct.pack("<BBBHHBHHHHBB", 3, 0, 2, 0, 0, 0, 0, 0, len(rows[0]), len(rows),
                         8 * channels, flags)  # fmt: skip
    body = b"".join(
        bytes((b, g, r, 77)[:channels]) for row in (rows if top_first else rows[::-1])
        for r, g, b in row
    )  # fmt: skip
    path.write_bytes(header + b"abc" + body)
    return path


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("top_first", [False, True])
def test_pure_red_is_foreground_and_pure_blue_unknown(tmp_path, channels, top_first):
    rows = [[RED, BLUE, GREEN], [NEARLY, VIOLET, (0, 0, 0)]]
    found, width, height = trimap_rows(
        targa(tmp_path / "a.tga", rows, channels, top_first), frame=7
    )
    assert (width, height) == (3, 2)
    assert found == [bytes([255, 128, 0]), bytes([0, 0, 0])]


def test_nothing_unknown_is_said(tmp_path):
    with pytest.raises(InputError) as caught:
        trimap_rows(targa(tmp_path / "a.tga", [[RED, GREEN]]), frame=7)
    assert caught.value.code == "input.no_unknown" and "plate 7" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"\0" * 10, b"\0\0\x0a" + b"\0" * 40])
def test_what_is_no_targa_is_said(tmp_path, content):
    path = tmp_path / "a.tga"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        trimap_rows(path, frame=7)
    assert caught.value.code == "input.unreadable"


def test_one_cut_short_is_said(tmp_path):
    path = targa(tmp_path / "a.tga", [[RED, BLUE]])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="too short"):
        trimap_rows(path, frame=7)
