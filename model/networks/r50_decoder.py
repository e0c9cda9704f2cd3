"""Box 4 of `st_fam_r50`: from fused levels to alpha, and the stage that refines it.

Large separable kernels: C. Peng et al., "Large Kernel Matters", CVPR 2017. Sizes are doubled by
sub-pixel convolution: W. Shi et al., CVPR 2016; or by a transposed one, the published variant.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REACH = 3  # of the 7-tap kernels
UPSAMPLES = ("shuffle", "deconv")  # how `Rise` doubles a size


class WideKernel(nn.Module):
    """7×7 as two branches of 7×1 and 1×7, added. N×C×h×w in and out, w at least 7.

    The published right branch is padded along the wrong axes: its 1×7 convolution by three rows,
    its 7×1 convolution by three columns. So three columns at either side of it are the second bias
    alone, and beyond the first and last row it sees the first bias instead of zeros. Weights were
    learned with that, and want it.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.left1 = nn.Conv2d(channels, channels, (7, 1), padding=(REACH, 0))
        self.left2 = nn.Conv2d(channels, channels, (1, 7), padding=(0, REACH))
        self.right1 = nn.Conv2d(channels, channels, (1, 7), padding=(REACH, 0))
        self.right2 = nn.Conv2d(channels, channels, (7, 1), padding=(0, REACH))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.left2(self.left1(x)) + self.right2(self.right1(x))
        return found


class Rise(nn.Module):
    """N×inside×h×w and N×skip×2h×2w → N×outside×2h×2w.

    Args:
        inside, outside, skip: channels.
        upsample: ``shuffle``: a 1×1 convolution and ReLU make four pixels of one, side by side;
            ``deconv``: a transposed 4×4 convolution, and no ReLU after it, as published.
    """

    def __init__(self, inside: int, outside: int, skip: int, upsample: str = "shuffle"):
        super().__init__()
        self.by_deconv = upsample == "deconv"
        if self.by_deconv:
            self.enlarge = nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1)
        else:
            self.spread = nn.Conv2d(inside, 4 * outside, 1, bias=False)
            self.spread_norm: nn.Module = nn.BatchNorm2d(4 * outside)
        self.join = nn.Conv2d(outside + skip, outside, 3, padding=1, bias=False)
        self.join_norm: nn.Module = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return F.relu(self.join_norm(self.join(torch.cat([self._doubled(x), skip], 1))))

    def _doubled(self, x: Tensor) -> Tensor:
        if self.by_deconv:
            doubled: Tensor = self.enlarge(x)
            return doubled
        return F.pixel_shuffle(F.relu(self.spread_norm(self.spread(x))), 2)


class R50Decoder(nn.Module):
    """Five fused levels and the planes → the logit of alpha. ``upsample``: see `Rise`."""

    def __init__(self, channels: Sequence[int], planes: int, upsample: str = "shuffle"):
        super().__init__()
        self.wide = nn.ModuleList(WideKernel(c) for c in channels)
        # By the level that is risen from: 4 … 0 when run, and the planes are the last skip.
        outside = (channels[0], *channels[:-1])
        skips = (planes, *channels[:-1])
        self.rise = nn.ModuleList(
            Rise(a, b, c, upsample) for a, b, c in zip(channels, outside, skips, strict=True)
        )
        self.head = nn.Conv2d(channels[0], 1, 3, padding=1)

    def forward(self, fused: Sequence[Tensor], planes: Tensor) -> Tensor:
        """The levels N×C×h×w, finest first; planes N×4×H×W. N×1×H×W."""
        skips = [planes, *(wide(x) for wide, x in zip(self.wide, fused, strict=True))]
        x = skips.pop()
        for rise in reversed(self.rise):
            x = rise(x, skips.pop())
        found: Tensor = self.head(x)
        return found


class Refine(nn.Module):
    """The picture and a first alpha → what is added to its logit, N×1×H×W."""

    def __init__(self, channels: int):
        super().__init__()
        inside = (4, channels, channels)
        self.convs = nn.ModuleList(nn.Conv2d(a, channels, 3, padding=1, bias=False) for a in inside)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in inside)
        self.head = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, picture: Tensor, alpha: Tensor) -> Tensor:
        """N×3×H×W, normalised, and N×1×H×W."""
        x = torch.cat([picture, alpha.to(picture.dtype)], 1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        found: Tensor = self.head(x)
        return found
