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
        heard: when it last said anything (monotonic seconds).
        rss_bytes: its resident memory as it last said.
        unit: number of the unit it has, or -1.
        error: why it is down.
    """

    device: str
    process: Child | None = None
    ready: bool = False
    heard: float = 0.0
    rss_bytes: int = 0
    unit: int = -1
    error: DvmError | None = None


@dataclass
class _Question:
    """An engine to be described for whoever asked."""

    engine: Mapping[str, Any]
    asked: list[Described] = field(default_factory=list)
    sent: bool = False


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
                self._hear(name, message)
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
        for question in self._questions.values():
            question.sent = False
        if error is not None and all(one.process is None for one in self.workers.values()):
            self._give_up(error)
        self._hear(name, {"type": "died", "pid": pid, "error": error})

    def describe(self, engine: Mapping[str, Any], then: Described) -> None:
        """Have a worker open an engine and describe it; known answers come at once."""
        self.start_all()
        key = json.dumps(engine, sort_keys=True)
        if key in self._descriptions:
            then(self._descriptions[key], None)
            return
        self._questions.setdefault(key, _Question(engine)).asked.append(then)
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
        name = next((one for one, worker in self.workers.items() if worker.ready), None)
        if name is None:
            return
        for key, question in self._questions.items():
            if not question.sent:
                question.sent = True
                self._send(name, {"type": "load", "id": key, "engine": dict(question.engine)})

    def _loaded(self, message: Mapping[str, Any]) -> None:
        question = self._questions.pop(message["id"], None)
        if question is None:
            return
        error = from_wire(message["error"]) if "error" in message else None
        if error is None:
            self._descriptions[message["id"]] = message["description"]
        for then in question.asked:
            then(message.get("description"), error)

    def _give_up(self, error: DvmError) -> None:
        questions, self._questions = self._questions, {}
        for question in questions.values():
            for then in question.asked:
                then(None, error)

    def _send(self, name: str, message: Mapping[str, Any]) -> None:
        process = self.workers[name].process
        if process is not None:
            try:
                process.channel.send(message)
            except OSError:
                _LOG.debug("%s does not listen any more", name)
