"""Which worker does what next: a pure state machine. Events in, new state and instructions out.

No sockets, no clock, no files. Jobs are served first come, first served; a job that has nothing to
do yet (plates are still on their way) lets the next one pass. A unit (a span of pass A, a block of
pass B) goes to one worker and is never divided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from host_plugins.client.errors import DvmError, ServerError

SPAN, BLOCK = "span", "block"
MOST_DEATHS = 2  # the same unit killed a worker twice: it will kill the third


@dataclass(frozen=True, order=True)
class UnitId:
    """A unit of a job: ``block`` before ``span``, so that finished frames come out early."""

    job: str
    kind: str
    index: int


@dataclass(frozen=True)
class Unit:
    """Work for one worker.

    Attributes:
        left: frames whose trimap (span) or matte (block) is still to be made.
        plates: frames whose plates must be here.
        trimaps: frames whose propagated trimaps must be here.
        deaths: workers it has lost.
    """

    left: frozenset[int]
    plates: frozenset[int] = frozenset()
    trimaps: frozenset[int] = frozenset()
    deaths: int = 0


@dataclass(frozen=True)
class Job:
    """What is left of a job.

    Attributes:
        units: those not finished.
        plates: frames whose plates have arrived; None when all are where they are read (by path).
        trimaps: frames whose propagated trimap is there.
    """

    units: Mapping[UnitId, Unit]
    plates: frozenset[int] | None = None
    trimaps: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Worker:
    """``ready`` once it has said so; the ``unit`` it is busy with; ``stopping`` if told to."""

    ready: bool = False
    unit: UnitId | None = None
    stopping: bool = False


@dataclass(frozen=True)
class State:
    """Jobs in the order they came, and workers by name."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    workers: Mapping[str, Worker] = field(default_factory=dict)


# Events


@dataclass(frozen=True)
class WorkerReady:
    worker: str


@dataclass(frozen=True)
class WorkerDied:
    """``opening``: it was opening an engine as well, and its unit may not be what it died of."""

    worker: str
    opening: bool = False


@dataclass(frozen=True)
class JobAdded:
    id: str
    job: Job


@dataclass(frozen=True)
class PlateArrived:
    job: str
    frame: int


@dataclass(frozen=True)
class FrameMade:
    """A trimap of a span, or a matte of a block, is on disk."""

    unit: UnitId
    frame: int


@dataclass(frozen=True)
class UnitEnded:
    """The worker is free: it finished, was stopped (``error`` None), or could not go on."""

    worker: str
    error: DvmError | None = None


@dataclass(frozen=True)
class JobStopped:
    """Somebody cancelled it, or it cannot go on for a reason outside of the workers."""

    job: str


Event = WorkerReady | WorkerDied | JobAdded | PlateArrived | FrameMade | UnitEnded | JobStopped

# Instructions


@dataclass(frozen=True)
class Start:
    worker: str
    unit: UnitId
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Stop:
    """Tell a worker to give its unit up; it stays busy until `UnitEnded`."""

    worker: str


@dataclass(frozen=True)
class Replace:
    """Start a fresh worker in a dead one's place."""

    worker: str


@dataclass(frozen=True)
class JobDone:
    job: str


@dataclass(frozen=True)
class JobFailed:
    job: str
    error: DvmError


Instruction = Start | Stop | Replace | JobDone | JobFailed


def step(state: State, event: Event) -> tuple[State, tuple[Instruction, ...]]:
    """Take one event in.

    Args:
        state: before. Events about jobs and workers that are not in it change nothing.
        event: what happened.

    Returns:
        The state after, and what is to be done now, in order.
    """
    orders: list[Instruction] = []
    match event:
        case WorkerReady(name):
            state = _with_worker(state, name, Worker(ready=True))
        case WorkerDied(name, opening):
            state = _worker_died(state, name, opening, orders)
        case JobAdded(job_id, job):
            left = {unit_id: unit for unit_id, unit in job.units.items() if unit.left}
            state = _with_job(state, job_id, replace(job, units=left))
        case PlateArrived(job_id, frame) if job_id in state.jobs:
            job = state.jobs[job_id]
            if job.plates is not None:
                state = _with_job(state, job_id, replace(job, plates=job.plates | {frame}))
        case FrameMade(unit_id, frame) if unit_id.job in state.jobs:
            state = _frame_made(state, unit_id, frame)
        case UnitEnded(name, error) if name in state.workers:
            state = _unit_ended(state, name, error, orders)
        case JobStopped(job_id):
            state = _without_job(state, job_id, orders)
        case _:
            pass
    for job_id, job in tuple(state.jobs.items()):
        if not job.units:
            state = _without_job(state, job_id, orders)
            orders.append(JobDone(job_id))
    return _start_what_can(state, orders), tuple(orders)


