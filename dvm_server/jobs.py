"""A job as it is carried out: what was offered, the plan made of it, units, and worker messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dvm_server.identity import digest
from dvm_server.ledger import Sources
from dvm_server.scheduler import BLOCK, SPAN, Job, Unit, UnitId
from dvm_server.spool import Spool
from host_plugins.client.shot import Shot
from model.passes import Block, Span
from model.plates.spool import is_whole_trimap_spool


@dataclass(frozen=True)
class SentFile:
    """A file that comes, or came, by value."""

    sha256: str
    suffix: str

    @property
    def name(self) -> str:
        """In the spool."""
        return Spool.file_name(self.sha256, self.suffix)


@dataclass(frozen=True)
class Offer:
    """What a client submitted.

    Attributes:
        id: the shot's.
        shot: as sent.
        plates: by value: every plate there is; None by path.
        trimaps: by value: keyframe and given trimaps by frame, spooled already.
        guides: by value: pictures by role and frame (None: one for all frames), spooled already.
        have: sha256 of the output files the client has, by frame and layer.
    """

    id: str
    shot: Shot
    plates: Mapping[int, SentFile] | None = None
    trimaps: Mapping[int, SentFile] = field(default_factory=dict)
    guides: Mapping[tuple[str, int | None], SentFile] = field(default_factory=dict)
    have: Mapping[tuple[int, str], str] = field(default_factory=dict)

    @property
    def by_value(self) -> bool:
        return self.plates is not None

    def files(self) -> tuple[object, ...]:
        """What it is about besides its shot: two offers of one shot may have other files."""
        return self.plates, self.trimaps, self.guides

    def spool_names(self) -> set[str]:
        """All of its files in the spool."""
        sent = (*self.trimaps.values(), *self.guides.values(), *(self.plates or {}).values())
        return {one.name for one in sent}


@dataclass(frozen=True)
class PlateSource:
    """Where a frame's plate is read.

    Attributes:
        frame: the frame whose file it is; another one for a missing plate.
        path: of the file.
        sha256: of its bytes, verified while reading; "" for a movie.
        digest: what keys are made of: ``sha256``, for a movie with the frame number.
        missing: "" if it is the frame's own; else ``hold`` or ``black``.
        stamp: of a movie, `file_stamp` from before its digest was taken: its frames are verified
            by that, for hashing all of it for each would take longer than decoding.
    """

    frame: int
    path: str
    sha256: str
    digest: str
    missing: str = ""
    stamp: str = ""


@dataclass(frozen=True)
class TrimapSource:
    """Where a trimap is read.

    Attributes:
        path: of the file.
        source: painted, given or propagated.
        sha256: of the file; "" if it is propagated.
        roto: shrink and grow in pixels, if the file is a rough shape; else None.
        neighbours: then, the frames beside it whose plates tell what moves.
    """

    path: str
    source: str
    sha256: str = ""
    roto: tuple[int, int] | None = None
    neighbours: tuple[int, ...] = ()


@dataclass(frozen=True)
class GuideSource:
    """Where a frame's garbage or core matte, or clean plate, is read."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Plan:
    """What is to be done for a shot, and from what. Made by the survey, never changed.

    Attributes:
        offer: what it was made for.
        description: the engine's.
        engine: `EngineOptions` as plain values, without the device.
        frames: of the shot.
        context: the same with those frames of the handles that are read.
        spans, blocks: all of them, finished or not.
        plates: source of each plate of the context.
        trimaps: source of each trimap that is read; of propagated ones the place in the spool.
        guides: sources of each frame's guides by role; frames without any are left out.
        trimap_keys: key A of the propagated ones.
        keys: key B of each frame.
        outputs: each frame's files by layer.
        done: frames whose files the client has.
        ready: by value: frames whose files lie in the spool and only need to be sent.
        carried: frames whose propagated trimap is in the spool.
        places: by path: the outputs by what they are called without links.
        ours: by path: sha256 of output files that this shot made and makes again.
    """

    offer: Offer
    description: Mapping[str, Any]
    engine: Mapping[str, Any]
    frames: tuple[int, ...]
    context: tuple[int, ...]
    spans: tuple[Span, ...]
    blocks: tuple[Block, ...]
    plates: Mapping[int, PlateSource]
    trimaps: Mapping[int, TrimapSource]
    guides: Mapping[int, Mapping[str, GuideSource]]
    trimap_keys: Mapping[int, str]
    keys: Mapping[int, str]
    outputs: Mapping[int, Mapping[str, Path]]
    done: frozenset[int]
    ready: frozenset[int]
    carried: frozenset[int]
    places: Mapping[str, Path] = field(default_factory=dict)
    ours: Mapping[Path, str] = field(default_factory=dict)

    @cached_property  # each block of a long shot asks
    def make(self) -> frozenset[int]:
        """Frames whose matte is to be computed."""
        return frozenset(self.frames) - self.done - self.ready

    def sources(self) -> Sources:
        """What it is made from, to be compared with later."""
        own = {f: one for f, one in self.trimaps.items() if f not in self.trimap_keys}
        return Sources(
            plates={f: one.digest for f, one in self.plates.items()},
            trimaps={f: one.sha256 for f, one in own.items()},
            guides={
                f: digest({role: one.sha256 for role, one in roles.items()})
                for f, roles in self.guides.items()
            },
        )

    def spool_names(self) -> set[str]:
        """Everything in the spool that this plan may still read or send."""
        names = {Spool.trimap_name(key) for key in self.trimap_keys.values()}
        names |= self.offer.spool_names()
        if self.offer.by_value:
            for key in self.keys.values():
                names |= {Spool.matte_name(key, layer) for layer in files_of(self.offer.shot)}
        return names


