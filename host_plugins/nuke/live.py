"""What goes on while Nuke runs and is not saved: a desk, with what is Nuke's own.

A node is known by the text in its hidden knob ``dvm_uid``, which a copy shares until a button of it
is pressed: see `owning`. Each thing done here takes Nuke's main thread for a moment; what takes
longer is done in steps.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..client.background import Work
from ..client.connection import Connection
from ..client.desk import LOOK, TICK, Desk, Plan, Server, State
from ..client.errors import DvmError, InputError, sentence
from ..client.finding import Options as Finding
from ..client.finding import finder
from ..client.shot import Shot
from . import adapter, keyframing, knobs, owning, shots, showing
from .plates import Source
from .sources import frame_of, rendering, source_now
from .ticking import SOON, Ticker

_WORST = 5  # doubtful frames that are named
_DOUBTFUL = 0.02


class Live(Desk):
    """All that runs. One of it lives from the first press of a button to the script's end."""

    def __init__(self) -> None:
        super().__init__(adapter.host_name())
        self._nodes: dict[str, Any] = {}
        self._sources: dict[str, Source] = {}
        self._limits: dict[str, int] = {}
        self._bars: dict[str, adapter.Progress] = {}
        self._written: dict[tuple[str, str], str] = {}
        self._offered: dict[str, tuple[str, ...]] = {}
        self._telling = False
        self._calm = 0
        self._ticker = Ticker(self._tick)

    # What a desk asks

    def steps_to_show(self, key: str, shot: Shot) -> Iterator[None]:
        node, source = self.node(key), self._sources.get(key)
        if node is None or source is None:
            return iter(())
        return self._while_alive(node, showing.steps(node, shot, source))

    def in_use(self) -> Iterator[Collection[str]]:
        for node in adapter.our_nodes():
            yield ()
            if adapter.is_alive(node):
                yield {showing.folder_of(one).name for one in showing.shown(node).values()}

    def cache_bytes(self, key: str) -> int:
        return self._limits.get(key, 0)

    # Nodes

    def node(self, key: str) -> Any:
        """The node of a shot; None if it is not there any more."""
        node = self._nodes.get(key)
        if node is not None and adapter.is_alive(node):
            return node
        self._nodes.pop(key, None)
        return None

    def own(self, node: Any) -> str:
        """What a node is known by; a copy gets something of its own."""
        key = str(adapter.value(node, "dvm_uid"))
        if not key or not self._owns(node, key):
            key = uuid.uuid4().hex
        adapter.keep(node, {"dvm_uid": key, "dvm_uid_of": adapter.name_of(node)})
        self._nodes[key] = node
        self.state(key)  # a node that has one is told
        return key

    def _owns(self, node: Any, key: str) -> bool:
        known = self.node(key)
        if known is not None:  # what was begun with it is that node's, and may go on
            return bool(known == node)
        others = [one for one in adapter.our_nodes() if adapter.text_of(one, "dvm_uid") == key]
        return bool(_owner([*others, node]) == node)

    def renamed(self) -> None:
        """A Group has another name, and what lies in it another full one."""

        def steps() -> Iterator[None]:
            for key in list(self._nodes):
                node = self.node(key)
                if node is not None:
                    adapter.keep(node, {"dvm_uid_of": adapter.name_of(node)})
                yield

        self.take_turns("", steps())

    def forget(self, node: Any) -> None:
        """A node is being deleted: what runs for it is stopped."""
        for key, one in list(self._nodes.items()):
            if one == node:
                self.cancel(key)
                if not self._runner.busy(key):
                    self.end(key, "the node was deleted")
                self._nodes.pop(key)
                self._bars.pop(key, None)

    # Asked by buttons

    def wake(self) -> None:
        """See to it that what was begun goes on."""
        if adapter.has_window():
            self._ticker.wake()

    def ask_server(self, node: Any) -> None:
        """Ask the server who it is; the answer comes with a pump."""
        self.own(node)
        self.connect(self._finder(shots.finding_of(node), self.has_local))

    def start_local(self, node: Any) -> None:
        """Start a server here.

        Raises:
            SetupError: as `Desk.start_server`.
        """
        self.own(node)
        finding = shots.finding_of(node)
        self.start_server(finding.command, shots.state_folder(), self._finder(finding, local=True))

    def ask_for(self, key: str, node: Any, steps: Iterator[None]) -> None:
        """Have steps taken that a button asked for; what goes wrong in them is a message."""

        def told() -> Iterator[None]:
            try:
                yield from self._while_alive(node, steps)
            except DvmError as error:
                text = sentence(error.message, error.hint)
                adapter.tell(f"{adapter.name_of(node)}: {text}")

        self.take_turns(key, told())

    def run(self, node: Any, what: str) -> str:
        """Begin to propagate or to matte.

        Returns:
            What the node is known by.

        Raises:
            InputError: what can be seen at once; the rest comes with a pump.
        """
        key = self.own(node)
        if not keyframing.kept_of(node):
            raise shots.no_keyframe()
        # Until trimaps are carried anew, those that are shown are the ones in doubt.
        doubts = dict(self.state(key).doubts) if what == "matte" else {}
        self.begin(
            key, State(what=what, stage="checking", text="looking at the node", doubts=doubts)
        )
        running = self._while_alive(node, self._running(key, node, what))
        self.take_turns(key, running, of_run=True)
        return key

    def _running(self, key: str, node: Any, what: str) -> Iterator[None]:
        state = self.states[key]
        settings = shots.settings_of(node)
        yield
        guides = yield from shots.guides_of(node)
        settings = replace(settings, guides=guides)
        yield
        finding = shots.finding_of(node)
        yield
        source = yield from source_now(node, settings)
        if source is None:
            source = yield from rendering(key, node, settings, state)
        if state.stopping or source is None:
            self.end(key, "cancelled before it began")
            return
        yield
        layers = LOOK if what == "propagate" else shots.layers_wanted(settings)
        cache = shots.cache_folder(finding)
        planned = shots.build(settings, source, layers, cache)
        self._sources[key], self._limits[key] = source, finding.cache_bytes
        find = self._finder(finding, self.has_local)
        works = tuple(Work(key, shot, find, finding.by_value) for shot in planned)
        self.submit(key, Plan(cache, planned[0], works))

    def look(self, node: Any) -> None:
        """Read what the files that are shown know: doubts of carried trimaps. Changes nothing."""
        key, pattern = str(adapter.value(node, "dvm_uid")), showing.shown(node).get("trimap", "")
        if key and pattern and not self.state(key).busy:
            view = adapter.views()[0]
            self.learn_doubts(key, Path(pattern.replace("%V", view)).parent)

    def look_at_all(self) -> None:
        """`look` at every node of the script that has a uid of its own, one a turn."""

        def steps() -> Iterator[None]:
            twins: dict[str, list[Any]] = {}
            for node in adapter.our_nodes():
                if adapter.is_alive(node):
                    twins.setdefault(adapter.text_of(node, "dvm_uid"), []).append(node)
                yield
            twins.pop("", None)
            for key, nodes in twins.items():
                there = [one for one in nodes if adapter.is_alive(one)]
                if there:
                    self._nodes.setdefault(key, _owner(there))
                yield
                node = self.node(key)
                if node is not None:
                    self.look(node)
                yield

        self.take_turns("", steps())

    def follow(self, read: Any) -> None:
        """A Read has been moved in time: mattes of its plates go with it."""

        def steps() -> Iterator[None]:
            for node in adapter.our_nodes():
                yield
                if adapter.is_alive(node) and adapter.upstream(node, 0) == read:
                    yield
                    yield from self._while_alive(node, self._laying(node))

        self.take_turns("", steps())

    def _laying(self, node: Any) -> Iterator[None]:
        try:
            found = yield from source_now(node)
        except InputError:
            return  # it names no file any more: what is shown stays
        yield
        if found is None:
            return
        key = str(adapter.value(node, "dvm_uid"))
        if key in self._sources:
            self._sources[key] = found
        yield
        yield from showing.lay(node, found.laid)
        with adapter.undisturbed():
            keyframing.show(node, keyframing.kept_of(node), found)

    def clear_cache(self) -> None:
        """Remove the mattes that no node of this script shows; `cleared` tells, after a pump."""
        self.cleared = "clearing …"

        def steps() -> Iterator[None]:
            folders: set[Path] = set()
            keep: set[str] = set()
            for node in adapter.our_nodes():
                yield
                if adapter.is_alive(node):
                    folders.add(shots.cache_folder(shots.finding_of(node)))
            for some in self.in_use():
                yield
                keep.update(some)
            self.clear([one for one in sorted(folders) if one.is_dir()], keep)

        self.take_turns("", steps())

    # Called in the main thread, by the ticker or by who waits

    def _tick(self) -> float | None:
        # What is done and what is told take turns, and one node is told at a time, so that none of
        # it holds up Nuke.
        self._telling = not self._telling
        if self._telling:
            self._tell_next()
        else:
            super().pump()
        if self.busy() or self._reports:
            self._calm = 0
            return SOON if self._turns else TICK
        # What a thread said last may have come since it was looked for, and is to be told.
        self._calm += 1
        return SOON if self._calm <= 2 * (1 + len(self.states)) else None

    def pump(self) -> bool:
        changed = super().pump()
        for key, state in list(self.states.items()):
            self._tell(key, state)
        return changed

    def _tell_next(self) -> None:
        key = next(iter(self.states), None)
        if key is not None:
            self.states[key] = self.states.pop(key)  # it is the last one next time
            self._tell(key, self.states[key])

    def say_nothing(self) -> None:
        """Take back what nodes say of how they are doing, until there is something new to say."""
        with adapter.undisturbed():
            for (key, name), text in self._written.items():
                node = self.node(key) if text else None
                if node is not None:
                    adapter.set_told(node, name, "")
        self._written.clear()

    def close(self) -> None:
        """End every thread. Jobs on the server are cancelled; finished frames stay."""
        self._ticker.stop()
        self._bars.clear()
        super().close()

    # Inside

    def _tell(self, key: str, state: State) -> None:
        """Have a node say how it is doing, where that has changed."""
        node = self.node(key)
        asked = state.what or state.text or self.cleared or self.server != Server()
        if node is None or not asked:
            return  # a script that was only opened stays as it is
        told = sentence(state.text, state.hint)
        texts = {
            "dvm_told": told,
            "dvm_doubts_told": self._least_sure(key, state),
            "dvm_server_told": sentence(self.server.text, self.server.hint),
            "dvm_cache_told": self.cleared,
        }
        new = {name: text for name, text in texts.items() if self._written.get((key, name)) != text}
        if new:
            with adapter.undisturbed():
                for name, text in new.items():
                    adapter.set_told(node, name, text)
                    self._written[key, name] = text
            if "dvm_told" in new and state.failed:
                adapter.warn(f"{adapter.name_of(node)}: {told}")
        elif self.server.up and self._offered.get(key) != tuple(self.server.networks):
            self._offered[key] = tuple(self.server.networks)
            items = [knobs.find("dvm_network").items[0], *self.server.networks]
            with adapter.undisturbed():
                adapter.set_choices(node, "dvm_network", items)
        self._show_bar(key, node, state)

    def _show_bar(self, key: str, node: Any, state: State) -> None:
        if not state.busy or not adapter.has_window():
            self._bars.pop(key, None)  # it goes when nobody holds it
            return
        if key not in self._bars:
            self._bars[key] = adapter.Progress(f"Deep Video Matte: {adapter.name_of(node)}")
        share = state.done / state.total if state.total else 0.0
        if self._bars[key].show(share, state.text) and not state.stopping:
            self.cancel(key)

    def _least_sure(self, key: str, state: State) -> str:
        worst = sorted(state.doubts.items(), key=lambda one: -one[1])[:_WORST]
        source = self._sources.get(key)
        return ", ".join(
            f"{frame_of(plate, source)} ({doubt:.0%})"
            for plate, doubt in worst
            if doubt > _DOUBTFUL
        )

    def _finder(self, finding: Finding, local: bool) -> Callable[[], Connection]:
        return finder(finding, shots.state_folder() if local else None)

    @staticmethod
    def _while_alive(node: Any, steps: Iterator[None]) -> Iterator[None]:
        """Steps that touch a node, as long as it is there: between two of them it may go."""
        while adapter.is_alive(node):
            try:
                next(steps)
            except StopIteration:
                return
            yield


def _owner(twins: Sequence[Any]) -> Any:
    """Of nodes with one uid, the one it belongs to."""
    named = {adapter.name_of(one): one for one in twins}
    stamps = {name: adapter.text_of(one, "dvm_uid_of") for name, one in named.items()}
    return named[owning.owner(stamps)]


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
    running, LIVE = LIVE, None
    if running is not None:
        running.close()
