"""What client tests run on: a small clip of real PNG files, made without numpy; and a raw peer."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import zmq

from host_plugins.client import wire
from host_plugins.client.connection import Connection
from host_plugins.client.fake_server import FakeServer, Script
from host_plugins.client.session import Session, Times
from host_plugins.client.shot import Client, Keyframe, Options, Outputs, Plates, Shot

WIDTH, HEIGHT = 24, 20


def write_png(path: Path, rows: list[bytes], channels: int) -> None:
    """An 8-bit PNG: grey with one channel, RGB with three."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    size = struct.pack(">II", len(rows[0]) // channels, len(rows))
    head = size + bytes([8, {1: 0, 3: 2}[channels], 0, 0, 0])
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def write_plate(path: Path, frame: int) -> None:
    """A gradient that moves with the frame, and is of no other folder: servers remember plates."""
    salt = zlib.crc32(str(path.parent).encode())
    rows = [
        bytes(
            value
            for x in range(WIDTH)
            for value in ((x * 10 + (salt >> 8)) % 256, y * 12, (frame * 7 + salt) % 256)
        )
        for y in range(HEIGHT)
    ]
    write_png(path, rows, 3)


def write_trimap(path: Path, shift: int = 0) -> None:
    """Foreground, unknown, background from left to right."""
    row = bytes(255 if x < 8 + shift else 128 if x < 16 + shift else 0 for x in range(WIDTH))
    write_png(path, [row] * HEIGHT, 1)


@dataclass(frozen=True)
class Clip:
    """Plates, keyframe trimaps and a place for mattes in one folder."""

    folder: Path
    frames: tuple[int, ...]
    plates: dict[int, Path]
    trimaps: dict[int, Path]

    def shot(self, options: Options = Options(), outputs: Outputs | None = None) -> Shot:
        """The clip as a shot by path."""
        return Shot(
            name=f"test {self.folder.parent.name}",
            frames=((self.frames[0], self.frames[-1], 1),),
            plates=Plates(str(self.folder / "plate.####.png")),
            keyframes=tuple(Keyframe(f, str(p)) for f, p in self.trimaps.items()),
            outputs=outputs or Outputs(str(self.folder / "alpha.####.exr")),
            options=options,
            client=Client("tests", "0"),
        )

    def mattes(self) -> dict[str, bytes]:
        """The files written so far, by name."""
        return {one.name: one.read_bytes() for one in sorted(self.folder.glob("*.exr"))}


def make_clip(folder: Path, first: int = 1001, count: int = 6) -> Clip:
    """A clip with a keyframe at each end."""
    frames = tuple(range(first, first + count))
    plates = {frame: folder / f"plate.{frame:04d}.png" for frame in frames}
    for frame, path in plates.items():
        write_plate(path, frame)
    trimaps = {frame: folder / f"key.{frame}.png" for frame in (frames[0], frames[-1])}
    for shift, path in enumerate(trimaps.values()):
        write_trimap(path, shift)
    return Clip(folder, frames, plates, trimaps)


@contextmanager
def serving(
    script: Script | None = None, times: Times | None = None
) -> Iterator[tuple[FakeServer, Session]]:
    """A fake server and a session with it that has not said hello yet."""
    times = times or Times()
    with FakeServer(script) as server, Session(server.connection, times=times) as session:
        yield server, session


class Peer:
    """A raw client that may say anything, for what a `Session` would never say."""

    def __init__(self, connection: Connection, *, control: bool = False):
        self.key = connection.key
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(connection.control if control else connection.endpoint)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.context.term()

    def send(self, type: str, **rest: object) -> wire.Message:
        message = wire.Message(type, **rest)
        self.socket.send_multipart(wire.encode(message, self.key))
        return message

    def receive(self, seconds: float = 10.0) -> wire.Message | None:
        """The next message, or None if none comes in time."""
        if not self.socket.poll(int(seconds * 1000)):
            return None
        return wire.decode(self.socket.recv_multipart(), self.key)

    def answer(self, message: wire.Message, seconds: float = 10.0) -> wire.Message:
        """The message that answers this one."""
        end = time.monotonic() + seconds
        while True:
            found = self.receive(end - time.monotonic())
            assert found is not None, f"no answer to {message.type}"
            if found.re == message.id:
                return found

    def hello(self) -> wire.Message:
        return self.answer(self.send("hello", body={"protocols": [1]}))
