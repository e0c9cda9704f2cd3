"""Jobs from survey to end: feeds events to the scheduler and carries out what it says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dvm_server import scheduler
from dvm_server.background import Background
from dvm_server.config import ServerConfig
from dvm_server.jobs import (
    Offer,
    Plan,
    SentFile,
    block_order,
    remaining,
    span_order,
    without_damaged,
)
from dvm_server.ledger import Ledger, frame_event, submitted_event
from dvm_server.leftovers import remove_leftovers, remove_leftovers_of_journal
from dvm_server.live_job import CANCELLED, DONE, FAILED, MATTING, PROPAGATING, LiveJob, Submission
from dvm_server.outputs import Outputs
from dvm_server.scheduler import SPAN, JobDone, JobFailed, Replace, Start, Stop, UnitId
from dvm_server.spool import Spool
from dvm_server.survey import Surroundings, engine_asked, sources_now, survey, what_is_left
from dvm_server.translate import wire_error
from dvm_server.worker_pool import WorkerPool
from host_plugins.client import shot as shots
from host_plugins.client.errors import Cancelled, CapacityError, DvmError, InputError, from_wire
from model.plates.file_errors import keeping

_LOG = logging.getLogger("dvm.jobs")

# Who joins a job does not wait for others' surveys.
DISK, SURVEY, JOIN = "disk", "survey", "join"
# Ended jobs whose end can still be told; older ones are surveyed again when asked for.
_REMEMBERED = 200
# So long a file may take to be looked at, or the next megabyte of it to be read.
_SILENCE_SECONDS = 30.0

Notify = Callable[[LiveJob], None]


class Dispatch:
    """All jobs. All of it runs in the main loop; what blocks goes to a lane of the background."""

    def __init__(
        self,
        config: ServerConfig,
        spool: Spool,
        ledger: Ledger,
        background: Background,
        outputs: Outputs,
    ):
        self.background = background
        self.jobs: dict[str, LiveJob] = {}
        # Those whose trimaps and guides are on their way into the spool.
        self.incoming: list[Submission] = []
        self.pool = WorkerPool(config, self._heard)
        self._config = config
        self._spool = spool
        self._ledger = ledger
        self._around = Surroundings(spool, config.roots, outputs)
        workers = {name: scheduler.Worker() for name in self.pool.workers}
        self._state = scheduler.State(workers=workers)
        self._units: dict[str, tuple[UnitId, LiveJob]] = {}
        self._held: list[tuple[LiveJob, Callable[[], None]]] = []
        self._to_stop: set[str] = set()
        # A survey waits for the decoder, too, which ends by itself if it takes too long.
        self._patience = config.decode_seconds + _SILENCE_SECONDS
        self._ending = False
        self._surveyed: Notify = lambda job: None
        self._progressed: Notify = lambda job: None

    def listen(self, surveyed: Notify, progressed: Notify) -> None:
        """Who is told: when a plan is made or never will be, and whenever more is made."""
        self._surveyed, self._progressed = surveyed, progressed

    def needed_names(self) -> set[str]:
        """What in the spool may not be removed. Called from the disk lane, too."""
        needed: set[str] = set()
        for job in tuple(self.jobs.values()):
            if job.busy:
                needed |= job.needs
            for submission in tuple(job.waiting):
                needed |= submission.offer.spool_names()
        for submission in tuple(self.incoming):
            needed |= submission.offer.spool_names()
        return needed

    def tick(self) -> None:
        """Give up a survey that waits for a file server which does not answer: others wait for it,
        and whoever works there waits as well."""
        for lane in (SURVEY, JOIN):
            silent, path = self.background.silent(lane)
            if silent >= self._patience:
                message = f"{path} has not answered for {silent:.0f} s"
                hint = "see whether its disk or file server works, and submit the shot again"
                self.background.leave(lane, CapacityError("capacity.no_answer", message, hint=hint))

    def end(self, grace: float) -> None:
        """Stop surveys and workers. What is on disk stays: jobs resume when submitted again."""
        self._ending = True
        pids = {name: one.process.pid for name, one in self.pool.workers.items() if one.process}
        self.pool.end(grace)
        for name, (_, job) in self._units.items():
            if job.plan is not None and name in pids:
                remove_leftovers(job.plan, pids[name])

    # From a submission to a plan

    def begin(self, submission: Submission) -> None:
        """Take a new job on, or one that had ended."""
        offer = submission.offer
        ended = [id for id, one in self.jobs.items() if not one.busy and id != offer.id]
        for id in ended[: max(len(ended) - _REMEMBERED, 0)]:
            del self.jobs[id]
        needs = frozenset(offer.spool_names())
        job = LiveJob(offer.id, offer.shot.name, offer, needs=needs, waiting=[submission])
        self.jobs[offer.id] = job

        around = self._looking(SURVEY, job.name, lambda: not job.ended)

        def find_out() -> Mapping[str, Any]:
            return engine_asked(offer.shot, self._config.worker_threads, around)

        def found_out(engine: Mapping[str, Any]) -> None:
            def described(found: Mapping[str, Any] | None, error: DvmError | None) -> None:
                if job.ended:
                    return
                if found is None:
                    assert error is not None
                    self.fail(job, wire_error(error, shot=job.name))
                else:
                    self._held.append((job, lambda: self._survey(job, submission, engine, found)))
                    self._survey_held()

            if not job.ended:
                self.pool.describe(engine, described, lambda: not job.ended)

        def failed(error: Exception) -> None:
            self.fail(job, wire_error(error, shot=job.name))

        self.background.run(SURVEY, find_out, found_out, failed)

    def compare(
        self,
        job: LiveJob,
        offer: Offer,
        wanted: Callable[[], bool],
        then: Callable[[bool], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Find out whether a shot would be made now from what a job of it is made from.

        Args:
            job: the job; it has a plan.
            offer: the shot, submitted again.
            wanted: whether that is of use still; called in the background.
            then: is told.
            failed: is told why not: its files cannot be read, or not any more.
        """
        plan = job.plan
        assert plan is not None

        around = self._looking(JOIN, job.name, wanted)

        def find_out() -> bool:
            if engine_asked(offer.shot, self._config.worker_threads, around) != plan.engine:
                return False
            return sources_now(plan, offer, around) == plan.sources()

        self.background.run(JOIN, find_out, then, failed)

    def _looking(self, lane: str, name: str, wanted: Callable[[], bool]) -> Surroundings:
        """What a survey needs, of one that tells its lane of each file that it looks at.

        Args:
            lane: it is done in.
            name: of its shot.
            wanted: whether it is of use still; else it gives up at the next file.
        """

        def look(path: Path) -> None:
            if self._ending or not wanted():
                raise Cancelled(message="the survey was given up", shot=name)
            self.background.go_on(lane, path)

        return replace(self._around, look=look)

    def _survey_held(self) -> None:
        """Survey jobs of which no worker is busy any more with what was cancelled before.

        Such a worker may still write a frame, and the survey must see it.
        """
        busy = {one.unit.job for one in self._state.workers.values() if one.unit is not None}
        held, self._held = self._held, []
        for job, begin in held:
            if job.id in busy:
                self._held.append((job, begin))
            elif not job.ended:
                begin()

    def _survey(
        self,
        job: LiveJob,
        submission: Submission,
        engine: Mapping[str, Any],
        description: Mapping[str, Any],
    ) -> None:
        offer = submission.offer
        around = self._looking(SURVEY, job.name, lambda: not job.ended)
        look = around.look

        def find_out() -> Plan:
            plan, adopted = survey(offer, engine, description, around)
            plan = without_damaged(plan, look)
            folder = self._ledger.path(offer.id).parent
            look(folder)
            with keeping(folder):
                shots.save(offer.shot, folder / "shot.json")
            remove_leftovers_of_journal(plan, self._ledger.path(offer.id), look)
            self._ledger.write(offer.id, submitted_event(offer.shot.name, plan.sources()))
            for event in adopted:
                look(folder)
                self._ledger.write(offer.id, event)
            return plan

        def found_out(plan: Plan) -> None:
            # From now on nothing of it makes room for others; what has, the disk lane finds out.
            job.needs = frozenset(plan.spool_names())
            self.background.run(DISK, lambda: what_is_left(plan, self._spool), planned, failed)

        def planned(found: tuple[Plan, set[int]]) -> None:
            plan, arrived = found
            if job.ended:
                return
            other = self._writing_there(plan)
            if other is not None:
                self.fail(job, _in_use(plan, other))
                return
            job.plan, job.arrived = plan, arrived
            job.carried = set(plan.carried)
            job.doubts = self._ledger.doubts(plan.trimap_keys)
            told = {"seconds": 0.0, "source": "", "fallback": "", "cached": True}
            for frame in sorted(plan.ready):
                source = plan.trimaps[frame].source
                job.made[frame] = {**told, "source": source}
            units = remaining(plan, job.arrived if offer.by_value else None)
            self._surveyed(job)
            self._step(scheduler.JobAdded(job.id, units))

        def failed(error: Exception) -> None:
            self.fail(job, wire_error(error, shot=job.name))

        self.background.run(SURVEY, find_out, found_out, failed)

    def _writing_there(self, plan: Plan) -> LiveJob | None:
        """Another job that is writing to the same files, by path."""
        return next(
            (
                one
                for one in self.jobs.values()
                if one.plan is not None
                and not one.ended
                and not one.plan.places.keys().isdisjoint(plan.places)
            ),
            None,
        )

    # What happens to a job

    def plate_arrived(self, job: LiveJob, sent: SentFile) -> None:
        """A plate is in the spool; it may be that of several frames."""
        for frame, one in ((job.plan.offer.plates if job.plan else None) or {}).items():
            if one == sent and frame not in job.arrived:
                job.arrived.add(frame)
                self._step(scheduler.PlateArrived(job.id, frame))

    def fail(self, job: LiveJob, error: DvmError) -> None:
        """Something outside of the workers went wrong."""
        if job.ended:
            return
        self._end(job, FAILED, error)
        self._step(scheduler.JobStopped(job.id))

    def cancel(self, job: LiveJob) -> None:
        """Somebody wants it stopped; a worker that is at it stops within a frame."""
        self._end(job, CANCELLED)
        self._step(scheduler.JobStopped(job.id))

    def _end(self, job: LiveJob, state: str, error: DvmError | None = None) -> None:
        job.end(state, error)
        if error is None:
            _LOG.info("%s (%s): %s", job.name, job.id[:12], state)
        else:
            _LOG.warning("%s (%s): %s: %s", job.name, job.id[:12], error.code, error.message)
        if job.plan is not None:
            event = {"event": state, "code": error.code if error else ""}
            self._journal(job, event, lambda: None)
        self._surveyed(job)
        self._progressed(job)

    # What comes from the workers

    def _heard(self, name: str, message: Mapping[str, Any]) -> None:
        match message["type"]:
            case "ready":
                # After the death of the one before it, which is told in turn with its frames.
                self._later(lambda: self._step(scheduler.WorkerReady(name)))
            case "trimap_done":
                self._trimap_done(*self._units[name], message)
            case "frame_done":
                self._frame_done(*self._units[name], message)
            case "ended":
                error = from_wire(message["error"]) if "error" in message else None
                self._later(lambda: self._step(scheduler.UnitEnded(name, error)))
            case "died":
                self._died(name, message)

    def _trimap_done(self, unit: UnitId, job: LiveJob, message: Mapping[str, Any]) -> None:
        assert job.plan is not None
        frame, doubt = message["frame"], message["doubt"]
        key = job.plan.trimap_keys[frame]

        def noted() -> None:
            self._spool.arrived(Spool.trimap_name(key))

        def made() -> None:
            job.carried.add(frame)
            job.doubts[frame] = doubt
            job.frame = frame
            self._step(scheduler.FrameMade(unit, frame))

        event = {"event": "trimap", "frame": frame, "key": key, "doubt": doubt}
        self._journal(job, event, made, noted)

    def _frame_done(self, unit: UnitId, job: LiveJob, message: Mapping[str, Any]) -> None:
        plan, frame, files = job.plan, message["frame"], message["files"]
        assert plan is not None

        def noted() -> None:
            for file in files.values():
                path = Path(file["path"])
                if plan.offer.by_value:
                    self._spool.arrived(path.relative_to(self._spool.state).as_posix())
                else:
                    self._spool.remember(path, file["bytes"], file["mtime_ns"], file["sha256"])

        def made() -> None:
            told = {name: message[name] for name in ("seconds", "source", "fallback")}
            job.made[frame] = {**told, "cached": False}
            job.computed += 1
            job.frame = frame
            for attachment in job.attachments.values():
                attachment.made([frame])
            self._progressed(job)
            self._step(scheduler.FrameMade(unit, frame))

        # Also when the job has been cancelled since: the file is there, and is ours.
        event = frame_event(frame, plan.keys[frame], files)
        self._journal(job, {**event, "seconds": message["seconds"]}, made, noted)

    def _died(self, name: str, message: Mapping[str, Any]) -> None:
        at_work = self._units.pop(name, None)
        error = message["error"]
        if error is not None and all(one.process is None for one in self.pool.workers.values()):
            for job in tuple(self.jobs.values()):
                self.fail(job, wire_error(error, shot=job.name))
        if at_work is not None and (plan := at_work[1].plan) is not None:
            remove_leftovers(plan, message["pid"])
        # After what it said before it died, which may be on its way to the journal.
        opening = message["opening"]
        self._later(lambda: self._step(scheduler.WorkerDied(name, opening)))

    # What the scheduler says

    def _step(self, event: scheduler.Event) -> None:
        self._state, orders = scheduler.step(self._state, event)
        self._survey_held()
        for order in orders:
            match order:
                case Start(worker, unit, frames):
                    self._start(worker, unit, frames)
                case Stop(worker):
                    self._to_stop.add(worker)
                    self.pool.stop(worker)
                case Replace(worker):
                    # One that could not start waits for the next job: it would fail for ever.
                    if self.pool.workers[worker].error is None:
                        self.pool.start(worker)
                case JobDone(id):
                    self._end(self.jobs[id], DONE)
                case JobFailed(id, error):
                    job = self.jobs[id]
                    self._end(job, FAILED, wire_error(error, shot=job.name))

    def _start(self, worker: str, unit: UnitId, frames: tuple[int, ...]) -> None:
        job = self.jobs[unit.job]
        plan = job.plan
        assert plan is not None
        job.state = PROPAGATING if unit.kind == SPAN else MATTING
        self._to_stop.discard(worker)
        process = self.pool.workers[worker].process
        event = {
            "event": "unit",
            "kind": unit.kind,
            "index": unit.index,
            "frames": list(frames),
            "pid": process.pid if process else 0,
        }

        def prepare() -> dict[str, Any]:
            self._spool.make_room(0, self.needed_names)
            if unit.kind == SPAN:
                self._spool.expect(Spool.trimap_name(plan.trimap_keys[f]) for f in frames)
                order = span_order(plan, unit.index, frames, self._spool)
            else:
                if plan.offer.by_value:
                    self._spool.expect(
                        Spool.matte_name(plan.keys[f], layer)
                        for f in frames
                        for layer in plan.outputs[f]
                    )
                order = block_order(plan, unit.index, frames, dict(job.doubts))
            self._ledger.write(unit.job, event)
            return order

        def go(order: dict[str, Any]) -> None:
            if self.pool.workers[worker].process is not process:
                return  # it died; the scheduler will hear of it next
            if worker in self._to_stop:
                self._step(scheduler.UnitEnded(worker))
                return
            self._units[worker] = (unit, job)
            self.pool.order(worker, order)

        def failed(error: Exception) -> None:
            self._step(scheduler.UnitEnded(worker, wire_error(error, shot=job.name)))

        self.background.run(DISK, prepare, go, failed)

    # The disk lane keeps the order in which things happened

    def _journal(
        self,
        job: LiveJob,
        event: Mapping[str, Any],
        then: Callable[[], None],
        noted: Callable[[], None] = lambda: None,
    ) -> None:
        """Write an event, do what else is to be ``noted`` on disk, then go on in the loop."""

        def write() -> None:
            self._ledger.write(job.id, event)
            noted()

        def failed(error: Exception) -> None:
            self.fail(job, wire_error(error, shot=job.name))

        self.background.run(DISK, write, lambda _: then(), failed)

    def _later(self, then: Callable[[], None]) -> None:
        """Once all that was handed to the disk lane before is done."""

        def failed(error: Exception) -> None:
            raise error

        self.background.run(DISK, lambda: None, lambda _: then(), failed)


def _in_use(plan: Plan, other: LiveJob) -> InputError:
    """The error for a shot whose mattes would mix with another's."""
    theirs = other.plan.places if other.plan is not None else {}
    shared = {path for name, path in plan.places.items() if name in theirs}
    frame, path = next(
        (f, path) for f, files in plan.outputs.items() for path in files.values() if path in shared
    )
    return InputError(
        "input.output_in_use",
        f"{path} is being written by another shot, {other.name!r}, at this moment",
        shot=plan.offer.shot.name,
        frame=frame,
        hint="wait until that is done, cancel it, or choose another output",
    )
