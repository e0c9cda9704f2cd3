"""Evidence smoothed along the picture's edges: a guided filter, repeated, pinned to the evidence.

Source: K. He, J. Sun, X. Tang, "Guided Image Filtering", ECCV 2010. One sweep is one Jacobi step on the matting
Laplacian plus a data term; a few sweeps are enough where evidence is dense, and cost the same everywhere.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]


class GuidedFilter:
    """A guided filter with a colour guide; its statistics are computed once."""

    def __init__(self, guide: Image, radius: int, epsilon: float):
        self._side = (2 * radius + 1, 2 * radius + 1)
        self._guide = guide
        self._mean = self._box(guide)
        red, green, blue = np.moveaxis(guide, 2, 0)
        (rr, rg, rb), (gg, gb), (bb,) = (
            [self._covariance(one, i, other, j) for j, other in rest]
            for i, one, rest in (
                (0, red, ((0, red), (1, green), (2, blue))),
                (1, green, ((1, green), (2, blue))),
                (2, blue, ((2, blue),)),
            )
        )
        rr, gg, bb = rr + epsilon, gg + epsilon, bb + epsilon
        adjugate = (
            (gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb),
            (gb * rb - rg * bb, rr * bb - rb * rb, rb * rg - rr * gb),
            (rg * gb - gg * rb, rb * rg - rr * gb, rr * gg - rg * rg),
        )
        determinant = rr * adjugate[0][0] + rg * adjugate[0][1] + rb * adjugate[0][2]
        self._inverse = [np.stack([entry / determinant for entry in row], 2) for row in adjugate]

    def __call__(self, values: Image) -> Image:
        """Filter H×W values."""
        mean = self._box(values)
        cross = self._box(self._guide * values[..., None]) - self._mean * mean[..., None]
        slope = np.stack([(row * cross).sum(2) for row in self._inverse], 2)
        offset = mean - (slope * self._mean).sum(2)
        result: Image = (self._box(slope) * self._guide).sum(2) + self._box(offset)
        return result

    def _box(self, image: Image) -> Image:
        return cv2.boxFilter(image, -1, self._side, borderType=cv2.BORDER_REPLICATE)  # type: ignore[no-any-return]

    def _covariance(self, one: Image, i: int, other: Image, j: int) -> Image:
        return self._box(one * other) - self._mean[..., i] * self._mean[..., j]


def smooth_evidence(
    picture: Image,
    evidence: Image,
    weight: Image,
    *,
    radius: int = 1,
    epsilon: float = 1e-5,
    sweeps: int = 15,
) -> Image:
    """Let the evidence flow along the picture until it follows its edges.

    Args:
        picture: H×W×3, the guide.
        evidence: H×W in 0…1, what each pixel says for itself.
        weight: H×W ≥ 0, how firmly: 0 = only neighbours count, 1 = as much as all neighbours, ∞ = fixed.
        radius: of the guided filter.
        epsilon: its regularisation, in squared picture values.
        sweeps: how often it is applied.

    Returns:
        H×W in 0…1.
    """
    neighbours = GuidedFilter(picture, radius, epsilon)
    values = evidence
    for _ in range(sweeps):
        values = (neighbours(values) + weight * evidence) / (1 + weight)
    return np.clip(values, 0, 1)
