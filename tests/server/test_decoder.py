"""The decoder process: pictures through a pipe, and what a hostile file cannot do."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import psutil
import pytest

from dvm_server.decoder import Decoder
from dvm_server.reader import KEPT, PlateReader
from host_plugins.client import files
from model.errors import InputError
from model.plates.image_files import read_plate, write_image
from model.plates.plate import Window

MIB = 1 << 20


@pytest.fixture
def decoder():
    one = Decoder(memory_bytes=4096 * MIB, seconds=20)
    yield one
    one.close()


@pytest.fixture
def plate(tmp_path):
    path = tmp_path / "plate.exr"
    pixels = np.random.default_rng(0).normal(size=(7, 5, 4)).astype(np.float16)
    pixels[0, 0, 0] = np.nan
    attributes = {"comment": "Straße", "owner": "x"}
    window = Window.of_size(5, 7, -3, 100)
    write_image(path, pixels, ("R", "G", "B", "A"), data_window=window, attributes=attributes)
    return path


def test_what_comes_through_the_pipe_is_what_the_reader_reads(decoder, plate):
    found, read = decoder.plate(str(plate), 1001), read_plate(plate)
    assert found.header == read.header
    assert found.pixels.dtype == read.pixels.dtype == np.float16
    assert np.array_equal(found.pixels, read.pixels, equal_nan=True)
    assert decoder.header(str(plate), 1001).metadata["comment"] == "Straße"


def test_a_file_that_changed_is_not_read(decoder, plate):
    digest = files.digest(plate)
    decoder.plate(str(plate), 1, digest)
    with plate.open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError) as caught:
        decoder.plate(str(plate), 1, digest)
    assert caught.value.code == "input.plate_changed" and str(plate) in caught.value.message


def test_its_death_is_the_files_fault_and_the_next_file_is_read(decoder, plate):
    decoder.plate(str(plate), 1)
    pid = decoder.pid
    decoder.ask("plate", str(plate), 7)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(InputError) as caught:
        # The answer may have been on its way already; the next question finds the death out.
        decoder.take()
        decoder.plate(str(plate), 7)
    assert caught.value.code == "input.damaged" and caught.value.frame == 7
    assert str(plate) in caught.value.message
    assert decoder.plate(str(plate), 1).pixels.shape == (7, 5, 4)
    assert decoder.pid != pid


def test_a_stall_is_the_files_fault_too(plate):
    decoder = Decoder(memory_bytes=0, seconds=1.0)
    try:
        decoder.plate(str(plate), 1)
        os.kill(decoder.pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(InputError) as caught:
            decoder.plate(str(plate), 1)
        assert caught.value.code == "input.damaged" and "1 s" in caught.value.message
        assert time.monotonic() - began < 5
        decoder.plate(str(plate), 1)
    finally:
        decoder.close()


def test_memory_is_capped(tmp_path):
    """A small file that claims to be large may not take the machine down."""
    path = tmp_path / "large.exr"
    write_image(path, np.zeros((4000, 4000, 3), np.float16), ("R", "G", "B"))
    assert path.stat().st_size < 2 * MIB
    decoder = Decoder(memory_bytes=400 * MIB, seconds=60)
    try:
        with pytest.raises(InputError) as caught:
            decoder.plate(str(path), 3)
        assert caught.value.code in ("input.damaged", "input.unsupported_image")
        assert str(path) in caught.value.message and caught.value.frame == 3
    finally:
        decoder.close()


def test_it_imports_no_torch(decoder, plate):
    decoder.plate(str(plate), 1)
    process = psutil.Process(decoder.pid)
    maps = {one.path for one in process.memory_maps()}
    assert any("OpenImageIO" in path or "oiio" in path.lower() for path in maps)
    assert not any("libtorch" in path for path in maps)


def test_reader_keeps_few_plates_and_asks_ahead(decoder, tmp_path):
    sources = {}
    for frame in range(20):
        path = tmp_path / f"plate.{frame}.exr"
        write_image(path, np.full((4, 4, 3), frame, np.float16), ("R", "G", "B"))
        sources[frame] = {
            "path": str(path),
            "frame": frame,
            "sha256": files.digest(path),
            "missing": "",
        }
    reader = PlateReader(decoder, sources, list(range(20)))
    for frame in [*range(20), *range(19, -1, -1), 3, 17, 4]:
        assert reader(frame).pixels[0, 0, 0] == frame
        assert reader.header(frame).data_window == Window.of_size(4, 4)
        assert len(reader._kept) <= KEPT
    decoder.drop()


def test_a_plate_asked_ahead_and_not_needed_does_no_harm(decoder, plate, tmp_path):
    broken = tmp_path / "broken.exr"
    broken.write_bytes(plate.read_bytes()[:200])
    source = {"frame": 1, "missing": ""}
    sources = {
        1: {**source, "path": str(plate), "sha256": files.digest(plate)},
        2: {**source, "path": str(broken), "sha256": files.digest(broken)},
    }
    reader = PlateReader(decoder, sources, [1, 2])
    assert reader(1).pixels.shape == (7, 5, 4)
    decoder.drop()
    assert decoder.plate(str(plate), 1).pixels.shape == (7, 5, 4)
