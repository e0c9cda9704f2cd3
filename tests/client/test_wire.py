"""Frames on the wire: pinned bytes, the signature before anything else, bounds on everything."""

import hashlib
import hmac
import json
import random
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
import zmq

from host_plugins.client import wire
from host_plugins.client.errors import InputError

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "wire_v1.json").read_text(encoding="utf-8")
)
KEY = b"key"
MESSAGE = wire.Message(
    "plate", "id1", job="ab" * 32, frame=1001, parts=(wire.Part("plate", b"123", ".exr", 1001),)
)


def golden_message(entry):
    given = dict(entry["message"])
    parts = tuple(
        wire.Part(**{**part, "data": bytes.fromhex(part["data"])}) for part in given.pop("parts")
    )
    return wire.Message(**given, parts=parts)


def signed(header, key=KEY):
    """A header of any content, properly signed."""
    body = msgpack.packb({**header, "mac": bytes(32)})[:-32]
    return body + hmac.new(key, body, hashlib.sha256).digest()


def sound(**changes):
    header = {"v": 1, "type": "ping", "id": "x", "re": "", "job": "", "frame": None, "parts": []}
    return {**header, **changes}


@pytest.mark.parametrize("entry", GOLDEN["messages"], ids=lambda e: e["message"]["type"])
def test_bytes_are_those_of_version_1(entry):
    message = golden_message(entry)
    key = GOLDEN["secret"].encode()
    header, *parts = wire.encode(message, key)
    assert header.hex() == entry["header"]
    assert parts == [part.data for part in message.parts]
    read = wire.decode([bytes.fromhex(entry["header"]), *parts], key)
    assert [replace(part, sha256="") for part in read.parts] == list(message.parts)
    assert replace(read, parts=()) == replace(message, parts=())


def test_the_signature_is_where_the_protocol_says():
    header = wire.encode(MESSAGE, KEY)[0]
    assert header[-38:-32] == bytes.fromhex("a36d6163c420")
    assert header[-32:] == hmac.new(KEY, header[:-32], hashlib.sha256).digest()
    assert list(msgpack.unpackb(header))[-1] == "mac"


def test_nothing_is_unpacked_before_the_signature_is_checked(monkeypatch):
    def never(*_, **__):
        raise AssertionError("unpacked")

    frames = wire.encode(MESSAGE, KEY)
    monkeypatch.setattr(msgpack, "unpackb", never)
    with pytest.raises(wire.BadSignature):
        wire.decode(frames, b"another key")
    with pytest.raises(AssertionError, match="unpacked"):
        wire.decode(frames, KEY)


@pytest.mark.parametrize("cut", [0, 1, 31, 32, 37, 38])
def test_a_header_cut_short_is_refused(cut):
    header = wire.encode(MESSAGE, KEY)[0]
    with pytest.raises(wire.BadSignature):
        wire.decode([header[:cut], b"123"], KEY)


def test_every_single_flipped_bit_is_noticed():
    header, part = wire.encode(MESSAGE, KEY)
    for index in range(len(header)):
        flipped = bytearray(header)
        flipped[index] ^= 1 << index % 8
        with pytest.raises(wire.BadSignature):
            wire.decode([bytes(flipped), part], KEY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 3000,
        b"\x81\x01\x02",
        b"\x81\xc4\x01a\x02",
        b"\x81\xa1a\xd4\x05\x00",
        b"\x81\xa1a\xd6\xff\x00\x00\x00\x00",
        b"\x81\xa2\xff\xfe\x01",
        b"\x90",
        b"\xc0",
    ],
    ids=lambda body: body[:6].hex() or "nothing",
)
def test_signed_rubbish_is_a_protocol_error(body):
    rubbish = body + b"\xa3mac\xc4\x20"
    mac = hmac.new(KEY, rubbish, hashlib.sha256).digest()
    with pytest.raises(wire.ProtocolError) as caught:
        wire.decode([rubbish + mac], KEY)
    assert caught.value.code == "setup.protocol" and caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": True},
        {"v": "1"},
        {"type": ""},
        {"type": "Ping"},
        {"type": "p" * 33},
        {"type": 3},
        {"id": ""},
        {"id": "a b"},
        {"id": "x" * 65},
        {"re": 1},
        {"job": "../../etc"},
        {"job": "x" * 65},
        {"frame": 1.0},
        {"frame": True},
        {"frame": 10**7 + 1},
        {"parts": {}},
        {"parts": [{}]},
        {"extra": "x" * 4097},
        {"extra": b"x" * 33},
        {"extra": [[[[[[[[[1]]]]]]]]]},
        {"extra": {"a": {1: 2}}},
    ],
    ids=repr,
)
def test_an_envelope_out_of_bounds_is_refused(changes):
    wire.decode([signed(sound())], KEY)
    with pytest.raises(wire.ProtocolError):
        wire.decode([signed(sound(**changes))], KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {"bytes": 4},
        {"bytes": -1},
        {"bytes": 1 << 40},
        {"sha256": "0" * 64},
        {"sha256": hashlib.sha256(b"123").hexdigest().upper()},
        {"suffix": "/../x"},
        {"suffix": ".EXR"},
        {"suffix": ".verylongone"},
        {"role": ""},
        {"role": "a/b"},
        {"layer": "../a"},
        {"frame": "1"},
    ],
    ids=repr,
)
def test_a_part_is_what_the_header_says_or_refused(changes):
    entry = {
        "role": "plate",
        "frame": 1,
        "suffix": ".exr",
        "layer": "",
        "bytes": 3,
        "sha256": hashlib.sha256(b"123").hexdigest(),
    }
    wire.decode([signed(sound(parts=[entry])), b"123"], KEY)
    with pytest.raises(wire.ProtocolError):
        wire.decode([signed(sound(parts=[{**entry, **changes}])), b"123"], KEY)


