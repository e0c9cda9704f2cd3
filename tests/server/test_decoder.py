"""Decoder processes: pictures through a file in memory, and what a hostile file cannot do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from threading import Barrier
from types import SimpleNamespace

import numpy as np
import OpenImageIO as oiio
import psutil
import pytest

from dvm_server.child import Channel, Child
from dvm_server.decoder import Decoder, _Movies, _read, _Signs
from dvm_server.decoders import Decoders
from dvm_server.jobs import PlateSource
from dvm_server.pixel_file import make_pixel_file, read_pixels, write_pixels
from dvm_server.reader import KEPT, PlateReader
from host_plugins.client import files
from model.errors import CapacityError, InputError
from model.plates.image_files import read_plate, write_image
from model.plates.plate import Window
from tests.server.serving import REPOSITORY

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


def test_what_comes_from_the_decoder_is_what_the_reader_reads(decoder, plate):
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
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(InputError) as caught:
        decoder.plate(str(plate), 7)
    assert caught.value.code == "input.damaged" and caught.value.frame == 7
    assert str(plate) in caught.value.message
    assert decoder.plate(str(plate), 1).pixels.shape == (7, 5, 4)
    assert decoder.pid != pid


@pytest.mark.parametrize(
    ("shape", "dtype"), [((7, 5, 400), "float16"), ((2, 2), "object"), ((0, 2), "uint8")]
)
def test_a_decoder_that_lies_about_its_pixels_is_found_out(shape, dtype):
    file = make_pixel_file()
    pixels = np.arange(12, dtype=np.float32).reshape(2, 2, 3)[:, ::-1]
    told = write_pixels(file, pixels)
    assert np.array_equal(read_pixels(file, **told), pixels)
    with pytest.raises(ValueError):
        read_pixels(file, shape, dtype)
    os.ftruncate(file, 5)
    with pytest.raises(ValueError):
        read_pixels(file, **told)
    os.close(file)


def test_a_file_that_cannot_be_read_in_time_is_its_file_servers_fault(plate):
    # Long enough for a fresh process to start in on a busy machine.
    decoder = Decoder(memory_bytes=0, seconds=4.0)
    try:
        decoder.plate(str(plate), 1)
        os.kill(decoder.pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(CapacityError) as caught:
            decoder.plate(str(plate), 1)
        assert caught.value.code == "capacity.no_answer" and caught.value.frame == 1
        assert str(plate) in caught.value.message and "4 s" in caught.value.message
        assert time.monotonic() - began < 8
        decoder.plate(str(plate), 1)
    finally:
        decoder.close()


def test_a_stall_once_it_has_been_read_is_the_files_own_fault(decoder, plate, monkeypatch):
    """A child that says how far it is, and then nothing."""
    ours, theirs = socket.socketpair()
    child = Channel(theirs.detach())
    silent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setattr(decoder, "_child", Child(silent, Channel(ours.detach())))
    monkeypatch.setattr(decoder, "_pixels", make_pixel_file())
    monkeypatch.setattr(decoder, "_seconds", 0.5)
    for sign in ("reading", "reading", "read"):
        child.send({"sign": sign})
    with silent, pytest.raises(InputError) as caught:
        decoder.plate(str(plate), 1)
    assert caught.value.code == "input.damaged" and "0.5 s" in caught.value.message
    assert child.receive()["kind"] == "plate"
    child.close()


def test_a_long_file_gives_signs_of_life_while_it_is_read(plate, tmp_path, monkeypatch):
    """A movie is read whole before its first frame: that may take longer than any image."""
    said = []

    class Heard:
        def send(self, message):
            said.append(message["sign"])

    now = iter(range(100))
    clock = SimpleNamespace(monotonic=lambda: next(now) * 0.7)
    monkeypatch.setattr("dvm_server.decoder.time", clock)
    signs = _Signs(Heard())
    question = {"kind": "plate", "sha256": files.digest(plate), "stamp": ""}
    _read(question, plate, 1, signs, _Movies())
    assert said == ["reading", "read"]
    for _ in range(6):
        signs.reading()
    assert said[2:] == ["reading"] * 3


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


def test_the_header_of_a_plate_is_that_of_its_picture(decoder, tmp_path):
    """Of an EXR of several parts any may come first: here ids, over a window of their own."""
    path = tmp_path / "parts.exr"
    ids = oiio.ImageSpec(3, 2, 1, oiio.HALF)
    ids.channelnames, ids["name"] = ("crypto.Z",), "ids"
    picture = oiio.ImageSpec(6, 4, 3, oiio.HALF)
    picture.channelnames, picture["name"] = ("R", "G", "B"), "rgb"
    specs = (ids, picture)
    for spec in specs:
        spec.full_width, spec.full_height = 6, 4
    out = oiio.ImageOutput.create(str(path))
    assert out.open(str(path), specs), out.geterror()
    for number, spec in enumerate(specs):
        if number:
            assert out.open(str(path), spec, "AppendSubimage"), out.geterror()
        out.write_image(np.zeros((spec.height, spec.width, spec.nchannels), np.float16))
    out.close()
    assert decoder.header(str(path), 1).data_window == Window.of_size(6, 4)
    assert decoder.plate(str(path), 1).header.data_window == Window.of_size(6, 4)
    assert decoder.matte_header(str(path)).data_window == Window.of_size(3, 2)


@pytest.fixture
def decoders():
    some = Decoders(2, memory_bytes=4096 * MIB, seconds=20)
    yield some
    some.close()


def source_of(path, frame=1):
    sha256 = files.digest(path)
    return asdict(PlateSource(frame, str(path), sha256=sha256, digest=sha256))


def test_reader_keeps_few_plates_and_asks_ahead(decoders, tmp_path):
    sources = {}
    for frame in range(20):
        path = tmp_path / f"plate.{frame}.exr"
        write_image(path, np.full((4, 4, 3), frame, np.float16), ("R", "G", "B"))
        sources[frame] = source_of(path, frame)
    reader = PlateReader(decoders, sources, list(range(20)))
    along = []
    reader.read_along(along.append)
    assert reader(0).pixels[0, 0, 0] == 0
    assert along == [0, 1, 2, 3]  # two decoders are busy, and one plate waits
    for frame in range(18):
        assert [reader(f).pixels[0, 0, 0] for f in range(max(frame - 2, 0), frame + 3)]
    assert along == list(range(20))  # windows go back, and nothing is read twice for it
    for frame in [*range(20), *range(19, -1, -1), 3, 17, 4]:
        assert reader(frame).pixels[0, 0, 0] == frame
        assert reader.header(frame).data_window == Window.of_size(4, 4)
        assert len(reader._kept) <= KEPT
        assert len(reader._asked) <= len(decoders) + 1
    decoders.drop()


def test_two_threads_read_from_either_end(decoders, tmp_path):
    count, sources = 30, {}
    for frame in range(count):
        path = tmp_path / f"plate.{frame}.exr"
        write_image(path, np.full((4, 4, 3), frame, np.float16), ("R", "G", "B"))
        sources[frame] = source_of(path, frame)
    reader = PlateReader(decoders, sources, list(range(count)))
    along, most = [], []
    reader.read_along(along.append)
    both = Barrier(2)

    def read(order):
        for frame in order:
            both.wait(20)
            assert reader(frame).pixels[0, 0, 0] == frame
            most.append((len(reader._asked), len(reader._kept)))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(read, [range(count), range(count - 1, -1, -1)]))
    assert max(asked for asked, _ in most) <= 2 * (len(decoders) + 1)
    assert max(kept for _, kept in most) <= KEPT
    # Each reads all of them, and few are read for nothing.
    assert len(along) <= 2 * count + 8
    decoders.drop()


def test_a_movie_is_read_by_a_decoder_for_each_way(decoders, monkeypatch):
    asked = []

    class Lane:
        def ask(self, question):
            asked.append(self)
            return "a future"

    lanes = [Lane(), Lane()]
    monkeypatch.setattr(decoders, "_lanes", [*lanes])
    for way in (0, 1, 0, 2):
        decoders.plate("a.mov", 7, way=way)
    assert asked == [lanes[0], lanes[1], lanes[0], lanes[0]]
    monkeypatch.undo()


def test_a_plate_asked_ahead_and_not_needed_does_no_harm(decoders, plate, tmp_path):
    broken = tmp_path / "broken.exr"
    broken.write_bytes(plate.read_bytes()[:200])
    reader = PlateReader(decoders, {1: source_of(plate), 2: source_of(broken, 2)}, [1, 2])
    assert reader(1).pixels.shape == (7, 5, 4)
    decoders.drop()
    assert decoders.plate(str(plate), 1).result().pixels.shape == (7, 5, 4)


def test_a_damaged_plate_is_told_of_when_its_turn_comes(decoders, plate, tmp_path):
    broken = tmp_path / "broken.exr"
    broken.write_bytes(plate.read_bytes()[:200])
    sources = {1: source_of(plate), 2: source_of(plate, 2), 3: source_of(broken, 3)}
    reader = PlateReader(decoders, sources, [1, 2, 3])
    assert reader(1) and reader(2)
    with pytest.raises(InputError) as caught:
        reader(3)
    assert caught.value.frame == 3


def test_decoders_work_side_by_side_and_one_death_is_one_file(decoders, plate):
    decoders.plate(str(plate), 1, files.digest(plate)).result()
    pids = [lane._decoder.pid for lane in decoders._lanes]
    assert pids[1] is None  # not started before it is needed
    for one in [decoders.plate(str(plate), f, files.digest(plate)) for f in range(8)]:
        assert one.result().pixels.shape == (7, 5, 4)
    pids = [lane._decoder.pid for lane in decoders._lanes]
    os.kill(pids[0], signal.SIGKILL)
    asked = [decoders.plate(str(plate), f, files.digest(plate)) for f in range(8)]
    errors = [one.exception() for one in asked]
    assert [one.code for one in errors if one] == ["input.damaged"]
    assert decoders._lanes[1]._decoder.pid == pids[1]


def test_a_limit_on_the_size_of_files_is_not_the_plates_fault(plate):
    """What holds for the server holds for its decoders, and may not be raised again."""
    code = (
        "import resource, sys\n"
        "from dvm_server.decoder import Decoder\n"
        "from model.errors import CapacityError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "decoder = Decoder(memory_bytes=4 << 30, seconds=20)\n"
        "try:\n"
        "    decoder.plate(sys.argv[1], 1001)\n"
        "except CapacityError as error:\n"
        "    sys.exit(0 if error.code == 'capacity.disk_full' else 3)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(plate)], check=False, cwd=REPOSITORY)
    assert ran.returncode == 0