def runnable(job: Job) -> list[UnitId]:
    """Units whose plates and trimaps are all here, blocks first, in order of the shot."""
    return sorted(
        unit_id
        for unit_id, unit in job.units.items()
        if (job.plates is None or unit.plates <= job.plates) and unit.trimaps <= job.trimaps
    )


def _start_what_can(state: State, orders: list[Instruction]) -> State:
    busy = {worker.unit for worker in state.workers.values()}
    waiting = (
        (unit_id, job)
        for job in tuple(state.jobs.values())
        for unit_id in runnable(job)
        if unit_id not in busy
    )
    free = [name for name, one in state.workers.items() if one.ready and one.unit is None]
    for name, (unit_id, job) in zip(free, waiting, strict=False):
        state = _with_worker(state, name, Worker(ready=True, unit=unit_id))
        orders.append(Start(name, unit_id, tuple(sorted(job.units[unit_id].left))))
    return state


def _frame_made(state: State, unit_id: UnitId, frame: int) -> State:
    job = state.jobs[unit_id.job]
    units = dict(job.units)
    if unit_id in units:
        left = units[unit_id].left - {frame}
        units[unit_id] = replace(units[unit_id], left=left)
        # A busy unit stays until its worker is free; another (a late message) is gone at once.
        if not left and unit_id not in {one.unit for one in state.workers.values()}:
            del units[unit_id]
    trimaps = job.trimaps | {frame} if unit_id.kind == SPAN else job.trimaps
    return _with_job(state, unit_id.job, replace(job, units=units, trimaps=trimaps))


def _unit_ended(
    state: State, name: str, error: DvmError | None, orders: list[Instruction]
) -> State:
    unit_id = state.workers[name].unit
    stopping = state.workers[name].stopping
    state = _with_worker(state, name, Worker(ready=True))
    if unit_id is None or unit_id.job not in state.jobs or stopping:
        return state
    if error is None:
        job = state.jobs[unit_id.job]
        if unit_id in job.units and not job.units[unit_id].left:
            left = {one: unit for one, unit in job.units.items() if one != unit_id}
            return _with_job(state, unit_id.job, replace(job, units=left))
        error = ServerError(
            "server.unit_unfinished", f"the engine left frames of {unit_id.kind} undone"
        )
    state = _without_job(state, unit_id.job, orders)
    orders.append(JobFailed(unit_id.job, error))
    return state


def _worker_died(state: State, name: str, opening: bool, orders: list[Instruction]) -> State:
    worker = state.workers.get(name, Worker())
    state = _with_worker(state, name, Worker())
    orders.append(Replace(name))
    unit_id = worker.unit
    if unit_id is None or unit_id.job not in state.jobs:
        return state
    job = state.jobs[unit_id.job]
    unit = job.units[unit_id]
    unit = replace(unit, deaths=unit.deaths + (0 if opening else 1))
    units = {**job.units, unit_id: unit}
    if not unit.left:
        del units[unit_id]
    if unit.left and unit.deaths >= MOST_DEATHS:
        state = _without_job(state, unit_id.job, orders)
        frame = min(unit.left)
        orders.append(JobFailed(unit_id.job, _died(unit_id, frame)))
        return state
    return _with_job(state, unit_id.job, replace(job, units=units))


def _died(unit_id: UnitId, frame: int) -> ServerError:
    what = "carrying the trimaps" if unit_id.kind == SPAN else "matting"
    return ServerError(
        "server.worker_died",
        f"the worker process died twice while {what} at frame {frame}",
        frame=frame,
        hint="often the machine ran out of memory: see server.log, try fewer threads or a "
        "smaller --tile",
    )


def _without_job(state: State, job_id: str, orders: list[Instruction]) -> State:
    """Drop a job; its workers are told to stop."""
    if job_id not in state.jobs:
        return state
    for name, worker in state.workers.items():
        if worker.unit is not None and worker.unit.job == job_id and not worker.stopping:
            state = _with_worker(state, name, replace(worker, stopping=True))
            orders.append(Stop(name))
    return replace(state, jobs={one: job for one, job in state.jobs.items() if one != job_id})


def _with_job(state: State, job_id: str, job: Job) -> State:
    return replace(state, jobs={**state.jobs, job_id: job})


def _with_worker(state: State, name: str, worker: Worker) -> State:
    return replace(state, workers={**state.workers, name: worker})
