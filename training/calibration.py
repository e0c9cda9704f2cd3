"""Whether a confidence says what it claims.

The confidence of an unknown pixel is the probability that its alpha is at most 0.1 from the truth.
A reliability table holds that against how often it is so; sparsification asks whether the least
confident pixels are the worst ones.

Sources: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (expected calibration
error); E. Ilg et al., "Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow", ECCV
2018 (sparsification, AUSE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

NEAR = 0.1
BINS = 10
STEPS = 50
CONFIDENCE = "confidence = the probability that |alpha − truth| ≤ 0.1 at an unknown pixel"
ECE = (
    "ECE = mean over the unknown pixels of |share that is near − mean confidence| of their bin (10 "
    "bins); every item counts once"
)
AUSE = (
    "AUSE = area between two curves over the share of unknown pixels left out, 0…1: MAE of the "
    "rest when the least confident go first, less MAE of the rest when those of largest error do, "
    "both over the MAE of all; 0 = confidence ranks as the error itself; equal confidences count "
    "in every order alike"
)


@dataclass(frozen=True)
class Reliability:
    """What was claimed and what came true, by bins of confidence of equal width.

    Attributes:
        share: of all pixels that fall into each bin; sums to 1 (0 if there are no pixels).
        claimed: their mean confidence.
        true: their share within 0.1 of the truth.
    """

    share: tuple[float, ...]
    claimed: tuple[float, ...]
    true: tuple[float, ...]

    @property
    def error(self) -> float:
        """Expected calibration error, 0…1. Convention: `ECE`."""
        rows = zip(self.share, self.claimed, self.true, strict=True)
        return sum(share * abs(claimed - true) for share, claimed, true in rows)


def reliability(items: Sequence[tuple[Floats, Floats]]) -> Reliability:
    """The table of several items, each counting once.

    Args:
        items: confidence and absolute error of each item's unknown pixels, both flat, equal length.

    Raises:
        ValueError: two arrays of an item differ in length.
    """
    sums = np.zeros((3, BINS))
    counted = 0
    for confidence, error in items:
        if confidence.shape != error.shape:
            raise ValueError(f"{confidence.shape} confidences and {error.shape} errors differ")
        if not confidence.size:
            continue
        counted += 1
        which = np.minimum((confidence * BINS).astype(int), BINS - 1)
        near = np.asarray(error <= NEAR, np.float64)
        for row, values in enumerate((None, confidence.astype(np.float64), near)):
            sums[row] += np.bincount(which, values, BINS) / confidence.size
    share = sums[0] / max(counted, 1)
    held = np.where(sums[0] > 0, sums[0], 1)
    return Reliability(
        tuple(map(float, share)),
        tuple(map(float, sums[1] / held)),
        tuple(map(float, sums[2] / held)),
    )


def ause(confidence: Floats, error: Floats) -> float:
    """Convention: `AUSE`; 0 if there is no error at all.

    Args:
        confidence: of the unknown pixels, flat.
        error: their absolute error, as long.

    Raises:
        ValueError: they differ in length.
    """
    if confidence.shape != error.shape:
        raise ValueError(f"{confidence.shape} confidences and {error.shape} errors differ")
    if not error.size or float(error.sum()) == 0:
        return 0.0
    ours, best = sparsification(confidence, error), sparsification(-error, error)
    return float(np.trapezoid(ours - best, dx=1 / STEPS))


def sparsification(rank: Floats, error: Floats) -> npt.NDArray[np.float64]:
    """MAE of what is left over the MAE of all, when shares 0, 1/50 … 1 of lowest rank are left out.

    What is left of nothing has the error of the last pixels that were. Pixels of equal rank each
    take the mean error of all that share it.
    """
    rank, error = rank.ravel(), error.ravel().astype(np.float64)
    _, group = np.unique(rank, return_inverse=True)
    count = np.bincount(group)
    level = (np.bincount(group, error) / count)[group]
    ordered = level[np.argsort(-rank, kind="stable")]  # the best first
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    kept = np.rint(np.linspace(1, 0, STEPS + 1) * len(ordered)).astype(int).clip(1)
    whole = means[-1]
    return np.asarray(means[kept - 1] / whole if whole else np.zeros(STEPS + 1))


def write_diagram(path: Path, tables: Mapping[str, Reliability]) -> None:
    """Draw reliability diagrams side by side: claimed to the right, true upwards, shares below.

    Args:
        path: of a PNG; its folder exists.
        tables: by name of the method; at least one.
    """
    cells = [_diagram(name, table) for name, table in tables.items()]
    done, data = cv2.imencode(".png", np.hstack(cells))
    if not done:
        raise RuntimeError("OpenCV cannot encode a PNG")
    path.write_bytes(data.tobytes())


def _diagram(name: str, table: Reliability) -> npt.NDArray[np.uint8]:
    side, left, top, foot = 300, 44, 36, 96
    cell = np.full((top + side + foot, left + side + 20, 3), 255, np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(left + x * side), round(top + (1 - y) * side)

    cv2.rectangle(cell, at(0, 1), at(1, 0), (200, 200, 200), 1)
    cv2.line(cell, at(0, 0), at(1, 1), (180, 180, 180), 1, cv2.LINE_AA)
    points = [
        at(claimed, true)
        for share, claimed, true in zip(table.share, table.claimed, table.true, strict=True)
        if share > 0
    ]
    for i, share in enumerate(table.share):
        x, y = left + round(i * side / BINS), top + side + 24
        cv2.rectangle(
            cell, (x + 2, y), (x + side // BINS - 2, y + round(share * 44)), (210, 160, 90), -1
        )
    for before, after in pairwise(points):
        cv2.line(cell, before, after, (160, 70, 20), 2, cv2.LINE_AA)
    for point in points:
        cv2.circle(cell, point, 4, (160, 70, 20), -1, cv2.LINE_AA)
    _write(cell, f"{name}: ECE {table.error:.3f}", (left, 22))
    _write(cell, "claimed 0 ... 1, share of pixels", (left, top + side + 16))
    _write(cell, "1", (left - 20, top + 8))
    _write(cell, "true", (4, top + side // 2))
    return cell


def _write(cell: npt.NDArray[np.uint8], text: str, place: tuple[int, int]) -> None:
    cv2.putText(cell, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
