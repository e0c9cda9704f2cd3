"""How likely a colour is in the foreground or the background, here and anywhere.

Histograms over place and colour: coarse cells of the picture times bins of CIE Lab, blurred over
both. So a colour counts where it was seen and near it, and every place has a classifier of its own,
as in X. Bai, J. Wang, D. Simons, G. Sapiro, "Video SnapCut", SIGGRAPH 2009; the grid of places and
colours is that of N. Märki et al., "Bilateral Space Video Segmentation", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from model.classical.filters import Image, Mask

Bins = npt.NDArray[np.int64]

_STEPS = 16  # bins along each axis of Lab
_BINS = _STEPS**3
_PRIOR = 200.0  # samples that the picture-wide model counts as in each place
_ANYWHERE = 0.1  # share of colours that come from anywhere in the picture
_NEIGHBOUR = (0.5, 1.0, 0.5)  # weight of the next cell along each axis of the picture
_BLUR = (0.25, 0.5, 0.25)  # and of the next bin along each axis of colour


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
    steps = np.clip((colours * _STEPS).astype(np.int32), 0, _STEPS - 1)
    found = (steps[..., 0] * _STEPS + steps[..., 1]) * _STEPS + steps[..., 2]
    return found.astype(np.int64)


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
        down, right = self._shape
        first = self._cells * _BINS
        sums = np.bincount((first + seen).ravel(), weight.ravel(), down * right * _BINS)
        sums = sums.reshape(down, right, _STEPS, _STEPS, _STEPS)
        counts = _blurred(np.asarray(sums, np.float64))
        total = counts.sum((2, 3, 4)).ravel()[self._cells]
        common = whole[colours]
        local = (counts.ravel()[first + colours] + _PRIOR * common) / (total + _PRIOR)
        share = (1 - _ANYWHERE) * local + _ANYWHERE * common
        return np.asarray(share * _BINS, np.float32)

    @property
    def _shape(self) -> tuple[int, int]:
        """Cells down and right."""
        return -(-self.rows // self.cell), -(-self.columns // self.cell)

    @cached_property
    def _cells(self) -> Bins:
        """The number of each pixel's cell, H×W."""
        down, right = (np.arange(count) // self.cell for count in (self.rows, self.columns))
        return down[:, None] * self._shape[1] + right


def _blurred(counts: npt.NDArray[np.float64]) -> Image:
    """Along all axes. Most colours are seen nowhere: what stays 0 is left out."""
    found = np.zeros(counts.shape, np.float32)
    used = _around(counts)
    blurred = counts[used].astype(np.float32)
    for axis, weights in enumerate((_NEIGHBOUR, _NEIGHBOUR, _BLUR, _BLUR, _BLUR)):
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
