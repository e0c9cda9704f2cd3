"""What a matting network is taught by.

All alphas are float32 N×1×H×W; ``unknown`` is bool of that shape. Every loss is a mean over the
unknown pixels of each picture first and over the pictures then, so that a small band counts as much
as a wide one, as it does in the metrics.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PYRAMID_LEVELS = 4


def squared(alpha: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    """(α − α*)²."""
    return within((alpha - truth).square(), unknown)


def absolute(alpha: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    """|α − α*|."""
    return within((alpha - truth).abs(), unknown)


def gradient(alpha: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    """|∇α − ∇α*| by differences of neighbours, where both are unknown."""
    error = alpha - truth
    across = within(error.diff(dim=3).abs(), unknown[..., 1:] & unknown[..., :-1])
    down = within(error.diff(dim=2).abs(), unknown[..., 1:, :] & unknown[..., :-1, :])
    return across + down


def pyramid(alpha: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    """Laplacian pyramid of the error, each level weighed by its scale.

    Source: S. Niklaus, F. Liu, "Context-aware Synthesis for Video Frame Interpolation", CVPR 2018.
    """
    error = torch.where(unknown, alpha - truth, 0.0)
    region = unknown
    total = error.new_zeros(())
    for level in range(PYRAMID_LEVELS):
        if min(error.shape[2:]) < 2:
            break
        smaller = F.avg_pool2d(error, 2, ceil_mode=True, count_include_pad=False)
        back = F.interpolate(smaller, error.shape[2:], mode="bilinear", align_corners=False)
        total = total + 2.0**level * within((error - back).abs(), region)
        region = F.max_pool2d(region.float(), 2, ceil_mode=True) > 0
        error = smaller
    return total


def temporal(
    alphas: tuple[Tensor, Tensor], truths: tuple[Tensor, Tensor], region: Tensor
) -> Tensor:
    """((α₁ − α₀) − (α₁* − α₀*))² of two neighbouring frames: the square of dtSSD."""
    change = (alphas[1] - truths[1]) - (alphas[0] - truths[0])
    return within(change.square(), region)


def confidence(logit: Tensor, alpha: Tensor, truth: Tensor, unknown: Tensor, sure: float) -> Tensor:
    """Cross-entropy of the confidence against whether alpha is within ``sure`` of the truth."""
    right = ((alpha.detach().clamp(0, 1) - truth).abs() <= sure).float()
    return within(F.binary_cross_entropy_with_logits(logit, right, reduction="none"), unknown)


def within(values: Tensor, region: Tensor) -> Tensor:
    """Mean over the region of each picture, then over pictures that have one."""
    region = region.float()
    count = region.flatten(1).sum(1)
    means = (values * region).flatten(1).sum(1) / count.clamp_min(1)
    some = (count > 0).float()
    return (means * some).sum() / some.sum().clamp_min(1)
