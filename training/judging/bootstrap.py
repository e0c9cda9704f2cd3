"""Bootstrap intervals of figures that are weighted means over units: frames, pairs, blocks.

Source: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS = 1000
SEED = 20240229
ITEM_INTERVAL = (
    "[a, b] = 95 % percentile bootstrap, 1000 draws, fixed seed: over the frames of a clip (dtSSD: "
    "over its pairs), over the 32×32 blocks of a still that hold unknown pixels. Neighbouring "
    "frames and blocks are alike, so it is rather too narrow"
)
MEAN_INTERVAL = (
    "of a mean: items are drawn, and the units of each drawn item: how far it would move on other "
    "items like these"
)


@dataclass(frozen=True, eq=False)  # told apart by identity: `redrawn` remembers them
class Samples:
    """The units of a figure: its value is Σ total ÷ Σ weight (0 if no unit has weight)."""

    total: Floats
    weight: Floats

    @property
    def value(self) -> float:
        weight = float(self.weight.sum())
        return float(self.total.sum()) / weight if weight else 0.0


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def samples(totals: Sequence[float], weights: Sequence[float] | None = None) -> Samples:
    """Units that weigh 1 each, or as given."""
    total = np.asarray(totals, np.float64)
    weight = np.ones_like(total) if weights is None else np.asarray(weights, np.float64)
    return Samples(total, weight)


@lru_cache(maxsize=4096)  # a figure stands in several tables, means and ratios
def redrawn(units: Samples, name: str) -> Floats:
    """The figure from `DRAWS` resamples; not to be written into.

    Args:
        units: as many as there are.
        name: of the item: two methods' figures of one item, with the same units, are drawn alike,
            so that their ratio can be taken draw by draw.
    """
    count = len(units.total)
    if count == 0:
        return np.zeros(DRAWS)
    rng = np.random.default_rng((SEED, zlib.crc32(name.encode()), count))
    chosen = rng.integers(count, size=(DRAWS, count))
    weight = units.weight[chosen].sum(1)
    return np.asarray(
        np.divide(
            units.total[chosen].sum(1), weight, out=np.full(DRAWS, units.value), where=weight > 0
        )
    )


def figure(units: Samples, name: str) -> Figure:
    return _figure(units.value, redrawn(units, name))


def mean(items: Mapping[str, Samples]) -> Figure:
    """The mean over items, each counting once."""
    return _figure(_mean_value(items), _mean_draws(items))


def ratio(ours: Mapping[str, Samples], theirs: Mapping[str, Samples]) -> Figure:
    """The ratio of two means over the same items, drawn alike. Infinite if theirs is 0.

    Raises:
        ValueError: the items differ.
    """
    if list(ours) != list(theirs):
        raise ValueError("a ratio of means is over the same items")
    value = _divided(np.array([_mean_value(ours)]), np.array([_mean_value(theirs)]))[0]
    return _figure(float(value), _divided(_mean_draws(ours), _mean_draws(theirs)))


def _mean_value(items: Mapping[str, Samples]) -> float:
    return float(np.mean([units.value for units in items.values()])) if items else 0.0


def _mean_draws(items: Mapping[str, Samples]) -> Floats:
    if not items:
        return np.zeros(DRAWS)
    drawn = np.stack([redrawn(units, name) for name, units in items.items()])
    if len(items) == 1:
        return np.asarray(drawn[0])
    chosen = np.random.default_rng((SEED, len(items))).integers(
        len(items), size=(len(items), DRAWS)
    )
    return np.asarray(np.take_along_axis(drawn, chosen, 0).mean(0))


def _divided(ours: Floats, theirs: Floats) -> Floats:
    """Both are 0 or more; what is no number stays none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = ours / theirs
    return np.where((ours == 0) & (theirs == 0), 1.0, found)


def _figure(value: float, draws: Floats) -> Figure:
    # Nearest draws: what lies between infinity and a number is no number.
    low, high = np.quantile(draws, (0.025, 0.975), method="nearest")
    return Figure(value, float(low), float(high))
