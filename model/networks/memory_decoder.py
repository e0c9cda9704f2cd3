"""Box 4 of `trimap_memory_s`: from what was read to what is added to the guess."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.blocks import Residual, act, conv, zeroed


class MemoryDecoder(nn.Module):
    """Looks, guesses and what was read → N×4×H×W. Answers 0 until it is trained."""

    def __init__(
        self, look: tuple[int, int, int, int], guess: tuple[int, int, int], read: int
    ) -> None:
        super().__init__()
        half, quarter, eighth = guess
        self.together = conv(look[2] + look[3] + eighth + read, eighth, size=1)
        # Dilation, so that a wide band is seen from rim to rim.
        self.around = nn.Sequential(
            Residual(eighth), Residual(eighth, dilation=2), Residual(eighth, dilation=4)
        )
        self.to_quarter = conv(eighth + look[1] + quarter, quarter, size=1)
        self.to_half = conv(quarter + look[0] + half, half, size=1)
        self.refine_quarter, self.refine_half = Residual(quarter), Residual(half)
        self.head = zeroed(conv(half, 16))  # four answers for each of four pixels

    def forward(self, look: Sequence[Tensor], guess: Sequence[Tensor], read: Tensor) -> Tensor:
        """Float32: what to add to the logits of background, unknown and foreground and to that of
        the confidence.

        Args:
            look: maps at 1/2 … 1/16 of `memory_keys`.
            guess: maps at 1/2 … 1/8 of `memory_guess`.
            read: N×R×H/8×W/8.
        """
        deepest = [look[2], _doubled(look[3]), guess[2], read.to(look[2].dtype)]
        x = self.around(self.together(act(torch.cat(deepest, 1))))
        x = torch.cat([_doubled(x), look[1], guess[1]], 1)
        x = self.refine_quarter(self.to_quarter(act(x)))
        x = torch.cat([_doubled(x), look[0], guess[0]], 1)
        x = self.refine_half(self.to_half(act(x)))
        return F.pixel_shuffle(self.head(act(x)).float(), 2)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
