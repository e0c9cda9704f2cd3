"""What both networks' adapting does to pixels: where a crop lies, and sizes that networks take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MULTIPLE = 16  # of the sizes that either network takes


def cut_around(
    place: Sequence[int], whole: Sequence[int], sides: Sequence[int], rng: np.random.Generator
) -> tuple[slice, slice]:
    """Rows and columns of a crop that shows the pixel ``place``, anywhere in it.

    Args:
        place: row and column.
        whole: height and width of what is cropped.
        sides: of the crop, in pixels; along an axis that is shorter, all of it is taken.
        rng: where the crop lies around the pixel.
    """
    cut = []
    for at, length, side in zip(place, whole, sides, strict=True):
        begin = min(max(int(at) - int(rng.integers(side)), 0), max(length - side, 0))
        cut.append(slice(begin, begin + side))
    return cut[0], cut[1]


def filled(planes: Tensor) -> Tensor:
    """…×H×W with both sizes filled up to multiples of 16 by repeating the last row and column."""
    height, width = planes.shape[-2:]
    down, right = -height % MULTIPLE, -width % MULTIPLE
    if not down and not right:
        return planes
    rows = torch.arange(height + down, device=planes.device).clamp(max=height - 1)
    columns = torch.arange(width + right, device=planes.device).clamp(max=width - 1)
    return planes[..., rows, :][..., columns]
