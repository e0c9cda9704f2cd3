"""Preconditioned conjugate gradients to a fixed tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """What conjugate gradients came to.

    Attributes:
        x: shape N.
        residual: ‖b − A·x‖ ÷ ‖b‖.
        iterations: how many it took.
    """

    x: Tensor
    residual: float
    iterations: int


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    right: Tensor,
    precondition: Callable[[Tensor], Tensor],
    *,
    tolerance: float,
    limit: int,
) -> Solution:
    """Solve A·x = b for a symmetric positive definite A.

    Source: J. Shewchuk, "An Introduction to the Conjugate Gradient Method Without the Agonizing
    Pain", 1994, with the Polak–Ribière β, which forgives a preconditioner that is not quite
    symmetric: ours rounds to single precision.

    Args:
        apply: x ↦ A·x.
        right: b, shape N.
        precondition: r ↦ approximately A⁻¹·r.
        tolerance: stop when ‖b − A·x‖ ≤ tolerance·‖b‖.
        limit: most iterations; what stands then is returned.
    """
    x = torch.zeros_like(right)
    norm = float(torch.linalg.vector_norm(right))
    if norm == 0:
        return Solution(x, 0.0, 0)
    residual, left, iteration = right, 1.0, 0
    direction = before = torch.zeros_like(right)
    energy = right.new_ones(())
    while left > tolerance and iteration < limit:
        z = precondition(residual)
        beta = torch.dot(residual - before, z) / energy if iteration else energy.new_zeros(())
        energy = torch.dot(residual, z)
        direction = z + beta * direction
        image = apply(direction)
        step = energy / torch.dot(direction, image)
        x = x + step * direction
        before, residual = residual, residual - step * image
        left = float(torch.linalg.vector_norm(residual)) / norm
        iteration += 1
    return Solution(x, left, iteration)
