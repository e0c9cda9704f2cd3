"""Which frame is best painted next: from how sure the carried trimaps are.

A trimap is carried from a keyframe from frame to frame, and what one step loses, all later frames
lack. So the doubt of frames grows with the distance from their keyframes, fast over steps where
much is lost and hardly where little moves. Those losses are read from the doubts; then every frame
is tried as a new keyframe: it cuts its span in two, and each frame is as doubtful as the losses
between it and the nearer keyframe add up to, but a quarter of that between two keyframes, for what
one way loses the other one knows. The frame that takes away most is suggested. That is
nine tenths of the way into a tail where losses are even, the middle of such a span between two
keyframes, and not before a step that loses much, if more than a few frames come after it.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from model.plates.plate import Trimap

Floats = npt.NDArray[np.float64]

# Samples along the wider side: a statistic needs no more.
_SAMPLES = 320
# How far around the unknown confidence counts, as a share of the wider side.
_NEAR = 0.03
# Of a frame's pixels, so many are as sure as the frame's surest.
_SUREST = 0.1
# Frames of a span that are tried at most, evenly chosen: a shot may have ten thousand.
_TRIED = 256
# How much of the doubt is left where trimaps are carried both ways, against one way. Measured on
# synthetic clips of 24 frames: with a keyframe at the last frame too, what is certainly wrong falls
# to a fifth or less where anything was.
_BOTH_WAYS = 0.25
# Doubt tells of some losses late or not at all, and stops growing where much is lost already. So
# this share of it is taken to have been lost evenly.
_EVENLY = 0.5
# What a new keyframe must take off the doubt of its span's frames, in the mean.
LEAST = 0.005


def doubt_of(trimap: Trimap) -> float:
    """How doubtful a carried trimap is, 0…1.

    What confidence lacks of that of the frame's surest pixels, mean over the unknown and what is
    near it: elsewhere little can go wrong, and there is much of it. Some propagation loses
    confidence evenly over the whole frame, step by step; that tells nothing, and is left out.

    0 for painted and given trimaps, which have no confidence, and where nothing is unknown.
    """
    if trimap.confidence is None:
        return 0.0
    step = max(1, round(max(trimap.pixels.shape) / _SAMPLES))
    unknown = trimap.pixels[::step, ::step] == 128
    confidence = trimap.confidence[::step, ::step].astype(np.float64)
    near = _grown(unknown, round(_NEAR * max(unknown.shape)))
    surest = np.quantile(confidence, 1 - _SUREST)
    if not near.any():
        return 0.0
    if surest == 0:
        return 1.0
    return float(np.maximum(1 - confidence[near] / surest, 0).mean())


def suggest_keyframe(doubts: Mapping[int, float], keyframes: Collection[int]) -> int | None:
    """The frame whose trimap, if painted, is expected to help the others most.

    Args:
        doubts: of each frame with a carried trimap, see `doubt_of`.
        keyframes: the frames that are painted; doubts of theirs are not looked at.

    Returns:
        A frame of ``doubts``; the earliest of equals. None if no frame would take off `LEAST`, or
        nothing was carried.
    """
    painted = sorted(set(keyframes))
    carried = sorted(set(doubts) - set(painted))
    cuts = [0, *(bisect(carried, key) for key in painted), len(carried)]
    found: int | None = None
    most = 0.0
    for i, (first, end) in enumerate(pairwise(cuts)):
        span = carried[first:end]
        sides = i > 0, i < len(painted)  # is there a keyframe to its left, and to its right
        if not span or not any(sides):
            continue
        gains = _gains(_losses([doubts[f] for f in span], *sides), *sides)
        best = max(gains, key=gains.__getitem__)
        if gains[best] > most and gains[best] >= LEAST * len(span):
            found, most = span[best], gains[best]
    return found


def _losses(doubts: Sequence[float], left: bool, right: bool) -> list[float]:
    """What is lost on the step before each frame of a span, and on the one after the last.

    Frames count for the nearer keyframe. Towards it doubt should fall; where it does not, a frame
    is hard by itself, and no keyframe elsewhere would help it: such frames are evened out.
    """
    count = len(doubts)
    half = count if not right else 0 if not left else (count + 1) // 2
    ahead = _rising(doubts[:half])
    behind = _rising(doubts[half:][::-1])
    forward = [b - a for a, b in pairwise([0.0, *ahead])]
    backward = [b - a for a, b in pairwise([0.0, *behind])][::-1]
    if not left or not right:
        # Beyond the last frame of an open end there is nothing to be carried to.
        steps = _evened(forward if left else backward)
        return [*steps, 0.0] if left else [0.0, *steps]
    # The step where both meet was taken by neither: it is as the others.
    between = (sum(forward) + sum(backward)) / count
    return _evened([*forward, between, *backward])


def _evened(losses: Sequence[float]) -> list[float]:
    """The same sum, part of it spread over all."""
    mean = sum(losses) / len(losses)
    return [(1 - _EVENLY) * one + _EVENLY * mean for one in losses]


def _gains(losses: Sequence[float], left: bool, right: bool) -> dict[int, float]:
    """How much doubt frames of a span, by index, would take off as keyframes, summed over all."""
    sums = np.array([0.0, *accumulate(losses)])
    at = sums[1:-1]
    from_left = at if left else np.full_like(at, np.inf)
    from_right = sums[-1] - at if right else np.full_like(at, np.inf)
    now = np.minimum(from_left, from_right)
    step = -(-len(at) // _TRIED)
    return {
        i: float((now - _after(at, i, from_left, from_right, left and right)).clip(min=0).sum())
        for i in range(step // 2, len(at), step)
    }


def _after(at: Floats, new: int, from_left: Floats, from_right: Floats, is_closed: bool) -> Floats:
    """The doubt of a span's frames once the one of index ``new`` is a keyframe.

    In a span between two keyframes doubts were seen with both ways blended already, and stay on
    that scale; in an open one, frames that come to lie between two get theirs down.
    """
    nearer: Floats = np.minimum(np.minimum(from_left, from_right), np.abs(at - at[new]))
    if is_closed:
        return nearer
    index = np.arange(len(at))
    between = index < new if np.isfinite(from_left).all() else index > new
    return nearer * np.where(between, _BOTH_WAYS, 1.0)


def _rising(values: Sequence[float]) -> list[float]:
    """The nearest sequence, in the sense of least squares, that never falls.

    Source: pooling adjacent violators; R. Barlow et al., "Statistical Inference under Order
    Restrictions", 1972.
    """
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    return [mean for mean, count in pools for _ in range(count)]


def _grown(region: npt.NDArray[np.bool_], radius: int) -> npt.NDArray[np.bool_]:
    """By ``radius`` pixels in the chessboard distance."""
    for axis in (0, 1):
        padded = np.pad(region, [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)])
        total = np.cumsum(padded, axis)
        size = 2 * radius + 1
        wide = np.take(total, range(size, total.shape[axis]), axis)
        region = wide > np.take(total, range(total.shape[axis] - size), axis)
    return region
