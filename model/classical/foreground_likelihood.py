"""How likely an alpha is at a pixel, given what both layers' colours are around it.

Source: Y.-Y. Chuang, B. Curless, D. Salesin, R. Szeliski, "A Bayesian Approach to Digital Matting",
CVPR 2001, equations 4 to 9: colours of both layers normal, the plate their mixture and noise. Here
the colours are integrated out instead of being maximised over.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.classical.foreground_layers import Layer


def fit(
    pixels: Tensor, alpha: Tensor, front: Layer, behind: Layer, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """How well the plate's colours fit an alpha.

    Args:
        pixels: float32 3×M.
        alpha: M, or one for all.
        front, behind: the two layers there.
        noise: M, the variance of the plate's noise.

    Returns:
        −2·log of the likelihood, M, less what does not depend on alpha; and the colours that are
        left over, times the inverse of their covariance, 3×M: see `seen_of`.
    """
    rest = 1 - alpha
    missing = pixels - alpha * front.mean - rest * behind.mean
    spans = alpha.square() * front.covariance + rest.square() * behind.covariance
    spans = torch.cat([spans[:3] + noise, spans[3:]])
    pull, log_volume = _solved(spans, missing)
    return (missing * pull).sum(0) + log_volume, pull


def seen_of(layer: Layer, share: Tensor, pull: Tensor) -> Tensor:
    """The light of a layer that is most likely there, 3×M, given its share and `fit`'s answer."""
    return share * (layer.mean + share * _times(layer.covariance, pull))


def _solved(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of symmetric 3×3 matrices (6×M) times vectors (3×M), by the adjugate; and the
    logarithms of their determinants."""
    xx, yy, zz, xy, xz, yz = matrix
    first = torch.stack([yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy])
    second = torch.stack([first[1], xx * zz - xz * xz, xy * xz - xx * yz])
    third = torch.stack([first[2], second[2], xx * yy - xy * xy])
    determinant = xx * first[0] + xy * first[1] + xz * first[2]
    # Rounding may eat what is left of it, where one direction varies far more than the others.
    determinant = determinant.maximum(1e-7 * xx * yy * zz).clamp_min(1e-30)
    rows = torch.stack([(row * right).sum(0) for row in (first, second, third)])
    return rows / determinant, determinant.log()


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Symmetric 3×3 matrices (6×M) times vectors (3×M)."""
    xx, yy, zz, xy, xz, yz = matrix
    x, y, z = vector
    return torch.stack(
        [xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z]
    )
