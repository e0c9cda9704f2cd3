"""The server process: two ROUTER sockets, the workers' pipes and one loop that never blocks.

No torch in here, and no pixels: what takes time happens in workers or in the background.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType

import zmq

from dvm_server import control
from dvm_server.background import Background
from dvm_server.client_sessions import ClientSessions
from dvm_server.config import ServerConfig
from dvm_server.decoder import Decoder
from dvm_server.dispatch import DISK, JOIN, SURVEY, Dispatch
from dvm_server.ledger import Ledger
from dvm_server.outputs import Outputs
from dvm_server.security import check_bind, secret_of, start_curve
from dvm_server.spool import Spool, lock_state
from dvm_server.start_checks import check_devices, check_roots_are_there
from dvm_server.translate import wire_error
from dvm_server.units import SCRATCH_PREFIX
from host_plugins.client import wire
from host_plugins.client.connection import CONNECTION_FILE, Connection
from host_plugins.client.errors import (
    BadSignature,
    CapacityError,
    DvmError,
    ProtocolError,
    SetupError,
)
from host_plugins.client.wire import PROTOCOL, Message
from model.plates.file_errors import keeping

_LOG = logging.getLogger("dvm.server")

Socket = zmq.Socket[bytes]
Receive = Callable[[bytes, Message], None]

_TURN_MS = 250
# Messages taken off one socket before the others get their turn.
_AT_ONCE = 32
_FAREWELL_MS = 500
_KEEPALIVE_SECONDS, _KEEPALIVE_TRIES = 30, 3
_LOG_BYTES = 8 << 20


def serve(config: ServerConfig) -> int:
    """Run a server until it is told to end.

    Returns:
        0 after ``shutdown`` (or, for a private server, when the parent process is gone), 143 after
        SIGTERM, 130 after SIGINT.

    Raises:
        SetupError: it cannot start: ``setup.public_bind``, ``setup.state_in_use``, ``setup.bind``,
            ``setup.root``, ``setup.device``, ``setup.keys`` …
        model.errors.EngineError: ``setup.state``, ``capacity.disk_full``: the state directory.
    """
    check_bind(config)
    check_roots_are_there(config.roots)
    if not config.private:  # which serves one shot, that will name the device
        check_devices(config.devices)
    with ExitStack() as stack:
        stack.enter_context(lock_state(config.state))
        stack.enter_context(_logging(config))
        _clean_scratch(config.state / "scratch")
        stop = stack.enter_context(_signals())
        context = zmq.Context()
        stack.callback(context.term)
        server = _Server(config, context, stack)
        return server.run(stop)


class _Server:
    """Sockets and loop. `serve` makes one and runs it."""

    def __init__(self, config: ServerConfig, context: zmq.Context[Socket], stack: ExitStack):
        self._config = config
        self._secret = secret_of(config)
        self._shutdown = False
        self._parent = os.getppid()  # before anybody can know of us, and end
        spool = Spool(config.state, config.quota_bytes)
        stack.callback(spool.close)
        background = Background(DISK, SURVEY, JOIN)
        stack.callback(background.close)
        decoder = Decoder(memory_bytes=config.decoder_memory_bytes, seconds=config.decode_seconds)
        stack.callback(decoder.close)

        def key_in(path: Path) -> str:
            return str(decoder.matte_header(str(path)).metadata.get("dvm:key", ""))

        def key_in_whole(path: Path) -> str:
            return str(decoder.whole(str(path)).metadata.get("dvm:key", ""))

        ledger = Ledger(config.state)
        outputs = Outputs(ledger, key_in, key_in_whole)
        self._spool = spool
        self._background = background
        self._dispatch = Dispatch(config, spool, ledger, background, outputs)
        self._sessions = ClientSessions(config, self._dispatch, spool, ledger, self._send)
        self._main, self._control = self._open(context, stack)
        stack.callback(lambda: self._dispatch.end(config.grace_seconds))

    def _open(self, context: zmq.Context[Socket], stack: ExitStack) -> tuple[Socket, Socket]:
        """Bind both sockets and write the connection file."""
        config = self._config
        server_key = b""
        secret_key = b""
        if config.curve:
            authenticator, server_key, secret_key = start_curve(context, config.state)
            stack.callback(authenticator.stop)
        sockets = []
        for address in (config.bind, _control_address(config.bind)):
            socket = context.socket(zmq.ROUTER)
            stack.callback(socket.close)
            socket.linger = 0
            limits = config.limits
            socket.set(zmq.MAXMSGSIZE, max(limits.part_bytes, limits.header_bytes))
            socket.set(zmq.ROUTER_MANDATORY, 1)
            socket.set(zmq.RCVHWM, 64)
            socket.set(zmq.SNDHWM, 256)
            # No heartbeat of ZeroMQ's: its answer waits behind the plate that a client is sending,
            # and one that took longer would be cut off. Clients ask for signs of life themselves;
            # of those that are gone the system tells.
            socket.set(zmq.TCP_KEEPALIVE, 1)
            socket.set(zmq.TCP_KEEPALIVE_IDLE, _KEEPALIVE_SECONDS)
            socket.set(zmq.TCP_KEEPALIVE_INTVL, _KEEPALIVE_SECONDS)
            socket.set(zmq.TCP_KEEPALIVE_CNT, _KEEPALIVE_TRIES)
            if config.curve:
                socket.curve_server = True
                socket.curve_secretkey = secret_key
                socket.curve_publickey = server_key
            try:
                socket.bind(address)
            except zmq.ZMQError as error:
                raise SetupError(
                    "setup.bind",
                    f"cannot listen at {address} ({zmq.strerror(error.errno or 0)})",
                    hint="choose another port with --bind, or stop who uses it",
                ) from error
            sockets.append(socket)
        main, control_socket = sockets
        ends = [one.get_string(zmq.LAST_ENDPOINT).rstrip("\0") for one in sockets]
        main_end, control_end = (_advertised(one, config.advertise) for one in ends)
        path = config.state / CONNECTION_FILE
        key = server_key.decode("ascii")
        with keeping(config.state):
            Connection(main_end, control_end, self._secret, PROTOCOL, os.getpid(), key).write(path)
        stack.callback(lambda: path.unlink(missing_ok=True))
        _LOG.info("listening at %s, control at %s", *ends)
        if not config.private:
            sys.stdout.write(f"connection file: {path}\n")
            sys.stdout.flush()
        return main, control_socket

    def run(self, stop: _Stop) -> int:
        """Serve until told to end; returns the exit code."""
        self._dispatch.pool.start_all()
        while not self._shutdown and stop.signal == 0:
            self._turn()
            self._dispatch.pool.tick()
            self._dispatch.tick()
            self._sessions.tick()
            if self._config.private and os.getppid() != self._parent:
                _LOG.info("the parent process is gone")
                break
        self._farewell()
        return 128 + stop.signal if stop.signal else 0

    def _turn(self) -> None:
        """Wait for anything to happen, and take it in."""
        poller = zmq.Poller()
        workers = self._dispatch.pool.descriptors()
        for one in (self._control, self._main, self._background.fileno(), *workers):
            poller.register(one, zmq.POLLIN)
        ready = dict(poller.poll(_TURN_MS))
        if self._control in ready:
            self._read(self._control, self._answer)
        for descriptor, name in workers.items():
            if descriptor in ready:
                self._dispatch.pool.read(name)
        if self._background.fileno() in ready:
            self._background.collect()
        if self._main in ready:
            self._read(self._main, self._sessions.receive)

    def _read(self, socket: Socket, receive: Receive) -> None:
        for _ in range(_AT_ONCE):
            try:
                peer, *frames = wire.receive(socket, self._config.limits, routed=True)
            except zmq.Again:
                return
            except ProtocolError as error:
                # Later: a peer that does this again and again is to be cut off.
                _LOG.warning("dropped: %s", error.message)
                continue
            self._take(socket, bytes(peer), frames, receive)

    def _take(
        self, socket: Socket, peer: bytes, frames: list[wire.Buffer], receive: Receive
    ) -> None:
        message = Message("unreadable", id="")
        try:
            message = wire.decode(frames, self._secret.encode(), self._config.limits)
            receive(peer, message)
        except BadSignature:
            _LOG.warning("dropped a message that is not signed with our secret")
        except DvmError as error:
            self._refuse(socket, peer, message, error)
        except Exception as error:  # noqa: BLE001  one message must not take the server down
            self._refuse(socket, peer, message, wire_error(error))

    def _answer(self, peer: bytes, message: Message) -> None:
        """A request on the control socket."""
        self._send_on(
            self._control, peer, control.answer(message, self._config, self._dispatch, self._spool)
        )
        self._shutdown = self._shutdown or message.type == "shutdown"

    def _refuse(self, socket: Socket, peer: bytes, message: Message, error: DvmError) -> None:
        _LOG.warning("refused %s: %s: %s", message.type, error.code, error.message)
        answer = Message("failed", re=message.id, job=message.job, body={"error": error.to_wire()})
        self._send_on(socket, peer, answer)

    def _send(self, peer: bytes, message: Message) -> bool:
        return self._send_on(self._main, peer, message)

    def _send_on(self, socket: Socket, peer: bytes, message: Message) -> bool:
        """Send without waiting; False if the peer is gone or takes nothing any more."""
        try:
            frames = wire.encode(message, self._secret.encode())
            socket.send_multipart([peer, *frames], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            _LOG.info("a client is gone (%s)", zmq.strerror(error.errno or 0))
            return False
        return True

    def _farewell(self) -> None:
        """Tell waiting clients that it is over for now. What is on disk stays: jobs resume."""
        stopped = CapacityError(
            "capacity.server_stopped",
            "the server was stopped before the shot was done",
            hint="submit the shot again; what is finished is kept",
        )
        for job in self._dispatch.jobs.values():
            if job.ended:
                continue
            said = {"error": wire_error(stopped, shot=job.name).to_wire()}
            for peer in job.attachments:
                self._send(peer, Message("failed", job=job.id, body=said))
            for one in job.waiting:
                self._send(one.peer, one.message.answer("failed", said, job=job.id))
        self._main.linger = self._control.linger = _FAREWELL_MS
        _LOG.info("ending")


def _clean_scratch(folder: Path) -> None:
    """Make the workers' scratch folder, and remove what killed workers left in it."""
    with keeping(folder.parent):
        folder.mkdir(exist_ok=True)
        for left in folder.glob(f"{SCRATCH_PREFIX}*"):
            shutil.rmtree(left)


