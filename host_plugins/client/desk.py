"""What goes on while a host runs and is not saved: the connection, jobs, and what they have told.

A host's main thread calls `Desk.pump` a few times a second; it takes what the threads have to say.
Threads never touch the host: one owns the connection (`background`), one runs errands (drawing
masks, looking at files, stopping a server). A host derives from `Desk` what is its own: how the
files that came are shown, and which of them are in use.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .background import Report, Runner, Work
from .cache import folder_name
from .connection import Connection
from .doubts import doubt_of, doubts_in
from .errors import DvmError, InputError, ServerError, SetupError
from .local_server import LocalServer, command
from .outputs import output_path
from .plate_files import check_plates
from .shot import Shot, save, shot_id
from .shot_cache import clear_caches, note_files

VERSION = "0.1.0"  # of the plug-ins
LOOK = ("trimap", "confidence")  # layers that Propagate asks for
MATTE = ("alpha", "trimap", "confidence")  # and Matte, at least
FOLDER = "dvm"  # of our files, beside a host's

TICK = 0.1  # seconds between pumps while something goes on
IDLE = 0.5
BUDGET = 0.015  # seconds a pump may take; what is left waits for the next one
_RELOAD = 0.7  # seconds between looks at new files, at least
_END = object()
BUSY = "input.busy"


@dataclass(frozen=True)
class Plan:
    """What a run of a node does: one shot, or one of each view.

    Attributes:
        cache: folder of the cache that the mattes go to.
        named: the shot whose id names the folder in it.
        works: to run one after the other, each with the job key of the node's shot.
    """

    cache: Path
    named: Shot
    works: tuple[Work, ...]


@dataclass
class State:
    """How a shot is doing.

    Attributes:
        what: ``propagate`` or ``matte``, or what else a host does to a shot; "" before the first.
        stage: of the run: ``checking``, ``waiting``, ``sending``, ``propagating``, ``matting``.
        done, total: frames of the stage.
        text, hint: one sentence each, the last thing to know.
        failed: it is an error: the run's, or while it goes on, of something beside it.
        busy: a run goes on.
        stopping: it has been cancelled, and has not ended yet.
        arrived: plates whose files came in this run.
        doubts: of carried trimaps, 0 sure … 1, by plate.
        suggest: the plate that is best painted next; None if none would help.
        shot: what runs, or ran last.
        plan: what that belongs to.
        later: what of it is still to run: other views of the same node.
    """

    what: str = ""
    stage: str = ""
    done: int = 0
    total: int = 0
    text: str = ""
    hint: str = ""
    failed: bool = False
    busy: bool = False
    stopping: bool = False
    arrived: int = 0
    doubts: dict[int, float] = field(default_factory=dict)
    suggest: int | None = None
    shot: Shot | None = None
    plan: Plan | None = None
    later: deque[Work] = field(default_factory=deque)

    def tell(self, text: str) -> None:
        """How a run goes; but what went wrong beside it, or that it ends, is to be read."""
        if not self.failed and not self.stopping:
            self.text = text


@dataclass(frozen=True)
class Server:
    """What is known of the server.

    Attributes:
        up: it answered.
        text: one line: device and network, or what is wrong.
        hint: what to do about that.
        networks: matting networks it can use, the default first, each with its summary.
    """

    up: bool = False
    text: str = "not connected"
    hint: str = ""
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Errand:
    """What the other thread does.

    Attributes:
        key: of the shot whose state tells if it went wrong.
        future: of what it finds.
        then: takes that, in the main thread.
        run: that it belongs to, which ends if it fails.
    """

    key: str
    future: Future[Any]
    then: Callable[[Any], None]
    run: State | None


class Desk:
    """All that runs for one host. Its methods are for the host's main thread.

    Args:
        host: e.g. ``blender 4.5``.
    """

    def __init__(self, host: str):
        self.server = Server()
        self.states: dict[str, State] = {}
        self.cleared = ""
        self._runner = Runner({"host": host, "version": VERSION})
        self._errands = ThreadPoolExecutor(1, thread_name_prefix="dvm errands")
        self._waiting: list[_Errand] = []
        self._find: Callable[[], Connection] | None = None  # of the server that was started
        self._local: LocalServer | None = None
        self._leaving: LocalServer | None = None
        self._stale: set[str] = set()  # shots with files that are not shown yet
        # What is being done in steps: key, steps, the run they belong to.
        self._turns: deque[tuple[str, Iterator[None], State | None]] = deque()
        self._reloaded = 0.0
        self._reports: list[Report] = []

    # What is the host's own

    def steps_to_show(self, key: str, shot: Shot) -> Iterator[None]:
        """Have the host show a shot's files, as far as they are there; a little at each step."""
        raise NotImplementedError

    def in_use(self) -> Iterator[Collection[str]]:
        """Names of the folders in caches that the host's file shows, some at each step: they are
        not trimmed."""
        raise NotImplementedError

    def cache_bytes(self, key: str) -> int:
        """The most that mattes may take; 0 = no limit."""
        raise NotImplementedError

    # Asked by buttons and panels

    def state(self, key: str) -> State:
        """Of a shot; a new one if nothing has happened yet."""
        return self.states.setdefault(key, State())

    def busy(self) -> bool:
        """Whether anything goes on that `pump` has to look after."""
        starting = self._local is not None and self._local.starting
        going = self._waiting or self._stale or self._turns
        return bool(going) or self._runner.busy() or starting

    def connect(self, find: Callable[[], Connection]) -> None:
        """Ask the server who it is; the answer comes with a pump."""
        self.server = replace(self.server, up=False, text="connecting …", hint="")
        self._runner.connect(find)

    def start_server(self, program: str, state: Path, find: Callable[[], Connection]) -> None:
        """Start `dvm serve`; once a pump finds that it is up, it is asked who it is.

        Args:
            program: see `local_server.command`.
            state: its state directory.
            find: how it is found then.

        Raises:
            SetupError: ``setup.no_command``, ``setup.state_dir``; ``setup.server_start`` while the
                one before it is still ending.
        """
        if self.has_local:
            return
        if self._leaving is not None and self._leaving.is_running():
            raise SetupError(
                "setup.server_start",
                "the server that was stopped is still ending",
                hint="start it again in a moment",
            )
        local = LocalServer(command(program), state)
        local.start()
        self._local, self._find = local, find
        self.server = Server(text="the server is starting …")

    def stop_server(self) -> None:
        """Only the one that was started from here."""
        local, self._local = self._local, None
        if local is not None:
            # It takes a second or more: not here. `close` sees to it if nobody gets round to it.
            self._leaving = local
            self._later("", local.stop, lambda _: None)
        self.server = Server()

    @property
    def has_local(self) -> bool:
        """A server that was started from here runs."""
        return self._local is not None and self._local.is_running()

    def errand(self, key: str, errand: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do something in the other thread, and something with what it found in this one.

        Args:
            key: of the shot whose state tells if it went wrong.
            errand: touches nothing of the host's.
            then: called by a pump.
        """
        self._later(key, errand, then)

    def begin(self, key: str, state: State) -> None:
        """Take note that something is begun for a shot.

        Raises:
            InputError: ``input.busy`` if something goes on already.
        """
        if self.state(key).busy:
            raise InputError(
                BUSY, "this node is being worked on", hint="wait for it, or press Cancel"
            )
        state.busy = True
        self.states[key] = state

    def submit(self, key: str, plan: Plan) -> None:
        """Look at the plates, in the other thread, and run what is planned. `begin` comes first."""
        state = self.states[key]
        state.stage = "checking"
        state.tell("looking at the plates")
        state.plan, state.shot, state.total = plan, plan.works[0].shot, len(plan.named.numbers())

        def ready(works: tuple[Work, ...]) -> None:
            # It may have been cancelled while it was prepared, or its node removed.
            if self.states.get(key) is state and state.busy:
                state.later = deque(works)
                self._next(key, state)

        self._later(key, lambda: _prepared(plan), ready, state)

    def take_turns(self, key: str, steps: Iterator[None], *, of_run: bool = False) -> None:
        """Have something done in the main thread, a step at each pump.

        Args:
            key: of the shot whose state tells if it went wrong.
            steps: to take.
            of_run: the run that was begun for the shot cannot go on without, and ends if they fail.
        """
        self._turns.append((key, steps, self.states[key] if of_run else None))

    def clear(self, folders: Collection[Path], keep: Collection[str]) -> None:
        """Remove mattes that are not kept, and are of no run; `cleared` tells, after a pump."""
        self.cleared = "clearing …"
        kept = {*keep, *self._being_made()}

        def told(text: str) -> None:
            self.cleared = text

        self._later("", lambda: clear_caches(folders, kept), told)

    def pending(self, key: str) -> bool:
        """Something goes on for a shot: a run, an errand, files to be looked at."""
        going = [one.key for one in self._waiting] + [one for one, _, _ in self._turns]
        return self.state(key).busy or key in going or key in self._stale

    def cancel(self, key: str) -> None:
        """Stop what is being done for a shot; what is finished stays."""
        state = self.state(key)
        if state.busy:
            state.stopping = True
            state.text, state.hint, state.failed = "cancelling …", "", False
            state.later.clear()
            self._runner.cancel(key)

    def learn_doubts(self, key: str, folder: Path) -> None:
        """Read how doubtful the carried trimaps in a folder are: their files know."""
        self._later(key, lambda: doubts_in(folder), self.state(key).doubts.update)

    def suggested(self, key: str) -> int:
        """The plate that is best painted next.

        Raises:
            InputError: ``input.no_suggestion``.
        """
        state = self.state(key)
        plate = state.suggest
        if plate is None and not state.what and state.doubts:
            # Nothing was run since the host was started; what was before is known from files.
            plate = max(state.doubts, key=lambda one: state.doubts[one])
        if plate is None:
            raise InputError(
                "input.no_suggestion",
                "no further keyframe would help much, as far as is known",
                hint="press Propagate first; look where the confidence is low",
            )
        return plate

    def said(self, key: str, text: str) -> None:
        """Have a shot's state say something, unless a run says how it goes."""
        state = self.state(key)
        if not state.busy:
            state.text, state.hint, state.failed = text, "", False

    def fail(self, key: str, error: Exception, run: State | None = None) -> None:
        """Have a shot's state say what went wrong; without one, clearing the cache did.

        Args:
            key: of the shot, or "".
            error: what went wrong.
            run: the run that it ends; None = it lies beside what goes on, which goes on.
        """
        told, state = told_as(error), self.state(key) if key else None
        if state is None:
            self.cleared = told.message
        elif run is state or not state.busy:
            self.end(key, told.message, told.hint, failed=True)
        elif told.code != BUSY:  # how it goes is what whoever asked for it again wants to read
            state.text, state.hint, state.failed = told.message, told.hint, True

    def end(self, key: str, text: str, hint: str = "", *, failed: bool = False) -> None:
        """Whatever was done for a shot has ended."""
        state = self.state(key)
        state.busy = state.stopping = False
        state.later.clear()
        state.stage, state.text, state.hint, state.failed = "", text, hint, failed

    # Called by what the host has for a timer, and by what waits

    def pump(self) -> bool:
        """Take what the threads have to say, for a few milliseconds; whether anything changed."""
        end = time.perf_counter() + BUDGET
        changed = self._take_errands()
        self._reports += self._runner.reports()
        while self._reports and time.perf_counter() < end:
            self._heard(self._reports.pop(0))
            changed = True
        if self._local is not None and self._local.starting:
            changed |= self._poll_local()
        now = time.monotonic()
        if self._turns:
            # One step a turn: each may take the host some milliseconds.
            key, steps, run = self._turns[0]
            try:
                if next(steps, _END) is _END:
                    self._turns.popleft()
            except Exception as error:  # noqa: BLE001  an artist must hear of it, whatever it is
                self._turns.popleft()
                self.fail(key, error, run)
            changed = True
        elif self._stale and now - self._reloaded > _RELOAD:
            self._reloaded = now
            stale, self._stale = self._stale, set()
            for key in stale:
                self._show(key)
            changed = True
        return changed

    def wait(self, key: str, timeout: float = 86400.0) -> State:
        """Pump until a shot's run has ended: where the host has no timer."""
        end = time.monotonic() + timeout
        while (self.state(key).busy or self.busy()) and time.monotonic() < end:
            self.pump()
            time.sleep(0.02)
        return self.state(key)

    def close(self) -> None:
        """End every thread. Jobs on the server are cancelled; finished frames stay."""
        self._errands.shutdown(wait=True, cancel_futures=True)
        self._runner.close()
        for local in (self._local, self._leaving):
            if local is not None:
                local.stop()

    # Inside

    def _later(
        self,
        key: str,
        errand: Callable[[], Any],
        then: Callable[[Any], None],
        run: State | None = None,
    ) -> None:
        self._waiting.append(_Errand(key, self._errands.submit(errand), then, run))

    def _next(self, key: str, state: State) -> None:
        """Hand over the next of a shot's works."""
        if state.stopping:
            self.end(key, "cancelled before it began")
            return
        work = state.later.popleft()
        state.shot = work.shot
        state.stage = "waiting"
        state.tell("handed to the server")
        self._runner.submit(work)

    def _take_errands(self) -> bool:
        # Asked once each: one that ends between two looks would be in neither list.
        asked = [(one, one.future.done()) for one in self._waiting]
        self._waiting = [one for one, done in asked if not done]
        ready = [one for one, done in asked if done]
        for one in ready:
            try:
                one.then(one.future.result())
            except Exception as error:  # noqa: BLE001  an artist must hear of it, whatever it is
                self.fail(one.key, error, one.run)
        return bool(ready)

    def _heard(self, report: Report) -> None:
        if report.kind in ("connected", "failed") and not report.job:
            self._heard_of_server(report)
            return
        key, state = report.job, self.states.get(report.job)
        if state is None:
            return
        if report.kind == "progress":
            state.stage, state.done, state.total = report.stage, report.done, report.total
            state.tell(f"{report.stage} {report.done} of {report.total}")
        elif report.kind == "frame":
            state.arrived += 1
            self._stale.add(key)
            if state.what == "propagate" and report.frame is not None:
                _learn_doubt(state, report.frame)
        elif report.kind == "done":
            self._done(key, state, report)
        elif report.kind == "cancelled":
            self.end(key, "cancelled; finished plates are kept")
        elif report.kind == "failed":
            self.end(key, report.text, report.hint, failed=True)

    def _done(self, key: str, state: State, report: Report) -> None:
        state.suggest = report.suggest
        self._stale.discard(key)
        assert state.shot is not None and state.plan is not None
        self._show(key)
        self._learn(key, state.plan, Path(state.shot.outputs.pattern).parent)
        if state.later and not state.stopping:
            self._next(key, state)
            return
        told = "trimaps carried to {}" if state.what == "propagate" else "{} matted"
        text = told.format(f"{state.total} plates")
        if report.suggest is not None:
            text += f"; a trimap of plate {report.suggest} would help most"
        self.end(key, text)

    def _learn(self, key: str, plan: Plan, folder: Path) -> None:
        """Of a run that is done: sizes for the manifest, doubts; and what is too much may go."""
        limit = self.cache_bytes(key)
        kept: set[str] = set()

        def look() -> Mapping[int, float]:
            cache = note_files(plan.cache, plan.named, [one.shot for one in plan.works])
            if limit:
                cache.trim(limit, keep=kept)
            return doubts_in(folder)

        def learnt(doubts: Mapping[int, float]) -> None:
            # By then another run may have begun, with a state of its own.
            self.state(key).doubts.update(doubts)

        def see() -> Iterator[None]:
            for some in self.in_use() if limit else ():
                kept.update(some)
                yield
            kept.update(self._being_made())  # the last: what begins later is looked at later
            self._later(key, look, learnt)

        self.take_turns(key, see())

    def _being_made(self) -> set[str]:
        """Names of the folders in caches that runs write to, be they shown yet or not."""
        plans = [one.plan for one in self.states.values() if one.busy]
        return {folder_name(shot_id(one.named)) for one in plans if one is not None}

    def _heard_of_server(self, report: Report) -> None:
        if report.kind == "connected":
            usable = [n for n in report.networks if n.kind == "matting" and n.available]
            usable.sort(key=lambda one: not one.default)
            text = f"connected: {report.device}, {report.network}"
            self.server = Server(True, text, "", {one.name: one.summary for one in usable})
        else:
            self.server = Server(False, report.text, report.hint)

    def _poll_local(self) -> bool:
        assert self._local is not None
        try:
            if self._local.poll() == "up" and self._find is not None:
                self.connect(self._find)
                return True
        except DvmError as error:
            self._local = None
            self.server = Server(False, error.message, error.hint)
            return True
        return False

    def _show(self, key: str) -> None:
        shot = self.state(key).shot
        if shot is not None:
            self.take_turns(key, self.steps_to_show(key, shot))


def _prepared(plan: Plan) -> tuple[Work, ...]:
    shots = [one.shot for one in plan.works]
    for shot in shots:
        check_plates(shot.plates.pattern, shot.numbers(), shot.options.missing)
    note_files(plan.cache, plan.named, shots)
    for shot in shots:
        folder = Path(shot.outputs.pattern).parent
        folder.mkdir(parents=True, exist_ok=True)
        save(shot, folder / "shot.json")
    return plan.works


def _learn_doubt(state: State, plate: int) -> None:
    """From the trimap's file that has just come."""
    assert state.shot is not None
    with contextlib.suppress(DvmError):  # a file that cannot be read is told by what shows it
        doubt = doubt_of(output_path(state.shot.outputs.pattern, plate, "trimap"))
        if doubt is not None:
            state.doubts[plate] = doubt


def told_as(error: Exception) -> DvmError:
    """An error as a sentence: ours as it is, one of the disk with its file, others as a fault."""
    if isinstance(error, DvmError):
        return error
    if isinstance(error, OSError):
        return InputError(
            "input.output_unwritable",
            f"{error.filename or 'a file'} cannot be read or written: {error.strerror}",
            hint="check the folder's permissions and free space",
        )
    traceback.print_exception(type(error), error, error.__traceback__)
    return ServerError(
        "server.client_fault",
        f"the plug-in failed with {type(error).__name__}: {error}",
        hint="please send us the traceback from the host's console",
    )
