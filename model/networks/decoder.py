"""Box 4 of `st_fam_s`: from fused maps back to full size, and the two answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.blocks import Residual, act_, conv, zeroed
from model.networks.frame_encoder import INPUTS


class Decoder(nn.Module):
    """Five maps of the encoder's channels and sizes → what to add to the prior, and a logit."""

    def __init__(self, channels: tuple[int, int, int, int, int]):
        super().__init__()
        full, half, quarter, eighth, sixteenth = channels
        self.deepest = Residual(sixteenth)
        self.narrow = nn.ModuleList(
            conv(a, b, size=1)
            for a, b in ((sixteenth, eighth), (eighth, quarter), (quarter, half), (half, full))
        )
        self.refine = nn.ModuleList([Residual(eighth), Residual(quarter), Residual(half)])
        self.full = conv(full + INPUTS, full)
        self.finer = Residual(full)
        self.head = zeroed(conv(full, 2))

    def forward(self, maps: Sequence[Tensor], planes: Tensor) -> Tensor:
        """N×2×H×W, float32: the residual, and the confidence's logit.

        Args:
            maps: from full size down to 1/16, as the encoder has them.
            planes: N×9×H×W, what the encoder looked at: at full size nothing may be lost.
        """
        x = self.deepest(maps[4])
        for narrow, refine, finer in zip(self.narrow, self.refine, maps[3:0:-1], strict=False):
            x = refine(_doubled(narrow(act_(x))).add_(finer))
        x = _doubled(self.narrow[3](act_(x))).add_(maps[0])
        # The same as of both stacked, which takes longer to do than to convolve.
        own, beside = self.full.weight[:, :-INPUTS], self.full.weight[:, -INPUTS:]
        x = F.conv2d(act_(x), own, self.full.bias, padding=1)
        x = x.add_(F.conv2d(planes.to(x.dtype), beside, padding=1))
        found: Tensor = self.head(act_(self.finer(x)))
        return found.float()


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