@pytest.mark.parametrize(
    "limits",
    [
        wire.Limits(header_bytes=100),
        wire.Limits(part_bytes=2),
        wire.Limits(message_bytes=100),
        wire.Limits(parts=0),
    ],
    ids=repr,
)
def test_what_is_beyond_our_limits_is_refused(limits):
    frames = wire.encode(MESSAGE, KEY)
    wire.decode(frames, KEY, wire.Limits())
    with pytest.raises(wire.ProtocolError):
        wire.decode(frames, KEY, limits)
    with pytest.raises(InputError) as caught:
        wire.check_size(frames, limits, "the plate of frame 1001")
    assert caught.value.code == "input.too_large"
    assert caught.value.message.startswith("the plate of frame 1001 has ")


def test_parts_without_description_and_the_other_way_round():
    header, part = wire.encode(MESSAGE, KEY)
    for frames in ([header], [header, part, part], []):
        with pytest.raises(wire.ProtocolError):
            wire.decode(frames, KEY)


def test_unknown_fields_come_with_the_body():
    message = wire.decode([signed(sound(future=[1, {"a": None}]))], KEY)
    assert message.body == {"future": [1, {"a": None}]}


def test_a_body_may_not_speak_for_the_envelope():
    with pytest.raises(ValueError, match="'job' belongs to the envelope"):
        wire.encode(wire.Message("ping", body={"job": "x"}), KEY)


def test_mutated_messages_never_do_anything_but_raise_protocol_errors():
    chance = random.Random(7)
    sources = [bytes.fromhex(entry["header"])[:-38] for entry in GOLDEN["messages"]]
    refused = 0
    for _ in range(3000):
        body = bytearray(chance.choice(sources))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(body))
            if chance.random() < 0.3:
                del body[at : at + chance.randint(1, 9)]
            else:
                body[at : at + 1] = chance.randbytes(chance.randint(1, 3))
        header = bytes(body) + b"\xa3mac\xc4\x20"
        header += hmac.new(KEY, header, hashlib.sha256).digest()
        try:
            wire.decode([header], KEY)
        except wire.ProtocolError:
            refused += 1
    assert refused > 2900


def test_receiving_is_bounded_in_frames_and_bytes():
    limits = wire.Limits(parts=3, message_bytes=1000)
    context = zmq.Context()
    left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    left.bind("inproc://bounded")
    right.connect("inproc://bounded")
    try:
        for flood in ([b""] * 10_000, [b"h", b"x" * 999, b"y"], [b"h", b"1", b"2", b"3", b"4"]):
            left.send_multipart(flood)
            with pytest.raises(wire.ProtocolError):
                wire.receive(right, limits)
            # What follows is not a remainder of the flood.
            left.send_multipart([b"h", b"1", b"2", b"3"])
            assert [bytes(one) for one in wire.receive(right, limits)] == [b"h", b"1", b"2", b"3"]
        left.send_multipart([b"identity", b"h", b"1", b"2", b"3"])
        assert len(wire.receive(right, limits, routed=True)) == 5
        with pytest.raises(zmq.Again):
            wire.receive(right, limits)
    finally:
        left.close(0)
        right.close(0)
        context.term()


def test_limits_survive_the_wire():
    limits = wire.Limits(part_bytes=5, frames=7)
    assert wire.Limits.from_wire({**limits.to_wire(), "future": 1}) == limits
    assert wire.Limits.from_wire({}) == wire.Limits()
    for wrong in (None, [], {"parts": "4"}, {"parts": 0}, {"parts": True}):
        with pytest.raises(wire.ProtocolError):
            wire.Limits.from_wire(wrong)


def test_an_answer_names_what_it_answers():
    answer = MESSAGE.answer("got", frame=1001)
    assert (answer.re, answer.job, answer.frame) == ("id1", "ab" * 32, 1001)
    assert answer.id != MESSAGE.answer("got").id
