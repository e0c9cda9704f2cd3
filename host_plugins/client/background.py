"""Shots that run beside a host's main thread, which only ever asks what there is to report.

Two threads at most, each with sockets of its own, and each only as long as it has something to do:
one runs shots, one after the other; one asks servers who they are, so that the answer need not wait
for a shot. Hosts crash when threads outlive them, so `Runner.close` ends both and waits for it. It
is also called when the interpreter ends; for that the threads are daemons: Python waits for others
before it calls anybody.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# At exit this stops what large messages are sent with. What is registered last is called first, and
# that must be our own `close`: so it is imported before, and not by the first large message.
import zmq.utils.garbage  # noqa: F401

from .connection import Connection
from .errors import Cancelled, DvmError, ServerError
from .events import Network
from .plate_files import FilePattern
from .run import Progress, Summary, run_shot
from .session import NO_ANSWER, SERVER_LOST, Session, Times
from .shot import Shot

__all__ = ["Report", "Runner", "Work"]

CLIENT_FAULT = "server.client_fault"

_LOG = logging.getLogger("dvm.client")
# Seconds between reports of progress; what comes between them is in the next one.
_BETWEEN = 0.05
# The server was not there to be told of a cancel.
_UNHEARD = ("setup.no_server", SERVER_LOST, NO_ANSWER)


@dataclass(frozen=True)
class Report:
    """One thing that happened.

    Attributes:
        kind: ``connected``, ``progress``, ``frame``, ``done``, ``failed`` or ``cancelled``. The
            last three end a job, once each.
        job: the host's own key of it; "" for an answer to `Runner.connect`.
        text: one sentence to show.
        hint: what to do about it; "" if nothing.
        code: of the error; "" if there is none.
        stage: of progress and frames: ``sending``, ``propagating`` or ``matting``.
        done: frames of the stage that are finished.
        total: frames of the stage; of the shot once it is done.
        frame: the one that is finished, or that an error is about.
        suggest: once done: the frame that would help most as a further keyframe.
        device: the server computes on.
        network: that mattes; of ``connected``, the one that does by default.
        networks: what the server has; of ``connected`` only.
    """

    kind: str
    job: str = ""
    text: str = ""
    hint: str = ""
    code: str = ""
    stage: str = ""
    done: int = 0
    total: int = 0
    frame: int | None = None
    suggest: int | None = None
    device: str = ""
    network: str = ""
    networks: tuple[Network, ...] = ()


def _never(connection: Connection) -> bool:
    return False


@dataclass(frozen=True)
class Work:
    """A shot to run.

    Attributes:
        job: the host's own key of it.
        shot: with absolute paths.
        find: finds the server; called in the thread that runs the shot.
        by_value: whether to that server plates are sent and mattes come back, else it reads and
            writes the files; called in that thread, too.
        trimaps: files by frame that go with the shot; see `run.run_shot`.
    """

    job: str
    shot: Shot
    find: Callable[[], Connection]
    by_value: Callable[[Connection], bool] = _never
    trimaps: Mapping[int, Path] = field(default_factory=dict)

    def plates(self) -> Mapping[int, Path]:
        """The files of the shot's plates, by frame.

        Raises:
            InputError: ``input.pattern``.
        """
        pattern = FilePattern.parse(self.shot.plates.pattern)
        return {frame: pattern.path(frame) for frame in self.shot.all_numbers()}


class Runner:
    """Runs shots in the background. Starts no thread until there is something to do.

    Every method may be called from any thread, and returns within a few milliseconds; only `close`
    waits.

    Args:
        client: ``{"host": "blender 4.5", "version": "0.1.0"}``.
        times: deadlines of its sessions.
    """

    def __init__(self, client: Mapping[str, str], *, times: Times = Times()):
        self._client = dict(client)
        self._times = times
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._find: Callable[[], Connection] | None = None
        self._asking = False
        self._waiting: deque[Work] = deque()
        self._at_work = False
        self._running: tuple[str, threading.Event] | None = None
        self._reports: deque[Report] = deque()
        # The newest progress, by job, that nobody has been given yet.
        self._progress: dict[str, Report] = {}
        self._next_progress = 0.0

    def connect(self, find: Callable[[], Connection]) -> None:
        """Ask a server who it is; ``connected`` or ``failed`` without a job comes as a report.

        Asked again before the answer is there, only the last question is answered.

        Args:
            find: finds the server; called in another thread.

        Raises:
            RuntimeError: after `close`.
        """
        with self._lock:
            self._check_open()
            self._find = find
            if not self._asking:
                self._start("dvm hello", self._ask)
                self._asking = True

    def submit(self, work: Work) -> None:
        """Run a shot after those that wait already. How it goes comes as reports.

        Raises:
            RuntimeError: after `close`.
        """
        with self._lock:
            self._check_open()
            if not self._at_work:
                self._start("dvm shots", self._work)
                self._at_work = True
            self._waiting.append(work)

    def cancel(self, job: str) -> None:
        """Stop a job, whether it runs or waits; ``cancelled`` comes as a report, unless it ends in
        another way meanwhile. Does nothing if there is no such job."""
        with self._lock:
            self._drop([one for one in self._waiting if one.job == job])
            if self._running is not None and self._running[0] == job:
                # The loop of `run_shot` sees it, and tells the server: that may take seconds.
                self._running[1].set()

    def busy(self, job: str | None = None) -> bool:
        """Whether a report that ends something is still to come.

        Args:
            job: one job; None asks for all of them, and for the answer to `connect`.
        """
        with self._lock:
            jobs = {one.job for one in self._waiting}
            if self._running is not None:
                jobs.add(self._running[0])
            return bool(jobs or self._asking) if job is None else job in jobs

    def reports(self) -> list[Report]:
        """What has happened since the last call, in order.

        Every finished frame is there, and the end of every job; of progress only the newest, and
        not more often than 20 times a second.
        """
        now = time.monotonic()
        with self._lock:
            found = list(self._reports)
            self._reports.clear()
            if self._progress and now >= self._next_progress:
                self._next_progress = now + _BETWEEN
                found += self._progress.values()
                self._progress.clear()
        return found

    def close(self, timeout: float = 10.0) -> bool:
        """Cancel what runs and what waits, and wait until the threads have ended and their sockets
        are closed. Frames that are finished stay. Another call does no harm.

        Args:
            timeout: in seconds. A server that does not answer is given up within that time.

        Returns:
            Whether the threads have ended.
        """
        end = time.monotonic() + timeout
        with self._lock:
            self._closed = True
            self._find = None
            self._drop(list(self._waiting))
            if self._running is not None:
                self._running[1].set()
            threads = [one for one in self._threads if one is not threading.current_thread()]
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0.0))
        ended = not any(thread.is_alive() for thread in threads)
        if ended:
            atexit.unregister(self.close)
        return ended

    # The rest is called with the lock held, or in the threads.

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this runner has been closed")

    def _start(self, name: str, target: Callable[[], None]) -> None:
        if not self._threads:
            atexit.register(self.close)
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        # One that has just run out of work may still be on its way out.
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]

    def _drop(self, works: list[Work]) -> None:
        for work in works:
            self._waiting.remove(work)
            text = f"the shot {work.shot.name!r} was cancelled before it began"
            self._reports.append(Report("cancelled", work.job, text, code="cancelled"))

    def _ask(self) -> None:
        while True:
            with self._lock:
                find, self._find = self._find, None
                if find is None:
                    self._asking = False
                    return
            report = self._greeting(find)
            with self._lock:
                if self._find is None:
                    self._reports.append(report)

    def _greeting(self, find: Callable[[], Connection]) -> Report:
        try:
            with self._session(find()) as session:
                welcome = session.hello()
        except DvmError as error:
            return _failed("", error)
        except BaseException as error:  # noqa: BLE001  a host must hear of it, whatever it is
            if self._over(error):
                _LOG.debug("a greeting that was closed ended with", exc_info=error)
                return _failed("", Cancelled(message="the server was not asked to the end"))
            return _failed("", _fault(error))
        networks = [one for one in welcome.networks if one.kind == "matting" and one.default]
        return Report(
            "connected",
            text=f"connected to server {welcome.version} on {welcome.device}".replace("  ", " "),
            device=welcome.device,
            network=networks[0].name if networks else "",
            networks=welcome.networks,
        )

    def _over(self, error: BaseException) -> bool:
        """Whether nobody listens any more, or an error is one of those with which Python and pyzmq
        refuse threads and messages while the interpreter ends, a moment before `close` too."""
        ending = not threading.main_thread().is_alive() and isinstance(error, RuntimeError)
        return self._closed or ending

    def _session(self, connection: Connection) -> Session:
        return Session(connection, client=self._client, times=self._times)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._at_work = False
                    return
                work, cancel = self._waiting.popleft(), threading.Event()
                self._running = work.job, cancel
            end = self._end_of(work, cancel)
            with self._lock:
                self._running = None
                last = self._progress.pop(work.job, None)
                if last is not None and end.kind == "done":
                    self._reports.append(last)
                self._reports.append(end)

    def _end_of(self, work: Work, cancel: threading.Event) -> Report:
        """Run a shot; whatever comes of it is a report."""

        def tell(now: Progress) -> None:
            self._tell(work.job, now)

        try:
            connection = work.find()
            if cancel.is_set():
                raise Cancelled(message=f"the shot {work.shot.name!r} was cancelled")
            with self._session(connection) as session:
                summary = run_shot(
                    session,
                    work.shot,
                    plates=work.plates() if work.by_value(connection) else None,
                    trimaps=work.trimaps,
                    progress=tell,
                    cancel=cancel,
                )
        except DvmError as error:
            return _stopped(work, error, cancel.is_set())
        except BaseException as error:  # noqa: BLE001  a host must hear of it, whatever it is
            if self._over(error):
                _LOG.debug("a shot that was closed ended with", exc_info=error)
                return _stopped(work, Cancelled(message=f"{work.shot.name!r} was cancelled"), True)
            return _stopped(work, _fault(error), cancelled=False)
        return _finished(work, summary)

    def _tell(self, job: str, now: Progress) -> None:
        text = f"{now.stage} {now.done} of {now.total}"
        report = Report(
            "progress", job, text, stage=now.stage, done=now.done, total=now.total, frame=now.frame
        )
        with self._lock:
            if now.stage == "matting" and now.frame is not None:
                self._reports.append(
                    Report(
                        "frame",
                        job,
                        f"frame {now.frame} is finished",
                        stage=now.stage,
                        done=now.done,
                        total=now.total,
                        frame=now.frame,
                    )
                )
            self._progress[job] = report


def _finished(work: Work, summary: Summary) -> Report:
    kept = f", {summary.kept} kept" if summary.kept else ""
    return Report(
        "done",
        work.job,
        f"{summary.computed} of {summary.frames} frames computed{kept}, in {summary.seconds:.0f} s",
        done=summary.frames,
        total=summary.frames,
        suggest=summary.suggest,
        device=summary.device,
        network=summary.network,
    )


def _stopped(work: Work, error: DvmError, cancelled: bool) -> Report:
    if isinstance(error, Cancelled):
        return Report("cancelled", work.job, error.message, error.hint, error.code)
    if cancelled and error.code in _UNHEARD:
        return Report(
            "cancelled",
            work.job,
            f"the shot {work.shot.name!r} was cancelled here, and the server could not be told: "
            f"{error.message}",
            "if the server still runs, it may go on with the shot",
            error.code,
        )
    return _failed(work.job, error)


def _failed(job: str, error: DvmError) -> Report:
    hint = error.hint
    if error.report and error.report not in hint:
        hint = f"{hint} (report {error.report} in the server's log)".strip()
    return Report("failed", job, error.message, hint, error.code, frame=error.frame)


def _fault(error: BaseException) -> DvmError:
    """An exception that nobody foresaw, as an error to show; its traceback goes to the log."""
    _LOG.error("a fault in the plug-in", exc_info=error)
    return ServerError(
        CLIENT_FAULT,
        f"the plug-in failed with {type(error).__name__}: {error}",
        hint="please send us the traceback from the host's console",
    )
