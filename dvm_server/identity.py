"""What a trimap and a matte depend on, as keys. Pure functions.

Key A of a propagated trimap: the span's plates and keyframes, the options and engine that carry.
Key B of a matte: plates and trimaps of its window and of its block's lead-in, options and engine.
Neither knows of processes, order, retries, devices or paths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from host_plugins.client.shot import canonical
from model.passes import Block, Span, blocks, spans, window

# Of an engine's description: where it ran is no part of what it made.
_ELSEWHERE = ("device", "device_name")
# Of an engine's description: what propagation does not look at.
_MATTING_ONLY = ("network", "checkpoint", "precision")


@dataclass(frozen=True)
class ShotFacts:
    """All that keys are made of.

    Attributes:
        frames: of the shot, ascending.
        context: the same with those frames of the handles that are read; empty = no handles.
        keyframes: sha256 of the painted trimap by frame.
        given: sha256 of the given trimap by frame; a painted one takes precedence.
        plates: digest of each plate of the context; of the stand-in where the plate is missing.
        guides: digests of the frame's garbage and core mattes and clean plate by role; frames
            without any are left out.
        black: frames whose plate is missing and whose matte is therefore all 0.
        causal: window t−2 … t.
        carrying: options that propagation looks at.
        matting: all options that a matte's file depends on.
        engine: the engine's description.
    """

    frames: tuple[int, ...]
    keyframes: Mapping[int, str]
    given: Mapping[int, str]
    plates: Mapping[int, str]
    guides: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    black: frozenset[int] = frozenset()
    causal: bool = False
    carrying: Mapping[str, Any] = field(default_factory=dict)
    matting: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    context: tuple[int, ...] = ()

    def all_frames(self) -> tuple[int, ...]:
        """Of the context."""
        return self.context or self.frames

    def spans(self) -> tuple[Span, ...]:
        """Trimaps are carried to those frames that a block reads."""
        unread = set(self.all_frames()) - self.read_frames()
        return spans(self.all_frames(), self.keyframes, {*self.given, *unread})

    def blocks(self) -> tuple[Block, ...]:
        return blocks(self.frames, causal=self.causal, context=self.context)

    def read_frames(self) -> set[int]:
        """Frames whose trimap a block reads."""
        return {frame for block in self.blocks() for frame in block.reads}


def trimap_keys(facts: ShotFacts) -> dict[int, str]:
    """Key A of each frame that needs a propagated trimap."""
    found: dict[int, str] = {}
    for span in facts.spans():
        plates, keyframes = _some(facts.plates, span.frames), _some(facts.keyframes, span.keyframes)
        content = digest([plates, keyframes, _carrying(facts)])
        found |= {frame: digest(["A", frame, content]) for frame in span.wanted}
    return found


def matte_keys(facts: ShotFacts) -> dict[int, str]:
    """Key B of each frame."""
    trimaps = {**facts.given, **facts.keyframes, **trimap_keys(facts)}
    options = digest([_engine(facts), dict(facts.matting), dict(facts.carrying)])
    frames = facts.all_frames()
    place = {frame: index for index, frame in enumerate(frames)}
    found: dict[int, str] = {}
    for block in facts.blocks():
        lead_in = block.reads[: block.reads.index(block.frames[0])]
        for frame in block.frames:
            # Two places either side are enough to see a shot's end, and shots may be long.
            near = frames[max(place[frame] - 2, 0) : place[frame] + 3]
            around = window(near, frame, causal=facts.causal)
            reads = [
                # Without guides a key is what it was when there were none.
                [f, facts.plates[f], trimaps.get(f, ""), *_guides(facts, f)]
                for f in dict.fromkeys((*lead_in, *around))
            ]
            found[frame] = digest(["B", frame, frame in facts.black, reads, options])
    return found


def digest(content: Any) -> str:
    """Sha256, in hex, of canonical JSON."""
    return hashlib.sha256(canonical({"of": content})).hexdigest()


def _guides(facts: ShotFacts, frame: int) -> list[dict[str, str]]:
    return [dict(facts.guides[frame])] if facts.guides.get(frame) else []


def _carrying(facts: ShotFacts) -> Any:
    engine = {name: one for name, one in _engine(facts).items() if name not in _MATTING_ONLY}
    return [engine, dict(facts.carrying)]


def _engine(facts: ShotFacts) -> dict[str, Any]:
    return {name: one for name, one in facts.engine.items() if name not in _ELSEWHERE}


def _some(digests: Mapping[int, str], frames: Iterable[int]) -> list[list[Any]]:
    return [[frame, digests[frame]] for frame in frames]
