"""A client on a slow line: a plate that takes longer to arrive than anything else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np

from host_plugins.client.run import run_shot
from host_plugins.client.session import Session
from model.plates.image_files import write_image
from tests.server.serving import SIZE

CHUNK = 4096
# ZeroMQ's own deadlines are shorter in that server by so much, and the test is.
SOONER = 20
PLANTED = f"""
import zmq
set_, deadlines = zmq.Socket.set, (zmq.HEARTBEAT_IVL, zmq.HEARTBEAT_TIMEOUT, zmq.HEARTBEAT_TTL)
def sooner(socket, option, value):
    set_(socket, option, value // {SOONER} if option in deadlines else value)
zmq.Socket.set = sooner
"""


@contextmanager
def slow_line(endpoint: str, rate: float) -> Iterator[str]:
    """An address that leads to ``endpoint``, at so many bytes a second there."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    ends: list[socket.socket] = []

    def pump(one: socket.socket, other: socket.socket, rate: float) -> None:
        with suppress(OSError):  # either end is gone
            while data := one.recv(CHUNK):
                time.sleep(len(data) / rate)
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):  # closed below
            while True:
                client, _ = listening.accept()
                server = socket.create_connection((host, int(port)))
                ends.extend((client, server))
                for one, other, at in ((client, server, rate), (server, client, np.inf)):
                    threading.Thread(target=pump, args=(one, other, at), daemon=True).start()

    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for one in (listening, *ends):
            one.close()


def test_a_plate_may_take_long_to_upload(start_server, make_clip):
    clip = make_clip(1, keys=(1001,))
    tall = 20 * SIZE[0], 20 * SIZE[1]
    noise = np.random.default_rng(1).random((*tall, 3), np.float32)
    write_image(clip.plate(1001), noise, ("R", "G", "B"))
    grey = np.full(tall, 128, np.uint8)
    grey[:, :9], grey[:, -9:] = 0, 255
    write_image(clip.trimap(1001), grey, ("Y",), pixel_type="uint8")
    server = start_server(planted=PLANTED)
    shot, files = clip.by_value(clip.shot((1001,)))
    seconds = 80 / SOONER  # four times what the server once allowed
    rate = clip.plate(1001).stat().st_size / seconds
    with slow_line(server.connection.endpoint, rate) as address:
        there = replace(server.connection, endpoint=address, source="")
        with Session(there) as session:
            summary = run_shot(session, shot, **files)
    assert summary.computed == 1 and summary.seconds > seconds
