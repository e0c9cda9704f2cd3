"""Run one shot from beginning to end: submit, send what is wanted, take the mattes, go on after a
lost connection. For a host's worker thread and for the command line alike."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import events, files, submission
from .delivery import Delivery, Sink
from .errors import Cancelled, DvmError, InputError, ProtocolError, SetupError
from .own_files import check_apart
from .session import NO_ANSWER, SERVER_LOST, Session
from .shot import Shot
from .wire import Part

_SLICE = 0.1
# A plate that is sent is durable on the server within this time, in seconds, counted from the
# receipt of the one before it: those under way share the line.
_PLATE_DEADLINE = 60.0
# For how long a heartbeat may not know our job, or know it as ended, without us being told.
_FORGOTTEN = 8.0


@dataclass(frozen=True)
class Progress:
    """How far a shot is.

    Attributes:
        stage: ``sending`` (plates to the server), ``propagating`` (trimaps) or ``matting``.
        done: frames of this stage that are finished.
        total: frames of this stage.
        frame: the last one, or None.
    """

    stage: str
    done: int
    total: int
    frame: int | None = None


@dataclass(frozen=True)
class Summary:
    """How a shot went.

    Attributes:
        frames: of the shot.
        computed: mattes computed for this submission.
        kept: mattes that were there already.
        seconds: wall time at our end.
        network: that matted.
        device: it ran on.
        suggest: the frame that would help most as a further keyframe; None if none would.
    """

    frames: int
    computed: int
    kept: int
    seconds: float
    network: str
    device: str
    suggest: int | None = None


def run_shot(
    session: Session,
    shot: Shot,
    *,
    plates: Mapping[int, Path] | None = None,
    trimaps: Mapping[int, Path] | None = None,
    sink: Sink | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Summary:
    """Matte a shot; returns when it is done.

    By path (``plates`` is None) the server reads and writes the files the shot names. By value
    our files travel, and mattes come back: to ``sink``, or to the shot's output pattern, each
    written under a temporary name, synced and renamed. Submitting again repeats nothing.

    Args:
        session: said hello to or not; used by the calling thread only while this runs.
        shot: with absolute paths, as from `shot.load`.
        plates: files by frame, to go by value.
        trimaps: files by frame, to go by value: of keyframes, and given ones.
        sink: called with a frame and its parts, by value. When it returns the matte counts as safe.
        progress: called in this thread whenever there is something new.
        cancel: set it in any thread and the job is cancelled.

    Raises:
        InputError: by the server; or here ``input.missing_trimap``, ``input.unreadable``,
            ``input.missing_guide``, ``input.movie``, ``input.plate_changed``,
            ``input.output_is_input``,
            ``input.output_exists``, ``input.output_unwritable`` and such.
        CapacityError: by the server; or here ``capacity.disk_full``.
        Cancelled: ``cancel`` was set, or somebody else cancelled the job.
        SetupError: no server, or it was lost and did not come back (`SERVER_LOST`).
        ServerError: a fault in the server.
    """
    began = time.monotonic()
    cancel = cancel or threading.Event()

    def check() -> None:
        if cancel.is_set():
            raise Cancelled(message=f"the shot {shot.name!r} was cancelled", shot=shot.name)

    prepared = submission.prepare(shot, plates, trimaps or {}, check)
    if plates is None or sink is None:
        check_apart(prepared.shot, prepared.sent, check)
    delivery = Delivery(prepared.shot, plates is not None, sink)
    run = _Run(session, prepared, delivery, progress or (lambda _: None), cancel)
    if session.welcome is None:
        session.hello()
    while True:
        try:
            accepted, done = run.once(delivery.have(check))
            break
        except SetupError as error:
            if error.code != SERVER_LOST or not run.may_reconnect():
                raise
            lost = error
        try:
            session.reconnect()
        except SetupError as error:
            raise (lost if error.code == "setup.no_server" else error) from error
    return Summary(
        frames=done.total,
        computed=done.computed,
        kept=done.kept,
        seconds=time.monotonic() - began,
        network=accepted.network,
        device=accepted.device,
        suggest=done.suggest,
    )


@dataclass
class _Run:
    """What is known between the connections of one shot.

    Attributes:
        moved: something came through since the last reconnection, so another is worth trying.
        told: the last progress, so that nothing is told twice.
        attached: the server has accepted the shot, over this connection or an earlier one.
    """

    session: Session
    prepared: submission.Submission
    delivery: Delivery
    tell: Callable[[Progress], None]
    cancel: threading.Event
    moved: bool = True
    told: Progress | None = None
    attached: bool = False

    def may_reconnect(self) -> bool:
        """Once, and once more whenever something came through meanwhile."""
        moved, self.moved = self.moved, False
        return moved

    def once(self, have: Sequence[Mapping[str, Any]]) -> tuple[events.Accepted, events.Done]:
        """Submit, and follow the job to its end over one connection."""
        accepted = self.session.submit(
            self.prepared.shot,
            plates=[one.entry(frame) for frame, one in self.prepared.plates.items()],
            have=have,
            parts=self.prepared.parts,
            cancel=self.cancel,
        )
        unheard = [one for one in accepted.done if one not in self.delivery.delivered]
        self.delivery.delivered.update(accepted.done)
        if self.attached:
            # Finished while we were away, or their messages were lost with the connection.
            for frame in unheard:
                done = len(self.delivery.delivered)
                self._report("matting", done, accepted.total, frame)
        self.attached = True
        ended = False
        try:
            end = self._follow(accepted)
            ended = True
        except SetupError as error:
            # Who has not answered our cancel need not be asked to cancel once more.
            ended = error.code in (SERVER_LOST, NO_ANSWER, "setup.no_server")
            raise
        finally:
            if not ended:
                # Nobody is left to take this job's mattes. If the server cannot be told, what went
                # wrong before is still what the user must hear.
                with contextlib.suppress(DvmError):
                    self.session.cancel(accepted.job)
        if isinstance(end, events.Failed):
            raise end.error
        if isinstance(end, events.Stopped):
            name = self.prepared.shot.name
            raise Cancelled(message=f"the shot {name!r} was cancelled", shot=name)
        missing = self.delivery.missing()
        if missing:
            raise ProtocolError(f"the server says done and has not sent frame {missing[0]}")
        self._report("matting", accepted.total, accepted.total, None)
        return accepted, end

    def _follow(self, accepted: events.Accepted) -> events.Done | events.Failed | events.Stopped:
        waiting, under_way = deque(self._wanted(accepted)), list[int]()
        to_send, unconfirmed_since = len(waiting), time.monotonic()
        forgotten: float | None = None
        stopping = False
        self._report("sending", 0, to_send, None)
        while True:
            if self.cancel.is_set() and not stopping:
                stopping = True
                if self.session.cancel(accepted.job) != "finished":
                    return events.Stopped(accepted.job)
            while waiting and len(under_way) < accepted.credit:
                frame = waiting.popleft()
                self.session.send_plate(accepted.job, self._plate(frame))
                if not under_way:
                    unconfirmed_since = time.monotonic()
                under_way.append(frame)
            event = self.session.next_event(_SLICE)
            if isinstance(event, events.Failed) and event.job in ("", accepted.job):
                return event
            if event is not None and event.job == accepted.job:
                forgotten = None
                self.moved = True
                if isinstance(event, (events.Done, events.Stopped)):
                    return event
                if isinstance(event, events.Got):
                    if event.frame not in under_way:
                        raise ProtocolError(f"a receipt for frame {event.frame}, never sent")
                    under_way.remove(event.frame)
                    unconfirmed_since = time.monotonic()
                    sent = to_send - len(waiting) - len(under_way)
                    self._report("sending", sent, to_send, event.frame)
                elif isinstance(event, events.Matte):
                    self.delivery.take(event)
                    self.session.acknowledge(event)
                    done = len(self.delivery.delivered)
                    self._report("matting", done, accepted.total, event.frame)
            self._report_propagation(accepted.job)
            _check_plates(under_way, unconfirmed_since)
            forgotten = self._check_known(accepted.job, forgotten)

    def _wanted(self, accepted: events.Accepted) -> tuple[int, ...]:
        for frame in accepted.need:
            if frame not in self.prepared.plates:
                raise ProtocolError(f"the server wants the plate of frame {frame}, never announced")
        return accepted.need

    def _plate(self, frame: int) -> Part:
        announced = self.prepared.plates[frame]
        part = files.read_part("plate", announced.path, frame)
        if part.sha256 != announced.sha256:
            raise InputError(
                "input.plate_changed",
                f"the plate of frame {frame}, {announced.path}, changed while it was submitted",
                shot=self.prepared.shot.name,
                frame=frame,
                hint="submit again once it has been rendered",
            )
        return part

    def _report(self, stage: str, done: int, total: int, frame: int | None) -> None:
        now = Progress(stage, done, total, frame)
        if total and now != self.told:
            self.told = now
            self.tell(now)

    def _report_propagation(self, job: str) -> None:
        if self.told is not None and self.told.stage == "matting":
            return  # a heartbeat is older than the mattes that came since
        state = (self.session.jobs or {}).get(job)
        if state is not None and state.state == "propagating":
            self._report("propagating", state.propagated, state.to_propagate, state.frame)

    def _check_known(self, job: str, since: float | None) -> float | None:
        """A server that does not know our job any more will never end it: submit again.

        Args:
            since: when heartbeats began to miss the job, or None.

        Returns:
            The new ``since``.
        """
        jobs = self.session.jobs
        if jobs is None or (job in jobs and jobs[job].state not in events.FINAL_STATES):
            return None
        now = time.monotonic()
        if since is not None and now - since > _FORGOTTEN:
            raise SetupError(
                SERVER_LOST,
                "the server has lost sight of the job",
                hint="submit the shot again: finished frames are kept",
            )
        return now if since is None else since


def _check_plates(under_way: Sequence[int], unconfirmed_since: float) -> None:
    if under_way and time.monotonic() - unconfirmed_since > _PLATE_DEADLINE:
        frame = under_way[0]
        raise SetupError(
            NO_ANSWER,
            f"the server has not confirmed the plate of frame {frame} in {_PLATE_DEADLINE:g} s",
            frame=frame,
            hint="see its log; submit the shot again: finished frames are kept",
        )
