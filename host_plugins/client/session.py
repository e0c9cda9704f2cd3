"""A client's session with the server: typed calls, and a deadline on each.

A session's sockets belong to the thread that said hello. `Session.cancel`, `status` and `shutdown`
may be called from any thread: they ask on a socket of their own.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from . import connection as connection_file
from . import control, events, wire
from .connection import Connection
from .errors import Cancelled, DvmError, SetupError
from .link import NO_ANSWER, SERVER_LOST, Link, Times
from .shot import Shot, shot_id

__all__ = ["NO_ANSWER", "SERVER_LOST", "Session", "Times"]

_SLICE = 0.1


class Session:
    """One client's connection to one server. Use it as a context manager, or `close` it.

    Args:
        connection: from `connection.find`.
        client: ``{"host": "nuke 15.1", "version": "0.1.0"}``.
        limits: the most we accept from the server.
        times: deadlines.

    Attributes:
        connection: where to; read again from its file by `reconnect`.
        welcome: what the server said to hello; None before, and after `close`.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        client: Mapping[str, str] | None = None,
        limits: wire.Limits = wire.Limits(),
        times: Times = Times(),
    ):
        self.connection = connection
        self.welcome: events.Welcome | None = None
        self._client = dict(client or {})
        self._limits = limits
        self._times = times
        self._link: Link | None = None
        self._heard = time.monotonic()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def jobs(self) -> Mapping[str, events.JobState] | None:
        """States of jobs, from the last heartbeat; None before the first."""
        return self._link.jobs if self._link is not None else None

    def hello(self) -> events.Welcome:
        """Connect and introduce ourselves. The calling thread owns the session from here on.

        Raises:
            SetupError: ``setup.no_server`` if nothing answers, ``setup.protocol`` if no version of
                the protocol is common to both.
        """
        return self._hello(self._times.hello)

    def reconnect(self) -> events.Welcome:
        """After `SERVER_LOST`: the connection file read again, new sockets, hello again.

        The server gets until ``times.reconnect`` after its last sign of life, so that a dead one is
        reported within 10 s.

        Raises:
            SetupError: as `hello`.
        """
        self._drop_link()
        end = max(
            self._heard + self._times.reconnect, time.monotonic() + self._times.reconnect_least
        )
        while True:
            # In short tries, since a server that was started again may have another address.
            turn = min(end, time.monotonic() + self._times.reconnect_least)
            try:
                if self.connection.source:
                    found = connection_file.read(Path(self.connection.source))
                    # Our own key is not in that file.
                    self.connection = replace(found, client_key=self.connection.client_key)
                return self._hello(max(turn - time.monotonic(), _SLICE))
            except SetupError as error:
                if error.code != "setup.no_server" or time.monotonic() >= end - _SLICE:
                    raise
            time.sleep(max(min(_SLICE, end - time.monotonic()), 0))

    def submit(
        self,
        shot: Shot,
        *,
        plates: Sequence[Mapping[str, Any]] = (),
        have: Sequence[Mapping[str, Any]] = (),
        parts: Sequence[wire.Part] = (),
        cancel: threading.Event | None = None,
    ) -> events.Accepted:
        """Hand a shot in, or attach to it if the server has it.

        Args:
            shot: what to matte.
            plates: by value: ``{"frame", "sha256", "bytes", "suffix"}`` of every plate there is.
            have: by value: ``{"frame", "layer", "sha256"}`` of every output file there is.
            parts: by value: trimaps and guides, see PROTOCOL.md.
            cancel: give up, and cancel the job, once it is set.

        Raises:
            InputError: ``input.too_large``.
            Cancelled: ``cancel`` was set.
            DvmError: what the server answered with.
            SetupError: `SERVER_LOST`, `NO_ANSWER`; ``setup.old_server`` if the shot needs what the
                server does not know.
        """
        self._check_inputs(shot)
        job = shot_id(shot)
        body = {"shot": shot.to_json(), "plates": list(plates), "have": list(have)}
        message = wire.Message("submit", body=body, parts=tuple(parts))

        def give_up() -> None:
            if cancel is not None and cancel.is_set():
                self.cancel(job)
                raise Cancelled(message=f"the shot {shot.name!r} was cancelled", shot=shot.name)

        link = self._open_link()
        link.watched = job
        answer = self._ask(link, message, f"the shot {shot.name!r}", self._times.submit, give_up)
        # What was said of this job before `accepted` answers an earlier submission of it.
        link.inbox = deque(one for one in link.inbox if one.job != job)
        return events.accepted(answer, self._limits.frames)

    def send_plate(self, job: str, part: wire.Part) -> None:
        """Send one plate; `events.Got` tells when it is durable on the server.

        Raises:
            InputError: ``input.too_large``.
            SetupError: `SERVER_LOST`, `NO_ANSWER`.
        """
        message = wire.Message("plate", job=job, frame=part.frame, parts=(part,))
        self._open_link().send(message, f"the plate of frame {part.frame}", self._times.plate)

    def acknowledge(self, matte: events.Matte) -> None:
        """Tell the server that a matte is safe here; that lets it send another one.

        Raises:
            SetupError: `SERVER_LOST`, `NO_ANSWER`.
        """
        message = wire.Message("got", re=matte.id, job=matte.job, frame=matte.frame)
        self._open_link().send(message, f"the receipt of frame {matte.frame}", self._times.plate)

    def next_event(self, timeout: float) -> events.Event | None:
        """The next thing the server tells about a job; None if nothing came in ``timeout`` seconds.

        Heartbeats are sent and answered in here, so call it often, or let it wait.

        Raises:
            SetupError: `SERVER_LOST`, ``setup.protocol``.
        """
        link = self._open_link()
        message = link.inbox.popleft() if link.inbox else link.wait(timeout)
        return None if message is None else events.event(message, self._limits.frames)

    def cancel(self, job: str) -> str:
        """Stop a job; from any thread. Returns ``cancelled``, ``finished`` or ``unknown``."""
        return control.cancel(self.connection, job, self._times.control)

    def status(self) -> dict[str, Any]:
        """What the server is doing; from any thread."""
        return control.status(self.connection, self._times.control)

    def shutdown(self) -> None:
        """Ask the server to end; from any thread."""
        control.shutdown(self.connection, self._times.control)

    def close(self) -> None:
        """Say bye, without waiting for an answer, and close the sockets. The server's jobs go on.

        Raises:
            RuntimeError: called from another thread than the one that said hello.
        """
        self._drop_link(wire.Message("bye") if self.welcome is not None else None)

    def _check_inputs(self, shot: Shot) -> None:
        """Ask no server for what it would ignore."""
        known = self.welcome.inputs if self.welcome is not None else ()
        unknown = [one for one in shot.inputs() if one not in known]
        if self.welcome is not None and unknown:
            release = self.welcome.version or "of an older release"
            raise SetupError(
                "setup.old_server",
                f"the server ({release}) does not know {', '.join(unknown)}, which the shot "
                f"{shot.name!r} uses",
                shot=shot.name,
                hint="update the server, or submit the shot without",
            )

    def _hello(self, deadline: float) -> events.Welcome:
        if self._link is not None:
            raise RuntimeError("this session has said hello already")
        link = self._link = Link(self.connection, self._limits, self._times)
        message = wire.Message("hello", body={"client": self._client, "protocols": [wire.PROTOCOL]})
        try:
            self.welcome = events.welcome(self._ask(link, message, "hello", deadline))
        except DvmError as error:
            self._drop_link()
            if error.code == NO_ANSWER:
                raise control.no_answer(self.connection.endpoint, deadline) from error
            raise
        link.peer_limits = self.welcome.limits
        link.established = True
        return self.welcome

    def _ask(
        self,
        link: Link,
        message: wire.Message,
        what: str,
        deadline: float,
        between: Callable[[], None] = lambda: None,
    ) -> wire.Message:
        """Send and wait for the answer; what else comes in meanwhile waits for `next_event`."""
        end = time.monotonic() + deadline
        link.send(message, what, deadline)
        while time.monotonic() < end:
            between()
            answer = link.wait(min(_SLICE, max(end - time.monotonic(), 0)))
            if answer is None:
                continue
            if answer.re != message.id:
                link.inbox.append(answer)
            elif answer.type == "failed":
                raise events.failure(answer)
            else:
                return answer
        raise link.no_answer(what, deadline)

    def _open_link(self) -> Link:
        if self._link is None:
            raise RuntimeError("say hello first")
        return self._link

    def _drop_link(self, goodbye: wire.Message | None = None) -> None:
        if self._link is not None:
            self._heard = self._link.heard
            self._link.close(goodbye)
            self._link = self.welcome = None
