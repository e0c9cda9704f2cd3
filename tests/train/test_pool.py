"""The pool of clips: what a step sees depends on the step alone, whoever makes the clips."""

import numpy as np
import pytest
import torch

from training.pool import COARSE, ClipPool, PoolConfig
from training.prior import exact_priors
from training.sprites import grow_sprite
from training.synthesis import Synthesis, SynthesisConfig

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def synthesis():
    sprites = [grow_sprite(kind, 3, ()) for kind in ("solid", "strands")]
    return Synthesis(sprites, [], [], SynthesisConfig(height=64, width=64, frames=2), CPU)


def batches(synthesis, steps, solve=exact_priors, **config):
    settings = {"size": 8, "fill": 2, "every": 2, "start": 1, "crop": 48, **config}
    pool = ClipPool(synthesis, solve, PoolConfig(**settings), 5, CPU)
    return [pool.batch(step, 3) for step in steps]


def same(one, other):
    names = "picture", "alpha", "prior", "trimap", "both", "linear"
    return all(torch.equal(getattr(one, n), getattr(other, n)) for n in names)


def test_two_processes_make_what_one_makes(synthesis):
    alone = batches(synthesis, range(4))
    helped = batches(synthesis, range(4), workers=2)
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))
    assert not same(alone[0], alone[1])


def test_a_run_that_is_resumed_sees_the_same(synthesis):
    straight = batches(synthesis, range(6))
    (resumed,) = batches(synthesis, [5])
    assert same(straight[5], resumed)


def test_priors_are_taught_as_large_plates_have_them(synthesis):
    """The frames of a clip alike, and clips by their shares."""
    asked = []

    def solve(light, trimap, linear, factors):
        asked.extend(factors)
        return trimap

    batches(synthesis, [0], solve, start=60, fill=2, size=120)
    pairs = np.array(asked).reshape(-1, 2)
    assert (pairs[:, 0] == pairs[:, 1]).all()
    shares = np.bincount(pairs[:, 0], minlength=len(COARSE) + 1)[1:] / len(pairs)
    assert np.abs(shares - COARSE).max() < 0.12
