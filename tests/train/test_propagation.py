"""The stage that teaches `trimap_memory_s`, on clips small enough to be learned by heart."""

from __future__ import annotations

import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch

from model.networks.memory_guess import CLASSES, CONFIDENCE, HELD
from model.networks.trimap_memory_s import TrimapMemoryS
from training.judging.carried import CarriedClip, CarriedClips, carry, made
from training.propagation import (
    WEIGHTS,
    Given,
    PoolConfig,
    PropagationPool,
    PropagationStage,
    frame_losses,
    is_right,
    judged,
    walk,
)
from training.synthesis import Clips

CPU = torch.device("cpu")
SIZE = 64, 96
SMALL = {"look": (8, 12, 16, 16), "guess": (8, 12, 16)}


class Maker:
    """In place of `training.synthesis.Synthesis`: a soft disc that moves over a textured wall."""

    def clips(self, seed: int, count: int, frames: int = 6) -> Clips:
        assert count == 1
        rng = np.random.default_rng(seed)
        height, width = SIZE
        speed = rng.uniform(-6, 6)
        wall = rng.random((1, 1, 3, height // 8, width // 8), np.float32) * 0.5
        wall = np.repeat(np.repeat(wall, 8, 3), 8, 4).repeat(frames, 1)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        away = np.stack(
            [np.hypot(x - width / 2 - speed * (i - 2), y - height / 2) for i in range(frames)]
        )[None, :, None]
        alpha = torch.from_numpy(np.clip((20 - away) / 6 + 0.5, 0, 1).astype(np.float32))
        background = torch.from_numpy(wall)
        foreground = torch.ones_like(background) * torch.tensor(rng.random((3, 1, 1))).float()
        light = alpha * foreground + (1 - alpha) * background
        trimap = torch.where((alpha > 0) & (alpha < 1), 0.5, alpha)
        return Clips(
            light=light,
            picture=light,
            alpha=alpha,
            foreground=foreground,
            background=background,
            flow=torch.zeros(1, frames, 2, *SIZE),
            trimap=trimap,
            linear=torch.tensor([False]),
            kinds=("solid",),
        )


def dataset(seed: int = 7) -> CarriedClips:
    return CarriedClips([Maker()], seed)  # type: ignore[list-item]


def pool(seed: int = 7, **config: object) -> PropagationPool:
    fields = {"size": 3, "first": 2, "every": 2.0, "unroll": 2, "crop": (48, 64), "workers": 0}
    return PropagationPool(dataset(seed), PoolConfig(**{**fields, **config}), seed, CPU)  # type: ignore[arg-type]


def spoilt(clip: CarriedClip) -> CarriedClip:
    """As if `trimap_flow` had lost its way: the unknown band of every carried frame is a third of
    what it was, and the background has holes of foreground."""
    guess = clip.guess.copy()
    narrow = guess[1:, 1].copy()
    narrow[..., ::3] = 0
    guess[1:, 0] = np.where(narrow == 0, np.maximum(guess[1:, 0], guess[1:, 1]), guess[1:, 0])
    guess[1:, 1] = narrow
    guess[1:, HELD] = 0
    return CarriedClip(clip.picture, clip.alpha, guess, clip.keyframes, clip.kind)


def test_a_clip_is_carried_from_its_first_frame() -> None:
    clip = carry(Maker().clips(3, 1), both=False)
    assert clip.keyframes == (0, 0)
    assert clip.picture.shape == (6, 3, *SIZE)
    assert clip.alpha.shape == (6, 1, *SIZE)
    assert clip.guess.shape == (6, 7, *SIZE)
    assert clip.picture.dtype == clip.alpha.dtype == clip.guess.dtype == np.uint8
    assert (clip.guess[:, CLASSES].astype(int).sum(1) == 255).all()
    truth = np.rint(Maker().clips(3, 1).trimap[0, 0, 0].numpy() * 2).astype(int)
    assert (clip.guess[0, CLASSES].argmax(0) == truth).all()
    assert (clip.guess[0, HELD] == 255).all()
    both = carry(Maker().clips(3, 1), both=True)
    assert both.keyframes == (0, 5)
    assert (both.guess[5, HELD] == 255).all()
    assert (both.guess[5, CONFIDENCE] == 255).all()


def test_clips_depend_on_seed_and_number_alone() -> None:
    here = [dataset()[i] for i in (0, 1, 2)]
    there = list(made(dataset(), range(3), workers=2))
    for one, other in zip(here, there, strict=True):
        assert one.keyframes == other.keyframes
        assert (one.guess == other.guess).all()
        assert (one.picture == other.picture).all()
    assert not (dataset(8)[0].picture == here[0].picture).all()


def test_workers_leave_it_to_the_run_to_stop() -> None:
    """A group of processes is asked to stop as a whole; what is not saved yet would be lost."""
    clips = made(dataset(), range(8), workers=1)
    next(clips)
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGTERM)
    assert len(list(clips)) == 7


def test_batches_go_on_where_a_run_was_resumed() -> None:
    straight = pool()
    steps = [straight.batch(step, 2) for step in range(8)]
    resumed = pool().batch(7, 2)
    assert resumed.step == 7
    assert resumed.picture.shape == (2, 6, 3, 48, 64)
    for name in ("picture", "guess", "alpha", "scale"):
        assert torch.equal(getattr(steps[7], name), getattr(resumed, name))
    assert not torch.equal(steps[6].picture, steps[7].picture)


def test_old_clips_make_room() -> None:
    held = pool()
    held.batch(0, 1)
    assert sorted(held._held) == [0, 1]
    held.batch(6, 1)
    assert sorted(held._held) == [2, 3, 4]


def perfect(alpha: torch.Tensor, guess: torch.Tensor) -> Given:
    """Certain where alpha is, unknown elsewhere and for 3 px around; sure of it."""
    mixed = ((alpha > 0.02) & (alpha < 0.98)).float()
    unknown = torch.nn.functional.max_pool2d(mixed, 7, 1, 3)
    planes = torch.cat([(1 - unknown) * (alpha <= 0.5), unknown, (1 - unknown) * (alpha > 0.5)], 1)
    return Given(20 * planes, torch.full_like(alpha, 20.0), torch.zeros_like(planes))


def test_losses_ask_for_what_the_metrics_judge() -> None:
    alpha = Maker().clips(3, 1).alpha[:, 0]
    guess = torch.zeros(1, 7, *SIZE)
    guess[:, 1] = 1
    scale = torch.tensor([1.0])

    def losses(given: Given) -> dict[str, float]:
        found = frame_losses(given, guess, alpha, scale, WEIGHTS["margin"])
        return {name: float(x) for name, x in found.items()}

    good = perfect(alpha, guess)
    right = losses(good)
    assert max(right.values()) < 1e-3
    all_unknown = Given(good.logits[:, [1, 0, 1]] * 0, good.sure, good.added)
    all_unknown.logits[:, 1] = 20
    wide = losses(all_unknown)
    assert wide["wide"] > 1
    assert wide["missed"] == pytest.approx(0, abs=1e-3)
    assert wide["confidence"] == pytest.approx(0, abs=1e-3), "unknown is never wrong"
    swapped = losses(Given(good.logits[:, [2, 1, 0]], good.sure, good.added))
    assert swapped["wrong"] > 10
    assert swapped["confidence"] > 1
    unknown_last = Given(good.logits[:, [1, 0, 2]], good.sure, good.added)
    assert losses(unknown_last)["missed"] > 10
    changed = Given(good.logits, good.sure, good.added + 1)
    assert losses(changed)["stay"] > 0.9


def test_right_is_what_confidence_means() -> None:
    alpha = torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 1.0])[None, None, None]
    band = torch.tensor([0, 0, 1, 1, 0, 1])[None, None, None]
    answer = torch.tensor([0, 2, 1, 0, 2, 2])[None, None, None]
    assert is_right(answer, band, alpha).flatten().tolist() == [1, 0, 1, 0, 1, 0]


