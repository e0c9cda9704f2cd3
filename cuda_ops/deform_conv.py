"""The one public door to modulated deformable convolution."""

from __future__ import annotations

import torch

from cuda_ops.reference import modulated_deform_conv2d

__all__ = ["implementation", "modulated_deform_conv2d", "self_check"]


def implementation(device: torch.device) -> str:
    """Which implementation runs on a device, in words for `dvm doctor`."""
    return f"plain torch on {device.type}"


def self_check(device: torch.device) -> float:
    """Largest difference from torchvision's operator on a small case, float32.

    torchvision's operator serves as the independent second implementation; it runs on the CPU.
    """
    from torchvision.ops import deform_conv2d

    g = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 7, 9, generator=g)
    offset = torch.randn(1, 2 * 2 * 9, 7, 9, generator=g) * 2
    mask = torch.rand(1, 2 * 9, 7, 9, generator=g)
    weight = torch.randn(3, 4, 3, 3, generator=g)
    ours = modulated_deform_conv2d(*(t.to(device) for t in (x, offset, mask, weight)), padding=1)
    return float((ours.cpu() - deform_conv2d(x, offset, weight, padding=1, mask=mask)).abs().max())
