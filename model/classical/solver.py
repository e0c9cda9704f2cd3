"""Preconditioned conjugate gradients to a fixed tolerance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    right: Tensor,
    precondition: Callable[[Tensor], Tensor],
    *,
    tolerance: float,
    limit: int,
    check_every: int = 1,
) -> tuple[Tensor, int]:
    """Solve A·x = b for a symmetric positive definite A.

    Source: J. Shewchuk, "An Introduction to the Conjugate Gradient Method Without the Agonizing
    Pain", 1994, in the flexible (Polak–Ribière) form, which forgives a preconditioner that is
    symmetric only up to rounding.

    Args:
        apply: x ↦ A·x.
        right: b, shape N.
        precondition: r ↦ approximately A⁻¹·r.
        tolerance: stop when ‖b − A·x‖ ≤ tolerance·‖b‖.
        limit: most iterations; what stands then is returned.
        check_every: iterations between looks at the residual (each waits for the device).

    Returns:
        x and the number of iterations.
    """
    x = torch.zeros_like(right)
    goal = tolerance * float(torch.linalg.vector_norm(right))
    residual = right.clone()
    if goal == 0:
        return x, 0
    direction = torch.zeros_like(right)
    before, energy = residual, right.new_ones(())
    for iteration in range(1, limit + 1):
        z = precondition(residual)
        fresh = torch.dot(residual, z)
        beta = torch.dot(residual - before, z) / energy if iteration > 1 else fresh.new_zeros(())
        energy = fresh
        direction = z + beta * direction
        image = apply(direction)
        step = fresh / torch.dot(direction, image)
        x = x + step * direction
        before, residual = residual, residual - step * image
        due = iteration % check_every == 0
        if due and float(torch.linalg.vector_norm(residual)) <= goal:
            return x, iteration
    return x, limit
