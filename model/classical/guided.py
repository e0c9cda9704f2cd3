"""Evidence smoothed along the picture's edges: a guided filter, repeated, pinned to the evidence.

Source: K. He, J. Sun, X. Tang, "Guided Image Filtering", ECCV 2010. One sweep is one Jacobi step on
the matting Laplacian plus a data term. Where evidence is dense a few sweeps are enough, and unlike
a solver they add nothing up over the picture: every bit is the same on any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.classical.filters import Image, arrays, box, channels_first, floats, precise


class GuidedFilter:
    """A guided filter with a colour guide; the guide's statistics are computed once.

    Args:
        guide: H×W×3.
        radius: of its square windows.
        epsilon: regularisation, in squared guide values.
    """

    def __init__(self, guide: Image, radius: int, epsilon: float):
        self._guide = list(channels_first(guide))
        self._radius = radius
        self._mean = [box(channel, radius) for channel in self._guide]
        xx, xy, xz = self._covariances(0, (0, 1, 2), epsilon)
        yy, yz = self._covariances(1, (1, 2), epsilon)
        (zz,) = self._covariances(2, (2,), epsilon)
        adjugate = (
            yy * zz - yz * yz,
            xz * yz - xy * zz,
            xy * yz - xz * yy,
            xx * zz - xz * xz,
            xy * xz - xx * yz,
            xx * yy - xy * xy,
        )
        determinant = xx * adjugate[0] + xy * adjugate[1] + xz * adjugate[2]
        a, b, c, d, e, f = (one / determinant for one in adjugate)
        self._inverse = ((a, b, c), (b, d, e), (c, e, f))  # symmetric, as the covariances are

    def __call__(self, values: Image) -> Image:
        """Filter H×W values."""
        mean = box(values, self._radius)
        cross = [
            box(channel * values, self._radius) - own_mean * mean
            for channel, own_mean in zip(self._guide, self._mean, strict=True)
        ]
        slope = [_dot(row, cross) for row in self._inverse]
        offset = mean - _dot(slope, self._mean)
        linear = _dot([box(one, self._radius) for one in slope], self._guide)
        return linear + box(offset, self._radius)

    def _covariances(self, one: int, others: tuple[int, ...], epsilon: float) -> list[Image]:
        found = []
        for other in others:
            product = box(self._guide[one] * self._guide[other], self._radius)
            product = product - self._mean[one] * self._mean[other]
            found.append(product + epsilon if one == other else product)
        return found


def follow_edges(
    picture: Image,
    evidence: Image,
    weight: Image,
    *,
    radius: int = 1,
    epsilon: float = 1e-5,
    sweeps: int = 15,
) -> Image:
    """Let evidence spread along the picture until it follows its edges.

    Args:
        picture: H×W×3, the guide.
        evidence: H×W in 0…1, what each pixel says for itself.
        weight: H×W ≥ 0, how firmly: 0 = its neighbours decide, 1 = half and half, ∞ = fixed.
        radius: of the guided filter.
        epsilon: its regularisation.
        sweeps: how often it is applied.

    Returns:
        H×W in 0…1.
    """
    neighbours = GuidedFilter(precise(picture), radius, epsilon)
    own, total = weight * evidence, 1 + weight
    values: Image = precise(evidence)
    for _ in range(sweeps):
        values = (neighbours(values) + own) / total  # type: ignore[assignment]
    return floats(arrays(values).clip(values, 0, 1))


def _dot(one: Sequence[Image], other: Sequence[Image]) -> Image:
    """H×W: the products of planes, added up from the first to the last."""
    total = one[0] * other[0]
    for left, right in zip(one[1:], other[1:], strict=True):
        total += left * right
    return total
