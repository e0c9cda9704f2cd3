"""What keyframes teach: clips between them, motion that is made, a score that lets nothing slip."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.delta import changed
from model.exposure import ExposureMap
from model.networks.trimap_memory_s import TrimapMemoryS
from model.plates.image_files import write_image
from model.view import LightView
from training.adapting import propagation as adapt_propagation
from training.adapting.loop import Course
from training.adapting.propagation import carried_keyframes, score
from training.adapting.shot import find_shot

CPU = torch.device("cpu")
VIEW = LightView("", "", ExposureMap(), CPU)
SMALL = {"look": [8, 8, 8, 8], "guess": [8, 8, 8]}


def shot_of(folder: Path, keyframes: tuple[int, ...]) -> object:
    """A grey disc that moves over noise, with trimaps at the keyframes."""
    rng = np.random.default_rng(2)
    behind = cv2.resize(rng.random((12, 16, 3)), (64, 48), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:48, :64].astype(np.float32)
    for frame in range(1, 6):
        distance = np.hypot(x - 22 - 3 * frame, y - 24)
        alpha = np.clip((12 - distance) / 3 + 0.5, 0, 1)[..., None]
        plate = alpha * 0.5 + (1 - alpha) * behind.clip(0, 1)
        write_image(folder / f"plate.{frame}.exr", plate.astype(np.float32), ("R", "G", "B"))
        if frame in keyframes:
            band = np.where(np.abs(distance - 12) < 6, 128, np.where(distance < 12, 255, 0))
            cv2.imwrite(str(folder / f"trimap.{frame}.png"), band.astype(np.uint8))
    return find_shot(f"{folder}/plate.%d.exr", "", f"{folder}/trimap.%d.png")


def test_two_keyframes_teach_the_way_there_and_are_judged_by_the_way_back(tmp_path):
    carries = carried_keyframes(shot_of(tmp_path, (1, 5)), VIEW, 0)
    assert [len(carries.taught), len(carries.judged)] == [1, 1]
    there, back = carries.taught[0], carries.judged[0]
    assert len(there.picture) == 5
    assert np.array_equal(there.picture, back.picture[::-1])
    # What is painted at the end is the truth there, and is not what was carried.
    assert set(np.unique(there.alpha[-1])) == {0, 128, 255}
    assert not np.array_equal(there.guess[-1, 1] > 127, there.alpha[-1, 0] == 128)


def test_three_keyframes_hold_out_the_last_pair(tmp_path):
    carries = carried_keyframes(shot_of(tmp_path, (1, 2, 5)), VIEW, 0)
    assert [len(c.picture) for c in carries.taught] == [2, 2]
    assert [len(c.picture) for c in carries.judged] == [4, 4]


def test_one_keyframe_is_set_in_motion_with_its_trimap(tmp_path):
    carries = carried_keyframes(shot_of(tmp_path, (3,)), VIEW, 0)
    assert not carries.taught and carries.made and carries.judged
    for clip in carries.made:
        size = [(a == 128).sum() for a in clip.alpha]
        assert min(size) > 0.5 * max(size)  # the band is carried along, not lost
        assert not np.array_equal(clip.picture[0], clip.picture[-1])
    same = carried_keyframes(shot_of(tmp_path, (3,)), VIEW, 0)
    assert np.array_equal(same.made[0].picture, carries.made[0].picture)


def test_what_is_taught_is_learned_in_the_changes_that_are_kept(tmp_path, monkeypatch):
    carries = carried_keyframes(shot_of(tmp_path, (1, 5)), VIEW, 0)
    torch.manual_seed(0)
    base = TrimapMemoryS(**SMALL).eval().requires_grad_(False)
    steps = iter(range(100))
    monkeypatch.setattr(adapt_propagation, "score", lambda *_: 0.5 / (1 + next(steps)))
    found = adapt_propagation.adapt_propagation(
        base, carries, Course(24, 5e-3, 4, 0), lambda _: None
    )
    assert found.step == 24

    def loss(network: TrimapMemoryS) -> float:
        rng = np.random.default_rng(9)
        windows = [adapt_propagation._window(carries.taught[0], rng) for _ in range(4)]
        return float(adapt_propagation._loss(network, windows, CPU))

    before = loss(base)
    plain = {name: tensor.float() for name, tensor in base.state_dict().items()}
    base.load_state_dict(changed(plain, found.changes))
    assert loss(base) < 0.9 * before


def test_a_figure_that_becomes_much_worse_is_not_bought_by_the_others():
    base = {"missed": 0.1, "width": 2.0, "wrong": 0.2}
    assert score(base, base) == pytest.approx(1)
    better = {"missed": 0.05, "width": 2.1, "wrong": 0.2}
    assert 0.8 < score(better, base) < 0.85
    assert score({**better, "width": 2.3}, base) == math.inf
    flawless = {"missed": 0.0, "width": 2.0, "wrong": 0.0}
    assert score({**flawless, "width": 1.9}, flawless) == pytest.approx(0.95, abs=1e-3)
    assert score({**flawless, "wrong": 0.02}, flawless) == math.inf