class _Stop:
    """The signal that asked us to end; 0 = none."""

    def __init__(self) -> None:
        self.signal = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number


@contextmanager
def _signals() -> Iterator[_Stop]:
    """Take SIGTERM and SIGINT while the server runs; in a test's thread they are not ours."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def _logging(config: ServerConfig) -> Iterator[None]:
    """All of ours into ``server.log``, warnings on stderr too. Secrets are never passed to it."""
    log = logging.getLogger("dvm")
    with keeping(config.state):
        file = RotatingFileHandler(
            config.state / "server.log", maxBytes=_LOG_BYTES, backupCount=3, encoding="utf-8"
        )
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    stderr = logging.StreamHandler()
    stderr.setLevel(logging.ERROR)
    stderr.setFormatter(logging.Formatter("dvm: %(message)s"))
    before = (log.level, log.propagate)
    log.setLevel(config.log_level)
    log.propagate = False
    for handler in (file, stderr):
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in (file, stderr):
            log.removeHandler(handler)
            handler.close()
        log.setLevel(before[0])
        log.propagate = before[1]


def _control_address(bind: str) -> str:
    """Beside the main socket: the next port, another free one, or another file."""
    if bind.startswith("ipc://"):
        return f"{bind}-control"
    host, _, port = bind.rpartition(":")
    return f"{host}:*" if port == "*" else f"{host}:{int(port) + 1}"


def _advertised(endpoint: str, name: str) -> str:
    """The endpoint as the connection file has it."""
    if not name or endpoint.startswith("ipc://"):
        return endpoint
    return f"tcp://{name}:{endpoint.rpartition(':')[2]}"
