"""What a server tells, as types: each is read from a message and checked here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from . import fields
from .errors import DvmError, ProtocolError, from_wire
from .wire import Limits, Message, Part

FINAL_STATES = ("done", "failed", "cancelled")
MOST_JOBS = 100_000


@dataclass(frozen=True)
class Network:
    """A network the server has. ``kind`` is ``matting`` or ``propagation``."""

    name: str
    kind: str
    default: bool
    available: bool
    summary: str


@dataclass(frozen=True)
class Welcome:
    """The server, as it introduces itself.

    Attributes:
        protocol: the version both speak.
        version: of the server's release.
        pid: of its process.
        device: e.g. ``cpu`` or ``cuda:0 NVIDIA …``.
        limits: the most it accepts.
        networks: what ``options.network`` may name.
        ocio: digest of its colour config.
        inputs: of `Shot.inputs`, what it knows.
    """

    protocol: int
    version: str
    pid: int
    device: str
    limits: Limits
    networks: tuple[Network, ...]
    ocio: str
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accepted:
    """The server has taken a shot.

    Attributes:
        job: its id.
        credit: plates, and mattes, that may be under way without a ``got``.
        total: frames of the shot.
        done: frames that are finished already.
        need: plates the server wants, in that order; by value only.
        network: what will matte.
        checkpoint: name and digest, or "".
        device: where.
    """

    job: str
    credit: int
    total: int
    done: tuple[int, ...]
    need: tuple[int, ...]
    network: str
    checkpoint: str
    device: str


@dataclass(frozen=True)
class Got:
    """A plate is durable on the server."""

    job: str
    frame: int


@dataclass(frozen=True)
class Matte:
    """The matte of a frame.

    Attributes:
        id: of the message, for `Session.acknowledge`.
        job: of which.
        frame: of which.
        seconds: what it took.
        source: of its trimap: painted, propagated or given.
        fallback: what was done differently for want of memory; "" if nothing.
        cached: it had been computed before.
        parts: the files, by value; ``layer`` is ``alpha`` for one that holds all layers.
        paths: the files, by path, by layer.
    """

    id: str
    job: str
    frame: int
    seconds: float
    source: str
    fallback: str
    cached: bool
    parts: tuple[Part, ...]
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """A job has ended well. ``seconds`` is the server's wall time for it.

    ``suggest`` is the frame that would help most as a further keyframe; None if none would.
    """

    job: str
    total: int
    computed: int
    kept: int
    seconds: float
    suggest: int | None = None


@dataclass(frozen=True)
class Failed:
    """A job has failed, or a message was refused (then ``job`` may be empty)."""

    job: str
    error: DvmError


@dataclass(frozen=True)
class Stopped:
    """A job has been cancelled."""

    job: str


@dataclass(frozen=True)
class JobState:
    """How far a job is, from the last heartbeat.

    Attributes:
        state: ``waiting``, ``propagating``, ``matting``, or one of `FINAL_STATES`.
        done: mattes that are finished.
        total: frames of the shot.
        propagated: trimaps that are finished.
        to_propagate: trimaps to propagate.
        frame: the last one worked on, or None.
    """

    state: str
    done: int
    total: int
    propagated: int
    to_propagate: int
    frame: int | None


Event = Union[Got, Matte, Done, Failed, Stopped]


def event(message: Message, frames: int) -> Event:
    """What a message of the main socket tells about a job.

    Args:
        frames: our limit on a shot's frames.

    Raises:
        ProtocolError: it is of another type, or its fields are not as they should be.
    """
    body = message.body
    if message.type == "failed":
        return Failed(message.job, failure(message))
    if not message.job:
        raise ProtocolError(f"the server sent {message.type!r} without a job")
    if message.type == "got":
        return Got(message.job, _frame(message))
    if message.type == "matte":
        return _matte(message)
    if message.type == "done":
        return Done(
            message.job,
            total=fields.whole(body, "total", 0, frames),
            computed=fields.whole(body, "computed", 0, frames),
            kept=fields.whole(body, "kept", 0, frames),
            seconds=fields.number(body, "seconds", 0.0),
            suggest=fields.frame(body, "suggest"),
        )
    if message.type == "cancelled":
        return Stopped(message.job)
    raise ProtocolError(f"the server sent {message.type!r}, which this release does not know")


def failure(message: Message) -> DvmError:
    """The error that a ``failed`` carries."""
    error = message.body.get("error")
    return from_wire(error if isinstance(error, dict) else {})


def welcome(message: Message) -> Welcome:
    """Read ``welcome``."""
    body = message.body
    server = body.get("server")
    if message.type != "welcome" or not isinstance(server, dict):
        raise ProtocolError(f"the server answered hello with {message.type!r}")
    return Welcome(
        protocol=fields.whole(body, "protocol", 1, 1),
        version=fields.text(server, "version", default=""),
        pid=fields.whole(server, "pid", 0, 1 << 32, 0),
        device=fields.text(body, "device", default=""),
        limits=Limits.from_wire(body.get("limits", {})),
        networks=tuple(
            Network(
                name=fields.text(one, "name"),
                kind=fields.text(one, "kind", fields.WORD),
                default=fields.flag(one, "default"),
                available=fields.flag(one, "available", True),
                summary=fields.text(one, "summary", default=""),
            )
            for one in fields.maps(body, "networks")
        ),
        ocio=fields.text(body, "ocio", default=""),
        inputs=fields.words(body, "inputs"),
    )


def accepted(message: Message, frames: int) -> Accepted:
    """Read ``accepted``."""
    body = message.body
    if message.type != "accepted" or not message.job:
        raise ProtocolError(f"the server answered submit with {message.type!r}")
    return Accepted(
        job=message.job,
        credit=fields.whole(body, "credit", 1, 1024),
        total=fields.whole(body, "total", 0, frames),
        done=tuple(fields.ranges(body, "done", frames)),
        need=tuple(fields.ranges(body, "need", frames)),
        network=fields.text(body, "network", default=""),
        checkpoint=fields.text(body, "checkpoint", default=""),
        device=fields.text(body, "device", default=""),
    )


def job_states(message: Message) -> dict[str, JobState]:
    """Read ``pong``."""
    jobs: Any = message.body.get("jobs", {})
    if message.type != "pong" or not isinstance(jobs, dict) or len(jobs) > MOST_JOBS:
        raise ProtocolError(f"the server answered ping with {message.type!r}")
    found = {}
    for job, one in jobs.items():
        if not isinstance(one, dict):
            raise ProtocolError("the state of a job is not a map")
        count = {
            name: fields.whole(one, name, 0, 10_000_000, 0)
            for name in ("done", "total", "propagated", "to_propagate")
        }
        found[job] = JobState(
            state=fields.text(one, "state", fields.WORD),
            frame=fields.frame(one, "frame"),
            **count,
        )
    return found


def _frame(message: Message) -> int:
    if message.frame is None:
        raise ProtocolError(f"the server sent {message.type!r} without a frame")
    return message.frame


def _matte(message: Message) -> Matte:
    body, paths = message.body, message.body.get("paths") or {}
    if not isinstance(paths, dict) or not all(isinstance(one, str) for one in paths.values()):
        raise ProtocolError("the paths of a matte are not texts")
    if any(one.role != "matte" for one in message.parts) or bool(message.parts) == bool(paths):
        raise ProtocolError("a matte comes either as parts or as paths")
    return Matte(
        id=message.id,
        job=message.job,
        frame=_frame(message),
        seconds=fields.number(body, "seconds", 0.0),
        source=fields.text(body, "source", default=""),
        fallback=fields.text(body, "fallback", default=""),
        cached=fields.flag(body, "cached"),
        parts=message.parts,
        paths=paths,
    )
