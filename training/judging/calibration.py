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

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from model.plates.atomic import write_bytes
from training.report.svg import BAR, FAINT, GRID, INK, STYLES, beside, rule, svg, text

Floats = npt.NDArray[np.floating]

NEAR = 0.1
BINS = 10
STEPS = 50
_SIDE, _LEFT, _TOP, _BARS = 240, 36, 28, 44
DIAGRAM_SIZE = (_LEFT + _SIDE + 16, _TOP + _SIDE + _BARS + 50)  # of a drawing, pixels
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
    """Draw reliability diagrams side by side.

    Args:
        path: of an SVG; its folder exists.
        tables: by name of the method; at least one.

    Raises:
        InputError: ``input.output_unwritable``. CapacityError: ``capacity.disk_full``.
    """
    drawings = [diagram(name, table) for name, table in tables.items()]
    drawn = beside(drawings, DIAGRAM_SIZE, "reliability diagrams")
    write_bytes(path, drawn.encode())


def diagram(name: str, table: Reliability) -> Markup:
    """A reliability diagram: claimed to the right, what came true upwards, shares of pixels below.

    Args:
        name: of the method.
        table: what it claimed.

    Returns:
        An ``svg`` element of `DIAGRAM_SIZE`.
    """

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x * _SIDE, _TOP + (1 - y) * _SIDE

    parts = [text(_LEFT, 16, f"{name}: ECE {table.error:.3f}", colour=INK)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts += [rule(*at(0, tick), *at(1, tick), GRID), rule(*at(tick, 0), *at(tick, 1), GRID)]
        parts.append(text(_LEFT - 5, at(0, tick)[1] + 4, f"{tick:g}", "end"))
        parts.append(text(at(tick, 0)[0], _TOP + _SIDE + 14, f"{tick:g}", "middle"))
    parts.append(rule(*at(0, 0), *at(1, 1), FAINT))
    rows = [row for row in zip(table.share, table.claimed, table.true, strict=True) if row[0] > 0]
    colour = STYLES[1][0]
    for (_, *before), (_, *after) in pairwise(rows):
        parts.append(rule(*at(*before), *at(*after), colour))
    for share, claimed, true in rows:
        told = f"claimed {claimed:.2f}, came true {true:.2f}: {share:.1%} of the pixels"
        parts.append(
            Markup(
                '<circle cx="{:.1f}" cy="{:.1f}" r="4" fill="{}"><title>{}</title></circle>'
            ).format(*at(claimed, true), colour, told)
        )
    for place, share in enumerate(table.share):
        tall = _BARS * share
        parts.append(
            Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}"/>').format(
                _LEFT + place * _SIDE / BINS + 1,
                _TOP + _SIDE + 22 + _BARS - tall,
                _SIDE / BINS - 2,
                tall,
                BAR,
            )
        )
    foot = "→ claimed  ↑ came true  bars: share of pixels"
    parts.append(text(_LEFT, DIAGRAM_SIZE[1] - 6, foot))
    return svg(
        DIAGRAM_SIZE, f"{name}: claimed confidence against what came true", parts, natural=True
    )
