"""What is left of a plan, and how often all of a long shot is gone through to find out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dvm_server.jobs import (
    Offer,
    Plan,
    PlateSource,
    TrimapSource,
    needed_plates,
    remaining,
    without_damaged,
)
from dvm_server.scheduler import BLOCK, SPAN
from host_plugins.client.shot import Keyframe, Outputs, Plates, Shot
from model import passes


class Frames(tuple[int, ...]):
    """Knows how often somebody went through it."""

    rounds = 0

    def __iter__(self) -> Iterator[int]:
        self.rounds += 1
        return super().__iter__()


def plan_of(count: int, done: frozenset[int]) -> Plan:
    """A shot with a keyframe at its start."""
    frames = Frames(range(1, count + 1))
    shot = Shot(
        name="s",
        frames=((1, count, 1),),
        plates=Plates("/p.####.exr"),
        keyframes=(Keyframe(1, "/k.png"),),
        outputs=Outputs("/a.####.exr"),
    )
    plan = Plan(
        offer=Offer("id", shot),
        description={},
        engine={},
        frames=frames,
        context=tuple(frames),
        spans=passes.spans(frames, [1]),
        blocks=passes.blocks(frames),
        plates={f: PlateSource(f, f"/p.{f}.exr", "", "") for f in frames},
        trimaps={f: TrimapSource("/t", "propagated") for f in frames},
        guides={},
        trimap_keys={f: f"a{f}" for f in frames if f > 1},
        keys={f: f"b{f}" for f in frames},
        outputs={},
        done=done,
        ready=frozenset(),
        carried=frozenset(),
    )
    frames.rounds = 0
    return plan


def test_what_is_left_is_what_is_not_done():
    done = frozenset(range(1, 31))
    job = remaining(plan_of(40, done), None)
    left = {(unit.kind, unit.index): sorted(one.left) for unit, one in job.units.items()}
    assert left == {
        (BLOCK, 1): [31, 32],
        (BLOCK, 2): list(range(33, 41)),
        (SPAN, 0): list(range(15, 41)),  # a block's lead-in and window, too
    }
    assert needed_plates(job) == list(range(1, 41))


@pytest.mark.parametrize(
    "work",
    [lambda plan: remaining(plan, None), lambda plan: without_damaged(plan, print)],
    ids=["remaining", "without_damaged"],
)
def test_a_long_shot_is_not_gone_through_for_each_block(work):
    rounds = []
    for blocks in (2, 50):
        plan = plan_of(16 * blocks, frozenset())
        work(plan)
        rounds.append(plan.frames.rounds)
    assert rounds[0] == rounds[1] > 0
