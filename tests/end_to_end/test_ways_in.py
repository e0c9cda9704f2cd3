"""The same shot by path, by value to an address, as a movie, as one image, and as a shot.json."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from dvm_server.interrupts import Interrupts, Terminated
from dvm_server.running import by_value_files
from host_plugins.client import connection as connection_file
from host_plugins.client.shot import Plates, save
from model.plates.image_files import write_image
from tests.server.serving import SIZE, Clip, pixels

CONNECTION = connection_file.CONNECTION_FILE


@pytest.fixture
def address(engine_server, monkeypatch) -> str:
    """The server as ``tcp://…``, as from another machine, with the secret in the environment."""
    connection = engine_server.connection
    monkeypatch.setenv(connection_file.SECRET_VARIABLE, connection.secret)
    return f"{connection.endpoint},{connection.control.rpartition(':')[2]}"


@pytest.fixture
def matte(dvm, clip, engine_server):
    def run(plates: Path, out: str, *more: object, server: object = "") -> list[Path]:
        pattern = clip.folder / out / "alpha.####.exr"
        named = server or engine_server.state / CONNECTION
        ran = dvm("matte", plates, "--out", pattern, "--server", named, *more)
        assert ran.code == 0, ran.err
        return sorted((clip.folder / out).iterdir())

    return run


def keys(clip: Clip, *frames: int) -> list[str]:
    return [text for f in frames for text in ("--trimap", f"{f}:{clip.trimap(f)}")]


def same_pixels(one: list[Path], other: list[Path]) -> None:
    assert [path.name for path in one] == [path.name for path in other]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(pixels(a), pixels(b))


def test_by_value_equals_by_path(matte, clip, address):
    plates, named = clip.folder / "plate.####.exr", keys(clip, 1001, 1006)
    here = matte(plates, "here", *named)
    assert len(here) == 6
    same_pixels(here, matte(plates, "there", *named, server=address))


def test_an_address_without_the_secret(dvm, clip, address, monkeypatch):
    monkeypatch.delenv(connection_file.SECRET_VARIABLE)
    ran = dvm(
        "matte", clip.folder / "plate.####.exr", "--out", clip.folder / "o" / "a.####.exr",
        *keys(clip, 1001), "--server", address,
    )  # fmt: skip
    assert ran.code == 20
    assert connection_file.SECRET_VARIABLE in ran.sentence()


