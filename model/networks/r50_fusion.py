"""Box 3 of `st_fam_r50`: aligned frames made one, by attention over channels and over space.

S. Woo et al., "CBAM", ECCV 2018, in part: the channels of all frames are weighed by their means
over the whole frame, then each place by the mean and the maximum over its channels. Those means are
why this network is run on whole frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class R50Fusion(nn.Module):
    """One level: ``count`` frames of ``channels`` each become one."""

    def __init__(self, channels: int, count: int):
        super().__init__()
        self.squeeze = nn.Linear(count * channels, channels, bias=False)
        self.excite = nn.Linear(channels, count * channels, bias=False)
        self.space = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.merge = nn.Conv2d(count * channels, channels, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, frames: Tensor) -> Tensor:
        """N×(K·C)×h×w, oldest first → N×C×h×w."""
        weighed = frames * self.weigh(frames.mean((2, 3)))[:, :, None, None]
        seen = torch.cat([weighed.mean(1, True), weighed.amax(1, True)], 1)
        weighed = weighed * torch.sigmoid(self.space(seen))
        return F.relu(self.norm(self.merge(weighed)))

    def weigh(self, means: Tensor) -> Tensor:
        """Means over the frame, N×(K·C), to what each channel is multiplied by."""
        return torch.sigmoid(self.excite(F.relu(self.squeeze(means))))
