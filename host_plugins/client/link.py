"""The two sockets a session holds, their heartbeat, and how it is told that the server is gone.

Everything here belongs to one thread, the one that opened the link.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import zmq

from . import control, events, wire
from .connection import Connection
from .errors import SetupError
from .sockets import open_dealer, send_now, watch_disconnects

SERVER_LOST = "setup.server_lost"
NO_ANSWER = "setup.no_answer"

# How long closing waits for a last `bye` to leave this machine.
_GOODBYE_MS = 200
_SLICE = 0.05


@dataclass(frozen=True)
class Times:
    """Deadlines in seconds; ``PROTOCOL.md``, "Time"."""

    hello: float = 5.0
    submit: float = 120.0
    plate: float = 60.0
    control: float = control.DEADLINE
    heartbeat: float = 2.0
    silence: float = 8.0
    reconnect: float = 9.0
    reconnect_least: float = 1.0


class Link:
    """Main and control socket of one connection; open once made, until `close`.

    Args:
        connection: where to.
        limits: the most we accept.
        times: deadlines.

    Attributes:
        peer_limits: the most the server accepts; ours until it has said.
        established: the server has answered hello: from now on its silence, or a closed
            connection, is a loss. Before, it may just be starting.
        watched: the job that heartbeats ask for.
        jobs: states of jobs, from the last heartbeat; None before the first.
        heard: when the server gave its last sign of life, in `time.monotonic` seconds.
        inbox: messages that came in while something else was waited for.
    """

    def __init__(self, connection: Connection, limits: wire.Limits, times: Times):
        self.connection = connection
        self.limits = self.peer_limits = limits
        self.times = times
        self.established = False
        self.watched = ""
        self.jobs: dict[str, events.JobState] | None = None
        self.inbox: deque[wire.Message] = deque()
        self.heard = self._next_ping = time.monotonic()
        self._asked: float | None = None
        self._owner = threading.get_ident()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        opened: list[zmq.Socket[bytes]] = []
        try:
            for address in (connection.endpoint, connection.control):
                opened.append(open_dealer(self._context, address, connection, limits))
        except SetupError:
            for socket in opened:
                socket.close()
            self._context.term()
            raise
        self._main, self._control = opened
        self._monitor = watch_disconnects(self._main)
        self._poller = zmq.Poller()
        for socket in (self._main, self._control, self._monitor):
            self._poller.register(socket, zmq.POLLIN)

    def send(self, message: wire.Message, what: str, deadline: float) -> None:
        """Send on the main socket; messages that come in meanwhile go to ``inbox``.

        Args:
            what: names the message in errors, e.g. ``the plate of frame 1001``.
            deadline: in seconds.

        Raises:
            InputError: ``input.too_large``.
            SetupError: `SERVER_LOST`; `NO_ANSWER` if the server does not take it in time.
        """
        self._check_thread()
        frames = wire.encode(message, self.connection.key)
        wire.check_size(frames, self.peer_limits, what)
        end = time.monotonic() + deadline
        while not send_now(self._main, frames, copy=False):
            if time.monotonic() >= end:
                raise self.no_answer(what, deadline)
            early = self.wait(_SLICE)
            if early is not None:
                self.inbox.append(early)

    def wait(self, timeout: float) -> wire.Message | None:
        """Keep the heart beating and wait for one message of the main socket.

        Raises:
            SetupError: `SERVER_LOST`, ``setup.protocol``.
        """
        self._check_thread()
        end = time.monotonic() + timeout
        while True:
            self._beat()
            until = min(end, self._next_ping) - time.monotonic()
            ready = dict(self._poller.poll(max(int(until * 1000), 0) + 1))
            # A closed connection first: ZeroMQ connects again by itself, and what comes over a new
            # connection answers messages that its server has never had a hello for.
            if self._monitor in ready:
                self._monitor.recv_multipart()
                if self.established:
                    raise self._lost("has closed the connection")
            if self._control in ready:
                self._read_pong()
            if self._main in ready:
                frames = wire.receive(self._main, self.limits)
                message = wire.decode(frames, self.connection.key, self.limits)
                self._hear()
                return message
            self._check_alive()
            if time.monotonic() >= end:
                return None

    def close(self, goodbye: wire.Message | None = None) -> None:
        """Close the sockets, after one last message that is not waited for.

        Raises:
            RuntimeError: called from another thread than the one that opened the link.
        """
        self._check_thread()
        # pyzmq forgets the monitor's socket without closing it, and the context waits for it.
        self._main.disable_monitor()
        self._monitor.close(linger=0)
        if goodbye is not None:
            self._main.linger = _GOODBYE_MS
            if not send_now(self._main, wire.encode(goodbye, self.connection.key)):
                self._main.linger = 0
        self._main.close()
        self._control.close()
        self._context.term()

    def no_answer(self, what: str, seconds: float) -> SetupError:
        """The error for a message that was not answered in time."""
        return SetupError(
            NO_ANSWER,
            f"the server at {self.connection.endpoint} has not answered {what} in {seconds:g} s",
            hint="see its log; submit the shot again: finished frames are kept",
        )

    def _beat(self) -> None:
        now = time.monotonic()
        if now < self._next_ping:
            return
        self._next_ping = now + self.times.heartbeat
        if self._asked is None:
            self._asked = now
        ping = wire.Message("ping", job=self.watched)
        send_now(self._control, wire.encode(ping, self.connection.key))

    def _read_pong(self) -> None:
        frames = wire.receive(self._control, self.limits)
        message = wire.decode(frames, self.connection.key, self.limits)
        if message.type == "failed":
            raise events.failure(message)
        self.jobs = events.job_states(message)
        self._hear()

    def _hear(self) -> None:
        self.heard, self._asked = time.monotonic(), None

    def _check_alive(self) -> None:
        # A host that did not call us for a minute has not asked in that time: silence counts from
        # the last sign of life, but from no earlier than one heartbeat before the open question.
        if self.established and self._asked is not None:
            since = max(self.heard, self._asked - self.times.heartbeat)
            silent = time.monotonic() - since
            if silent > self.times.silence:
                raise self._lost(f"has been silent for {silent:.0f} s")

    def _lost(self, why: str) -> SetupError:
        return SetupError(
            SERVER_LOST,
            f"the server at {self.connection.endpoint} {why}",
            hint="see its log, start it again and submit the shot again: finished frames are kept",
        )

    def _check_thread(self) -> None:
        if threading.get_ident() != self._owner:
            raise RuntimeError("a session's sockets belong to the thread that said hello")
