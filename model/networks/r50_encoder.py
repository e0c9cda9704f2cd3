"""Box 1 of `st_fam_r50`: a ResNet-50 with four input planes, whose five maps are kept.

K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, with the stride on the 3×3
convolution of a stage's first block, as torchvision has it. No dilation, no pooling at the end.

Tensor names: N frames, H×W of the frame, C channels of each level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

PLANES = 4  # red, green, blue, trimap
DEPTHS = (3, 4, 6, 3)  # blocks of each stage
EXPANSION = 4


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1, each with BatchNorm; the shortcut is a 1×1 convolution in a stage's first."""

    def __init__(self, inside: int, width: int, stride: int, *, first: bool):
        super().__init__()
        outside = EXPANSION * width
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.norm1: nn.Module = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm2: nn.Module = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.norm3: nn.Module = nn.BatchNorm2d(outside)
        self.shortcut: nn.Sequential | None = None
        if first:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class R50Encoder(nn.Module):
    """N×4×H×W → maps at 1/2, 1/4, 1/8, 1/16, 1/32 with the channels given. H, W divide by 32."""

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        stem, *wider = channels
        self.conv = nn.Conv2d(PLANES, stem, 7, 2, padding=3, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(stem)
        self.stages = nn.ModuleList()
        inside = stem
        for number, (outside, depth) in enumerate(zip(wider, DEPTHS, strict=True)):
            stage = nn.Sequential()
            for place in range(depth):
                stride = 2 if number and not place else 1
                stage.append(Bottleneck(inside, outside // EXPANSION, stride, first=place == 0))
                inside = outside
            self.stages.append(stage)

    def forward(self, planes: Tensor) -> list[Tensor]:
        maps = [F.relu(self.norm(self.conv(planes)))]
        x = F.max_pool2d(maps[0], 3, 2, padding=1)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