def files_of(shot: Shot) -> tuple[str, ...]:
    """The layers that name a frame's files: each with ``split``, else ``alpha`` for the one."""
    return shot.outputs.layers if shot.outputs.split else ("alpha",)


def remaining(plan: Plan, arrived: Iterable[int] | None) -> Job:
    """The units of a plan that are still to be done.

    Args:
        plan: the plan.
        arrived: frames whose plates are here; None by path.
    """
    units: dict[UnitId, Unit] = {}
    wanted: set[int] = set()
    for block in plan.blocks:
        left = plan.make.intersection(block.frames)
        if left:
            carried = frozenset(f for f in block.reads if f in plan.trimap_keys)
            wanted.update(carried - plan.carried)
            unit_id = UnitId(plan.offer.id, BLOCK, block.index)
            plates = _plates_for(plan, block.reads, block.reads)
            units[unit_id] = Unit(left, _files(plan, plates), carried)
    for index, span in enumerate(plan.spans):
        to_carry = frozenset(wanted.intersection(span.wanted))
        if to_carry:
            unit_id = UnitId(plan.offer.id, SPAN, index)
            plates = _plates_for(plan, span.frames, span.keyframes)
            units[unit_id] = Unit(to_carry, _files(plan, plates))
    here = None if arrived is None else frozenset(arrived)
    return Job(units, here, plan.carried)


def without_damaged(plan: Plan, look: Callable[[Path], None]) -> Plan:
    """The plan without carried trimaps that cannot be read again: they are to be carried anew.

    Looks at those only that a block still to be done reads.

    Args:
        plan: of the shot.
        look: called before each is looked at; may raise to give up.
    """

    def whole(path: Path) -> bool:
        look(path)
        return is_whole_trimap_spool(path)

    blocks = [block for block in plan.blocks if plan.make.intersection(block.frames)]
    read = plan.carried.intersection(frame for block in blocks for frame in block.reads)
    damaged = {f for f in read if not whole(Path(plan.trimaps[f].path))}
    return replace(plan, carried=plan.carried - damaged)


