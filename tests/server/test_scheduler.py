"""The scheduler as a pure function: no server, no clock."""

from __future__ import annotations

import random

from dvm_server.scheduler import (
    BLOCK,
    SPAN,
    FrameMade,
    Job,
    JobAdded,
    JobDone,
    JobFailed,
    JobStopped,
    PlateArrived,
    Replace,
    Start,
    State,
    Stop,
    Unit,
    UnitEnded,
    UnitId,
    Worker,
    WorkerDied,
    WorkerReady,
    step,
)
from host_plugins.client.errors import InputError

A0, A1 = UnitId("a", SPAN, 0), UnitId("a", SPAN, 1)
B0, B1 = UnitId("a", BLOCK, 0), UnitId("a", BLOCK, 1)


def job(plates: frozenset[int] | None = None) -> Job:
    """Two spans (frames 2–3 and 5–6 between keyframes 1, 4, 7), two blocks that need one each."""
    return Job(
        units={
            A0: Unit(frozenset({2, 3}), frozenset({1, 2, 3, 4})),
            A1: Unit(frozenset({5, 6}), frozenset({4, 5, 6, 7})),
            B0: Unit(frozenset({1, 2}), frozenset({1, 2, 3, 4}), frozenset({2, 3})),
            B1: Unit(frozenset({3, 4}), frozenset({1, 2, 3, 4, 5, 6}), frozenset({2, 3, 5, 6})),
        },
        plates=plates,
    )


def run(state: State, *events):
    orders = []
    for event in events:
        state, new = step(state, event)
        orders += new
    return state, orders


def idle(count: int = 1) -> State:
    return State(workers={f"w{i}": Worker(ready=True) for i in range(count)})


def finish(unit: UnitId, frames, worker="w0"):
    return [*(FrameMade(unit, f) for f in frames), UnitEnded(worker)]


def test_blocks_come_as_soon_as_their_trimaps_are_there():
    state, orders = run(idle(), JobAdded("a", job()))
    assert orders == [Start("w0", A0, (2, 3))]
    state, orders = run(state, *finish(A0, [2, 3]))
    assert orders == [Start("w0", B0, (1, 2))]
    state, orders = run(state, *finish(B0, [1, 2]))
    assert orders == [Start("w0", A1, (5, 6))]
    state, orders = run(state, *finish(A1, [5, 6]))
    assert orders == [Start("w0", B1, (3, 4))]
    state, orders = run(state, *finish(B1, [3, 4]))
    assert orders == [JobDone("a")]
    assert not state.jobs


def test_blocks_run_before_later_plates_have_arrived():
    state, orders = run(idle(), JobAdded("a", job(plates=frozenset())))
    assert orders == []
    state, orders = run(state, *(PlateArrived("a", f) for f in (1, 2, 3)))
    assert orders == []
    state, orders = run(state, PlateArrived("a", 4))
    assert orders == [Start("w0", A0, (2, 3))]
    state, orders = run(state, *finish(A0, [2, 3]))
    assert orders == [Start("w0", B0, (1, 2))]
    state, orders = run(state, *finish(B0, [1, 2]))
    assert orders == []  # plates 5 to 7 are still on their way


def test_a_job_that_waits_for_plates_lets_the_next_one_pass():
    later = Job({UnitId("b", BLOCK, 0): Unit(frozenset({1}))})
    state, _ = run(idle(), JobAdded("a", job(plates=frozenset())))
    _, orders = run(state, JobAdded("b", later))
    assert orders == [Start("w0", UnitId("b", BLOCK, 0), (1,))]


def test_jobs_are_served_first_come_first_served():
    one = Job({UnitId("z", BLOCK, 0): Unit(frozenset({1}))})
    two = Job({UnitId("b", BLOCK, 0): Unit(frozenset({1}))})
    state, orders = run(State(workers={"w0": Worker()}), JobAdded("z", one), JobAdded("b", two))
    assert orders == []  # the worker is not ready
    _, orders = run(state, WorkerReady("w0"))
    assert orders == [Start("w0", UnitId("z", BLOCK, 0), (1,))]


def test_two_workers_share_a_job_and_never_a_unit():
    state, orders = run(idle(2), JobAdded("a", job()))
    assert orders == [Start("w0", A0, (2, 3)), Start("w1", A1, (5, 6))]
    _, orders = run(state, FrameMade(A0, 2), FrameMade(A0, 3))
    assert orders == []


def test_a_dead_worker_is_replaced_and_only_what_is_left_is_done_again():
    state, _ = run(idle(), JobAdded("a", job()), FrameMade(A0, 2))
    state, orders = run(state, WorkerDied("w0"))
    assert orders == [Replace("w0")]
    state, orders = run(state, WorkerReady("w0"))
    assert orders == [Start("w0", A0, (3,))]


