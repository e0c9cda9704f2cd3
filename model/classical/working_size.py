"""Pictures at working size: trimaps are carried at a bounded number of pixels, whatever the plate has.

Every radius in `trimap_flow` is in pixels of a 640×360 picture. A larger picture is reduced to that many
pixels, so radii grow with it and 1080p behaves as 360p does; a smaller one keeps its size and its radii shrink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

Image = npt.NDArray[np.float32]

PIXELS = 640 * 360


@dataclass(frozen=True)
class WorkingSize:
    """Sizes in pixels: of the frames, and of the work done on them."""

    height: int
    width: int
    rows: int
    columns: int

    @classmethod
    def of(cls, height: int, width: int) -> WorkingSize:
        """The largest size of the same shape with at most `PIXELS` pixels; never larger than it is."""
        shrink = min(1.0, math.sqrt(PIXELS / (height * width)))
        return cls(height, width, max(1, round(height * shrink)), max(1, round(width * shrink)))

    def radius(self, pixels: float, least: int = 1) -> int:
        """A radius given in pixels of a 640×360 picture, in working pixels."""
        return max(least, round(pixels * math.sqrt(self.rows * self.columns / PIXELS)))

    def reduce(self, planes: torch.Tensor) -> Image:
        """1×C×H×W on any device → rows×columns×C (rows×columns if C is 1), by area, on the CPU."""
        image = planes[0].permute(1, 2, 0).to("cpu", torch.float32).numpy()
        if (self.rows, self.columns) != (self.height, self.width):
            image = cv2.resize(image, (self.columns, self.rows), interpolation=cv2.INTER_AREA)
        image = image.reshape(self.rows, self.columns, -1)
        return np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)

    def enlarge(self, image: Image, device: torch.device) -> torch.Tensor:
        """rows×columns(×C) → 1×C×H×W, bilinear, so that planes that sum to 1 still do."""
        if (self.rows, self.columns) != (self.height, self.width):
            image = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        image = image.reshape(self.height, self.width, -1)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(device)
