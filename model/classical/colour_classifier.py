"""How likely a colour is in the foreground or the background, here and anywhere.

Histograms over place and colour: coarse cells of the picture times bins of CIE Lab, blurred over
both. So a colour counts where it was seen and near it, and every place has a classifier of its own,
as in X. Bai, J. Wang, D. Simons, G. Sapiro, "Video SnapCut", SIGGRAPH 2009; the grid of places and
colours is that of N. Märki et al., "Bilateral Space Video Segmentation", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from model.classical.filters import (
    Image,
    Mask,
    also_on_card,
    arrays,
    card,
    floats,
    is_on_card,
)

Bins = npt.NDArray[np.int64]

_STEPS = 16  # bins along each axis of Lab
_BINS = _STEPS**3
_PRIOR = 200.0  # samples that the picture-wide model counts as in each place
_ANYWHERE = 0.1  # share of colours that come from anywhere in the picture
_NEIGHBOUR = (0.5, 1.0, 0.5)  # weight of the next cell along each axis of the picture
_BLUR = (0.25, 0.5, 0.25)  # and of the next bin along each axis of colour
_ALONG = (_NEIGHBOUR, _NEIGHBOUR, _BLUR, _BLUR, _BLUR)


@also_on_card(card.scaled_lab)
def lab(picture: Image) -> Image:
    """sRGB-encoded H×W×3 in 0…1 → CIE Lab, scaled so that common colours lie in 0…1."""
    found = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2Lab), np.float32)
    # By whole rows: numpy is slow with three numbers at a time.
    rows = found.reshape(len(found), -1)
    rows += np.tile(np.array([0, 64, 64], np.float32), picture.shape[1])
    rows /= np.tile(np.array([100, 128, 128], np.float32), picture.shape[1])
    return found


def bins(colours: Image) -> Bins:
    """The bin of each pixel, H×W; colours beyond 0…1 fall into the outermost."""
    of = arrays(colours)
    steps = of.clip(of.asarray(colours * _STEPS, dtype=of.int32), 0, _STEPS - 1)
    found = (steps[..., 0] * _STEPS + steps[..., 1]) * _STEPS + steps[..., 2]
    numbers: Bins = of.asarray(found, dtype=of.int64)
    return numbers


def whole_model(samples: Iterable[tuple[Bins, Mask]]) -> Image:
    """The picture-wide share of each bin, from one or more pictures.

    Each gives its bins and the mask of those that count. Sums to 1; all zero if none does.
    """
    counts = np.zeros(_BINS)
    for where, counted in samples:
        counts += np.bincount(where.ravel(), counted.ravel(), _BINS)
    model = _blurred(counts.reshape(1, 1, _STEPS, _STEPS, _STEPS)).ravel()
    return model / np.float32(max(float(model.sum()), 1e-6))


@dataclass(frozen=True)
class Places:
    """The coarse cells of a picture: ``rows`` × ``columns`` pixels in squares of ``cell``."""

    rows: int
    columns: int
    cell: int

    def density(self, seen: Bins, weight: Image, whole: Image, colours: Bins) -> Image:
        """Probability density of each pixel's colour, H×W, per unit of scaled Lab volume.

        Args:
            seen: bins of the samples, H×W, each at its place.
            weight: H×W, how much each sample counts.
            whole: the `whole_model` that stands in where few samples are near.
            colours: bins to judge, H×W, each by the samples around its place.
        """
        cells = _cells_beside(self, whole)
        first = cells * _BINS
        down, right = self._shape
        sums = _weighted_counts(first + seen, weight, down * right * _BINS)
        counts = _blurred(sums.reshape(down, right, _STEPS, _STEPS, _STEPS))
        total = counts.sum((2, 3, 4)).ravel()[cells]
        common = whole[colours]
        local = (counts.ravel()[first + colours] + _PRIOR * common) / (total + _PRIOR)
        share = (1 - _ANYWHERE) * local + _ANYWHERE * common
        return floats(share * _BINS)

    @property
    def _shape(self) -> tuple[int, int]:
        """Cells down and right."""
        return -(-self.rows // self.cell), -(-self.columns // self.cell)

    @cached_property
    def cells(self) -> Bins:
        """The number of each pixel's cell, H×W."""
        down, right = (np.arange(count) // self.cell for count in (self.rows, self.columns))
        return down[:, None] * self._shape[1] + right


def _cells_beside(places: Places, image: Image) -> Bins:
    """The number of each pixel's cell, where an image is."""
    if is_on_card(image):
        cells: Bins = _cells_on(places, image.device)
        return cells
    return places.cells


@cache  # for good: see `filters_on_card`
def _cells_on(places: Places, device: torch.device) -> Any:
    return torch.from_numpy(places.cells).to(device)


@also_on_card(card.weighted_counts)
def _weighted_counts(which: Bins, weight: Image, count: int) -> npt.NDArray[np.float64]:
    """How much weight (0…1) each of ``count`` numbers has."""
    return np.asarray(np.bincount(which.ravel(), weight.ravel(), count), np.float64)


def _blurred(counts: npt.NDArray[np.float64]) -> Image:
    """Along all axes. Most colours are seen nowhere: what stays 0 is left out."""
    if is_on_card(counts):
        smoothed: Image = card.smoothed(counts, _ALONG)
        return smoothed
    found = np.zeros(counts.shape, np.float32)
    used = _around(counts)
    blurred = counts[used].astype(np.float32)
    for axis, weights in enumerate(_ALONG):
        blurred = ndimage.correlate1d(blurred, weights, axis=axis, mode="constant")
    found[used] = blurred
    return found


def _around(counts: npt.NDArray[np.float64]) -> tuple[slice, ...]:
    """The box of what is not 0 and its neighbours; all if nothing is."""
    seen = counts > 0
    if not seen.any():
        return (slice(None),) * counts.ndim
    found = []
    for axis in range(counts.ndim):
        others = tuple(other for other in range(counts.ndim) if other != axis)
        where = np.flatnonzero(seen.any(others))
        found.append(slice(max(0, where[0] - 1), where[-1] + 2))
    return tuple(found)
