"""Box 1 of `trimap_memory_s`: what a frame looks like, whatever its trimap may be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.blocks import Residual, act, conv


@dataclass(frozen=True)
class Look:
    """What a frame looks like.

    Attributes:
        maps: features at 1/2, 1/4, 1/8 and 1/16.
        key: N×K×H/8×W/8: places that look alike have keys that point the same way.
    """

    maps: tuple[Tensor, ...]
    key: Tensor


class KeyEncoder(nn.Module):
    """Picture N×3×H×W, H and W multiples of 16 → `Look`."""

    def __init__(self, channels: tuple[int, int, int, int], key: int):
        super().__init__()
        half, quarter, eighth, sixteenth = channels
        self.to_half = conv(3, half, stride=2)
        self.to_quarter = nn.Sequential(conv(half, quarter, stride=2), Residual(quarter))
        self.to_eighth = nn.Sequential(conv(quarter, eighth, stride=2), Residual(eighth))
        # Keys say what is around too: an arm before the body is not an arm before the sky.
        self.to_sixteenth = nn.Sequential(
            conv(eighth, sixteenth, stride=2), Residual(sixteenth), Residual(sixteenth, dilation=2)
        )
        self.key = conv(eighth + sixteenth, key, size=1)

    def forward(self, picture: Tensor) -> Look:
        maps = [self.to_half(picture - 0.5)]
        for deeper in (self.to_quarter, self.to_eighth, self.to_sixteenth):
            maps.append(deeper(act(maps[-1])))
        around = F.interpolate(maps[3], scale_factor=2, mode="bilinear", align_corners=False)
        return Look(tuple(maps), self.key(act(torch.cat([maps[2], around], 1))))
