"""A server for host tests: the same wire, strict, with scripted mattes; no engine behind it.

It refuses what the real server refuses, so a client that passes here has not just been humoured.
Runs in a thread of the test's process.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from . import wire
from .connection import CONNECTION_FILE, Connection
from .errors import DvmError, ProtocolError
from .fake_job import Job
from .fake_submit import Script, read_submit
from .shot import shot_id

__all__ = ["FakeServer", "Script"]

_TURN_MS = 5
_START_SECONDS = 10.0


class FakeServer:
    """A context manager, or `start` and `stop`; `connection` is valid between them.

    Args:
        script: what it does.
        state: folder to write a connection file to, as the real one does; None = none.
        secret: of the connection.

    Attributes:
        seen: types of the messages that came in, in order, of both sockets.
        refused: the errors it answered with, in order; empty for a client that behaves.
        submitted: the ``submit`` messages that were read.
        most_unconfirmed: the most mattes that were ever under way at once.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        state: Path | None = None,
        secret: str = "secret of the fake server",
    ):
        self.script = script or Script()
        self.seen: list[str] = []
        self.refused: list[DvmError] = []
        self.submitted: list[wire.Message] = []
        self.most_unconfirmed = 0
        self._state = state
        self._secret = secret
        self._jobs: dict[str, Job] = {}
        self._greeted: set[bytes] = set()
        self._addresses = ["tcp://127.0.0.1:*", "tcp://127.0.0.1:*"]
        self._sent = 0
        self._silent = self._gone = self._vanished = False
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake server", daemon=True)

    def __enter__(self) -> FakeServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Bind, and serve in a thread of its own.

        Raises:
            RuntimeError: it did not come up.
        """
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise RuntimeError("the fake server did not start")

    def stop(self) -> None:
        """Close the sockets and end the thread."""
        self._stop.set()
        self._thread.join(_START_SECONDS)

    @property
    def connection(self) -> Connection:
        """How to reach it."""
        main, control = self._addresses
        return Connection(main, control, self._secret, wire.PROTOCOL, os.getpid())

    def _run(self) -> None:
        context = zmq.Context()
        try:
            self._serve(context)
            while self._vanished and self.script.back_after is not None:
                self._vanished = False
                if self._stop.wait(self.script.back_after):
                    return
                self._greeted.clear()
                self._serve(context)
        finally:
            context.term()

    def _serve(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        sockets = []
        for address in self._addresses:
            socket = context.socket(zmq.ROUTER)
            socket.linger = 0
            socket.set(zmq.ROUTER_MANDATORY, 1)
            limits = self.script.limits
            socket.set(zmq.MAXMSGSIZE, max(limits.part_bytes, limits.header_bytes))
            socket.bind(address)
            sockets.append(socket)
        main, control = sockets
        self._addresses = [socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0") for socket in sockets]
        if self._state is not None:
            self.connection.write(self._state / CONNECTION_FILE)
        poller = zmq.Poller()
        for socket in sockets:
            poller.register(socket, zmq.POLLIN)
        self._ready.set()
        try:
            while not self._stop.is_set() and not self._vanished:
                ready = dict(poller.poll(_TURN_MS))
                if self._silent:
                    continue
                for socket in sockets:
                    if socket in ready:
                        self._read(socket, main, control)
                self._work(main)
        finally:
            for socket in sockets:
                socket.close()

    def _read(
        self,
        socket: zmq.Socket[bytes],
        main: zmq.Socket[bytes],
        control: zmq.Socket[bytes],
    ) -> None:
        limits, key = self.script.limits, self._secret.encode()
        try:
            identity, *frames = wire.receive(socket, limits, routed=True)
        except ProtocolError as error:
            self.refused.append(error)
            return
        client = bytes(identity)
        try:
            message = wire.decode(frames, key, limits)
        except wire.BadSignature as error:
            self.refused.append(error)
            return
        except ProtocolError as error:
            self._refuse(socket, client, wire.Message("unreadable", id=""), error)
            return
        self.seen.append(message.type)
        try:
            answer = (
                self._control(message, main) if socket is control else self._main(client, message)
            )
        except DvmError as error:
            self._refuse(socket, client, message, error)
            return
        if answer is not None:
            self._send(socket, client, answer)

    def _main(self, client: bytes, message: wire.Message) -> wire.Message | None:
        if message.type == "hello":
            return self._hello(client, message)
        if client not in self._greeted:
            raise ProtocolError(f"{message.type!r} came before hello")
        if message.type == "bye":
            self._greeted.discard(client)
            self._detach(client)
            return None
        if message.type == "submit":
            return self._submit(client, message)
        if message.type not in ("plate", "got"):
            raise ProtocolError(f"{message.type!r} is not a message of the main socket")
        job = self._jobs.get(message.job)
        if job is None or job.client != client:
            raise ProtocolError(f"{message.type!r} names a job that is not this client's")
        if message.type == "plate":
            job.plate(message, self.script)
        else:
            job.got(message)
        return None

    def _hello(self, client: bytes, message: wire.Message) -> wire.Message:
        protocols = message.body.get("protocols")
        if not isinstance(protocols, list) or wire.PROTOCOL not in protocols:
            raise ProtocolError(
                f"the client speaks protocols {protocols}, this server speaks {wire.PROTOCOL}",
                "install the plug-in of the server's release",
            )
        self._greeted.add(client)
        networks: list[dict[str, Any]] = [
            {"name": name, "kind": "matting", "default": not index, "available": True}
            for index, name in enumerate(self.script.networks)
        ]
        return message.answer(
            "welcome",
            {
                "protocol": wire.PROTOCOL,
                "server": {"version": "fake", "pid": os.getpid()},
                "device": "cpu",
                "limits": self.script.limits.to_wire(),
                "networks": networks,
                "ocio": "",
                "inputs": list(self.script.inputs),
            },
        )

    def _submit(self, client: bytes, message: wire.Message) -> wire.Message | None:
        self.submitted.append(message)
        if self.script.deaf:
            return None
        if self.script.refuse is not None:
            raise self.script.refuse
        shot, plates = read_submit(message, self.script)
        job = self._jobs.setdefault(shot_id(shot), Job(shot, plates=plates))
        # The same shot may come with re-rendered plates: those are wanted anew.
        changed = {frame for frame in plates if job.plates.get(frame) != plates[frame]}
        job.held -= changed
        for frame in changed:
            job.finished.pop(frame, None)
        job.shot, job.plates = shot, plates
        return job.attach(client, message, self.script)

    def _control(self, message: wire.Message, main: zmq.Socket[bytes]) -> wire.Message:
        if message.type == "ping":
            jobs = {
                name: job.progress()
                for name, job in self._jobs.items()
                if not message.job or name == message.job
            }
            busy = any(job.state in ("waiting", "matting") for job in self._jobs.values())
            return message.answer("pong", {"jobs": jobs, "busy": busy})
        if message.type == "cancel":
            if message.job not in self._jobs:
                return message.answer("cancelled", {"state": "unknown"})
            job = self._jobs[message.job]
            if job.state in ("done", "failed", "cancelled"):
                return message.answer("cancelled", {"state": "finished"})
            job.state = "cancelled"
            if job.client is not None:
                self._send(main, job.client, job.end())
            return message.answer("cancelled", {"state": "cancelled"})
        if message.type == "status":
            states = [{"job": name, **job.progress()} for name, job in self._jobs.items()]
            body = {"jobs": states, "workers": [], "state_dir": "", "spool_bytes": 0}
            return message.answer("status", {**body, "version": "fake"})
        if message.type == "shutdown":
            self._gone = True
            return message.answer("bye")
        raise ProtocolError(f"{message.type!r} is not a message of the control socket")

    def _work(self, main: zmq.Socket[bytes]) -> None:
        for job in self._jobs.values():
            if job.client is None:
                continue
            for receipt in job.confirm():
                self._send(main, job.client, receipt)
            message = self._next(job)
            if message is None or job.client is None:
                continue
            self._send(main, job.client, message)
            self.most_unconfirmed = max(self.most_unconfirmed, len(job.unconfirmed))
            if message.type == "matte":
                self._sent += 1
                self._silent = self._sent == self.script.silent_after
                if self._sent == self.script.vanish_after:
                    # Long enough for what was sent to leave this process.
                    time.sleep(0.05)
                    self._vanished = True
                    return
        if self._gone:
            time.sleep(0.05)
            self._stop.set()

    def _next(self, job: Job) -> wire.Message | None:
        try:
            return job.next_message(self.script)
        except DvmError as error:
            job.state, job.error = "failed", error
            return job.end()

    def _refuse(
        self, socket: zmq.Socket[bytes], client: bytes, message: wire.Message, error: DvmError
    ) -> None:
        self.refused.append(error)
        self._send(socket, client, message.answer("failed", {"error": error.to_wire()}, job=""))

    def _send(self, socket: zmq.Socket[bytes], client: bytes, message: wire.Message) -> None:
        try:
            socket.send_multipart([client, *wire.encode(message, self._secret.encode())])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            # The client has gone: its jobs wait for the next submit.
            self._detach(client)

    def _detach(self, client: bytes) -> None:
        for job in self._jobs.values():
            if job.client == client:
                job.client = None