def make_movie(path):
    """Four frames, lossless."""
    random = np.random.default_rng(5)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "bgr0"
        for _ in range(4):
            picture = random.integers(0, 256, (*SIZE, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    return path


def test_a_movie(matte, clip, address):
    """Matted alike by path and by value; frames count from 1."""
    movie = make_movie(clip.folder / "clip.mkv")
    clip.paint_trimap(2)
    here = matte(movie, "here", *keys(clip, 2))
    assert [path.name for path in here] == [f"alpha.{f:04d}.exr" for f in (1, 2, 3, 4)]
    same_pixels(here, matte(movie, "there", *keys(clip, 2), server=address))


def test_a_movie_that_is_extracted_tells_of_it_and_can_be_interrupted(clip):
    plates = Plates(str(make_movie(clip.folder / "clip.mkv")))
    shot = replace(clip.shot(), frames=((1, 4, 1),), plates=plates)
    told, interrupts = [], Interrupts()

    class Report:
        def progress(self, progress):
            told.append((progress.stage, progress.done, progress.total, progress.frame))
            if progress.frame == 2:
                interrupts.terminated = True

    with pytest.raises(Terminated), ExitStack() as stack:
        by_value_files(shot, stack, Report(), interrupts)
    assert told == [("extracting", 1, 4, 1), ("extracting", 2, 4, 2)]


def test_a_movie_has_no_such_frame(dvm, clip, engine_server):
    test = clip.folder / "clip.mkv"
    with av.open(str(test), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "bgr0"
        black = np.zeros((*SIZE, 3), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(black, "bgr24")))
        container.mux(stream.encode())
    ran = dvm(
        "matte", test, "--out", clip.folder / "o" / "a.####.exr", *keys(clip, 1001),
        "--frames", "1-3", "--server", engine_server.state / CONNECTION,
    )  # fmt: skip
    assert ran.code == 10
    assert "has frames 1 to 1, and frame 2 is wanted" in ran.sentence()


def test_one_image(dvm, clip, engine_server):
    out = clip.folder / "one.exr"
    ran = dvm(
        "matte", clip.plate(1001), "--out", out, "--trimap", f"1001:{clip.trimap(1001)}",
        "--server", engine_server.state / CONNECTION,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert pixels(out).shape == (*SIZE, 1)


def test_given_trimaps_and_a_range(matte, clip):
    """A trimap for each frame that has one; every other frame only."""
    for frame in (1003, 1005):
        clip.paint_trimap(frame)
    found = matte(
        clip.folder / "plate.%04d.exr", "out",
        "--trimaps", clip.folder / "key.$F4.png", "--frames", "1001-1005x2",
    )  # fmt: skip
    assert [path.name for path in found] == [f"alpha.{f}.exr" for f in (1001, 1003, 1005)]


@pytest.mark.parametrize("how", [(), ("--by-value",)])
def test_submit(dvm, clip, engine_server, how):
    """Paths in a shot.json are relative to it."""
    shot = {
        "schema": 1,
        "name": "clip",
        "frames": [[1001, 1006, 1]],
        "plates": {"pattern": "plate.####.exr"},
        "keyframes": [{"frame": 1001, "trimap": "key.1001.png"}],
        "outputs": {"pattern": "out/matte.####.exr", "layers": ["alpha", "trimap"]},
    }
    (clip.folder / "out").mkdir()
    path = clip.folder / "shot.json"
    path.write_text(json.dumps(shot))
    ran = dvm("submit", path, "--state", engine_server.state, *how)
    assert ran.code == 0, ran.err
    assert sorted(one.name for one in (clip.folder / "out").iterdir()) == [
        f"matte.{f}.exr" for f in clip.frames
    ]
    assert f"mattes: {clip.folder}/out/matte.####.exr" in ran.out


@pytest.mark.parametrize("how", [(), ("--by-value",)])
def test_submit_writes_nothing_over(dvm, clip, engine_server, how):
    """What the shot is made from stays, overwrite or not."""
    path, before = clip.folder / "shot.json", clip.plate(1001).read_bytes()
    shot = clip.shot(overwrite=True)
    save(replace(shot, outputs=replace(shot.outputs, pattern=shot.plates.pattern)), path)
    ran = dvm("submit", path, "--state", engine_server.state, *how)
    assert ran.code == 10
    assert f"{clip.plate(1001)} is one of the shot's own plates" in ran.sentence()
    assert clip.plate(1001).read_bytes() == before


def test_submit_by_value_writes_nothing_over_a_movie(dvm, clip, engine_server):
    """What is sent are pictures that were taken out of it."""
    movie = make_movie(clip.folder / "clip.mkv")
    clip.paint_trimap(1)
    shot = replace(clip.shot((1,), overwrite=True), frames=((1, 1, 1),), plates=Plates(str(movie)))
    before, path = movie.read_bytes(), clip.folder / "shot.json"
    save(replace(shot, outputs=replace(shot.outputs, pattern=str(movie))), path)
    ran = dvm("submit", path, "--state", engine_server.state, "--by-value")
    assert ran.code == 10 and "would be overwritten" in ran.sentence()
    assert movie.read_bytes() == before


def test_submit_of_something_else(dvm, clip, engine_server):
    path = clip.folder / "shot.json"
    path.write_text("{}")
    ran = dvm("submit", path, "--state", engine_server.state)
    assert ran.code == 10
    ran.sentence()


def test_names_that_try_to_speak_to_a_farm(matte, dvm, clip, engine_server, capfd):
    """No line of stdout begins with what a file's name says."""
    wicked = clip.folder / "x\nopenjd_env: A=B\n"
    wicked.mkdir()
    for frame in clip.frames:
        write_image(wicked / f"p.{frame}.exr", np.zeros((*SIZE, 3), np.float32), ("R", "G", "B"))
    ran = dvm(
        "matte", wicked / "p.####.exr", "--out", wicked / "a.####.exr", *keys(clip, 1001),
        "--server", engine_server.state / CONNECTION,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "openjd_env" in ran.out
    assert not [line for line in ran.out.splitlines() if line.startswith("openjd")]
