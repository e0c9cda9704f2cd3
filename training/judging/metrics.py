"""Metrics of mattes and of trimaps.

"MSE", "SAD" and "dtSSD" name at least five different quantities in the field, so every function
here has its convention as a string, and a table prints the strings of the columns it shows.

All arrays are numpy: alphas float in 0…1, H×W; trimaps uint8, H×W, 0 background, 128 unknown, 255
foreground (all that lies strictly between 0 and 255 is unknown). A clip is a sequence of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

MSE_UNKNOWN = "MSE ×10³, mean over the unknown region (0 < trimap < 255) of a frame, alpha in 0…1"
MSE_WHOLE = "MSE ×10³, mean over the whole frame, alpha in 0…1"
SAD_UNKNOWN = "SAD ÷10³, sum over the unknown region (0 < trimap < 255) of a frame, alpha in 0…1"
SAD_WHOLE = "SAD ÷10³, sum over the whole frame, alpha in 0…1"
MAD_UNKNOWN = "MAD ×10³, mean over the unknown region (0 < trimap < 255) of a frame, alpha in 0…1"
MAD_WHOLE = "MAD ×10³, mean over the whole frame, alpha in 0…1"
DTSSD_UNKNOWN = (
    "dtSSD = 100·sqrt(mean of ((p1−p0)−(g1−g0))²) over the pixels unknown in either frame of a "
    "pair of neighbours, mean over the pairs, no motion compensation"
)
DTSSD_WHOLE = (
    "dtSSD = 100·sqrt(mean of ((p1−p0)−(g1−g0))²) over the whole frame for a pair of neighbours, "
    "mean over the pairs, no motion compensation"
)
MIXED_RECALL = (
    "recall = share of the truly mixed band (0.02 < true alpha < 0.98, grown by 2 px in the "
    "chessboard distance) that the trimap calls unknown"
)
BAND_WIDTH = (
    "band width = unknown pixels ÷ pixels of the truly mixed band (0.02 < true alpha < 0.98, grown "
    "by 2 px in the chessboard distance)"
)
CERTAINLY_WRONG = (
    "certainly wrong = per cent of the frame's pixels where the trimap says 255 and true alpha < "
    "0.95, or the trimap says 0 and true alpha > 0.05"
)


def unknown_region(trimap: npt.NDArray[np.uint8]) -> Mask:
    """Where the trimap is neither 0 nor 255."""
    return (trimap > 0) & (trimap < 255)


def difference(alpha: FloatImage, truth: FloatImage) -> npt.NDArray[np.float64]:
    """alpha − truth, in float64. Raises ValueError on shapes that differ."""
    if alpha.shape != truth.shape:
        raise ValueError(f"alpha {alpha.shape} and truth {truth.shape} differ in shape")
    return alpha.astype(np.float64) - truth.astype(np.float64)


def mse(alpha: FloatImage, truth: FloatImage, region: Mask | None = None) -> float:
    """Convention: `MSE_UNKNOWN` with ``region=unknown_region(trimap)``, `MSE_WHOLE` without.

    An empty region has no error: 0. Raises ValueError on shapes that differ.
    """
    error = _error(alpha, truth, region)
    return float(np.mean(error**2)) * 1e3 if error.size else 0.0


def mad(alpha: FloatImage, truth: FloatImage, region: Mask | None = None) -> float:
    """Convention: `MAD_UNKNOWN` with ``region=unknown_region(trimap)``, `MAD_WHOLE` without."""
    error = _error(alpha, truth, region)
    return float(np.mean(np.abs(error))) * 1e3 if error.size else 0.0


def sad(alpha: FloatImage, truth: FloatImage, region: Mask | None = None) -> float:
    """Convention: `SAD_UNKNOWN` with ``region=unknown_region(trimap)``, `SAD_WHOLE` without."""
    return float(np.sum(np.abs(_error(alpha, truth, region)))) / 1e3


def dtssd(
    alphas: Sequence[FloatImage],
    truths: Sequence[FloatImage],
    regions: Sequence[Mask] | None = None,
) -> float:
    """Convention: `DTSSD_UNKNOWN` with one unknown region per frame, `DTSSD_WHOLE` without.

    With ρ the correlation of errors between neighbours, dtSSD² = 2·10⁴·mean squared error·(1−ρ):
    errors that stay where they are cost nothing. A pair without unknown pixels counts 0; fewer than
    two frames give 0.

    Raises:
        ValueError: the sequences or two arrays differ in length or shape.
    """
    count = len(alphas)
    if len(truths) != count or (regions is not None and len(regions) != count):
        raise ValueError(f"{count} alphas, {len(truths)} truths and their regions must match")
    pairs = [
        _pair_dtssd(
            difference(alphas[t], truths[t]),
            difference(alphas[t + 1], truths[t + 1]),
            None if regions is None else regions[t] | regions[t + 1],
        )
        for t in range(count - 1)
    ]
    return float(np.mean(pairs)) if pairs else 0.0


def mixed_band(truth: FloatImage, grow: int = 2) -> Mask:
    """The truly mixed pixels (0.02 < alpha < 0.98), grown by ``grow`` in chessboard distance."""
    mixed = (truth > 0.02) & (truth < 0.98)
    for axis in (0, 1):
        grown = mixed.copy()
        for step in range(1, min(grow, mixed.shape[axis] - 1) + 1):
            before, after = [slice(None)] * 2, [slice(None)] * 2
            before[axis], after[axis] = slice(None, -step), slice(step, None)
            grown[tuple(before)] |= mixed[tuple(after)]
            grown[tuple(after)] |= mixed[tuple(before)]
        mixed = grown
    return mixed


@dataclass(frozen=True)
class TrimapQuality:
    """How good a propagated trimap is against the true alpha.

    Attributes:
        mixed_recall: 0…1, more is better; convention `MIXED_RECALL`; 1 if nothing is mixed.
        band_width: 1 = as narrow as possible; convention `BAND_WIDTH`; infinite if nothing is
            mixed but something is unknown, 1 if neither.
        certainly_wrong: per cent of the frame's pixels; convention `CERTAINLY_WRONG`.
    """

    mixed_recall: float
    band_width: float
    certainly_wrong: float


def trimap_quality(trimap: npt.NDArray[np.uint8], truth: FloatImage) -> TrimapQuality:
    """Judge one trimap. Raises ValueError on shapes that differ."""
    if trimap.shape != truth.shape:
        raise ValueError(f"trimap {trimap.shape} and true alpha {truth.shape} differ in shape")
    unknown = unknown_region(trimap)
    band = mixed_band(truth)
    mixed = int(np.count_nonzero(band))
    wrong = ((trimap == 255) & (truth < 0.95)) | ((trimap == 0) & (truth > 0.05))
    if mixed:
        width = float(np.count_nonzero(unknown) / mixed)
    else:
        width = float("inf") if unknown.any() else 1.0
    return TrimapQuality(
        mixed_recall=float(np.mean(unknown[band])) if band.any() else 1.0,
        band_width=width,
        certainly_wrong=100.0 * float(np.mean(wrong)),
    )


def _error(alpha: FloatImage, truth: FloatImage, region: Mask | None) -> npt.NDArray[np.float64]:
    error = difference(alpha, truth)
    if region is None:
        return error.ravel()
    if region.shape != error.shape:
        raise ValueError(f"region {region.shape} and alpha {error.shape} differ in shape")
    return error[region]


def _pair_dtssd(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], region: Mask | None
) -> float:
    change = second - first
    inside = change.ravel() if region is None else change[region]
    return 100.0 * float(np.sqrt(np.mean(inside**2))) if inside.size else 0.0
