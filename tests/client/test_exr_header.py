"""EXR headers read without a library: right ones are read, damaged ones end in one sentence."""

import struct
from pathlib import Path

import pytest

from host_plugins.client.errors import InputError
from host_plugins.client.exr_header import read_exr_header

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "exr"
STRANDS = ROOT / "samples" / "strands" / "plate.1001.exr"


def attribute(name: str, kind: str, value: bytes) -> bytes:
    head = name.encode() + b"\0" + kind.encode() + b"\0"
    return head + struct.pack("<i", len(value)) + value


def box(x0: int, y0: int, x1: int, y1: int) -> bytes:
    return struct.pack("<4i", x0, y0, x1, y1)


def channel_list(*names: str) -> bytes:
    rest = struct.pack("<iB3xii", 1, 0, 1, 1)
    return b"".join(name.encode() + b"\0" + rest for name in names) + b"\0"


def exr_bytes(
    width: int = 24,
    height: int = 20,
    *,
    channels: "tuple[str, ...]" = ("A",),
    data_window: "tuple[int, int, int, int] | None" = None,
    more: bytes = b"",
    pixels: bytes = b"pixels",
    flags: int = 0,
) -> bytes:
    """A file with the header of an EXR; what follows it are no pixels."""
    display = (0, 0, width - 1, height - 1)
    return (
        struct.pack("<II", 20000630, 2 | flags)
        + attribute("channels", "chlist", channel_list(*channels))
        + attribute("compression", "compression", b"\3")
        + attribute("dataWindow", "box2i", box(*(data_window or display)))
        + attribute("displayWindow", "box2i", box(*display))
        + more
        + b"\0"
        + pixels
    )


@pytest.fixture
def written(tmp_path):
    def write(data: bytes) -> Path:
        path = tmp_path / "plate.1001.exr"
        path.write_bytes(data)
        return path

    return write


def refused(path: Path, frame: "int | None" = None) -> str:
    with pytest.raises(InputError) as caught:
        read_exr_header(path, frame)
    error = caught.value
    assert error.code == "input.unreadable" and error.hint and error.frame == frame
    assert str(path) in error.message and "\n" not in error.message
    return error.message


def test_windows_channels_and_attributes(written):
    more = (
        attribute("dvm:doubt", "float", struct.pack("<f", 0.25))
        + attribute("dvm:key", "string", b"abc\xc3\xa9")
        + attribute("frame", "int", struct.pack("<i", -7))
        + attribute("exact", "double", struct.pack("<d", 0.1))
        + attribute("adoptedNeutral", "v2f", struct.pack("<2f", 1, 2))
        + attribute("crop", "box2i", box(1, 2, 3, 4))
    )
    header = read_exr_header(
        written(
            exr_bytes(1920, 1080, channels=("A", "fg.R"), data_window=(-5, 3, 99, 40), more=more)
        )
    )
    assert header.size == (1920, 1080)
    assert header.display_window == (0, 0, 1919, 1079)
    assert header.data_window == (-5, 3, 99, 40)
    assert header.channels == ("A", "fg.R")
    assert header.attributes == {"dvm:doubt": 0.25, "dvm:key": "abcé", "frame": -7, "exact": 0.1}


def test_a_real_plate():
    header = read_exr_header(STRANDS)
    assert header.size == (640, 360) and header.channels == ("B", "G", "R")
    assert header.attributes["colorInteropID"] == "lin_rec709_scene"
    assert header.attributes["pixelAspectRatio"] == 1.0


def test_of_several_parts_the_first(written):
    parts = exr_bytes(channels=("A",), more=attribute("name", "string", b"one"), pixels=b"")
    second = exr_bytes(99, 99, channels=("Z",), pixels=b"")[8:]
    header = read_exr_header(written(parts + second + b"\0pixels"))
    assert (header.size, header.channels) == ((24, 20), ("A",))
    assert header.attributes == {"name": "one"}


