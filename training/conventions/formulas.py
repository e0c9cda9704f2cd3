"""The formulas that conventions share: Grad, Conn, and how flow is followed.

Alphas and truths are float H×W in 0…1, masks bool H×W, flow float H×W×2 (x, y) in pixels: where
what a pixel shows lies in the next frame.

Sources: C. Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009
(Grad, Conn). What each convention makes of them is in `training.conventions.by_name`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

Plane = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Flow = npt.NDArray[np.floating[Any]]

SIGMA = 1.4  # of Grad's Gaussian
STEP = 0.1  # between Conn's thresholds
THETA = 0.15  # distances that Conn does not see


def gradient_kernels() -> tuple[Plane, Plane]:
    """Derivatives of a Gaussian of 1.4 pixels, across and down; 9×9, of unit L2 norm."""
    edge = 1e-2 * math.sqrt(2 * math.pi) * SIGMA
    reach = math.ceil(SIGMA * math.sqrt(-2 * math.log(edge)))
    place = np.arange(-reach, reach + 1, dtype=np.float64)
    bell = np.exp(-(place**2) / (2 * SIGMA**2))
    across = bell[:, None] * (-place * bell)[None]
    across /= np.sqrt((across**2).sum())
    return across, np.ascontiguousarray(across.T)


def gradient(plane: npt.NDArray[np.floating[Any]]) -> Plane:
    """Magnitude of the Gaussian gradient, H×W; beyond the border the nearest pixel counts."""
    values = plane.astype(np.float64)
    sides = [
        cv2.filter2D(values, cv2.CV_64F, kernel, borderType=cv2.BORDER_REPLICATE)
        for kernel in gradient_kernels()
    ]
    return np.asarray(np.hypot(*sides))


def stretched(plane: npt.NDArray[np.floating[Any]]) -> Plane:
    """Brought to 0…1 by its least and largest value; 0 if it is even."""
    values = plane.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def connectivity_errors(
    alpha: npt.NDArray[np.floating[Any]], truth: npt.NDArray[np.floating[Any]]
) -> Plane:
    """|φ(alpha) − φ(truth)|, H×W.

    A pixel's level is the last threshold of 0, 0.1 … 1 up to which it belonged to the largest
    4-connected region where both are at least as high; φ = 1 − d where it lies d ≥ 0.15 above its
    level, else 1.
    """
    ours, theirs = alpha.astype(np.float32), truth.astype(np.float32)
    thresholds = (np.arange(11) * STEP).astype(np.float32)
    level = np.full(ours.shape, -1, np.float32)
    for before, threshold in pairwise(thresholds):
        largest = _largest_region((ours >= threshold) & (theirs >= threshold))
        level[(level == -1) & ~largest] = before
    level[level == -1] = 1
    first, second = (_phi(plane - level) for plane in (ours, theirs))
    return np.asarray(np.abs(first - second))


def followed(
    plane: npt.NDArray[np.floating[Any]], flow: Flow, *, beyond: str
) -> npt.NDArray[np.float64]:
    """The next frame's plane, read where flow says: bilinear.

    Args:
        plane: H×W.
        flow: H×W×2, finite.
        beyond: what lies outside of the frame: ``border`` = the nearest pixel, ``zeros``.
    """
    height, width = plane.shape
    y, x = np.mgrid[:height, :width]
    place = np.stack([x, y], -1) + flow.astype(np.float64)
    # Pixel centres from −1 to 1; a side of one pixel has no extent.
    place = 2 * place / np.maximum([width - 1, height - 1], 1) - 1
    found = functional.grid_sample(
        torch.from_numpy(plane.astype(np.float64))[None, None],
        torch.from_numpy(place)[None],
        padding_mode=beyond,
        align_corners=True,
    )
    return np.asarray(found[0, 0].numpy())


def farneback_of_truth(
    truth: npt.NDArray[np.floating[Any]], after: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.int64]:
    """The flow of the published metric: Farneback on two true alphas in 8 bit, in whole pixels."""
    first, second = (np.rint(255 * plane).astype(np.uint8) for plane in (truth, after))
    nothing = np.zeros((*first.shape, 2), np.float32)
    how = cv2.OPTFLOW_FARNEBACK_GAUSSIAN
    flow = cv2.calcOpticalFlowFarneback(first, second, nothing, 0.5, 5, 10, 2, 7, 1.5, how)
    return np.rint(flow).astype(np.int64)


def looked_up_as_published(plane: npt.NDArray[Any], flow: npt.NDArray[np.int64]) -> Plane:
    """The published look-up with its fault: rows and columns change places, each within the limit
    of the other. H×W out of H×W."""
    height, width = plane.shape
    y, x = np.mgrid[:height, :width]
    row = (x + flow[..., 0]).clip(0, height - 1)
    column = (y + flow[..., 1]).clip(0, width - 1)
    return np.asarray(plane.astype(np.float64).ravel()[row * width + column])


def _largest_region(mask: Mask) -> Mask:
    """The first of the largest 4-connected regions; nothing if there is none."""
    count, regions, numbers, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    if count < 2:
        return np.zeros(mask.shape, np.bool_)
    return np.asarray(regions == 1 + int(numbers[1:, cv2.CC_STAT_AREA].argmax()))


def _phi(distance: npt.NDArray[np.float32]) -> Plane:
    return 1 - np.where(distance >= np.float32(THETA), distance, 0).astype(np.float64)
