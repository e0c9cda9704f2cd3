"""Box 2 of `trimap_memory_s`: a frame together with what is thought of its trimap.

The same box sees a keyframe with its trimap, the frame at hand with `trimap_flow`'s, and a frame
gone by with the network's own: so what is read from memory can be compared with what is at hand.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.blocks import Residual, act, conv

GUESS = 7  # planes of a guess, all 0…1:
CLASSES = slice(0, 3)  # background, unknown, foreground
CONFIDENCE = slice(3, 4)  # how far to trust them
ALPHA = slice(4, 5)  # the alpha that `trimap_flow` carries; the trimap's for a keyframe
OPEN = slice(5, 6)  # where colours cannot narrow the unknown
HELD = slice(6, 7)  # where the keyframe's own trimap still stands


def keyframe_guess(trimap: Tensor) -> Tensor:
    """The guess of a keyframe, N×7×H×W, from its trimap N×1×H×W (0, 0.5, 1)."""
    classes = torch.cat([trimap == 0, (trimap > 0) & (trimap < 1), trimap == 1], 1)
    sure = torch.ones_like(trimap)
    others = [sure, trimap, torch.zeros_like(trimap), sure]
    return torch.cat([classes.to(trimap.dtype), *others], 1)


class GuessEncoder(nn.Module):
    """Picture N×3×H×W and guess N×7×H×W → maps at 1/2, 1/4 and 1/8; and what memory keeps.

    Four pixels are one place with four times the planes: bands are wider than that, and nothing is
    lost.
    """

    def __init__(self, channels: tuple[int, int, int], value: int):
        super().__init__()
        half, quarter, eighth = channels
        self.to_half = conv(4 * (3 + GUESS), half)
        self.to_quarter = nn.Sequential(conv(half, quarter, stride=2), Residual(quarter))
        self.to_eighth = nn.Sequential(conv(quarter, eighth, stride=2), Residual(eighth))
        self.value = conv(eighth, value, size=1)

    def forward(self, picture: Tensor, guess: Tensor) -> list[Tensor]:
        planes = torch.cat([picture, guess], 1) - 0.5
        maps = [self.to_half(F.pixel_unshuffle(planes, 2))]
        for deeper in (self.to_quarter, self.to_eighth):
            maps.append(deeper(act(maps[-1])))
        return maps

    def kept(self, maps: list[Tensor]) -> Tensor:
        """N×V×H/8×W/8, the value for memory."""
        found: Tensor = self.value(act(maps[2]))
        return found
