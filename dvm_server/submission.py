"""Reading a ``submit``: the shot, and the files that come or came with it."""

from __future__ import annotations

from dvm_server.jobs import Offer, SentFile, files_of
from host_plugins.client import fields
from host_plugins.client.errors import ProtocolError
from host_plugins.client.guides import NAMES, ROLES
from host_plugins.client.shot import Shot, shot_id
from host_plugins.client.wire import Limits, Message, Part


def read_offer(message: Message, limits: Limits) -> Offer:
    """What a client submitted, checked.

    Raises:
        InputError: the shot is none, or has more frames than the server takes.
        ProtocolError: what travels with it does not fit it.
    """
    shot = Shot.from_json(message.body.get("shot"))
    numbers, read = frozenset(shot.numbers()), frozenset(shot.all_numbers())
    if len(read) > limits.frames:
        raise ProtocolError(
            f"the shot has {len(read)} frames, this server takes {limits.frames}",
            "submit it in parts",
        )
    plates = _plates(message, read)
    if plates and not shot.plates.by_value:
        raise ProtocolError("plates are announced for a shot by path")
    return Offer(
        id=shot_id(shot),
        shot=shot,
        plates=plates if shot.plates.by_value else None,
        trimaps={
            frame: SentFile(part.sha256, part.suffix)
            for frame, part in trimap_parts(message, shot).items()
        },
        guides={
            place: SentFile(part.sha256, part.suffix)
            for place, part in guide_parts(message, shot).items()
        },
        have=_have(message, shot, numbers),
    )


def trimap_parts(message: Message, shot: Shot) -> dict[int, Part]:
    """The trimaps that came with a ``submit``, by frame."""
    found: dict[int, Part] = {}
    by_path = {key.frame for key in shot.keyframes if not key.part}
    painted = {key.frame for key in shot.keyframes}
    for part in message.parts:
        if part.role in ROLES:
            continue
        if part.role != "trimap" or part.frame is None or part.frame in found:
            raise ProtocolError("the parts of a submit are trimaps, each of a frame of its own")
        if part.frame in by_path:
            raise ProtocolError(f"keyframe {part.frame} names a path and has a part")
        found[part.frame] = part
    given_by_value = shot.trimaps is not None and shot.trimaps.by_value
    if found.keys() - painted and not given_by_value:
        raise ProtocolError("given trimaps were sent and not announced by value")
    return found


def guide_parts(message: Message, shot: Shot) -> dict[tuple[str, int | None], Part]:
    """The guides that came with a ``submit``, by role and frame."""
    announced = {role for role, one in shot.guides.given() if one.by_value}
    found: dict[tuple[str, int | None], Part] = {}
    for part in message.parts:
        if part.role not in ROLES:
            continue
        place = part.role, part.frame
        if part.role not in announced or place in found:
            raise ProtocolError(f"a {NAMES[part.role]} was sent twice, or not announced by value")
        found[place] = part
    for role in announced:
        frames = {frame for sent, frame in found if sent == role}
        if None in frames and len(frames) > 1:
            raise ProtocolError(f"one {NAMES[role]} was sent for all frames, and others besides")
    return found


def _plates(message: Message, numbers: frozenset[int]) -> dict[int, SentFile]:
    found: dict[int, SentFile] = {}
    for one in fields.maps(message.body, "plates"):
        frame = _frame(one)
        if frame in found or frame not in numbers:
            raise ProtocolError(f"the plate of frame {frame} is announced and not of the shot")
        fields.whole(one, "bytes", 1, 1 << 40)
        sha256 = fields.text(one, "sha256", fields.SHA256)
        found[frame] = SentFile(sha256, fields.text(one, "suffix", fields.SUFFIX, ""))
    return found


def _have(message: Message, shot: Shot, numbers: frozenset[int]) -> dict[tuple[int, str], str]:
    found: dict[tuple[int, str], str] = {}
    layers = files_of(shot)
    for one in fields.maps(message.body, "have"):
        frame, layer = _frame(one), fields.text(one, "layer", fields.WORD)
        if frame not in numbers or layer not in layers:
            raise ProtocolError(f"the client has a {layer} of frame {frame}, which is not wanted")
        found[frame, layer] = fields.text(one, "sha256", fields.SHA256)
    return found


def _frame(one: dict[str, object]) -> int:
    return fields.whole(one, "frame", -fields.FARTHEST_FRAME, fields.FARTHEST_FRAME)
