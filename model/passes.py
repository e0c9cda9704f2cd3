"""Arithmetic of the two passes: spans between keyframes, fixed blocks, windows of neighbours.

Frames are an ordered tuple of frame numbers (a shot may step by two); "two frames before" means
two places
before in that tuple. Nothing here depends on process count, order or retries, so neither do mattes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

BLOCK_LENGTH = 16
REACH = 2  # of a window, before and after its frame


@dataclass(frozen=True)
class Span:
    """A run of frames whose trimaps are carried from the same one or two keyframes.

    Attributes:
        frames: every frame of the run in order, the keyframes at its ends included.
        keyframes: the frames with an artist's trimap in it: both ends, or one end at a shot's
            start or end.
        wanted: the frames that need a propagated trimap.
    """

    frames: tuple[int, ...]
    keyframes: tuple[int, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """Sixteen frames counted from the shot's first frame: the unit of matting, of retries and of
    warm starts.

    Attributes:
        index: 0 for the shot's first sixteen frames.
        frames: the frames of the block, in order.
        reads: every frame whose plate and trimap the block may read (the frames and their windows).
    """

    index: int
    frames: tuple[int, ...]
    reads: tuple[int, ...]


def spans(
    frames: Sequence[int], keyframes: Collection[int], given: Collection[int] = ()
) -> tuple[Span, ...]:
    """Cut a shot at its keyframes.

    Args:
        frames: the shot's frames, ascending.
        keyframes: frames with an artist's trimap; those outside of ``frames`` are ignored.
        given: frames that have a trimap of their own already; they are not propagated to.

    Returns:
        One span for each stretch that has at least one frame to propagate to. Empty if there is no
        keyframe.
    """
    order = tuple(frames)
    keys = [i for i, f in enumerate(order) if f in set(keyframes)]
    if not keys:
        return ()
    cuts: list[tuple[int, int, tuple[int, ...]]] = []
    if keys[0] > 0:
        cuts.append((0, keys[0], (order[keys[0]],)))
    for a, b in pairwise(keys):
        cuts.append((a, b, (order[a], order[b])))
    if keys[-1] < len(order) - 1:
        cuts.append((keys[-1], len(order) - 1, (order[keys[-1]],)))
    skip = set(keyframes) | set(given)
    found = []
    for a, b, ends in cuts:
        run = order[a : b + 1]
        wanted = tuple(f for f in run if f not in skip)
        if wanted:
            found.append(Span(run, ends, wanted))
    return tuple(found)


def window(frames: Sequence[int], frame: int, *, causal: bool = False) -> tuple[int, ...]:
    """The frames the matte of ``frame`` depends on: t−2 … t+2 (t−2 … t if causal), repeated at
    shot ends."""
    order = tuple(frames)
    t = order.index(frame)
    last = len(order) - 1
    return tuple(order[min(max(t + d, 0), last)] for d in range(-REACH, 1 if causal else REACH + 1))


def blocks(
    frames: Sequence[int], *, causal: bool = False, context: Sequence[int] = ()
) -> tuple[Block, ...]:
    """Cut a shot into blocks of ``BLOCK_LENGTH`` frames; keyframes have no say in it.

    Args:
        frames: the shot's, ascending. Blocks are counted from the first of them.
        causal: windows look back only.
        context: the same frames with those of the handles, from `with_handles`; empty = no handles.
    """
    order, context = tuple(frames), tuple(context) or tuple(frames)
    lead = context.index(order[0]) if order else 0
    found = []
    for index, start in enumerate(range(0, len(order), BLOCK_LENGTH)):
        part = order[start : start + BLOCK_LENGTH]
        after = 0 if causal else REACH
        first = lead + start
        reads = context[max(first - REACH, 0) : first + len(part) + after]
        found.append(Block(index, part, reads))
    return tuple(found)


def with_handles(
    frames: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    keyframes: Collection[int],
    *,
    causal: bool = False,
) -> tuple[int, ...]:
    """A shot's frames and those of its handles that anything reads: windows reach two frames out,
    and trimaps are carried from keyframes in the handles, the outermost included.

    Args:
        frames: the shot's, ascending.
        before, after: its handles, ascending.
        keyframes: frames with an artist's trimap.
        causal: windows look back only.
    """
    order, keys = tuple(frames), set(keyframes)
    ahead = [place for place, frame in enumerate(reversed(before), 1) if frame in keys]
    behind = [place for place, frame in enumerate(after, 1) if frame in keys]
    lead = max([REACH, *ahead])
    tail = max([0 if causal else REACH, *behind])
    return (*tuple(before)[max(len(before) - lead, 0) :], *order, *tuple(after)[:tail])