def needed_plates(job: Job) -> list[int]:
    """By value: the plates the client must send, in the order they are wanted."""
    wanted = frozenset[int]().union(*(unit.plates for unit in job.units.values()))
    return sorted(wanted - (job.plates or frozenset()))


def span_order(plan: Plan, index: int, frames: tuple[int, ...], spool: Spool) -> dict[str, Any]:
    """The worker's ``span`` message for pass A."""
    span = plan.spans[index]
    return {
        "type": "span",
        "engine": dict(plan.engine),
        "frames": span.frames,
        "keyframes": {f: _plain(plan.trimaps[f]) for f in span.keyframes},
        "wanted": frames,
        "plates": {
            f: _plain(plan.plates[f]) for f in _plates_for(plan, span.frames, span.keyframes)
        },
        "into": {f: str(spool.path(Spool.trimap_name(plan.trimap_keys[f]))) for f in frames},
    }


def block_order(
    plan: Plan, index: int, frames: tuple[int, ...], doubts: Mapping[int, float]
) -> dict[str, Any]:
    """The worker's ``block`` message for pass B.

    Args:
        plan: the plan.
        index: of the block.
        frames: of it, that are wanted.
        doubts: of carried trimaps, by frame.
    """
    block = plan.blocks[index]
    outputs = plan.offer.shot.outputs
    wanted = [path for f in frames for path in plan.outputs[f].values()]
    return {
        "type": "block",
        "engine": dict(plan.engine),
        "index": block.index,
        "frames": block.frames,
        "reads": block.reads,
        "shot_frames": plan.context,
        "wanted": frames,
        "plates": {f: _plain(plan.plates[f]) for f in _plates_for(plan, block.reads, block.reads)},
        "trimaps": {f: _plain(plan.trimaps[f]) for f in block.reads},
        "guides": {
            f: {role: _plain(one) for role, one in plan.guides[f].items()}
            for f in block.reads
            if f in plan.guides
        },
        "into": {f: {layer: str(path) for layer, path in plan.outputs[f].items()} for f in frames},
        # What lies in the spool is ours by its name.
        "ours": None
        if plan.offer.by_value or plan.offer.shot.options.overwrite
        else {str(path): plan.ours[path] for path in wanted if path in plan.ours},
        "layers": outputs.layers,
        "split": outputs.split,
        "compression": outputs.compression,
        "attributes": {f: provenance(plan, f, doubts.get(f)) for f in frames},
    }


def provenance(plan: Plan, frame: int, doubt: float | None) -> dict[str, str | float]:
    """Attributes of a frame's files that are known before it is made; ``doubt`` is of its trimap,
    None if that was not carried."""
    said = plan.description
    own = {
        "dvm:engine": f"{said.get('engine', '')} {said.get('network', '')}".strip(),
        "dvm:checkpoint": str(said.get("checkpoint", "")),
        "dvm:key": plan.keys[frame],
        "dvm:missing": plan.plates[frame].missing,
        "dvm:composited_in": plan.offer.shot.plates.composited_in,
        "dvm:colourspace": plan.offer.shot.plates.colourspace,
    }
    said_of_it: dict[str, str | float] = {name: value for name, value in own.items() if value}
    if doubt is not None:
        said_of_it["dvm:doubt"] = float(doubt)
    return said_of_it


def _plates_for(plan: Plan, frames: Iterable[int], trimaps: Iterable[int]) -> list[int]:
    """Frames whose plates are read for some plates and some trimaps: those beside shapes, too."""
    beside = {one for f in trimaps for one in plan.trimaps[f].neighbours}
    return sorted({*frames, *beside})


def _files(plan: Plan, frames: Iterable[int]) -> frozenset[int]:
    """The frames whose files are read for these frames' plates."""
    return frozenset(plan.plates[f].frame for f in frames)


def _plain(source: PlateSource | TrimapSource | GuideSource) -> dict[str, Any]:
    return dict(vars(source))
