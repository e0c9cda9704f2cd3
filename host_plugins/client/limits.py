"""How much is too much: said by the server in its welcome, held by both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Union

import zmq

from .errors import InputError, ProtocolError

Buffer = Union[bytes, memoryview]


@dataclass(frozen=True)
class Limits:
    """The most a peer accepts. Sizes in bytes.

    Attributes:
        part_bytes: of one part (a plate, a trimap, a matte).
        parts: parts in a message.
        message_bytes: header and parts together.
        header_bytes: of the header.
        frames: of a shot; also the longest list in a header, times 4 layers.
    """

    part_bytes: int = 1 << 30
    parts: int = 4096
    message_bytes: int = 2 << 30
    header_bytes: int = 32 << 20
    frames: int = 100_000

    def to_wire(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_wire(cls, limits: Any) -> Limits:
        """What ``welcome`` says; absent fields keep their default.

        Raises:
            ProtocolError: it is no map of positive whole numbers.
        """
        if not isinstance(limits, dict):
            raise ProtocolError("the server's limits are not a map")
        known = {name: limits[name] for name in asdict(cls()) if name in limits}
        for name, value in known.items():
            if type(value) is not int or value <= 0:
                raise ProtocolError(f"the server's limit {name!r} is {value!r}, not a size")
        return cls(**known)


def check_size(frames: Sequence[Buffer], limits: Limits, what: str) -> None:
    """Refuse to send what the peer would not take: it would drop the connection without a word.

    Args:
        frames: from `encode`.
        limits: the peer's.
        what: names the message in the error, e.g. ``the plate of frame 1001``.

    Raises:
        InputError: ``input.too_large``.
    """
    found = (
        (len(frames[0]), limits.header_bytes, "bytes of header"),
        (len(frames) - 1, limits.parts, "files in one message"),
        (max((len(one) for one in frames[1:]), default=0), limits.part_bytes, "bytes in one file"),
        (sum(len(one) for one in frames), limits.message_bytes, "bytes together"),
    )
    for size, most, unit in found:
        if size > most:
            raise InputError(
                "input.too_large",
                f"{what} has {size} {unit}; the server takes at most {most}",
                hint="submit by path, cut the shot, or raise the server's limits",
            )


def receive(socket: Any, limits: Limits, *, routed: bool = False) -> list[Buffer]:
    """Take one message off a ZeroMQ socket without letting it grow beyond the limits.

    ``MAXMSGSIZE`` bounds a frame, not a message, so frames are counted and summed here; what is
    too much is read to its end and thrown away.

    Args:
        socket: a ``zmq.Socket`` with a message waiting.
        limits: ours.
        routed: true on a ROUTER: the peer's identity comes first and is returned first.

    Raises:
        ProtocolError: too many frames or bytes.
        zmq.Again: nothing is waiting.
    """
    frames: list[Buffer] = []
    size = count = 0
    more = True
    while more:
        frame = socket.recv(zmq.NOBLOCK if not count else 0, copy=False)
        more = bool(frame.more)
        count += 1
        size += len(frame)
        if count > limits.parts + 1 + routed or size > limits.message_bytes:
            frames.clear()
            continue
        frames.append(frame.buffer)
    if not frames or count > limits.parts + 1 + routed or size > limits.message_bytes:
        raise ProtocolError(f"a message of {count} frames and {size} bytes is beyond the limits")
    return frames
