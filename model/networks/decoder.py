"""Box 4 of `st_fam_s`: from fused maps back to full size, and the two answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops import maps as kernels
from model.networks.blocks import Convolution, Residual, act_, conv, zeroed
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
        """N×2×H×W, float32: the residual, and the confidence's logit. (More, of no meaning, if
        weights were filled up.)

        Args:
            maps: from full size down to 1/16, as the encoder has them.
            planes: N×9×H×W, what the encoder looked at: at full size nothing may be lost.
        """
        x = self.deepest(maps[4])
        for narrow, refine, finer in zip(self.narrow, self.refine, maps[3:0:-1], strict=False):
            x = refine(_raised(narrow, act_(x), finer))
        x = act_(_raised(self.narrow[3], act_(x), maps[0]))
        # The same as of both stacked, which takes longer to do than to convolve.
        own, beside = torch.split(self.full.weight, [x.shape[1], planes.shape[1]], 1)
        planes = planes.to(x.dtype)
        if kernels.takes(x, len(own), own):
            x, more = F.conv2d(x, own, padding=1), F.conv2d(planes, beside, padding=1)
            kernels.finished(x, self.full.bias, other=more, in_place=True)
        else:
            x = F.conv2d(x, own, self.full.bias, padding=1)
            x = x.add_(F.conv2d(planes, beside, padding=1))
        found: Tensor = self.head(act_(self.finer(x)))
        return found.float()


def _raised(narrow: nn.Module, x: Tensor, finer: Tensor) -> Tensor:
    """A map narrowed by 1×1, enlarged, and added to the finer one."""
    assert isinstance(narrow, Convolution)
    if kernels.takes(x, len(narrow.weight), narrow.weight):
        # Enlarging makes no difference to a bias.
        return kernels.doubled(F.conv2d(x, narrow.weight), narrow.bias, finer)
    x = F.interpolate(narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
    return x.add_(finer)
