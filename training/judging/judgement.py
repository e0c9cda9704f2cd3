"""Errors of mattes and of carried trimaps by item, with the units their intervals come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from training.judging.bootstrap import Samples, samples
from training.judging.datasets import Alpha, Item
from training.judging.metrics import (
    BAND_WIDTH,
    CERTAINLY_WRONG,
    DTSSD_UNKNOWN,
    MAD_UNKNOWN,
    MIXED_RECALL,
    MSE_UNKNOWN,
    SAD_UNKNOWN,
    Mask,
    dtssd,
    mad,
    mse,
    sad,
    trimap_quality,
)

OURS = "ours"  # the convention that gates, means and the networks' tables are in
ON = " on "  # between a network and what carried its trimaps, in a method's name
TRUE = "true trimaps"
MSE, MAD, SAD, DTSSD = "MSE", "MAD", "SAD", "dtSSD"
RECALL, WIDTH, WRONG = "recall", "band width", "certainly wrong"
CONVENTIONS = {
    MSE: f"{MSE_UNKNOWN}; mean over the frames",
    MAD: f"{MAD_UNKNOWN}; mean over the frames",
    SAD: f"{SAD_UNKNOWN}; mean over the frames",
    DTSSD: DTSSD_UNKNOWN,
}
TRIMAP_CONVENTIONS = {
    RECALL: f"{MIXED_RECALL}; mean over the frames between keyframes",
    WIDTH: f"{BAND_WIDTH}; mean over the frames between keyframes that have a mixed band",
    WRONG: f"{CERTAINLY_WRONG}; mean over the frames between keyframes",
}
_BLOCK = 32

Planes = Sequence[Alpha]
PerFrame = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Row:
    """One method on one item.

    Attributes:
        item: what was judged.
        method: how it is called in tables.
        trimaps: ``every``, or where the keyframes were that trimaps were carried from.
        figures: by metric.
        note: e.g. that the method refused and something stands in for it.
        convention: whose metrics these are.
        per_frame: by metric: the figure of each frame, by its number. That of a pair stands under
            its later frame. Frames for which a metric says nothing are absent.
        missing: frames that the method has no matte of, so that its figures lack them.
        flow: what its metrics followed, where they follow anything.
    """

    item: Item
    method: str
    trimaps: str
    figures: Mapping[str, Samples] = field(default_factory=dict)
    note: str = ""
    convention: str = OURS
    per_frame: PerFrame = field(default_factory=dict)
    missing: tuple[int, ...] = ()
    flow: str = ""


def judge_mattes(
    frames: Sequence[int], alphas: Planes, truths: Planes, regions: Sequence[Mask]
) -> tuple[dict[str, Samples], PerFrame]:
    """Errors in the unknown regions; dtSSD over those of ``frames`` that follow one another.

    Args:
        frames: their numbers, or places: two that differ by 1 are neighbours.
        alphas, truths: float H×W each.
        regions: bool H×W each.

    Returns:
        By metric: the units of its figure, frames and pairs, or blocks of a single frame; and each
        frame's figure by its index, a pair's by that of its later frame.
    """
    per_frame: dict[str, dict[int, float]] = {
        name: {
            i: error(alpha, truth, region)
            for i, (alpha, truth, region) in enumerate(zip(alphas, truths, regions, strict=True))
        }
        for name, error in ((MSE, mse), (MAD, mad), (SAD, sad))
    }
    if len(frames) == 1:
        return _still(alphas[0], truths[0], regions[0]), per_frame
    pairs = neighbours(frames)
    if pairs:
        per_frame[DTSSD] = {
            i + 1: dtssd(alphas[i : i + 2], truths[i : i + 2], regions[i : i + 2]) for i in pairs
        }
    return {name: samples(list(values.values())) for name, values in per_frame.items()}, per_frame


def neighbours(places: Sequence[int]) -> list[int]:
    """The index of the first of each two that differ by 1."""
    return [i for i, (a, b) in enumerate(pairwise(places)) if b == a + 1]


def judge_trimaps(
    trimaps: Sequence[npt.NDArray[np.uint8]], truths: Planes
) -> tuple[dict[str, Samples], PerFrame]:
    """Recall of the mixed band, band width, per cent certainly wrong; a unit a frame.

    Returns:
        By metric: the units; and each frame's figure by its index. A frame without a mixed band
        has no band width.
    """
    found = [trimap_quality(trimap, truth) for trimap, truth in zip(trimaps, truths, strict=True)]
    finite = [float(np.isfinite(one.band_width)) for one in found]
    widths = [one.band_width if ok else 0.0 for one, ok in zip(found, finite, strict=True)]
    recalls, wrong = [one.mixed_recall for one in found], [one.certainly_wrong for one in found]
    figures = {
        RECALL: samples(recalls),
        WIDTH: samples(widths, finite),
        WRONG: samples(wrong),
    }
    return figures, {
        RECALL: dict(enumerate(recalls)),
        WIDTH: {i: width for i, width in enumerate(widths) if finite[i]},
        WRONG: dict(enumerate(wrong)),
    }


def _still(alpha: Alpha, truth: Alpha, region: Mask) -> dict[str, Samples]:
    """The frame's errors, cut into blocks."""
    error = np.where(region, alpha.astype(np.float64) - truth, 0.0)
    counts = _blocks(region.astype(np.float64))
    held = counts > 0
    counts = counts[held]

    def units(error_of: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Samples:
        return Samples(1e3 * _blocks(error_of(error))[held], counts)

    sums = units(np.abs)
    return {
        MSE: units(np.square),
        MAD: sums,
        # A sum over the frame: as many blocks, each drawn instead of another.
        SAD: Samples(sums.total / 1e6, np.full(len(counts), 1 / max(len(counts), 1))),
    }


def _blocks(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sums over blocks, flat."""
    rows = np.add.reduceat(plane, np.arange(0, plane.shape[0], _BLOCK), 0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, plane.shape[1], _BLOCK), 1).ravel())
