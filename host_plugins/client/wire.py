"""Messages as ZeroMQ frames, version 1: ``[header, part, part, …]``. Prose: ``PROTOCOL.md``.

The header is a msgpack map whose last 32 bytes are the HMAC-SHA256 of all bytes before them, so it
is verified before anything is parsed. The header names size and sha256 of every part, which signs
the parts too.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from . import fields
from .errors import BadSignature, ProtocolError
from .limits import Buffer, Limits, check_size, receive

__all__ = [
    "PROTOCOL",
    "BadSignature",
    "Buffer",
    "Limits",
    "Message",
    "Part",
    "ProtocolError",
    "check_size",
    "decode",
    "encode",
    "new_id",
    "receive",
]

PROTOCOL = 1

MAC_BYTES = 32
# How msgpack writes the key "mac" and the head of a binary value of 32 bytes.
_MAC_HEAD = b"\xa3mac\xc4\x20"
_ENVELOPE = ("v", "type", "id", "re", "job", "frame", "parts", "mac")


@dataclass(frozen=True)
class Part:
    """A file as it stands on disk.

    Attributes:
        role: ``plate``, ``trimap`` or ``matte``.
        data: the file's bytes.
        suffix: of its name, lower case: ``.exr``, ``.png`` …
        frame: the frame it belongs to.
        layer: of a split matte: ``alpha``, ``trimap``, ``confidence`` or ``foreground``.
        sha256: hex digest of ``data``; computed by `encode` when empty, verified by `decode`.
    """

    role: str
    data: Buffer
    suffix: str = ""
    frame: int | None = None
    layer: str = ""
    sha256: str = ""


def new_id() -> str:
    """An id no other message has."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        type: e.g. ``submit``.
        id: the sender's own, unique.
        re: id of the message this one answers, or "".
        job: the job concerned, or "".
        frame: the frame concerned, or None.
        body: all further fields; on the wire they stand beside the envelope's.
        parts: the files that travel with it.
    """

    type: str
    id: str = field(default_factory=new_id)
    re: str = ""
    job: str = ""
    frame: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()

    def answer(
        self,
        type: str,
        body: Mapping[str, Any] | None = None,
        *,
        job: str | None = None,
        frame: int | None = None,
        parts: tuple[Part, ...] = (),
    ) -> Message:
        """A message that answers this one; the job is taken over unless another is named."""
        return Message(
            type,
            re=self.id,
            job=self.job if job is None else job,
            frame=frame,
            body=body or {},
            parts=parts,
        )


def encode(message: Message, secret: bytes) -> list[Buffer]:
    """Sign a message and lay it out as frames.

    Raises:
        ValueError: the body uses a name of the envelope, or holds what msgpack cannot carry.
    """
    taken = [name for name in _ENVELOPE if name in message.body]
    if taken:
        raise ValueError(f"{taken[0]!r} belongs to the envelope and may not stand in the body")
    header: dict[str, Any] = {
        "v": PROTOCOL,
        "type": message.type,
        "id": message.id,
        "re": message.re,
        "job": message.job,
        "frame": message.frame,
        "parts": [
            {
                "role": part.role,
                "frame": part.frame,
                "suffix": part.suffix,
                "layer": part.layer,
                "bytes": len(part.data),
                "sha256": part.sha256 or hashlib.sha256(part.data).hexdigest(),
            }
            for part in message.parts
        ],
    }
    header.update(sorted(message.body.items()))
    header["mac"] = bytes(MAC_BYTES)
    signed = msgpack.packb(header, use_bin_type=True)[:-MAC_BYTES]
    mac = hmac.new(secret, signed, hashlib.sha256).digest()
    return [signed + mac, *(part.data for part in message.parts)]


def decode(frames: Sequence[Buffer], secret: bytes, limits: Limits = Limits()) -> Message:
    """Verify and read a message. Nothing is unpacked before its signature has been checked.

    Args:
        frames: header and parts, without a ROUTER's identity frame.
        secret: the connection's.
        limits: ours.

    Raises:
        BadSignature: not signed with ``secret``.
        ProtocolError: anything else that is not this protocol, or is beyond the limits.
    """
    if not frames:
        raise ProtocolError("an empty message")
    if len(frames[0]) > limits.header_bytes:
        raise ProtocolError(f"a header of {len(frames[0])} bytes is beyond the limit")
    if len(frames) - 1 > limits.parts:
        raise ProtocolError(f"{len(frames) - 1} parts in one message are beyond the limit")
    if sum(len(one) for one in frames) > limits.message_bytes:
        raise ProtocolError("a message is larger than the limit")
    header = _unpack(_verified(bytes(frames[0]), secret), limits)
    version = header.get("v")
    if type(version) is not int or version != PROTOCOL:
        raise ProtocolError(f"the peer speaks protocol {version!r}, this side speaks {PROTOCOL}")
    return Message(
        type=fields.text(header, "type", fields.WORD),
        id=fields.text(header, "id", fields.ID),
        re=fields.text(header, "re", fields.ID, ""),
        job=fields.text(header, "job", fields.ID, ""),
        frame=fields.frame(header, "frame"),
        parts=_parts(header.get("parts", []), frames[1:], limits),
        body={name: value for name, value in header.items() if name not in _ENVELOPE},
    )


def _verified(header: bytes, secret: bytes) -> bytes:
    """The header, once its last 32 bytes have been found to sign the others."""
    signed, mac = header[:-MAC_BYTES], header[-MAC_BYTES:]
    expected = hmac.new(secret, signed, hashlib.sha256).digest()
    if not hmac.compare_digest(mac, expected):
        raise BadSignature()
    if not signed.endswith(_MAC_HEAD):
        raise ProtocolError("the last field of a header is not 'mac'")
    return header


def _unpack(header: bytes, limits: Limits) -> dict[str, Any]:
    """The header as a map of plain values: no extension types, bounded in depth and length."""
    longest = limits.frames * 4
    try:
        found = msgpack.unpackb(
            header,
            raw=False,
            strict_map_key=True,
            use_list=True,
            max_str_len=fields.LONGEST_TEXT,
            max_bin_len=MAC_BYTES,
            max_array_len=longest,
            max_map_len=longest,
            max_ext_len=0,
        )
    # StackError, ExtraData, FormatError and UnicodeDecodeError are ValueErrors; OutOfData is not.
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a header cannot be unpacked ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise ProtocolError("a header is not a map")
    fields.check_plain(found)
    return found


def _parts(entries: Any, data: Sequence[Buffer], limits: Limits) -> tuple[Part, ...]:
    """The parts as the header describes them; sizes are compared before anything is hashed."""
    if not isinstance(entries, list) or len(entries) != len(data):
        raise ProtocolError(f"the header does not describe the message's {len(data)} parts")
    parts = []
    for entry, frame in zip(entries, data):
        if not isinstance(entry, dict):
            raise ProtocolError("the description of a part is not a map")
        size = fields.whole(entry, "bytes", 0, limits.part_bytes)
        if size != len(frame):
            raise ProtocolError(f"a part has {len(frame)} bytes, its header says {size}")
        parts.append(
            Part(
                role=fields.text(entry, "role", fields.WORD),
                data=frame,
                suffix=fields.text(entry, "suffix", fields.SUFFIX, ""),
                frame=fields.frame(entry, "frame"),
                layer=fields.text(entry, "layer", fields.WORD, ""),
                sha256=fields.text(entry, "sha256", fields.SHA256),
            )
        )
    for part in parts:
        if hashlib.sha256(part.data).hexdigest() != part.sha256:
            raise ProtocolError(f"the {part.role} of frame {part.frame} was damaged on its way")
    return tuple(parts)
