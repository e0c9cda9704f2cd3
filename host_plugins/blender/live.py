"""What goes on while Blender runs and is not saved: the connection, jobs, and what they have told.

Blender's main thread calls `pump` a few times a second; it takes what the threads have to say and
changes Blender's data. Threads never touch that: one owns the connection (`client.background`),
one runs errands (drawing masks, looking at files).
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..client.background import Report, Runner, Work
from ..client.errors import DvmError, InputError, ServerError
from ..client.local_server import LocalServer, command
from ..client.outputs import output_path
from ..client.plate_files import check_plates
from ..client.shot import Shot, save
from . import adapter, group, preferences, shots, showing
from .caches import cache_folder, cache_folders, clear_caches, ids_in_use, note_files
from .doubts import doubt_of, doubts_in
from .finding import finder, sees_our_files

TICK = 0.1  # seconds between pumps while something goes on
IDLE = 0.5
_BUDGET = 0.015  # seconds a pump may take; what is left waits for the next one
_RELOAD = 0.7  # seconds between looks at new files, at least
_END = object()


@dataclass
class State:
    """How a shot is doing.

    Attributes:
        what: ``propagate`` or ``matte``; "" before the first.
        stage: of the run: ``checking``, ``waiting``, ``sending``, ``propagating``, ``matting``.
        done, total: frames of the stage.
        text, hint: one sentence each, the last thing to know.
        failed: it is an error.
        busy: a run goes on.
        arrived: plates whose files came in this run.
        doubts: of carried trimaps, 0 sure … 1, by plate.
        suggest: the plate that is best painted next; None if none would help.
        shot: what runs, or ran last.
    """

    what: str = ""
    stage: str = ""
    done: int = 0
    total: int = 0
    text: str = ""
    hint: str = ""
    failed: bool = False
    busy: bool = False
    arrived: int = 0
    doubts: dict[int, float] = field(default_factory=dict)
    suggest: int | None = None
    shot: Shot | None = None
    stopping: bool = False


@dataclass(frozen=True)
class Server:
    """What is known of the server.

    Attributes:
        up: it answered.
        text: one line: device and network, or what is wrong.
        hint: what to do about that.
        networks: matting networks it can use, the default first.
    """

    up: bool = False
    text: str = "not connected"
    hint: str = ""
    networks: tuple[str, ...] = ()


class Live:
    """All that runs. One of it lives from `register` to `unregister`."""

    def __init__(self) -> None:
        self.server = Server()
        self.states: dict[str, State] = {}
        self.cleared = ""
        self._runner = Runner({"host": adapter.host_name(), "version": shots.VERSION})
        self._errands = ThreadPoolExecutor(1, thread_name_prefix="dvm errands")
        self._waiting: list[tuple[str, Future[Any], Callable[[Any], None]]] = []
        self._local: LocalServer | None = None
        self._stale: set[str] = set()  # shots with files that are not shown yet
        self._turns: deque[tuple[str, Iterator[None]]] = deque()  # what is being shown
        self._reloaded = self._followed = 0.0
        self._reports: list[Report] = []

    # Asked by operators and panels

    def state(self, tree) -> State:
        """Of a tree's shot; a new one if nothing has happened yet."""
        return self.states.setdefault(tree.dvm.uid, State())

    def busy(self) -> bool:
        """Whether anything goes on that `pump` has to look after."""
        starting = self._local is not None and self._local.starting
        going = self._waiting or self._stale or self._turns
        return bool(going) or self._runner.busy() or starting

    def connect(self) -> None:
        """Ask the server who it is; the answer comes with a pump."""
        self.server = replace(self.server, up=False, text="connecting …", hint="")
        self._runner.connect(finder(self.has_local))

    def start_server(self) -> None:
        """Start `dvm serve`; `pump` says when it is up.

        Raises:
            SetupError: ``setup.no_command``.
        """
        options = preferences.current()
        if self._local is not None and self._local.is_running():
            return
        local = LocalServer(command(options.command), preferences.state_folder())
        local.start()
        self._local = local
        self.server = Server(text="the server is starting …")

    def stop_server(self) -> None:
        """Only the one that was started from here."""
        local, self._local = self._local, None
        if local is not None:
            # It takes a second or more: not here.
            self._waiting.append(("", self._errands.submit(local.stop), lambda _: None))
        self.server = Server()

    @property
    def has_local(self) -> bool:
        return self._local is not None and self._local.is_running()

    def errand(self, tree, errand: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do something in the other thread, and something with what it found in this one.

        Args:
            tree: whose state tells if it went wrong.
            errand: touches nothing of Blender's.
            then: called by a pump.
        """
        self._waiting.append((tree.dvm.uid, self._errands.submit(errand), then))

    def run(self, tree, what: str) -> None:
        """Begin to propagate or to matte.

        Raises:
            InputError: what can be seen without reading files; the rest comes with a pump.
        """
        state = self.state(tree)
        if state.busy:
            raise _busy(tree)
        source = shots.source_of(tree)
        cache = cache_folder(tree)
        layers = shots.LOOK if what == "propagate" else shots.layers_wanted(tree)
        shot = shots.build(tree, source, layers, cache)
        uid = tree.dvm.uid
        self.states[uid] = State(
            what=what, stage="checking", text="looking at the plates", busy=True, shot=shot,
            total=len(shot.numbers()), doubts=dict(state.doubts) if what == "matte" else {},
        )  # fmt: skip
        by_value, find = not sees_our_files(), finder(self.has_local)

        def prepare() -> Work:
            check_plates(shot.plates.pattern, shot.numbers(), shot.options.missing)
            note_files(cache, shot)
            save(shot, Path(shot.outputs.pattern).parent / "shot.json")
            plates = {n: source.plate(n) for n in shot.numbers()} if by_value else None
            return Work(uid, shot, find, by_value, plates, {})

        self.errand(tree, prepare, self._submit)

    def take_turns(self, uid: str, steps: Iterator[None]) -> None:
        """Have something done in the main thread, a step at each pump."""
        self._turns.append((uid, steps))

    def render_plates(self, scene, tree) -> None:
        """Render what comes into a node to plates, a frame a turn.

        Raises:
            InputError: ``input.busy``.
        """
        uid, state = tree.dvm.uid, self.state(tree)
        if state.busy:
            raise _busy(tree)
        total = len(adapter.render_frames(scene))
        self.states[uid] = State(
            what="plates", stage="rendering", text="rendering plates", busy=True, total=total
        )
        frames = adapter.render_input(scene, tree, shots.rendered_folder(tree))
        self.take_turns(uid, self._rendering(uid, frames))

    def _rendering(self, uid: str, frames: Generator[int, None, None]) -> Iterator[None]:
        for done, _ in enumerate(frames, 1):
            state = self.states[uid]
            state.done, state.text = done, f"rendering {done} of {state.total}"
            if state.stopping:
                frames.close()
                self._ended(state, "cancelled; rendered plates are kept", failed=False)
                return
            yield
        tree = adapter.tree_of(uid)
        if tree is not None:
            tree.dvm.source = "INPUT"
        self._ended(self.states[uid], f"{self.states[uid].total} plates rendered", failed=False)

    def clear_cache(self) -> None:
        """Remove the mattes that no node of this file shows; `cleared` tells, after a pump."""
        folders, keep = cache_folders(), ids_in_use()
        self.cleared = "clearing …"

        def told(text: str) -> None:
            self.cleared = text

        future = self._errands.submit(clear_caches, folders, keep)
        self._waiting.append(("", future, told))

    def pending(self, tree) -> bool:
        """Something goes on for a shot: a run, an errand, files to be looked at."""
        uid = tree.dvm.uid
        going = [one for one, _, _ in self._waiting] + [one for one, _ in self._turns]
        return self.state(tree).busy or uid in going or uid in self._stale

    def cancel(self, tree) -> None:
        """Stop what is being done for a tree's shot; what is finished stays."""
        state = self.state(tree)
        if state.busy:
            state.stopping = True
            state.text = "cancelling …"
            self._runner.cancel(tree.dvm.uid)

    def look(self, tree) -> None:
        """Read what the files that are shown know: doubts of carried trimaps."""
        shown = group.shown(tree)
        state = self.state(tree)
        if state.busy or "trimap" not in shown:
            return
        folder = shown["trimap"].parent
        self.errand(tree, lambda: doubts_in(folder), state.doubts.update)

    # Called by the timer, and by what waits

    def pump(self) -> float:
        """Take what the threads have to say, for a few milliseconds; seconds until the next one."""
        end = time.perf_counter() + _BUDGET
        changed = self._take_errands()
        self._reports += self._runner.reports()
        while self._reports and time.perf_counter() < end:
            self._heard(self._reports.pop(0))
            changed = True
        if self._local is not None and self._local.starting:
            changed |= self._poll_local()
        now = time.monotonic()
        if now - self._followed > IDLE:
            self._followed = now
            for tree in adapter.shot_trees():
                changed |= showing.follow(tree)
        if self._turns:
            # One step a turn: each may take Blender some milliseconds.
            uid, steps = self._turns[0]
            try:
                if next(steps, _END) is _END:
                    self._turns.popleft()
            except Exception as error:  # noqa: BLE001  as above
                self._turns.popleft()
                self.fail(uid, told_as(error))
            changed = True
        elif self._stale and now - self._reloaded > _RELOAD:
            self._reloaded = now
            stale, self._stale = self._stale, set()
            for uid in stale:
                self._show(uid)
            changed = True
        if changed:
            adapter.redraw()
        return TICK if self.busy() else IDLE

    def wait(self, tree, timeout: float = 86400.0) -> State:
        """Pump until a shot's run has ended: for background use, where no timer fires."""
        end = time.monotonic() + timeout
        while (self.state(tree).busy or self.busy()) and time.monotonic() < end:
            self.pump()
            time.sleep(0.02)
        return self.state(tree)

    def close(self) -> None:
        """End every thread. Jobs on the server are cancelled; finished frames stay."""
        self._errands.shutdown(wait=True, cancel_futures=True)
        self._runner.close()
        if self._local is not None:
            self._local.stop()

    # Inside

    def _submit(self, work: Work) -> None:
        state = self.states.get(work.job)
        if state is None or not state.busy:
            return
        if state.stopping:
            self._ended(state, "cancelled before it began", failed=False)
            return
        state.stage, state.text = "waiting", "handed to the server"
        self._runner.submit(work)

    def _take_errands(self) -> bool:
        # Asked once each: one that ends between two looks would be in neither list.
        asked = [(one, one[1].done()) for one in self._waiting]
        self._waiting = [one for one, done in asked if not done]
        ready = [one for one, done in asked if done]
        for uid, future, then in ready:
            try:
                then(future.result())
            except Exception as error:  # noqa: BLE001  an artist must hear of it, whatever it is
                self.fail(uid, told_as(error))
        return bool(ready)

    def fail(self, uid: str, error: DvmError) -> None:
        """Have a shot's state say what went wrong; without one, clearing the cache did."""
        if not uid:
            self.cleared = error.message
            return
        state = self.states.setdefault(uid, State())
        self._ended(state, error.message, error.hint, failed=True)

    def _ended(self, state: State, text: str, hint: str = "", *, failed: bool) -> None:
        state.busy = state.stopping = False
        state.stage, state.text, state.hint, state.failed = "", text, hint, failed

    def _heard(self, report: Report) -> None:
        if report.kind in ("connected", "failed") and not report.job:
            self._heard_of_server(report)
            return
        state, tree = self.states.get(report.job), adapter.tree_of(report.job)
        if state is None:
            return
        if report.kind == "progress":
            state.stage, state.done, state.total = report.stage, report.done, report.total
            state.text = f"{report.stage} {report.done} of {report.total}"
        elif report.kind == "frame":
            state.arrived += 1
            self._stale.add(report.job)
            if state.what == "propagate" and report.frame is not None:
                self._learn_doubt(state, report.frame)
        elif report.kind == "done":
            state.suggest = report.suggest
            looked = state.what == "propagate"
            text = (
                f"trimaps carried to {state.total} plates"
                if looked
                else (f"{state.total} plates matted")
            )
            if report.suggest is not None:
                text += f"; a trimap of plate {report.suggest} would help most"
            self._ended(state, text, failed=False)
            self._stale.discard(report.job)
            if tree is not None and state.shot is not None:
                self._show(report.job)
                self._finish(tree, state.shot)
        elif report.kind == "cancelled":
            self._ended(state, "cancelled; finished plates are kept", failed=False)
        elif report.kind == "failed":
            self._ended(state, report.text, report.hint, failed=True)

    def _learn_doubt(self, state: State, plate: int) -> None:
        """From the trimap's file that has just come."""
        assert state.shot is not None
        with contextlib.suppress(DvmError):  # a file that cannot be read is told by what shows it
            doubt = doubt_of(output_path(state.shot.outputs.pattern, plate, "trimap"))
            if doubt is not None:
                state.doubts[plate] = doubt

    def _heard_of_server(self, report: Report) -> None:
        if report.kind == "connected":
            names = [n.name for n in report.networks if n.kind == "matting" and n.available]
            text = f"connected: {report.device}, {report.network}"
            self.server = Server(True, text, "", tuple(names))
        else:
            self.server = Server(False, report.text, report.hint)

    def _finish(self, tree, shot: Shot) -> None:
        folder = Path(shot.outputs.pattern).parent
        limit, kept = preferences.cache_limit(), ids_in_use()

        def note() -> Mapping[int, float]:
            cache = note_files(folder.parent, shot)
            if limit:
                cache.trim(limit, keep=kept)
            return doubts_in(folder)

        uid = tree.dvm.uid

        def learnt(doubts: Mapping[int, float]) -> None:
            # By then another run may have begun, with a state of its own.
            self.states[uid].doubts.update(doubts)

        self.errand(tree, note, learnt)

    def _poll_local(self) -> bool:
        assert self._local is not None
        try:
            if self._local.poll() == "up":
                self.connect()
                return True
        except DvmError as error:
            self._local = None
            self.server = Server(False, error.message, error.hint)
            return True
        return False

    def _show(self, uid: str) -> None:
        """Have the group show what has been made for a shot, step by step."""
        state = self.states.get(uid)
        if state is not None and state.shot is not None:
            self.take_turns(uid, showing.steps(uid, state.shot))


LIVE: Live | None = None


def live() -> Live:
    """The one that runs; made when it is first asked for."""
    global LIVE
    if LIVE is None:
        LIVE = Live()
    return LIVE


def end() -> None:
    """Close it, if there is one."""
    global LIVE
    if LIVE is not None:
        LIVE.close()
        LIVE = None


def tick() -> float:
    """The timer. Blender drops one that raises: what nobody foresaw is printed, and it goes on."""
    try:
        return live().pump()
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return IDLE


def _busy(tree) -> InputError:
    return InputError(
        "input.busy", f"{tree.name} is being worked on", hint="wait for it, or press Cancel"
    )


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
        f"the add-on failed with {type(error).__name__}: {error}",
        hint="please send us the traceback from Blender's console",
    )


def trimap_made(uid: str, plate: int, path: Path) -> None:
    """A trimap was drawn: say so."""
    state = live().states.setdefault(uid, State())
    if not state.busy:
        state.text, state.hint, state.failed = f"trimap of plate {plate} made", "", False


def suggested(tree) -> int:
    """The plate that is best painted next.

    Raises:
        InputError: ``input.no_suggestion``.
    """
    plate = live().state(tree).suggest
    if plate is None:
        raise InputError(
            "input.no_suggestion",
            "no further keyframe would help much, as far as is known",
            hint="press Propagate first; look where the strip is red",
        )
    return plate
