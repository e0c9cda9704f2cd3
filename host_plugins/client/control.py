"""Requests on the control socket: cancel, status, shutdown. Each opens a socket of its own and
closes it, so any thread may ask at any time."""

from __future__ import annotations

import time
from typing import Any

import zmq

from . import fields, wire
from .connection import Connection
from .errors import ProtocolError, SetupError, from_wire
from .sockets import open_dealer, send_now

DEADLINE = 5.0


def cancel(connection: Connection, job: str, deadline: float = DEADLINE) -> str:
    """Stop a job.

    Returns:
        ``cancelled``, ``finished`` (it had ended already) or ``unknown``.
    """
    answer = request(connection, wire.Message("cancel", job=job), "cancelled", deadline)
    return fields.text(answer.body, "state", fields.WORD)


def status(connection: Connection, deadline: float = DEADLINE) -> dict[str, Any]:
    """What the server is doing; fields as in ``PROTOCOL.md``, "Control socket"."""
    return dict(request(connection, wire.Message("status"), "status", deadline).body)


def shutdown(connection: Connection, deadline: float = DEADLINE) -> None:
    """Ask the server to end. Jobs it has not finished go on when it is started again."""
    request(connection, wire.Message("shutdown"), "bye", deadline)


def request(
    connection: Connection, message: wire.Message, expected: str, deadline: float = DEADLINE
) -> wire.Message:
    """Send one message to the control socket and wait for what answers it.

    Args:
        expected: type of the answer.
        deadline: in seconds.

    Raises:
        SetupError: ``setup.no_server`` if nothing answers in time; ``setup.protocol``.
        DvmError: what the server answered with.
    """
    end = time.monotonic() + deadline
    # A context of its own: closing a session in another thread cannot take this socket away.
    context = zmq.Context()
    socket = None
    try:
        socket = open_dealer(context, connection.control, connection, wire.Limits())
        frames = wire.encode(message, connection.key)
        while not send_now(socket, frames):
            left = end - time.monotonic()
            if left <= 0 or not socket.poll(max(int(left * 1000), 1), zmq.POLLOUT):
                raise no_answer(connection.control, deadline)
        answer = _answer(socket, message.id, connection, end, deadline)
    finally:
        if socket is not None:
            socket.close()
        context.term()
    if answer.type == "failed":
        error = answer.body.get("error")
        raise from_wire(error if isinstance(error, dict) else {})
    if answer.type != expected:
        raise ProtocolError(f"the server answered {message.type!r} with {answer.type!r}")
    return answer


def _answer(
    socket: zmq.Socket[bytes], id: str, connection: Connection, end: float, deadline: float
) -> wire.Message:
    limits = wire.Limits()
    while True:
        left = int((end - time.monotonic()) * 1000)
        if left <= 0 or not socket.poll(left, zmq.POLLIN):
            raise no_answer(connection.control, deadline)
        answer = wire.decode(wire.receive(socket, limits), connection.key, limits)
        if answer.re == id:
            return answer


def no_answer(address: str, seconds: float) -> SetupError:
    """The error for a server that does not answer."""
    return SetupError(
        "setup.no_server",
        f"no server answers at {address} within {seconds:g} s",
        hint="start one with `dvm serve`; if it runs, secret or key are another's: use the "
        "connection file it wrote",
    )
