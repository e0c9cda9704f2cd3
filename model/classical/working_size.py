"""Pictures at working size: trimaps are carried at a bounded number of pixels, whatever the plate
has.

Every radius in `trimap_flow` is in pixels of a 640×360 picture. A larger picture is reduced to that
many pixels, so radii grow with it and 1080p behaves as 360p does; a smaller one keeps its size, and
its radii shrink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from model.classical.filters import Image, floats, merged, resized

PIXELS = 640 * 360


def stays_there(planes: torch.Tensor) -> bool:
    """Whether images are made of planes where they lie, and not on the CPU."""
    return planes.is_cuda


@dataclass(frozen=True)
class WorkingSize:
    """Sizes in pixels: ``height`` × ``width`` of the frames, ``rows`` × ``columns`` of the work."""

    height: int
    width: int
    rows: int
    columns: int

    @classmethod
    def of(cls, height: int, width: int) -> WorkingSize:
        """At most `PIXELS` pixels of the frame's shape, and never more than the frame has."""
        shrink = min(1.0, math.sqrt(PIXELS / (height * width)))
        return cls(height, width, max(1, round(height * shrink)), max(1, round(width * shrink)))

    def pixels(self, distance: float) -> float:
        """A distance given in pixels of a 640×360 picture, in working pixels."""
        return distance * math.sqrt(self.rows * self.columns / PIXELS)

    def radius(self, distance: float, least: int = 1) -> int:
        """The same as a whole number of pixels."""
        return max(least, round(self.pixels(distance)))

    def reduce(self, planes: torch.Tensor) -> Image:
        """1×C×H×W → rows×columns×C, as `filters` has images where it lies; rows×columns if C is
        1."""
        apart: Any = planes[0].detach().float()
        if not stays_there(planes):
            apart = apart.cpu().numpy()
        if len(apart) > 1:
            image = merged(list(apart))
        else:
            image = floats(apart[0] if stays_there(planes) else np.ascontiguousarray(apart[0]))
        if (self.rows, self.columns) == (self.height, self.width):
            return image
        return resized(image, self.rows, self.columns, by_area=True)
