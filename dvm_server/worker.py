"""The worker process: one a device. Takes units from the server, drives the engine, writes mattes.

Messages in: ``load`` (open an engine and describe it), ``span``, ``block``, ``cancel``. Out:
``ready``, ``loaded``, ``trimap_done``, ``frame_done``, ``ended``, ``failed``, ``heartbeat``,
``log``. The main thread computes; another listens, so that a cancel is seen within one frame.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from dvm_server import allocator, units
from dvm_server.child import Channel, resident_bytes
from dvm_server.decoders import Decoders
from dvm_server.translate import options_from_plain, wire_error
from host_plugins.client.errors import DvmError, SetupError
from model.engine import Engine, EngineFactory
from model.errors import Cancelled

HEARTBEAT_SECONDS = 2.0
# Without a unit for so long, a worker gives the memory back that it has kept.
_IDLE_SECONDS = 2.0
# Engines kept open: the one at work and the one a next shot was described by.
_OPEN_ENGINES = 2


def main(channel: Channel, settings: Mapping[str, Any]) -> None:
    """The child: work until the channel closes.

    Args:
        channel: to the server.
        settings: ``engine``, ``device``, ``decoders``, ``decoder_memory_bytes``,
            ``decode_seconds``, ``scratch``.
    """
    allocator.keep_freed_memory()
    log = logging.getLogger("dvm")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(_ChannelLog(channel))
    try:
        factory = _factory(settings["engine"])
    except Exception as error:  # noqa: BLE001  whatever an import raises, the server must know
        channel.send({"type": "unusable", "error": _unusable(settings["engine"], error)})
        return
    worker = _Worker(channel, factory, settings)
    threading.Thread(target=worker.listen, name="listen", daemon=True).start()
    threading.Thread(target=worker.load_engines, name="load", daemon=True).start()
    threading.Thread(target=_beat, args=(channel,), name="heartbeat", daemon=True).start()
    channel.send({"type": "ready"})
    worker.work()


class _Worker:
    def __init__(self, channel: Channel, factory: EngineFactory, settings: Mapping[str, Any]):
        self._channel = channel
        self._factory = factory
        self._settings = settings
        self._units: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._loads: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._engines: dict[str, Engine] = {}
        self._opening = threading.Lock()
        # Number of the newest unit that is to be given up.
        self._given_up = -1

    def listen(self) -> None:
        """Take messages in. A closed channel means that the server is gone: finish and go too."""
        while True:
            try:
                message = self._channel.receive()
            except (EOFError, OSError):
                self._given_up = 1 << 62
                self._units.put(None)
                return
            match message["type"]:
                case "load":
                    self._loads.put(message)
                case "cancel":
                    self._given_up = max(self._given_up, message["unit"])
                case _:
                    self._units.put(message)

    def load_engines(self) -> None:
        """Describe engines while another unit is at work: a new shot must not wait for that."""
        while True:
            message = self._loads.get()
            try:
                answer: dict[str, Any] = {"description": self._engine(message["engine"]).describe()}
            except Exception as error:  # noqa: BLE001  every failure must be answered
                answer = {"error": wire_error(error).to_wire()}
            self._tell({"type": "loaded", "id": message["id"], **answer})

    def work(self) -> None:
        """Do units, one after the other."""
        decoders = Decoders(
            self._settings["decoders"],
            memory_bytes=self._settings["decoder_memory_bytes"],
            seconds=self._settings["decode_seconds"],
        )
        try:
            while (order := self._next_unit()) is not None:
                self._tell({"type": "ended", "unit": order["unit"], **self._do(order, decoders)})
        finally:
            decoders.close()

    def _next_unit(self) -> dict[str, Any] | None:
        """The next unit, or None at the end. Who has none to do keeps no memory for it."""
        try:
            return self._units.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            allocator.give_back()
            return self._units.get()

    def _do(self, order: Mapping[str, Any], decoders: Decoders) -> dict[str, Any]:
        """One unit; what is to be said of its end."""
        number = order["unit"]
        at_work = units.AtWork()

        def cancelled() -> bool:
            return bool(self._given_up >= number)

        def tell(message: Mapping[str, Any]) -> None:
            at_work.frame = message["frame"]
            self._tell({**message, "unit": number})

        try:
            engine = self._engine(order["engine"])
            if order["type"] == "span":
                scratch = Path(self._settings["scratch"])
                units.do_span(engine, order, decoders, scratch, tell, cancelled)
            else:
                units.do_block(engine, order, decoders, tell, cancelled)
        except Cancelled:
            return {}
        except Exception as error:  # noqa: BLE001  every failure ends in a typed error
            return {"error": wire_error(error, frame=at_work.next_of(order)).to_wire()}
        finally:
            decoders.drop()
        return {}

    def _engine(self, plain: Mapping[str, Any]) -> Engine:
        """The engine for these options, opened at most once."""
        key = json.dumps(plain, sort_keys=True)
        with self._opening:
            if key not in self._engines:
                options = replace(options_from_plain(plain), device=self._settings["device"])
                engine = self._factory(options)
                while len(self._engines) >= _OPEN_ENGINES:
                    del self._engines[next(iter(self._engines))]
                self._engines[key] = engine
            else:
                self._engines[key] = self._engines.pop(key)
            return self._engines[key]

    def _tell(self, message: Mapping[str, Any]) -> None:
        try:
            self._channel.send(message)
        except OSError:
            self._given_up = 1 << 62  # the server is gone; `listen` ends the work


class _ChannelLog(logging.Handler):
    """Sends log records to the server, which owns the log file."""

    def __init__(self, channel: Channel):
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._channel.send(
                {"type": "log", "level": record.levelno, "text": self.format(record)}
            )
        except OSError:
            self.handleError(record)


def _beat(channel: Channel) -> None:
    """Say at intervals that the process lives, and how much memory it has."""
    pause = threading.Event()
    while not pause.wait(HEARTBEAT_SECONDS):
        try:
            channel.send({"type": "heartbeat", "rss_bytes": resident_bytes()})
        except OSError:
            return


def _factory(name: str) -> EngineFactory:
    module, _, function = name.partition(":")
    found: Callable[..., Engine] = getattr(import_module(module), function)
    return found


def _unusable(name: str, error: Exception) -> dict[str, Any]:
    if isinstance(error, DvmError):
        return error.to_wire()
    logging.getLogger("dvm").error("engine %s", name, exc_info=error)
    return SetupError(
        "setup.engine",
        f"the engine {name} cannot be imported ({type(error).__name__}: {error})",
        hint="run `dvm doctor`",
    ).to_wire()


def environment(threads: int) -> dict[str, str]:
    """Set in a worker before anything is imported: OpenMP reads it once.

    Threads that wait for each other must sleep: where another process wants the cores too, threads
    that spin made one frame's solve take twenty times as long.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
    return dict.fromkeys(names, str(threads)) | waiting
