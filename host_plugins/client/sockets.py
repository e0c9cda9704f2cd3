"""ZeroMQ sockets as a client opens them: bounded, without lingering, of one thread."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import zmq

from .connection import Connection
from .errors import SetupError
from .wire import Buffer, Limits

_KEEPALIVE_SECONDS = 30


def open_dealer(
    context: zmq.Context[zmq.Socket[bytes]],
    address: str,
    connection: Connection,
    limits: Limits,
) -> zmq.Socket[bytes]:
    """A DEALER that connects to one of the server's addresses. It belongs to the calling thread.

    Raises:
        SetupError: ``setup.server_address`` if the address or the server's key is not valid.
    """
    socket = context.socket(zmq.DEALER)
    try:
        socket.linger = 0
        socket.set(zmq.IDENTITY, uuid.uuid4().bytes)
        # Nothing is queued for a peer that is not there: a message for a dead server must not
        # reach its successor.
        socket.set(zmq.IMMEDIATE, 1)
        socket.set(zmq.SNDHWM, 16)
        socket.set(zmq.RCVHWM, 64)
        socket.set(zmq.MAXMSGSIZE, max(limits.part_bytes, limits.header_bytes))
        socket.set(zmq.TCP_KEEPALIVE, 1)
        socket.set(zmq.TCP_KEEPALIVE_IDLE, _KEEPALIVE_SECONDS)
        if connection.server_key:
            _use_curve(socket, connection)
        socket.connect(address)
    except (zmq.ZMQError, ValueError) as error:
        socket.close()
        raise SetupError(
            "setup.server_address",
            f"cannot connect to {address}: {error}",
            hint="check the address and the server's key in the connection file",
        ) from error
    return socket


def watch_disconnects(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """A socket that becomes readable when the peer of ``socket`` has closed the connection."""
    return socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)


def _use_curve(socket: zmq.Socket[bytes], connection: Connection) -> None:
    if connection.client_key:
        secret = connection.client_key.encode("ascii")
        public = zmq.curve_public(secret)
    else:
        public, secret = zmq.curve_keypair()
    socket.curve_publickey = public
    socket.curve_secretkey = secret
    socket.curve_serverkey = connection.server_key.encode("ascii")


def send_now(socket: zmq.Socket[bytes], frames: Sequence[Buffer], *, copy: bool = True) -> bool:
    """Hand a message over if that needs no waiting; whether it was.

    To ask first and then to send would wait for ever where the peer goes in between.
    """
    try:
        socket.send_multipart(frames, zmq.NOBLOCK, copy=copy)
    except zmq.Again:
        return False
    return True
