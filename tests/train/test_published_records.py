"""The published command translated: clips → tfrecords by our tools → `st_fam_s` is taught."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.train.disc_clips import Discs
from training import train
from training.tfrecords.stages import Request, write

RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "published_st_fam_s.toml"
# The recipe as it is, but for the size of everything.
SMALL = (
    *("network_config.channels=[4, 6, 8, 8, 8]", "network_config.narrow=[4, 4]"),
    *("network_config.guide=4", "clips.load_size=32", "clips.crop_sizes=[40]", "clips.flip=0.0"),
    *("trimap.kernel=[3]", "trimap.iterations=[3, 3]", "workers=0"),
    *("niter=6", "niter_decay=2", "learning_rate=4e-3", "validate_freq=4"),
)


def save(folder: Path, names: tuple[str, ...]) -> Path:
    """Clips as `dvm-train compose` leaves them: v, f, b and a, f straight."""
    clips = Discs(names, frames=7, height=40, width=56, alike=True)
    for name in names:
        found = clips.read(name, range(clips.frames))
        parts = {
            "v": found.light,
            "f": found.foreground,
            "b": found.background,
            "a": found.alpha,
        }
        for part, planes in parts.items():
            place = folder / part / name
            place.mkdir(parents=True)
            for number, plane in enumerate(planes):
                codes = (plane * 255).round().byte().permute(1, 2, 0).numpy()
                codes = codes[..., ::-1] if part != "a" else codes[..., 0]
                assert cv2.imwrite(str(place / f"{number:05d}.png"), np.ascontiguousarray(codes))
    return folder


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> tuple[Path, Path]:
    """Records to teach with and to judge with."""
    folder = tmp_path_factory.mktemp("published")
    made = []
    for phase, names in (("train", ("disc0", "disc1", "disc2")), ("test", ("disc0", "disc1"))):
        clips = save(folder / f"composition_{phase}", names)
        out = folder / f"composition_{phase}_tf"
        write(Request(clips, out, "vfba", foreground="straight"), lambda report: None)
        made.append(out)
    return made[0], made[1]


def go(records, out, *more) -> int:
    changes = [part for change in SMALL for part in ("--set", change)]
    folders = "--source", str(records[0]), "--validation", str(records[1])
    fixed = "--accelerator", "cpu", "--log-every", "1", "--out", str(out)
    return train.main([str(RECIPE), *fixed, *folders, *changes, *more])


def lines(out):
    return [json.loads(x) for x in (out / "log.jsonl").read_text().splitlines()]


def test_it_trains_from_records_the_loss_falls_and_resume_equals(records, tmp_path):
    assert go(records, tmp_path / "straight") == 0
    found = lines(tmp_path / "straight")
    seen = [x["loss"] for x in found if "loss" in x]
    assert len(seen) == 24  # 8 epochs of 3 clips
    assert sum(seen[-6:]) < 0.8 * sum(seen[:6])
    judged = [x for x in found if "held out/SAD" in x]
    assert [x["step"] for x in judged] == [12, 24]
    assert all(x["held out/SAD"] < 0.8 * x["held out/SAD of the prior"] for x in judged)
    assert go(records, tmp_path / "broken", "--time-budget", "0s") == 0
    assert go(records, tmp_path / "broken", "--resume") == 0
    first, second = (
        torch.load(tmp_path / name / "state.pt", weights_only=True)
        for name in ("straight", "broken")
    )
    assert (first["step"], second["step"]) == (24, 24)
    assert all(torch.equal(one, second["network"][n]) for n, one in first["network"].items())
    record = train.read_record(tmp_path / "straight" / "best.safetensors")
    (source,) = record.training["clips"]["source"]
    assert source["folder"] == "composition_train_tf"
    assert str(tmp_path.parent) not in json.dumps(record.training)


def test_other_records_end_a_run(records, tmp_path, capsys):
    assert go(records, tmp_path / "run", "--time-budget", "0s") == 0
    other = records[1], records[1]
    assert go(other, tmp_path / "run", "--resume") == 20
    assert "not the same any more" in capsys.readouterr().err


def test_the_same_clips_serve_as_folders(records, tmp_path, capsys):
    """Composed clips need no records; a dry run counts them."""
    clips = [folder.with_name(folder.name.removesuffix("_tf")) for folder in records]
    kinds = [f'--set={table}.kind="composed"' for table in ("source", "validation")]
    straight = [f'--set={table}.foreground="straight"' for table in ("source", "validation")]
    assert go(clips, tmp_path / "run", *kinds, *straight, "--dry-run") == 0
    assert "source: 3 clips, 21 frames (7 to 7 a clip)" in capsys.readouterr().out
    assert go(clips, tmp_path / "run", *kinds, *straight, "--set", "steps=1") == 0


def test_an_empty_folder_is_refused(records, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert go((tmp_path / "empty", records[1]), tmp_path / "run") == 10
    assert "no records in" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
