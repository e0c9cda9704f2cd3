"""What was seen of single pixels while a trimap was carried, as bytes beside it.

Two planes: an alpha, 0…255, and how much it weighs against the matting Laplacian, on a logarithmic
scale: 0 = nothing is said, 1 = `_LEAST`, 255 = `_MOST`, six hundredths apart.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from model.plates.plate import PlateHeader, Trimap
from model.plates.trimap import place_trimap

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]

_LEAST, _MOST = 1e-6, 2.0
_STEP = math.log(_MOST / _LEAST) / 254


def hint_bytes(alpha: Values, weight: Values) -> Bytes:
    """Pack a hint.

    Args:
        alpha: H×W in 0…1.
        weight: H×W, 0 or more; what is below a millionth says nothing, above 2 it is 2.

    Returns:
        uint8 2×H×W.
    """
    packed = np.zeros((2, *weight.shape), np.uint8)
    there = weight >= _LEAST  # a tenth of the picture, as a rule
    steps = np.log(np.clip(weight[there], _LEAST, _MOST) / _LEAST) / _STEP
    packed[0][there] = np.rint(alpha[there].clip(0, 1) * 255)
    packed[1][there] = 1 + np.rint(steps)
    return packed


def weight_bounds() -> Values:
    """255 weights, ascending: how many of them are no larger than a weight is its byte."""
    steps = np.arange(255) - 0.5
    bounds = np.exp(steps.clip(0) * _STEP) * _LEAST
    return bounds.astype(np.float32)


def byte_weights() -> Values:
    """The weight of each of the 256 bytes that `hint_bytes` packs one into. An alpha is its byte
    over 255."""
    weights = np.exp(np.arange(-1, 255, dtype=np.float64) * _STEP) * _LEAST
    weights[0] = 0
    return weights.astype(np.float32)


def placed_hint(trimap: Trimap, header: PlateHeader) -> Bytes | None:
    """A trimap's hint over a plate's data window, or None; placed as the trimap is, but that it
    says nothing beyond the trimap's edge."""
    if trimap.hint is None:
        return None
    window = trimap.window or header.display_window
    if window == header.data_window:
        return trimap.hint
    planes = np.stack([place_trimap(Trimap(one, trimap.window), header) for one in trimap.hint])
    inside = np.zeros(planes.shape[1:], bool)
    shared = window.intersection(header.data_window)
    if shared is not None:
        inside[shared.inside(header.data_window)] = True
    return np.where(inside, planes, np.uint8(0))
