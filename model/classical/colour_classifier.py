"""How likely a colour is in the foreground or the background, here and anywhere.

Histograms over place and colour: coarse cells of the picture times bins of CIE Lab, blurred over both. So a colour
counts where it was seen and near it, and every place has a classifier of its own, as in X. Bai, J. Wang, D. Simons,
G. Sapiro, "Video SnapCut", SIGGRAPH 2009; the place-and-colour grid is that of N. Märki et al., "Bilateral Space
Video Segmentation", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Image = npt.NDArray[np.float32]
Bins = npt.NDArray[np.int64]

_BINS = 16  # along each axis of Lab
_PRIOR = 200.0  # samples that the picture-wide model counts as in each place
_ANYWHERE = 0.1  # share of colours that come from somewhere else in the picture
_NEIGHBOUR = (0.5, 1.0, 0.5)  # weight of the next cell along each axis of the picture
_BLUR = (0.25, 0.5, 0.25)  # and of the next bin along each axis of colour


def lab(picture: Image) -> Image:
    """sRGB-encoded H×W×3 in 0…1 → CIE Lab, scaled so that common colours lie in 0…1 along each axis."""
    converted = cv2.cvtColor(picture, cv2.COLOR_RGB2Lab)
    shift, scale = np.float32([0, 64, 64]), np.float32([100, 128, 128])
    scaled: Image = (converted + shift) / scale
    return scaled


def bins(colours: Image) -> Bins:
    """The histogram bin of each pixel, H×W; colours beyond 0…1 fall into the outermost."""
    steps = np.clip((colours * _BINS).astype(np.int64), 0, _BINS - 1)
    found: Bins = (steps[..., 0] * _BINS + steps[..., 1]) * _BINS + steps[..., 2]
    return found


def whole_model(samples: Iterable[tuple[Bins, Image]]) -> Image:
    """The picture-wide share of each bin, flat, from bins and weights of one or more pictures.

    Sums to 1; all zero if no sample has any weight.
    """
    counts = np.zeros(_BINS**3)
    for where, weight in samples:
        counts += np.bincount(where.ravel(), weight.ravel(), _BINS**3)
    model = _blurred(counts.reshape(1, 1, _BINS, _BINS, _BINS)).ravel()
    return model / max(float(model.sum()), 1e-6)


@dataclass(frozen=True)
class Places:
    """Coarse square cells of a picture of ``rows`` × ``columns`` pixels."""

    rows: int
    columns: int
    cell: int

    def density(self, seen: Bins, weight: Image, whole: Image, colours: Bins) -> Image:
        """Probability density of each pixel's colour, H×W, per unit of scaled Lab volume.

        Args:
            seen: bins of the samples, H×W, each at its place.
            weight: how much each sample counts.
            whole: the `whole_model` that stands in where few samples are near.
            colours: bins to judge, H×W, each by the samples around its place.
        """
        down, right = -(-self.rows // self.cell), -(-self.columns // self.cell)
        y, x = np.indices((self.rows, self.columns)) // self.cell
        offset = (y * right + x) * _BINS**3
        shape = (down, right, _BINS, _BINS, _BINS)
        counts = np.bincount(
            (offset + seen).ravel(), weight.ravel(), down * right * _BINS**3
        ).reshape(shape)
        counts = _blurred(counts)
        total = counts.sum((2, 3, 4))[y, x]
        common = whole[colours]
        local = (counts.ravel()[offset + colours] + _PRIOR * common) / (total + _PRIOR)
        share: Image = ((1 - _ANYWHERE) * local + _ANYWHERE * common).astype(np.float32)
        return share * _BINS**3


def _blurred(counts: npt.NDArray[np.float64]) -> Image:
    blurred = counts.astype(np.float32)
    for axis in range(5):
        kernel = np.float32(_NEIGHBOUR if axis < 2 else _BLUR)
        blurred = ndimage.correlate1d(blurred, kernel, axis=axis, mode="constant")
    return blurred