def test_a_unit_that_kills_two_workers_fails_its_job():
    state, _ = run(idle(), JobAdded("a", job()), WorkerDied("w0"), WorkerReady("w0"))
    state, orders = run(state, WorkerDied("w0"))
    assert isinstance(orders[1], JobFailed)
    assert (orders[1].job, orders[1].error.code) == ("a", "server.worker_died")
    assert not state.jobs


def test_a_worker_that_was_opening_an_engine_too_may_have_died_of_that():
    state, _ = run(idle(), JobAdded("a", job()))
    for _ in range(3):
        state, orders = run(state, WorkerDied("w0", opening=True), WorkerReady("w0"))
        assert orders == [Replace("w0"), Start("w0", A0, (2, 3))]
    state, _ = run(state, WorkerDied("w0"), WorkerReady("w0"))
    state, orders = run(state, WorkerDied("w0"))
    assert isinstance(orders[1], JobFailed)


def test_deaths_of_different_units_do_not_add_up():
    state, _ = run(idle(), JobAdded("a", job()), WorkerDied("w0"), WorkerReady("w0"))
    state, _ = run(state, *finish(A0, [2, 3]))
    state, orders = run(state, WorkerDied("w0"), WorkerReady("w0"))
    assert orders == [Replace("w0"), Start("w0", B0, (1, 2))]


def test_cancel_stops_the_worker_and_the_next_job_waits_until_it_has():
    other = Job({UnitId("b", BLOCK, 0): Unit(frozenset({1}))})
    state, _ = run(idle(), JobAdded("a", job()), JobAdded("b", other))
    state, orders = run(state, JobStopped("a"))
    assert orders == [Stop("w0")]
    state, orders = run(state, FrameMade(A0, 2))
    assert orders == []
    _, orders = run(state, UnitEnded("w0"))
    assert orders == [Start("w0", UnitId("b", BLOCK, 0), (1,))]


def test_a_job_submitted_again_waits_for_the_worker_that_is_stopping():
    state, _ = run(idle(2), JobAdded("a", Job({B0: Unit(frozenset({1}))})), JobStopped("a"))
    state, orders = run(state, JobAdded("a", Job({B0: Unit(frozenset({1}))})))
    assert orders == []
    _, orders = run(state, UnitEnded("w0"))
    assert orders == [Start("w0", B0, (1,))]


def test_an_error_fails_the_job_and_stops_its_other_workers():
    state, _ = run(idle(2), JobAdded("a", job()))
    error = InputError("input.damaged", "plate.exr is damaged")
    state, orders = run(state, UnitEnded("w0", error))
    assert orders == [Stop("w1"), JobFailed("a", error)]
    _, orders = run(state, UnitEnded("w1", error))
    assert orders == []  # it is not failed twice


def test_an_engine_that_leaves_frames_undone_is_a_fault():
    state, _ = run(idle(), JobAdded("a", job()), FrameMade(A0, 2))
    _, orders = run(state, UnitEnded("w0"))
    assert isinstance(orders[0], JobFailed) and orders[0].error.code == "server.unit_unfinished"


def test_a_job_with_nothing_to_do_is_done():
    _, orders = run(idle(), JobAdded("a", Job({})), JobAdded("b", Job({B0: Unit(frozenset())})))
    assert orders == [JobDone("a"), JobDone("b")]


def test_events_about_the_unknown_change_nothing():
    before = idle()
    after, orders = run(
        before, PlateArrived("x", 1), FrameMade(B0, 1), UnitEnded("w9"), JobStopped("x")
    )
    assert (after, orders) == (before, [])


def test_any_order_of_deaths_and_cancels_ends_every_job():
    """A random walk: no unit is given to two workers, and each job ends exactly once."""
    for seed in range(200):
        chance = random.Random(seed)
        state, ended, jobs = idle(3), [], ["a", "b", "c"]
        pending = [JobAdded(one, named(one)) for one in jobs]
        for _ in range(500):
            busy = [name for name, one in state.workers.items() if one.unit]
            event = pending.pop() if pending else random_event(chance, state, busy)
            if event is None:
                break
            state, orders = step(state, event)
            units = [one.unit for one in state.workers.values() if one.unit]
            assert len(units) == len(set(units)), seed
            ended += [one.job for one in orders if isinstance(one, JobDone | JobFailed)]
            pending += [WorkerReady(one.worker) for one in orders if isinstance(one, Replace)]
        assert sorted(ended) == jobs, seed


def named(name: str) -> Job:
    def to(unit_id: UnitId) -> UnitId:
        return UnitId(name, unit_id.kind, unit_id.index)

    return Job({to(unit_id): unit for unit_id, unit in job().units.items()})


def random_event(chance: random.Random, state: State, busy: list[str]):
    if not busy:
        return None
    name = chance.choice(busy)
    unit = state.workers[name].unit
    left = state.jobs[unit.job].units[unit].left if unit.job in state.jobs else ()
    if left and chance.random() < 0.1:
        return WorkerDied(name)
    return FrameMade(unit, min(left)) if left else UnitEnded(name)
