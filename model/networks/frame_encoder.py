"""Box 1 of `st_fam_s`: the features of one frame, at full size and at 1/2 … 1/16."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.networks.blocks import Residual, act, conv

INPUTS = 9  # planes that `frame_planes` stacks
PRIOR, BOTH, LINEAR = 5, 6, 7  # where three of its arguments lie among them


def frame_planes(
    picture: Tensor, trimap: Tensor, prior: Tensor, both: Tensor, linear: Tensor
) -> Tensor:
    """What the encoder looks at, N×9×H×W.

    Args:
        picture: N×3×H×W, 0…1, sRGB-encoded.
        trimap: N×1×H×W: 0, 0.5, 1.
        prior: N×1×H×W, the closed-form alpha.
        both: N×1×H×W, 1 where the prior knew foreground and background, else 0: then it is one
            constant and says nothing.
        linear: N×1×H×W, 1 if composited in linear light, else 0.
    """
    classes = torch.cat([(trimap == 0), (trimap == 1)], 1).to(picture.dtype)
    return torch.cat([picture - 0.5, classes, prior - 0.5, both, linear, classes.sum(1, True)], 1)


class FrameEncoder(nn.Module):
    """N×9×H×W → five maps: H×W, then 1/2, 1/4, 1/8 and 1/16 of it. H and W divide by 16."""

    def __init__(self, channels: tuple[int, int, int, int, int]):
        super().__init__()
        full, half, quarter, eighth, sixteenth = channels
        self.stem = conv(INPUTS, full)
        self.to_half = nn.Sequential(conv(full, half, stride=2), Residual(half))
        self.to_quarter = nn.Sequential(
            conv(half, quarter, stride=2), Residual(quarter), Residual(quarter)
        )
        self.to_eighth = nn.Sequential(
            conv(quarter, eighth, stride=2), Residual(eighth), Residual(eighth)
        )
        # Dilation, so that a wide unknown band is seen from rim to rim.
        self.to_sixteenth = nn.Sequential(
            conv(eighth, sixteenth, stride=2),
            Residual(sixteenth),
            Residual(sixteenth, dilation=2),
            Residual(sixteenth, dilation=2),
        )

    def forward(self, planes: Tensor) -> list[Tensor]:
        maps = [self.stem(planes)]
        for deeper in (self.to_half, self.to_quarter, self.to_eighth, self.to_sixteenth):
            maps.append(deeper(act(maps[-1])))
        return maps