def test_a_walk_of_the_untrained_network_is_the_guess_itself() -> None:
    batch = pool().batch(0, 2)
    network = TrimapMemoryS(**SMALL)
    found = list(walk(network, batch.picture, batch.guess))
    assert len(found) == 2
    for i, given in enumerate(found, start=4):
        assert torch.equal(given.logits.argmax(1), batch.guess[:, i, CLASSES].argmax(1))
        error = given.sure.sigmoid() - batch.guess[:, i, CONFIDENCE]
        assert error.abs().max() < 2e-4


def test_training_lowers_the_loss_and_mends_a_guess_that_is_spoilt() -> None:
    torch.manual_seed(1)
    clips = [spoilt(dataset()[i]) for i in range(2)]
    taught = pool(crop=(64, 96))
    taught.batch(0, 1)
    taught._held = {
        i: (*(torch.from_numpy(x) for x in (c.picture, c.guess, c.alpha)), c)  # type: ignore[misc]
        for i, c in enumerate(clips)
    }
    stage = PropagationStage.__new__(PropagationStage)
    stage.weights = WEIGHTS
    network = TrimapMemoryS(**SMALL)
    before = judged(network, clips, CPU)
    assert before["recall network"] == before["recall prior"] < 0.8
    assert before["score"] == pytest.approx(1.0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    losses = []
    for _ in range(25):
        total, parts = stage.loss(network, taught.batch(0, 2))
        assert set(parts) == {"missed", "wide", "wrong", "confidence", "stay"}
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append(float(total.detach()))
    after = judged(network, clips, CPU)
    assert losses[-1] < 0.5 * losses[0]
    assert after["recall network"] > after["recall prior"] + 0.1
