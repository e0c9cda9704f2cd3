"""`dvm matte`: what it makes, and how each bad input ends: one sentence, one hint, the exit code,
and no partial file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dvm_server.private_server import _ended
from host_plugins.client import connection as connection_file
from host_plugins.client.errors import CapacityError, ServerError, SetupError
from model.plates.image_files import write_image
from tests.server.serving import REPOSITORY, Clip, pixels, stamps, wait_for

CONNECTION = connection_file.CONNECTION_FILE


@pytest.fixture
def matte(dvm, engine_server, clip) -> Callable[..., object]:
    """`dvm matte` of the clip with keyframes at both ends; arguments may override."""

    def run(*more: object, keys: tuple[int, ...] = (1001, 1006), out: object = "") -> object:
        trimaps = [text for f in keys for text in ("--trimap", f"{f}:{clip.trimap(f)}")]
        return dvm(
            "matte",
            clip.folder / "plate.####.exr",
            "--out",
            out or clip.folder / "out" / "alpha.####.exr",
            "--server",
            engine_server.state / CONNECTION,
            *trimaps,
            *more,
        )

    return run


def written(clip: Clip) -> list[str]:
    """Every file in the output folder, temporary ones too."""
    folder = clip.folder / "out"
    return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []


def test_mattes_and_says_where(matte, clip):
    ran = matte("--outputs", "alpha,trimap", "--split")
    assert ran.code == 0, ran.err
    assert written(clip) == sorted(
        [f"alpha.{f}.exr" for f in clip.frames] + [f"alpha.trimap.{f}.exr" for f in clip.frames]
    )
    for frame in clip.frames:
        alpha, trimap = (
            pixels(clip.out(frame)),
            pixels(clip.folder / "out" / f"alpha.trimap.{frame}.exr"),
        )
        assert alpha.shape == (9, 14, 1) and alpha.dtype == np.float16
        assert set(np.unique(trimap)) <= {0.0, 0.5, 1.0}
        assert (alpha[trimap == 0] == 0).all() and (alpha[trimap == 1] == 1).all()
    assert f"mattes: {clip.folder}/out/alpha.####.exr" in ran.out
    assert "frames: 1001-1006 (6 computed, 0 kept)" in ran.out
    assert all(re.match(r"[a-z ]+: ", line) for line in ran.out.splitlines()), ran.out

    again = matte("--outputs", "alpha,trimap", "--split", "--json")
    assert again.code == 0, again.err
    told = [json.loads(line) for line in again.out.splitlines()]
    assert (told[-1]["type"], told[-1]["computed"], told[-1]["kept"]) == ("done", 0, 6)


def test_only_files_that_were_written_are_named(matte, clip):
    ran = matte("--outputs", "trimap,confidence", "--split")
    assert ran.code == 0, ran.err
    assert "mattes:" not in ran.out and f"trimap: {clip.folder}/out/alpha.trimap.1001" in ran.out


def test_json_names_every_matte(matte, clip):
    ran = matte("--json")
    told = [json.loads(line) for line in ran.out.splitlines()]
    mattes = {one["frame"]: one["paths"] for one in told if one["type"] == "matte"}
    assert mattes == {f: {"alpha": str(clip.out(f))} for f in clip.frames}
    assert told[-1]["type"] == "done"
    assert {one["stage"] for one in told if one["type"] == "progress"} >= {"matting"}


def test_a_farm_of_mixed_machines_names_what_a_matte_depends_on(matte, clip):
    assert matte("--precision", "float32", "--tile", "512").code == 0
    again = matte("--precision", "float32", "--tile", "512", "--json")
    assert json.loads(again.out.splitlines()[-1])["kept"] == 6
    other = matte("--precision", "bfloat16", "--tile", "512")
    assert other.code == 10 and "other options" in other.sentence()
    refused = matte("--threads", "2")
    assert refused.code == 2 and "the server chooses its threads" in refused.err


def test_no_keyframe(matte, clip):
    ran = matte(keys=())
    assert (ran.code, written(clip)) == (10, [])
    assert "without any trimap" in ran.sentence()


def test_keyframe_that_is_not_there(matte, clip):
    clip.trimap(1006).unlink()
    ran = matte()
    assert (ran.code, written(clip)) == (10, [])
    assert str(clip.trimap(1006)) in ran.sentence()


def test_missing_plate_in_the_middle(matte, clip):
    clip.plate(1003).unlink()
    ran = matte()
    assert (ran.code, written(clip)) == (10, [])
    assert "frame 1003" in ran.sentence() and str(clip.plate(1003)) in ran.sentence()
    assert "--missing hold" in ran.err

    held = matte("--missing", "hold")
    assert held.code == 0, held.err
    assert clip.out(1003).exists()


def test_plate_of_another_size(matte, clip):
    write_image(clip.plate(1004), np.zeros((9, 15, 3), np.float32), ("R", "G", "B"))
    ran = matte()
    assert ran.code == 10
    assert "frame 1004" in ran.sentence() and "15×9" in ran.sentence() and "14×9" in ran.sentence()
    assert not [name for name in written(clip) if "tmp" in name]


def test_truncated_plate(matte, clip):
    whole = clip.plate(1003).read_bytes()
    clip.plate(1003).write_bytes(whole[: len(whole) // 2])
    ran = matte()
    assert ran.code == 10
    assert str(clip.plate(1003)) in ran.sentence()
    assert not [name for name in written(clip) if "tmp" in name]


def test_photograph_as_trimap(matte, clip):
    shutil.copy(REPOSITORY / "samples" / "background.jpg", clip.folder / "photo.jpg")
    ran = matte("--trimap", f"1003:{clip.folder / 'photo.jpg'}")
    assert (ran.code, written(clip)) == (10, [])
    assert "photo.jpg is not a trimap" in ran.sentence() and "%" in ran.sentence()


def test_trimap_of_another_size(matte, clip):
    grey = np.full((9, 13), 128, np.uint8)
    grey[0], grey[-1] = 0, 255
    write_image(clip.trimap(1006), grey, ("Y",), pixel_type="uint8")
    ran = matte()
    assert (ran.code, written(clip)) == (10, [])
    assert "13×9" in ran.sentence() and "14×9" in ran.sentence()


@pytest.mark.parametrize("name", ["out", "out/deeper"])
def test_unwritable_output(matte, clip, name):
    (clip.folder / "out").write_text("a file where a folder should be")
    ran = matte(out=clip.folder / name / "alpha.####.exr")
    assert ran.code == 10
    assert str(clip.folder / name) in ran.sentence()


def test_output_over_the_plates(matte, clip):
    before = stamps(clip.folder)
    ran = matte("--overwrite", out=clip.folder / "plate.####.exr")
    assert ran.code == 10
    assert str(clip.plate(1001)) in ran.sentence()
    assert stamps(clip.folder) == before


def test_output_over_the_plates_in_a_linked_folder(matte, clip):
    linked = clip.folder.with_name("linked")
    linked.symlink_to(clip.folder)
    before = clip.plate(1001).read_bytes()
    ran = matte("--overwrite", out=linked / "plate.####.exr")
    assert ran.code == 10
    said = ran.sentence()
    assert f"{linked / 'plate.1001.exr'} is one of the shot's own plates" in said
    assert str(clip.plate(1001)) in said
    assert clip.plate(1001).read_bytes() == before


@pytest.mark.parametrize("letters", [245, 300])
def test_output_whose_name_is_too_long(matte, clip, letters):
    """The shorter one would fit, but not what it is called while it is written."""
    ran = matte(out=clip.folder / "out" / ("a" * letters + ".####.exr"))
    assert (ran.code, written(clip)) == (10, [])
    assert "a" * letters in ran.sentence() and "too long" in ran.sentence()


@pytest.mark.parametrize("option", ["--trimap", "--roto", "--garbage", "--clean-plate"])
def test_a_pipe_is_refused_and_not_waited_for(matte, clip, option):
    pipe = clip.folder / "pipe.exr"
    os.mkfifo(pipe)
    drawn = option in ("--trimap", "--roto")
    ran = matte(option, f"1002:{pipe}" if drawn else pipe)
    assert (ran.code, written(clip)) == (10, [])
    assert str(pipe) in ran.sentence()


def test_a_pipe_where_a_matte_would_be(matte, clip):
    (clip.folder / "out").mkdir()
    os.mkfifo(clip.out(1003))
    for more in ((), ("--overwrite",)):
        ran = matte(*more)
        assert (ran.code, written(clip)) == (10, ["alpha.1003.exr"])
        assert f"{clip.out(1003)} is a pipe or a device" in ran.sentence()


def test_output_without_a_frame_number(matte, clip):
    ran = matte(out=clip.folder / "out" / "alpha.exr")
    assert (ran.code, written(clip)) == (10, [])
    assert "alpha.exr" in ran.sentence() and "####" in ran.err


@pytest.mark.parametrize("name", ["none", "n" * 300])
def test_checkpoint_that_is_not_there(matte, clip, name):
    path = clip.folder / f"{name}.safetensors"
    ran = matte("--checkpoint", path)
    assert (ran.code, written(clip)) == (20, [])
    assert str(path) in ran.sentence()


def test_unknown_network(matte, clip):
    ran = matte("--network", "nonesuch")
    assert (ran.code, written(clip)) == (20, [])
    assert "nonesuch" in ran.sentence() and "closed_form" in ran.err


def test_plates_rendered_again_under_old_names(matte, clip):
    assert matte().code == 0
    before = stamps(clip.folder / "out")
    clip.paint_plate(1006, seed=1)
    ran = matte()
    assert ran.code == 10
    assert "alpha.100" in ran.sentence() and "plate" in ran.sentence()
    assert "--overwrite" in ran.err or "overwrite" in ran.err
    assert stamps(clip.folder / "out") == before

    assert matte("--overwrite").code == 0
    assert stamps(clip.folder / "out") != before


def test_no_server_where_one_is_named(dvm, clip):
    ran = dvm(
        "matte", clip.folder / "plate.####.exr", "--out", clip.folder / "out" / "a.####.exr",
        "--trimap", f"1001:{clip.trimap(1001)}", "--server", clip.folder / CONNECTION,
    )  # fmt: skip
    assert ran.code == 20
    assert str(clip.folder / CONNECTION) in ran.sentence()


@pytest.mark.parametrize(
    "more", [("--outputs", "beta"), ("--missing", "maybe"), ("--device", "cpu"), ("--nonesuch",)]
)
def test_usage(matte, clip, more):
    assert matte(*more).code == 2
    assert written(clip) == []


def test_bad_keyframe_text(matte, clip):
    ran = matte("--trimap", "key.png")
    assert ran.code == 10
    assert "key.png" in ran.sentence()


def test_a_name_that_is_no_text(matte, clip):
    """Of an old disk, in Latin-1."""
    folder = Path(os.fsdecode(os.fsencode(clip.folder) + b"/caf\xe9"))
    folder.mkdir()
    ran = matte("--out", folder / "a.####.exr")
    assert ran.code == 10
    assert "is not in UTF-8" in ran.sentence() and "caf" in ran.sentence()


def test_a_private_server_comes_and_goes(clip, tmp_path):
    """As a person runs it: a process of its own, no server named."""
    state = tmp_path / "state"
    ran = subprocess.run(
        _command(clip, state), capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert ran.returncode == 0, ran.stderr
    assert written(clip) == [f"alpha.{f}.exr" for f in clip.frames]
    assert not (state / CONNECTION).exists() or not _alive(connection_file.read(state / CONNECTION))


def test_two_commands_of_one_clip_that_start_together(clip, tmp_path):
    """Other outputs of the same plates; neither finds the other's private server in its way."""
    layers = ("alpha", "alpha,trimap")
    running = [
        subprocess.Popen(
            [
                sys.executable, "-m", "dvm_server.cli", "matte", clip.folder / "plate.####.exr",
                "--out", clip.folder / f"out{index}" / "alpha.####.exr", "--network", "closed_form",
                "--trimap", f"1001:{clip.trimap(1001)}", "--outputs", outputs,
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
            env={**os.environ, connection_file.STATE_VARIABLE: str(tmp_path / "states")},
        )
        for index, outputs in enumerate(layers)
    ]  # fmt: skip
    said = [one.communicate()[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], said
    for index in range(len(layers)):
        assert len(list((clip.folder / f"out{index}").iterdir())) == len(clip.frames)
    assert len(list((tmp_path / "states" / "private").iterdir())) == 2


def test_mattes_are_made_though_nobody_reads_what_is_said(clip, tmp_path):
    """As in `dvm matte … | head -1`."""
    command = _command(clip, tmp_path / "state")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY
    ) as ran:
        ran.stdout.close()
        said = ran.stderr.read()
    assert (ran.returncode, said) == (0, b"")
    assert written(clip) == [f"alpha.{f}.exr" for f in clip.frames]


@pytest.mark.parametrize("blocks", [0, 4, 30])
def test_a_private_server_without_room_is_tried_again_later(clip, tmp_path, blocks):
    """Of 1024 bytes, as `ulimit` counts: not even a pid, or a manifest, or a log of it."""
    state = tmp_path / "state"
    limited = ["bash", "-c", f'ulimit -S -f {blocks}; exec "$@"', "bash", *_command(clip, state)]
    ran = subprocess.run(limited, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert ran.returncode == 75, ran.stderr
    assert ran.stderr.startswith("dvm: ") and ran.stderr.count("\n") == 2, ran.stderr
    assert str(state) in ran.stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("code", "kind"), [(75, CapacityError), (70, ServerError), (20, SetupError), (1, SetupError)]
)
@pytest.mark.parametrize("said", ["dvm: a sentence.\n     Hint: a hint.\n", ""])
def test_how_a_private_server_ended_is_handed_on(tmp_path, code, kind, said):
    (tmp_path / "private.log").write_text(said)
    with subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"]) as ended:
        ended.wait()
    found = _ended(ended, tmp_path / "private.log")
    assert type(found) is kind and found.hint
    assert "a sentence" in found.message if said else str(tmp_path) in found.message + found.hint


def test_the_exit_code_tells_where_stderr_cannot(tmp_path):
    command = [sys.executable, "-m", "dvm_server.cli", "status", "--server", str(tmp_path / "no")]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command, stderr=full, check=False, cwd=REPOSITORY)
    assert ran.returncode == 20


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(tmp_path, number, code):
    """The job is cancelled, the private server stopped, and what is written is whole."""
    clip = Clip(tmp_path / "clip", 1, 60)
    clip.folder.mkdir()
    for frame in clip.frames:
        noise = np.random.default_rng(frame).random((90, 120, 3), np.float32)
        write_image(clip.plate(frame), noise, ("R", "G", "B"))
    grey = np.full((90, 120), 128, np.uint8)
    grey[:, :20], grey[:, -20:] = 0, 255
    write_image(clip.trimap(1), grey, ("Y",), pixel_type="uint8")
    state = tmp_path / "state"
    process = subprocess.Popen(
        _command(clip, state, keys=(1,)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=REPOSITORY,
    )  # fmt: skip
    wait_for(lambda: (state / CONNECTION).exists(), 60)
    connection = connection_file.read(state / CONNECTION)
    assert process.stdout is not None
    begun = process.stdout.readline()
    assert begun, process.communicate()[1]
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert err.startswith("dvm: ") and err.count("\n") == 2, err
    assert not _alive(connection)
    for name in written(clip):
        assert re.fullmatch(r"alpha\.\d{4}\.exr", name)
        assert pixels(clip.folder / "out" / name).shape == (90, 120, 1)


def _command(clip: Clip, state: Path, keys: tuple[int, ...] = (1001, 1006)) -> list[str]:
    trimaps = [text for f in keys for text in ("--trimap", f"{f}:{clip.trimap(f)}")]
    return [
        sys.executable, "-m", "dvm_server.cli", "matte", str(clip.folder / "plate.####.exr"),
        "--out", str(clip.folder / "out" / "alpha.####.exr"), "--state", str(state), *trimaps,
    ]  # fmt: skip


def _alive(connection: connection_file.Connection) -> bool:
    try:
        os.kill(connection.pid, 0)
    except ProcessLookupError:
        return False
    return True
