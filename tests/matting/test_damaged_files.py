"""Damaged files: each ends in one typed sentence, or is read; none takes the process along."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from model.plates.image_files import read_header, read_plate, write_image
from model.plates.plate import PlateHeader, Window

ROOT = Path(__file__).parents[2]
DAMAGED = ROOT / ".." / "shared" / "data" / "exr" / "damaged"

# Reads every path given on stdin, with a cap on memory. One JSON line each before the next is
# tried, so that the number of lines tells which file ended the process.
READ_ALL = """
import json, resource, sys
from model.errors import EngineError
from model.plates.image_files import read_header, read_plate, rgb, set_threads
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
set_threads(1)
for path in sys.stdin.read().splitlines():
    told = {"path": path, "code": "", "message": ""}
    try:
        rgb(read_plate(path, frame=3))
    except EngineError as error:
        told |= {"code": error.code, "message": error.message, "hint": error.hint}
    except BaseException as error:
        told["code"] = "foreign: " + repr(error)
    print(json.dumps(told), flush=True)
"""


def read_all(paths: list[Path]) -> list[dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        input="\n".join(map(str, paths)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(paths), f"ended by {paths[len(told)]}: {done.stderr[-500:]}"
    return told


def assert_typed(told: list[dict[str, str]]) -> None:
    for one in told:
        assert one["code"] in {
            "",
            "input.damaged",
            "input.deep",
            "input.no_picture",
            "input.unsupported_image",
        }, one
        if one["code"]:
            assert Path(one["path"]).name in one["message"] and one["hint"], one
            assert "\n" not in one["message"], one


@pytest.fixture
def sound(tmp_path) -> Path:
    """A plate with text, numbers and a timecode in its header."""
    window = Window.of_size(24, 16)
    metadata = {"owner": "nobody", "smpte:TimeCode": (18880518, 0), "lens": 35.0}
    header = PlateHeader(("R", "G", "B"), window, window, metadata=metadata)
    pixels = np.random.default_rng(2).random((16, 24, 3), np.float32)
    write_image(tmp_path / "sound.exr", pixels, "RGB", header=header, compression="zips")
    return tmp_path / "sound.exr"


def test_all_files_of_the_damaged_set():
    if not DAMAGED.is_dir():
        pytest.skip("no shared data here")
    told = read_all(sorted(DAMAGED.iterdir()))
    assert len(told) >= 170
    assert_typed(told)
    refused = [one for one in told if one["code"]]
    assert len(refused) >= 0.9 * len(told)


def test_files_cut_anywhere_and_with_bytes_changed(sound, tmp_path):
    rng = np.random.default_rng(11)
    whole = sound.read_bytes()
    paths = []
    for index in range(120):
        data = bytearray(whole)
        if index % 3 == 0:
            del data[rng.integers(len(data)) :]
        else:
            reach = 420 if index % 3 == 1 else len(data)  # the header, or anywhere
            for position in rng.integers(0, reach, 1 + index % 5):
                data[position] = rng.integers(256)
        paths.append(tmp_path / f"changed.{index:03d}.exr")
        paths[-1].write_bytes(data)
    told = read_all([sound, *paths])
    assert told[0]["code"] == ""
    assert_typed(told)
    assert sum(one["code"] == "input.damaged" for one in told) >= 40


def test_a_truncated_frame_names_itself(sound):
    """OpenImageIO opens it, and only reading its pixels returns None."""
    sound.write_bytes(sound.read_bytes()[:-200])
    assert read_header(sound).channels == ("R", "G", "B")
    with pytest.raises(InputError) as caught:
        read_plate(sound, frame=1004)
    assert caught.value.code == "input.damaged" and caught.value.frame == 1004
    assert "sound.exr" in caught.value.message and "missing or corrupted" in caught.value.message


def test_text_that_is_not_utf8_is_read_as_latin_1_and_written_as_utf8(sound, tmp_path):
    data = sound.read_bytes()
    assert data.count(b"nobody") == 1
    sound.write_bytes(data.replace(b"nobody", b"Zo\xeb \xff\xfe"))
    plate = read_plate(sound)
    assert plate.header.metadata["Copyright"] == "Zoë ÿþ"
    write_image(tmp_path / "a.exr", plate.pixels, "RGB", header=plate.header)
    assert read_header(tmp_path / "a.exr").metadata["Copyright"] == "Zoë ÿþ"


def test_a_channel_name_that_is_not_utf8_can_still_be_told(sound):
    data = sound.read_bytes()
    at = data.index(b"B\0", data.index(b"chlist"))
    sound.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    with pytest.raises(InputError) as caught:
        read_plate(sound)
    assert caught.value.code in ("input.no_picture", "input.damaged")
    caught.value.message.encode()  # a lone surrogate would break the wire later


@pytest.mark.parametrize("size", [(200_001, 200_001), (60_000, 60_000), (1, 2_000_000)])
def test_a_header_that_claims_a_huge_picture_allocates_nothing(sound, size):
    data = bytearray(sound.read_bytes())
    for name in (b"dataWindow\0box2i\0", b"displayWindow\0box2i\0"):
        at = data.index(name) + len(name) + 4
        data[at : at + 16] = struct.pack("<4i", 0, 0, size[0] - 1, size[1] - 1)
    sound.write_bytes(data)
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        read_plate(sound)
    assert caught.value.code == "input.damaged"
    assert "limit" in caught.value.message
    assert time.monotonic() - began < 1


def test_a_header_that_claims_too_many_channels(tmp_path):
    channels = [f"c{index}.Z" for index in range(1030)]
    path = tmp_path / "many.exr"
    write_image(path, np.zeros((2, 2, len(channels)), np.float32), channels)
    with pytest.raises(InputError, match="limits:channels") as caught:
        read_plate(path)
    assert caught.value.code == "input.damaged"
