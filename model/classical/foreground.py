"""Foreground and background colours of a frame, given its alpha.

Source: T. Germer, T. Uelwer, S. Conrad, S. Harmeling, "Fast Multi-Level Foreground Estimation",
ICPR 2020. Differences: the sweeps are Jacobi's (every pixel at once, so the result does not depend
on an order), colours are bounded by the compositing equation instead of by 1, and certain pixels
keep the plate's colour to the bit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

_REGULARISATION = 1e-5
_SMALL = 32  # side up to which a level is small: many sweeps cost nothing there
_SMALL_SWEEPS = 20
_LARGE_SWEEPS = 4


def estimate_foreground(light: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """The straight foreground and background colours that explain the plate.

    Minimises the error of the compositing equation plus the colours' gradients, weighted with the
    alpha's gradient, from a coarse level to the full one.

    Args:
        light: float32 1×3×H×W, finite, in the light the frame was composited in; may be negative
            or far above 1.
        alpha: float32 1×1×H×W in 0…1.

    Returns:
        Foreground and background, straight (not multiplied by alpha), float32 1×3×H×W. Where alpha
        is 1 the foreground is the plate, where alpha is 0 the background is the plate, to the bit.
        Never below zero except where the plate is.
    """
    height, width = alpha.shape[-2:]
    sure = torch.cat([alpha > 0.9, alpha < 0.1]).to(light.dtype)
    total = (light * sure).flatten(2).sum(2)
    mean = total / (sure.flatten(2).sum(2) + 1e-5)
    colours = mean.view(2, 3, 1, 1)  # batch entry 0 is the foreground, 1 the background
    levels = max(1, math.ceil(math.log2(max(height, width))))
    for level in range(levels + 1):
        h, w = round(height ** (level / levels)), round(width ** (level / levels))
        sweeps = _SMALL_SWEEPS if max(h, w) <= _SMALL else _LARGE_SWEEPS
        colours = _sweep(
            _nearest(light, h, w), _nearest(alpha, h, w), _nearest(colours, h, w), sweeps
        )
    foreground = torch.where(alpha == 1, light, colours[:1])
    background = torch.where(alpha == 0, light, colours[1:])
    return foreground, background


def _sweep(light: Tensor, alpha: Tensor, colours: Tensor, sweeps: int) -> Tensor:
    """Solve every pixel's 2×2 system for its two colours with its neighbours held, some times."""
    h, w = alpha.shape[-2:]
    around = [(1, 0), (1, 2), (0, 1), (2, 1)]  # up to the top left of each neighbour, padded by one
    padded = pad(alpha, (1, 1, 1, 1), mode="replicate")
    pulls = [_REGULARISATION + (alpha - padded[..., y : y + h, x : x + w]).abs() for y, x in around]
    pull = torch.stack(pulls).sum(0)
    weights = [one / pull for one in pulls]
    share = torch.cat([alpha, 1 - alpha])
    # min (share·c − light)² + pull·(c − mean)² is mean + gain·(light − share·mean).
    gain = share / (share.square().sum(0, keepdim=True) + pull)
    # Neither layer is darker than nothing, nor alone brighter than the plate: without the second, a
    # lamp behind a hair would shine through the coarse levels into the foreground.
    least = light.clamp_max(0)
    most = light.clamp_min(0) / share.clamp_min(1e-6)
    for _ in range(sweeps):
        padded = pad(colours, (1, 1, 1, 1), mode="replicate")
        mean = torch.zeros_like(colours)
        for weight, (y, x) in zip(weights, around, strict=True):
            mean.addcmul_(weight, padded[..., y : y + h, x : x + w])
        missing = light - (share * mean).sum(0, keepdim=True)
        colours = torch.minimum(torch.maximum(mean + gain * missing, least), most)
    return colours


def _nearest(planes: Tensor, height: int, width: int) -> Tensor:
    """Resize B×C×H×W by taking the pixel at the floor of the scaled coordinate."""
    device = planes.device
    rows = torch.arange(height, device=device) * planes.shape[-2] // height
    columns = torch.arange(width, device=device) * planes.shape[-1] // width
    return planes[..., rows, :][..., columns]
