"""The walk of a still foreground stays within the published bounds."""

import numpy as np
import pytest

from training.composing.paste_motion import (
    ANGLES,
    INSIDE,
    LEG_FRAMES,
    SPEEDS,
    ZOOMS,
    draw_legs,
    poses,
)

WIDTH, HEIGHT, FRAMES = 100, 60, 200


def walks():
    for seed in range(40):
        legs = draw_legs(np.random.default_rng(seed), FRAMES)
        yield legs, poses(legs, WIDTH, HEIGHT, FRAMES)


def test_the_published_figures():
    assert INSIDE == (0.05, 0.95)
    assert SPEEDS == (0.5, 2.0)
    assert ANGLES == (-60.0, 60.0)
    assert ZOOMS == (0.9, 1.1)
    assert LEG_FRAMES == 20


def test_a_walk_stays_in_its_bounds_and_reaches_them():
    seen = np.array([[(p.x, p.y, p.angle, p.zoom) for p in walk] for _, walk in walks()])
    lowest, highest = seen.min((0, 1)), seen.max((0, 1))
    assert (lowest >= [0.05 * WIDTH, 0.05 * HEIGHT, -60, 0.9]).all()
    assert (highest <= [0.95 * WIDTH, 0.95 * HEIGHT, 60, 1.1]).all()
    # bounces happen: the limits are nearly met on all sides
    assert (lowest < [0.06 * WIDTH, 0.06 * HEIGHT, -57, 0.901]).all()
    assert (highest > [0.94 * WIDTH, 0.94 * HEIGHT, 57, 1.099]).all()


def test_a_walk_begins_in_the_middle_at_nine_tenths():
    for _, walk in walks():
        assert (walk[0].x, walk[0].y, walk[0].angle, walk[0].zoom) == (49.5, 29.5, 0.0, 0.9)


def test_speeds_are_within_limits_and_change_every_twenty_frames():
    for legs, walk in walks():
        assert [leg.first for leg in legs] == list(range(0, FRAMES, 20))
        steps = np.diff([(p.x, p.y) for p in walk], axis=0)
        speed = np.hypot(*steps.T)
        assert speed.max() <= 2 + 1e-9
        turns, zooms = (np.diff([getattr(p, key) for p in walk]) for key in ("angle", "zoom"))
        assert abs(turns).max() <= 1 + 1e-9
        assert abs(zooms).max() <= 0.015 + 1e-9
        for leg in legs[:-1]:
            inside = slice(leg.first, leg.first + LEG_FRAMES - 1)
            free = np.isclose(speed[inside], leg.speed)  # all but the steps that bounce
            assert free.mean() > 0.8
        assert len({leg.speed for leg in legs}) == len(legs)


def test_a_frame_too_small_to_bounce_in_holds_the_walk():
    legs = draw_legs(np.random.default_rng(1), 60)
    for pose in poses(legs, 2, 1, 60):
        assert 0.1 <= pose.x <= 1.9
        assert 0.05 <= pose.y <= 0.95 or pose.y == 0.0


@pytest.mark.parametrize("frames", [1, 20, 21, 60])
def test_there_is_a_leg_for_every_twenty_frames(frames):
    legs = draw_legs(np.random.default_rng(0), frames)
    assert len(legs) == -(-frames // 20)
    assert len(poses(legs, 50, 50, frames)) == frames
