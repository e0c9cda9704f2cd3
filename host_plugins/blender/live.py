"""What goes on while Blender runs and is not saved: a desk, with what is Blender's own.

Blender's main thread calls `tick` a few times a second, by a timer.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..client.background import Work
from ..client.connection import Connection
from ..client.desk import IDLE, LOOK, TICK, Desk, Plan, State
from ..client.finding import finder
from ..client.shot import Shot
from . import adapter, group, preferences, rendered, shots, showing, twins
from .caches import cache_folder, cache_folders, ids_in_use

__all__ = ["LIVE", "Live", "State", "end", "live", "tick"]


class Live(Desk):
    """All that runs. One of it lives from `register` to `unregister`; shots are named by uid."""

    def __init__(self) -> None:
        super().__init__(adapter.host_name())
        self._followed = 0.0

    # What a desk asks

    def steps_to_show(self, key: str, shot: Shot) -> Iterator[None]:
        return showing.steps(key, shot)

    def in_use(self) -> Iterator[Collection[str]]:
        yield ids_in_use()

    def cache_bytes(self, key: str) -> int:
        return preferences.current().cache_bytes

    # Asked by operators and panels

    def ask_server(self) -> None:
        """Ask the server who it is; the answer comes with a pump."""
        self.connect(self._finder(self.has_local))

    def start_local(self) -> None:
        """Start a server here.

        Raises:
            SetupError: as `Desk.start_server`.
        """
        program, state = preferences.current().command, preferences.state_folder()
        self.start_server(program, state, self._finder(local=True))

    def run(self, tree, what: str) -> None:
        """Begin to propagate or to matte.

        Raises:
            InputError: what can be seen without reading files; the rest comes with a pump.
        """
        uid = tree.dvm.uid
        before = self.state(uid)
        source = shots.source_of(tree)
        cache = cache_folder(tree)
        layers = LOOK if what == "propagate" else shots.layers_wanted(tree)
        shot = shots.build(tree, source, layers, cache)
        # Until trimaps are carried anew, those that are shown are the ones in doubt.
        doubts = dict(before.doubts) if what == "matte" else {}
        self.begin(uid, State(what=what, doubts=doubts))
        work = Work(uid, shot, self._finder(self.has_local), preferences.current().by_value)
        self.submit(uid, Plan(cache, shot, (work,)))

    def render_plates(self, scene, tree) -> None:
        """Render what comes into a node to plates, a frame a turn.

        Raises:
            InputError: ``input.busy``, ``input.no_input``.
        """
        adapter.node_with_input(scene, tree)
        uid, plates = tree.dvm.uid, adapter.render_frames(scene)
        state = State(what="plates", stage="rendering", text="rendering plates", total=len(plates))
        self.begin(uid, state)
        folder = shots.rendered_folder(tree)
        going = adapter.render_input(scene, tree, folder, rendered.NAME, plates)
        self.take_turns(uid, self._rendering(uid, going, folder, plates), of_run=True)

    def clear_cache(self) -> None:
        """Remove the mattes that no node of this file shows; `cleared` tells, after a pump."""
        self.clear(cache_folders(), ids_in_use())

    def part_twins(self) -> None:
        """Give copies of nodes shots of their own; see `twins`."""
        twins.part(self.pending)

    def look(self, tree) -> None:
        """Read what the files that are shown know: doubts of carried trimaps."""
        shown, uid = group.shown(tree), tree.dvm.uid
        if not self.state(uid).busy and "trimap" in shown:
            self.learn_doubts(uid, shown["trimap"].parent)

    # Called by the timer

    def pump(self) -> bool:
        changed = super().pump()
        now = time.monotonic()
        if now - self._followed > IDLE:
            self._followed = now
            self.part_twins()
            for tree in adapter.shot_trees():
                changed |= showing.follow(tree)
        if changed:
            adapter.redraw()
        return changed

    # Inside

    def _finder(self, local: bool) -> Callable[[], Connection]:
        options = preferences.current()
        options = replace(options, keys=adapter.absolute(options.keys))
        return finder(options, preferences.state_folder() if local else None)

    def _rendering(
        self, uid: str, going: Generator[int, None, None], folder: Path, plates: range
    ) -> Iterator[None]:
        rendered.begin(folder)
        for done, _ in enumerate(going, 1):
            state = self.states[uid]
            state.done, state.text = done, f"rendering {done} of {state.total}"
            if state.stopping:
                going.close()
                self.end(uid, "cancelled; plates are used once all of them are rendered")
                return
            yield
        rendered.ended(folder, plates)
        tree = adapter.tree_of(uid)
        if tree is not None:
            tree.dvm.source, tree.dvm.rendered = "INPUT", adapter.stored(str(folder))
        self.end(uid, f"{self.states[uid].total} plates rendered")


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
        live().pump()
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return IDLE
    return TICK if live().busy() else IDLE


def trimap_made(uid: str, plate: int) -> Callable[[Any], None]:
    """For an errand that draws a trimap: say that it was made."""
    return lambda _: live().said(uid, f"trimap of plate {plate} made")
