"""What the fake server is told to do, and its check of a ``submit``, as strict as the real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import fields, wire
from .errors import DvmError, InputError, ProtocolError, SetupError
from .guides import NAMES, ROLES
from .outputs import output_path
from .shot import INPUTS, Shot


def _scripted_matte(frame: int, layer: str) -> bytes:
    return f"matte of frame {frame}, {layer}".encode()


@dataclass(frozen=True)
class Script:
    """What a fake server does.

    Attributes:
        matte: makes the file of a frame and layer.
        seconds: for each matte.
        credit: as in ``accepted``.
        limits: as in ``welcome``.
        networks: names of matting networks, the default first.
        inputs: as in ``welcome``; empty for a server of the first release.
        receipt: seconds before a plate is confirmed.
        refuse: answers ``submit``.
        fail: raised in place of a frame's matte.
        silent_after: falls silent on both sockets once it has sent this many mattes.
        vanish_after: closes both sockets at that point, as a killed process does.
        back_after: comes back this many seconds later at the same addresses, its finished mattes
            kept; None = never.
        deaf: never answers ``submit``.
    """

    matte: Callable[[int, str], bytes] = _scripted_matte
    seconds: float = 0.0
    credit: int = 2
    limits: wire.Limits = field(default_factory=lambda: wire.Limits(frames=1000))
    networks: tuple[str, ...] = ("closed_form",)
    inputs: tuple[str, ...] = INPUTS
    receipt: float = 0.0
    refuse: DvmError | None = None
    fail: Mapping[int, DvmError] = field(default_factory=dict)
    silent_after: int | None = None
    vanish_after: int | None = None
    back_after: float | None = None
    deaf: bool = False


def read_submit(message: wire.Message, script: Script) -> tuple[Shot, dict[int, dict[str, Any]]]:
    """Check a ``submit`` as strictly as the real server does.

    Returns:
        The shot, and by value the announced plates by frame.

    Raises:
        DvmError: anything is wrong with it.
    """
    shot = Shot.from_json(message.body.get("shot"))
    numbers = shot.numbers()
    if len(numbers) > script.limits.frames:
        raise InputError("input.too_large", f"the shot {shot.name!r} has too many frames")
    if shot.options.network not in ("", *script.networks):
        raise SetupError(
            "setup.unknown_network",
            f"there is no matting network called {shot.options.network!r}",
            hint=f"use one of: {', '.join(script.networks)}",
        )
    if shot.options.checkpoint and not Path(shot.options.checkpoint).is_file():
        raise SetupError(
            "setup.no_checkpoint",
            f"the checkpoint {shot.options.checkpoint} is not there",
            hint="check the path, or leave the checkpoint out",
        )
    announced = _announced(message, shot)
    _check_trimaps(message, shot)
    _check_guides(message, shot)
    if not shot.plates.by_value:
        _check_absolute(shot)
    for frame in shot.all_numbers():
        there = (
            frame in announced
            if shot.plates.by_value
            else output_path(shot.plates.pattern, frame).is_file()
        )
        if not there and shot.options.missing == "error":
            raise InputError(
                "input.missing_plate",
                f"the plate of frame {frame} is not there",
                shot=shot.name,
                frame=frame,
                hint="render or copy this frame, or choose to hold",
            )
    return shot, announced


def _announced(message: wire.Message, shot: Shot) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for one in fields.maps(message.body, "plates"):
        frame = fields.whole(one, "frame", -fields.FARTHEST_FRAME, fields.FARTHEST_FRAME)
        fields.text(one, "sha256", fields.SHA256)
        fields.text(one, "suffix", fields.SUFFIX)
        fields.whole(one, "bytes", 1, 1 << 40)
        if frame in found or frame not in shot.all_numbers():
            raise ProtocolError(f"the plate of frame {frame} is announced and not of the shot")
        found[frame] = one
    if bool(found) and not shot.plates.by_value:
        raise ProtocolError("plates are announced for a shot by path")
    return found


def _check_trimaps(message: wire.Message, shot: Shot) -> None:
    sent = [part for part in message.parts if part.role not in ROLES]
    parts = {part.frame: part for part in sent}
    if len(parts) != len(sent) or any(one.role != "trimap" for one in sent):
        raise ProtocolError("the parts of a submit are trimaps, each of a frame of its own")
    keyframes = {one.frame: one for one in shot.keyframes}
    for frame, one in keyframes.items():
        missing = InputError(
            "input.missing_trimap",
            f"the trimap of keyframe {frame} is not there",
            shot=shot.name,
            frame=frame,
            hint="paint it again, or take the keyframe out",
        )
        if one.part and (frame not in parts or parts[frame].sha256 != one.part):
            raise missing
        if not one.part and not Path(one.trimap).is_file():
            raise missing
        if not one.part and frame in parts:
            raise ProtocolError(f"keyframe {frame} names a path and has a part")
    given = [frame for frame in parts if frame not in keyframes]
    by_value = shot.trimaps is not None and shot.trimaps.by_value
    if bool(given) != by_value:
        raise ProtocolError("given trimaps must be announced by value, and be sent")


def _check_guides(message: wire.Message, shot: Shot) -> None:
    sent = [(part.role, part.frame) for part in message.parts if part.role in ROLES]
    announced = {role for role, one in shot.guides.given() if one.by_value}
    if len(set(sent)) != len(sent) or {role for role, _ in sent} != announced:
        raise ProtocolError("guides must be announced by value and be sent, each once a frame")
    for role, one in shot.guides.given():
        if one.pattern and not output_path(one.pattern, shot.numbers()[0]).is_file():
            raise InputError(
                "input.missing_guide",
                f"the {NAMES[role]} {one.pattern} is not there",
                shot=shot.name,
                hint="check its path",
            )


def _check_absolute(shot: Shot) -> None:
    named = [shot.plates.pattern, shot.outputs.pattern]
    named += [one.trimap for one in shot.keyframes if one.trimap]
    named += [one.pattern for _, one in shot.guides.given() if one.pattern]
    for path in named:
        if not Path(path).is_absolute():
            raise InputError(
                "input.relative_path",
                f"the path {path!r} is not absolute",
                shot=shot.name,
                hint="name the whole path",
            )
