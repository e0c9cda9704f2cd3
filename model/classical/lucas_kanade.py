"""Optical flow of small pictures in plain torch: on a GPU the host is never waited for.

DIS flow (`model.classical.flow`) is better at fast motion, and runs on the processor alone. This is
for those who look away by themselves where flow is wrong.

Source: B. Lucas and T. Kanade, "An Iterative Image Registration Technique with an Application to
Stereo Vision", IJCAI 1981, on a pyramid as in J.-Y. Bouguet, "Pyramidal Implementation of the Lucas
Kanade Feature Tracker", 2000.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_LEVELS = 5
_STEPS = 2  # of refinement, on each level
_REACH = 4  # pixels around each that move alike
_FLAT = 1e-4  # squared gradients of a picture in 0…1 that tell no motion
_FURTHEST = 1.5  # pixels of a level that one step may go


def pyramid(grey: Tensor) -> list[Tensor]:
    """N×1×H×W and what is half, a quarter … as wide, while that is more than a few pixels."""
    levels = [grey]
    while len(levels) < _LEVELS and min(levels[-1].shape[-2:]) >= 4 * _REACH:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def flow(here: Sequence[Tensor], there: Sequence[Tensor]) -> Tensor:
    """Where each pixel of a picture is in another.

    Args:
        here, there: of `pyramid`; float32, grey in 0…1.

    Returns:
        N×2×H×W (x, y) in pixels: ``here`` at p looks like ``there`` at p + flow.
    """
    coarsest = here[-1]
    found = coarsest.new_zeros(len(coarsest), 2, *coarsest.shape[-2:])
    for own, other in zip(reversed(here), reversed(there), strict=True):
        if found.shape[-2:] != own.shape[-2:]:
            found = 2 * F.interpolate(
                found, size=own.shape[-2:], mode="bilinear", align_corners=False
            )
        found = _refined(found, own, other)
    return found


def _refined(found: Tensor, own: Tensor, other: Tensor) -> Tensor:
    across, down = _gradient(own)
    moments = _around(torch.cat([across * across, across * down, down * down], 1), _REACH)
    xx, xy, yy = moments.chunk(3, 1)
    xx, yy = xx + _FLAT, yy + _FLAT
    scale = 1 / (xx * yy - xy * xy)
    for _ in range(_STEPS):
        error = looked_up(other, found) - own
        told = _around(torch.cat([across * error, down * error], 1), _REACH)
        x, y = told.chunk(2, 1)
        step = torch.cat([xy * y - yy * x, xy * x - xx * y], 1) * scale
        found = _around(found + step.clamp(-_FURTHEST, _FURTHEST), 1)
    return found


def looked_up(picture: Tensor, shift: Tensor) -> Tensor:
    """N×C×H×W at p + shift, bilinear, the border repeated."""
    height, width = picture.shape[-2:]
    x = torch.arange(width, device=picture.device, dtype=torch.float32) + shift[:, 0]
    y = torch.arange(height, device=picture.device, dtype=torch.float32)[:, None] + shift[:, 1]
    return at_places(picture, torch.stack([x, y], -1))


def at_places(picture: Tensor, places: Tensor) -> Tensor:
    """Bilinear, the border repeated.

    Args:
        picture: N×C×H×W.
        places: N×h×w×2, (x, y) in pixels from the middle of the first.

    Returns:
        N×C×h×w.
    """
    height, width = picture.shape[-2:]
    size = torch.tensor([width, height], device=picture.device)
    return F.grid_sample(
        picture, (2 * places + 1) / size - 1,
        mode="bilinear", padding_mode="border", align_corners=False,
    )  # fmt: skip


def _gradient(grey: Tensor) -> tuple[Tensor, Tensor]:
    wide = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    across = wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]
    down = wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]
    return 0.5 * across, 0.5 * down


def _around(planes: Tensor, reach: int) -> Tensor:
    """Means over squares."""
    side = 2 * reach + 1
    rows = F.avg_pool2d(F.pad(planes, (reach, reach, 0, 0), mode="replicate"), (1, side), 1)
    return F.avg_pool2d(F.pad(rows, (0, 0, reach, reach), mode="replicate"), (side, 1), 1)
