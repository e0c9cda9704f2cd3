"""Box 2 of `trimap_memory_s`: a frame together with what is thought of its trimap.

The same box sees a keyframe with its trimap, the frame at hand with `trimap_flow`'s, and a frame
gone by with the network's own: so what is read from memory can be compared with what is at hand.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.networks.blocks import Residual, act, conv

GUESS = 7  # planes of a guess
CLASSES = slice(0, 3)  # background, unknown, foreground
CONFIDENCE, ALPHA, OPEN, HELD = (slice(i, i + 1) for i in range(3, 7))


def guess_planes(
    classes: Tensor, confidence: Tensor, alpha: Tensor, open_: Tensor, held: Tensor
) -> Tensor:
    """N×7×H×W, all planes 0…1.

    Args:
        classes: N×3×H×W, background, unknown, foreground.
        confidence: N×1×H×W, how far to trust them.
        alpha: N×1×H×W, the alpha that `trimap_flow` carries; the trimap's for a keyframe.
        open_: N×1×H×W, where colours cannot narrow the unknown.
        held: N×1×H×W, where the keyframe's own trimap still stands.
    """
    return torch.cat([classes, confidence, alpha, open_, held], 1)


def keyframe_guess(trimap: Tensor) -> Tensor:
    """The guess of a keyframe, N×7×H×W, from its trimap N×1×H×W (0, 0.5, 1)."""
    classes = torch.cat([trimap == 0, (trimap > 0) & (trimap < 1), trimap == 1], 1)
    sure = torch.ones_like(trimap)
    return guess_planes(classes.to(trimap.dtype), sure, trimap, torch.zeros_like(trimap), sure)


class GuessEncoder(nn.Module):
    """Picture N×3×H×W and guess N×7×H×W → maps at 1, 1/2, 1/4 and 1/8; and what memory keeps."""

    def __init__(self, channels: tuple[int, int, int, int], value: int):
        super().__init__()
        full, half, quarter, eighth = channels
        self.stem = conv(3 + GUESS, full)
        self.to_half = conv(full, half, stride=2)
        self.to_quarter = nn.Sequential(conv(half, quarter, stride=2), Residual(quarter))
        self.to_eighth = nn.Sequential(conv(quarter, eighth, stride=2), Residual(eighth))
        self.value = conv(eighth, value, size=1)

    def forward(self, picture: Tensor, guess: Tensor) -> list[Tensor]:
        maps = [self.stem(torch.cat([picture, guess], 1) - 0.5)]
        for deeper in (self.to_half, self.to_quarter, self.to_eighth):
            maps.append(deeper(act(maps[-1])))
        return maps

    def kept(self, maps: list[Tensor]) -> Tensor:
        """N×V×H/8×W/8, the value for memory."""
        found: Tensor = self.value(act(maps[3]))
        return found