def test_what_is_long_is_passed_over(written):
    more = attribute("manifest", "string", b"x" * 70_000) + attribute("after", "int", b"\1\0\0\0")
    header = read_exr_header(written(exr_bytes(more=more)))
    assert header.attributes == {"after": 1}


def test_a_number_of_the_wrong_length_is_passed_over(written):
    header = read_exr_header(written(exr_bytes(more=attribute("frame", "int", b"\1\0"))))
    assert header.attributes == {}


def test_text_that_is_not_utf8_is_read_as_well_as_it_can_be(written):
    header = read_exr_header(written(exr_bytes(more=attribute("owner", "string", b"Ren\xe9"))))
    assert header.attributes == {"owner": "Ren\ufffd"}


def test_cut_short_anywhere_it_is_refused(written):
    whole = exr_bytes()
    for length in range(len(whole) - len(b"pixels") + 1):
        refused(written(whole[:length]))
    assert read_exr_header(written(whole)).size == (24, 20)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"v/", "it is not an EXR"),
        (b"\x89PNG\r\n\x1a\n0000", "it is not an EXR"),
        (exr_bytes().replace(b"\2\0\0\0", b"\3\0\0\0", 1), "version 3"),
        (exr_bytes(0, 20, data_window=(0, 0, 9, 9)), "displayWindow is empty"),
        (exr_bytes(data_window=(0, 5, 9, 4)), "dataWindow is empty: (0, 5) to (9, 4)"),
        (exr_bytes().replace(b"dataWindow", b"dataVindow"), "has no dataWindow"),
        (exr_bytes().replace(b"displayWindow\0box2i", b"displayWindow\0box2f"), "no displayWindow"),
        (exr_bytes(channels=()), "has no channels"),
        (exr_bytes(pixels=b""), "has no pixels"),
        (exr_bytes().replace(b"channels", b"c" * 300), "a name of more than 255 letters"),
    ],
)
def test_what_is_wrong_is_said(written, data, why):
    assert why in refused(written(data), 1001)


@pytest.mark.parametrize("size", [-1, 0x7FFFFFFF, 1000])
def test_a_size_beyond_the_file_is_not_believed(written, size):
    head = b"big\0string\0" + struct.pack("<i", size)
    assert "ends within the attribute 'big'" in refused(written(exr_bytes(more=head)))


def test_too_many_attributes(written):
    more = b"".join(attribute(f"a{index}", "int", b"\0\0\0\0") for index in range(4096))
    assert "more than 4096 attributes" in refused(written(exr_bytes(more=more)))


def test_files_that_cannot_be_opened(tmp_path):
    assert "frame 7 " in refused(tmp_path / "absent.exr", 7)
    refused(tmp_path)
    refused(tmp_path / "a\0b.exr")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared EXRs are not on this machine")
def test_every_legal_file_is_read():
    paths = sorted((SHARED / "legal").glob("*.exr")) + sorted((SHARED / "selfmade").glob("*.exr"))
    assert len(paths) > 50
    found = {path.name: read_exr_header(path) for path in paths}
    assert found["Beachball_multipart.0001.exr"].data_window == (654, 245, 1530, 1120)
    assert found["DisplayWindow_t08.exr"].size == (501, 401)
    assert found["neg_window.exr"].data_window == (-50, -30, 149, 89)
    assert all(one.channels for one in found.values())
    long = max(len(name) for name in found["long_names.exr"].channels)
    assert long > 31


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared EXRs are not on this machine")
def test_every_damaged_file_is_read_or_refused():
    read = said = 0
    for path in sorted((SHARED / "damaged").glob("*.exr")):
        try:
            width, height = read_exr_header(path).size
            assert width > 0 and height > 0
            read += 1
        except InputError as error:
            assert error.code == "input.unreadable" and len(error.message) < 400
            said += 1
    assert read + said > 100 and said > 50
