"""The server's worker processes: started, listened to, told what to do, replaced when they die."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dvm_server import child
from dvm_server.child import Child
from dvm_server.config import ServerConfig
from dvm_server.scheduler import MOST_DEATHS
from dvm_server.worker import environment
from host_plugins.client.errors import DvmError, ServerError, from_wire

_LOG = logging.getLogger("dvm.worker")

# What came from a worker: its name and the message; ``died`` is ours.
Hear = Callable[[str, Mapping[str, Any]], None]
Described = Callable[[Mapping[str, Any] | None, DvmError | None], None]


@dataclass
class PooledWorker:
    """One worker.

    Attributes:
        device: what it was told to use.
        process: None while it is down: it could not start, and waits for somebody to need it.
        ready: it has imported the engine.
        told: and whoever hears of workers knows, and may give it units.
        heard: when it last said anything (monotonic seconds).
        rss_bytes: its resident memory as it last said.
        unit: number of the unit it has, or -1.
        error: why it is down.
    """

    device: str
    process: Child | None = None
    ready: bool = False
    told: bool = False
    heard: float = 0.0
    rss_bytes: int = 0
    unit: int = -1
    error: DvmError | None = None


@dataclass
class _Question:
    """An engine to be described.

    Attributes:
        engine: `EngineOptions` as plain values.
        asked: who is to be told, and whether they want to know still.
        at: the worker that is opening it; "" = none.
        deaths: workers that ended meanwhile, and maybe of it.
    """

    engine: Mapping[str, Any]
    asked: list[tuple[Described, Callable[[], bool]]] = field(default_factory=list)
    at: str = ""
    deaths: int = 0

    @property
    def wanted(self) -> bool:
        return any(wanted() for _, wanted in self.asked)


class WorkerPool:
    """Everything happens in the main loop; `hear` is called from `read` and `tick`."""

    def __init__(self, config: ServerConfig, hear: Hear):
        self._config = config
        self._hear = hear
        self._questions: dict[str, _Question] = {}
        self._descriptions: dict[str, Mapping[str, Any]] = {}
        self._units = 0
        self.workers = {
            f"worker-{i}": PooledWorker(device) for i, device in enumerate(config.devices)
        }

    def start(self, name: str) -> None:
        """Start a worker's process, if it has none."""
        worker = self.workers[name]
        if worker.process is not None:
            return
        settings = {
            "engine": self._config.engine,
            "device": worker.device,
            "decoders": self._config.decoders,
            "decoder_memory_bytes": self._config.decoder_memory_bytes,
            "decode_seconds": self._config.decode_seconds,
            "scratch": str(self._config.state / "scratch"),
        }
        process = child.start(
            "dvm_server.worker", settings, environment(self._config.worker_threads)
        )
        self.workers[name] = PooledWorker(worker.device, process, heard=time.monotonic())
        _LOG.info("%s started: pid %d, device %s", name, process.pid, worker.device)

    def start_all(self) -> None:
        """Start those that are down."""
        for name in self.workers:
            self.start(name)

    def descriptors(self) -> dict[int, str]:
        """What to poll: the file descriptor of each worker's channel, with its name."""
        return {
            worker.process.channel.fileno(): name
            for name, worker in self.workers.items()
            if worker.process is not None
        }

    def read(self, name: str) -> None:
        """Take in what a worker said; its channel must be readable."""
        worker = self.workers[name]
        if worker.process is None:
            return
        try:
            message = worker.process.channel.receive()
        except (EOFError, OSError, ValueError):
            self.lose(name, "its process ended")
            return
        worker.heard = time.monotonic()
        match message["type"]:
            case "heartbeat":
                worker.rss_bytes = message["rss_bytes"]
            case "log":
                _LOG.log(message["level"], "%s: %s", name, message["text"])
            case "unusable":
                worker.error = from_wire(message["error"])
            case "loaded":
                self._loaded(message)
            case "ready":
                worker.ready = True
                self._ask_all()
            case "ended":
                worker.unit = -1
                self._hear(name, message)
            case _:
                self._hear(name, message)

    def lose(self, name: str, why: str) -> None:
        """A worker is dead, or as good as dead: clear it away and tell."""
        worker = self.workers[name]
        if worker.process is None:
            return
        pid, was_ready = worker.process.pid, worker.ready
        worker.process.end()
        _LOG.warning("%s (pid %d) is gone: %s", name, pid, why)
        error = worker.error
        if not was_ready and error is None:
            error = ServerError(
                "server.worker_start",
                "the worker process died while it was starting",
                hint="see server.log, and run `dvm doctor`",
            )
        self.workers[name] = PooledWorker(worker.device, error=error)
        opening = [key for key, question in self._questions.items() if question.at == name]
        for key in opening:
            question = self._questions[key]
            question.at, question.deaths = "", question.deaths + 1
            if question.deaths >= MOST_DEATHS:
                self._answer(key, None, _died(question.engine))
        if error is not None:  # nobody takes its place
            self._give_up(error)
        self._hear(name, {"type": "died", "pid": pid, "error": error, "opening": bool(opening)})
        self._ask_all()

    def describe(
        self, engine: Mapping[str, Any], then: Described, wanted: Callable[[], bool]
    ) -> None:
        """Have a worker open an engine and describe it; known answers come at once.

        Args:
            engine: `EngineOptions` as plain values.
            then: gets the description, or ``server.worker_died`` if it has killed as many workers
                as a unit may, or why there are no workers.
            wanted: whether that is of use still; else it may never come.
        """
        self.start_all()
        key = json.dumps(engine, sort_keys=True)
        if key in self._descriptions:
            then(self._descriptions[key], None)
            return
        self._questions.setdefault(key, _Question(engine)).asked.append((then, wanted))
        self._ask_all()

    def order(self, name: str, message: Mapping[str, Any]) -> int:
        """Give a worker a unit; returns the unit's number. A dead worker is found out by `read`."""
        worker = self.workers[name]
        self._units += 1
        worker.unit = self._units
        self._send(name, {**message, "unit": self._units})
        return self._units

    def stop(self, name: str) -> None:
        """Tell a worker to give up the unit it has."""
        unit = self.workers[name].unit
        if unit >= 0:
            self._send(name, {"type": "cancel", "unit": unit})

    def tick(self) -> None:
        """Find workers that hang: alive, but silent for too long."""
        now = time.monotonic()
        for name, worker in tuple(self.workers.items()):
            silent = now - worker.heard
            if (
                worker.process is not None
                and worker.ready
                and silent > self._config.heartbeat_seconds
            ):
                self.lose(name, f"no heartbeat for {silent:.0f} s")

    def device(self) -> str:
        """Where engines run, as far as is known: as described, else as configured."""
        for description in self._descriptions.values():
            return str(description.get("device", ""))
        return ", ".join(self._config.devices)

    def end(self, grace: float) -> None:
        """Stop all workers: closing its channel makes a worker finish its frame and go."""
        deadline = time.monotonic() + grace
        for worker in self.workers.values():
            if worker.process is not None:
                worker.process.channel.close()
        for worker in self.workers.values():
            if worker.process is not None:
                worker.process.end(max(deadline - time.monotonic(), 0.0))

    def _ask_all(self) -> None:
        """Have described what is to be.

        Any worker will do, also one at work: a new shot must not wait for another's unit. What a
        worker may have died of is for a fresh one, alone and before it is given units: if it dies
        again, it is clear of what, and nobody else is harmed.
        """
        self._questions = {key: one for key, one in self._questions.items() if one.at or one.wanted}
        for name, worker in self.workers.items():
            if worker.ready and not worker.told and not self._is_opening(name):
                suspects = (key for key, one in self._questions.items() if one.deaths > 0)
                suspect = next((key for key in suspects if not self._questions[key].at), None)
                if suspect is not None:
                    self._ask(suspect, name)
                else:
                    worker.told = True
                    self._hear(name, {"type": "ready"})
        told = [name for name, worker in self.workers.items() if worker.told]
        if told:
            name = min(told, key=lambda one: self.workers[one].unit >= 0)
            for key, question in self._questions.items():
                if not question.at and not question.deaths:
                    self._ask(key, name)

    def _is_opening(self, name: str) -> bool:
        return any(question.at == name for question in self._questions.values())

    def _ask(self, key: str, name: str) -> None:
        question = self._questions[key]
        question.at = name
        self._send(name, {"type": "load", "id": key, "engine": dict(question.engine)})

    def _loaded(self, message: Mapping[str, Any]) -> None:
        error = from_wire(message["error"]) if "error" in message else None
        if error is None:
            self._descriptions[message["id"]] = message["description"]
        self._answer(message["id"], message.get("description"), error)
        self._ask_all()

    def _answer(
        self, key: str, description: Mapping[str, Any] | None, error: DvmError | None
    ) -> None:
        for then, _ in self._questions.pop(key).asked:
            then(description, error)

    def _give_up(self, error: DvmError) -> None:
        """A worker could not start: answer what nobody can be asked any more."""
        nobody = all(one.process is None for one in self.workers.values())
        for key, question in tuple(self._questions.items()):
            if nobody or (question.deaths and not question.at):
                self._answer(key, None, error)

    def _send(self, name: str, message: Mapping[str, Any]) -> None:
        process = self.workers[name].process
        if process is not None:
            try:
                process.channel.send(message)
            except OSError:
                _LOG.debug("%s does not listen any more", name)


def _died(engine: Mapping[str, Any]) -> ServerError:
    network, checkpoint = engine.get("network", ""), engine.get("checkpoint", "")
    names = [f"the network {network}"] if network else []
    names += [f"the checkpoint {checkpoint}"] if checkpoint else []
    return ServerError(
        "server.worker_died",
        f"the worker process died twice while loading {' with '.join(names) or 'the networks'}",
        hint="often the machine or its GPU ran out of memory, or the checkpoint is damaged: see "
        "server.log, try another network or checkpoint, and run `dvm doctor`",
    )
