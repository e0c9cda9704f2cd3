"""`dvm-train adapt` on a tiny shot: what is held out gets better, the same bytes each time, and the
file mattes the shot; what cannot be adapted to is told in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import dvm_server.cli
from model.checkpoint import CheckpointRecord, read_record, save_checkpoint, sha256_of_file
from model.networks.st_fam_s import StFamS
from model.networks.trimap_memory_s import TrimapMemoryS
from model.plates.channels import Picture
from model.plates.image_files import read_header, read_plate, write_image
from tests.train.odd_values import write_matte
from training import cli

FRAMES = range(1, 6)
FINISHED = (1, 3, 5)
SMALL = {"channels": [8, 8, 8, 16, 16], "narrow": [8, 8], "guide": 8}
SMALL_MEMORY = {"look": [8, 8, 8, 8], "guess": [8, 8, 8]}


def paint(folder: Path) -> None:
    """A soft textured disc that moves over a background of nearly its colours: hard for a prior."""
    rng = np.random.default_rng(4)
    coarse = rng.random((2, 14, 18, 3)).astype(np.float32)
    layers = [cv2.resize(c, (72, 56), interpolation=cv2.INTER_CUBIC).clip(0, 1) for c in coarse]
    y, x = np.mgrid[:48, :64].astype(np.float32)
    for frame in FRAMES:
        distance = np.hypot(x - 24 - 3 * frame, y - 24)
        alpha = np.clip((15 - distance) / 8 + 0.5, 0, 1)
        front = 0.35 + 0.4 * layers[0][4:52, 4:68]
        behind = 0.25 + 0.4 * layers[1][4:52, frame : frame + 64]
        plate = alpha[..., None] * front + (1 - alpha[..., None]) * behind
        trimap = np.where(np.abs(distance - 15) < 8, 128, np.where(distance < 15, 255, 0))
        write_image(folder / f"plate.{frame:04}.exr", plate, ("R", "G", "B"), pixel_type="float")
        cv2.imwrite(str(folder / f"trimap.{frame:04}.png"), trimap.astype(np.uint8))
        if frame in FINISHED:
            write_image(folder / f"matte.{frame:04}.exr", alpha, ("A",), pixel_type="float")


@pytest.fixture(scope="session")
def painted(tmp_path_factory) -> Path:
    """The shot with two whole checkpoints of tiny, untrained networks beside it."""
    folder = tmp_path_factory.mktemp("shot")
    paint(folder)
    torch.manual_seed(1)
    for name, network in (
        ("st_fam_s", StFamS(**SMALL)),
        ("trimap_memory_s", TrimapMemoryS(**SMALL_MEMORY)),
    ):
        tensors = {k: v.half() for k, v in network.state_dict().items()}
        save_checkpoint(
            folder / f"our_{name}.safetensors", tensors, CheckpointRecord(name, network.config)
        )
    return folder


@pytest.fixture
def shot(painted, tmp_path) -> Path:
    """A copy of it, not adapted to yet."""
    left_out = shutil.ignore_patterns("*.delta.safetensors")
    return Path(shutil.copytree(painted, tmp_path / "shot", ignore=left_out))


def adapt(shot: Path, *more: object, out: str = "shot.delta.safetensors") -> int:
    """`dvm-train adapt`; returns the exit code. Later options override."""
    fixed = (
        "--plates", shot / "plate.####.exr", "--mattes", shot / "matte.####.exr",
        "--trimaps", shot / "trimap.####.png", "--checkpoint", shot / "our_st_fam_s.safetensors",
        "--propagation-checkpoint", shot / "our_trimap_memory_s.safetensors",
        "--out", shot / out, "--steps", 24, "--propagation-steps", 8, "--rate", 4e-3,
        "--threads", 1, "--device", "cpu", "--parts", "matting",
    )  # fmt: skip
    with pytest.raises(SystemExit) as left:
        cli.main(["adapt", *map(str, (*fixed, *more))])
    return int(left.value.code or 0)


def refused(capsys, shot: Path, code: int, *more: object) -> str:
    """The sentence; nothing was written."""
    before = {path.name for path in shot.iterdir()}
    assert adapt(shot, *more) == code
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2, said
    assert said[0].startswith("dvm-train: ") and said[1].startswith("     Hint: ")
    assert {path.name for path in shot.iterdir()} == before
    return said[0]


@pytest.fixture(scope="session")
def adapted(painted) -> Path:
    """Adapted once, for all tests that look at it."""
    assert adapt(painted) == 0
    return painted / "shot.delta.safetensors"


def test_what_is_held_out_gets_better_and_the_record_says_how(adapted, painted):
    record = read_record(adapted)
    told = record.training["adapted"]["st_fam_s"]
    assert told["held_out"]["MSE"] < 0.9 * told["held_out_before"]["MSE"]
    assert 0 < told["step"] <= told["steps"] == 24
    base = painted / "our_st_fam_s.safetensors"
    assert record.networks == (record.network,) == ("st_fam_s",)
    assert record.delta["st_fam_s"].sha256 == sha256_of_file(base)
    assert record.delta["st_fam_s"].file == base.name
    assert record.config == read_record(base).config
    assert record.training["frames"] == list(FINISHED)
    digests = record.training["files_sha256"]
    assert digests["mattes"]["3"] == sha256_of_file(painted / "matte.0003.exr")
    assert set(digests["plates"]) == {str(f) for f in FRAMES}
    assert "owner" in record.licence


def test_the_same_again_is_there_already_and_elsewhere_the_same_bytes(adapted, shot, capsys):
    shutil.copy(adapted, shot)
    written = (shot / adapted.name).stat().st_mtime_ns
    assert adapt(shot) == 0
    assert "is there already, made from the same files and options" in capsys.readouterr().out
    assert (shot / adapted.name).stat().st_mtime_ns == written
    assert adapt(shot, out="again.safetensors") == 0
    assert (shot / "again.safetensors").read_bytes() == adapted.read_bytes()


def test_a_file_of_other_inputs_is_not_replaced_unasked(adapted, shot, capsys):
    shutil.copy(adapted, shot)
    with pytest.raises(SystemExit) as left:
        cli.main(
            ["adapt", "--plates", f"{shot}/plate.####.exr", "--mattes", f"{shot}/matte.####.exr",
             "--trimaps", f"{shot}/trimap.####.png", "--out", f"{shot}/{adapted.name}"]
        )  # fmt: skip
    assert left.value.code == 20
    assert "made from other files or options" in capsys.readouterr().err
    assert (shot / adapted.name).read_bytes() == adapted.read_bytes()


def test_the_file_mattes_the_shot_as_it_was_judged_and_is_named_there(adapted, painted, tmp_path):
    with pytest.raises(SystemExit) as left:
        dvm_server.cli.main(
            ["matte", f"{painted}/plate.####.exr", "--out", f"{tmp_path}/alpha.####.exr",
             "--trimaps", f"{painted}/trimap.####.png", "--checkpoint", str(adapted),
             "--device", "cpu", "--state", str(tmp_path / "state")]
        )  # fmt: skip
    assert left.value.code in (None, 0)
    matte = tmp_path / "alpha.0003.exr"
    said = read_header(matte, choose=alpha_alone).metadata["dvm:checkpoint"]
    assert said == f"{adapted.name} {sha256_of_file(adapted)}"
    alpha, truth = (
        read_plate(path, choose=alpha_alone).pixels[..., 0].astype(np.float32)
        for path in (matte, painted / matte.name.replace("alpha", "matte"))
    )
    unknown = cv2.imread(str(painted / "trimap.0003.png"), cv2.IMREAD_GRAYSCALE) == 128
    error = 1e3 * float(np.mean((alpha - truth)[unknown] ** 2))
    told = read_record(adapted).training["adapted"]["st_fam_s"]["held_out"]["MSE"]
    assert error == pytest.approx(told, rel=0.02)  # half an EXR, and maybe bfloat16


def alpha_alone(names, _ids) -> Picture:
    return Picture("", ("A",), (names.index("A"),))


def test_propagation_learns_from_keyframes_and_shares_the_file(shot, monkeypatch):
    monkeypatch.setattr("training.adapt.LEAST_GAIN", -9.0)  # so small a network need not be better
    assert adapt(shot, "--parts", "matting,propagation", "--steps", 8) == 0
    record = read_record(shot / "shot.delta.safetensors")
    assert record.networks == ("st_fam_s", "trimap_memory_s")
    told = record.training["adapted"]["trimap_memory_s"]
    assert set(told["held_out"]) == {"missed", "width", "wrong"}


def test_one_keyframe_is_set_in_motion_and_one_matte_judged_by_its_other_half(shot, capsys):
    for frame in (1, 5):
        (shot / f"matte.{frame:04}.exr").unlink()
    assert adapt(shot, "--parts", "matting,propagation", "--steps", 16) in (0, 10)
    said = capsys.readouterr().out
    assert "st_fam_s: learns from 3; judged by 3" in said
    assert "trimap_memory_s: 0 ways between keyframes, 2 held out" in said


def test_neighbours_without_trimaps_get_theirs_carried(shot):
    for frame in (2, 4):
        (shot / f"trimap.{frame:04}.png").unlink()
    assert adapt(shot) == 0


def test_nothing_better_nothing_written(shot, capsys, monkeypatch):
    monkeypatch.setattr("training.adapt.LEAST_GAIN", 0.99)
    said = refused(capsys, shot, 10, "--steps", 8)
    assert "adapting did not help: st_fam_s held out MSE" in said
    assert "nothing is written" in said


def no_unknown(shot: Path) -> None:
    trimap = cv2.imread(str(shot / "trimap.0003.png"), cv2.IMREAD_GRAYSCALE)
    trimap[trimap == 128] = 0
    cv2.imwrite(str(shot / "trimap.0003.png"), trimap)


def other_matte(shot: Path) -> None:
    write_image(shot / "matte.0003.exr", np.zeros((40, 64), np.float32), ("A",))


def no_number(shot: Path) -> None:
    alpha = np.zeros((48, 64))
    alpha[20, 30] = np.nan
    write_matte(shot / "matte.0003.exr", alpha)


def other_trimap(shot: Path) -> None:
    cv2.imwrite(str(shot / "trimap.0003.png"), np.eye(40, 64, dtype=np.uint8) * 128)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda s: (s / "plate.0003.exr").unlink(), "frame 3 has no plate: "),
        (lambda s: (s / "trimap.0003.png").unlink(), "the finished matte of frame 3 has no trimap"),
        (lambda s: [p.unlink() for p in s.glob("matte.*")], "no finished matte matches "),
        (lambda s: (s / "matte.0003.exr").write_bytes(b"torn"), "matte.0003.exr"),
        (no_unknown, "trimap.0003.png has no unknown pixels"),
        (other_matte, "matte.0003.exr is 64×40, its plate is 64×48"),
        (no_number, "matte.0003.exr holds values that are not numbers"),
        (other_trimap, "trimap.0003.png is 64×40, the plate is 64×48"),
    ],
)
def test_bad_input_is_told_in_one_sentence(shot, capsys, spoil, said):
    spoil(shot)
    assert said in refused(capsys, shot, 10)


def test_bases_and_places_that_will_not_do(shot, adapted, capsys):
    memory = shot / "our_trimap_memory_s.safetensors"
    said = refused(capsys, shot, 20, "--checkpoint", memory)
    assert "holds trimap_memory_s, and what is adapted is st_fam_s" in said
    shutil.copy(adapted, shot / "first.safetensors")
    said = refused(capsys, shot, 20, "--checkpoint", shot / "first.safetensors")
    assert "holds changes for one shot" in said
    assert "is not there" in refused(capsys, shot, 20, "--checkpoint", shot / "none.safetensors")
    said = refused(capsys, shot, 20, "--out", shot / "nowhere" / "a.safetensors")
    assert "there is no folder" in said
    assert "frame 2 cannot be held out" in refused(capsys, shot, 10, "--hold-out", 2)
