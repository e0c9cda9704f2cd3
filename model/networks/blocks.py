"""Convolutions that all boxes of `st_fam_s` are built from.

There is no normalisation over pixels anywhere: a tile must equal the whole frame.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops import maps

SLOPE = 0.1


def act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def act_(x: Tensor) -> Tensor:
    """In place: new memory costs a processor more than this does. For what nobody else reads."""
    return F.leaky_relu_(x, SLOPE)


class Convolution(nn.Conv2d):
    """With what follows it, which on a CUDA device goes over the map once."""

    def forward(self, x: Tensor) -> Tensor:
        return self.then(x)

    def then(self, x: Tensor, *, acted: bool = False, other: Tensor | None = None) -> Tensor:
        """The convolution plus ``other``; with ``acted``, and no other, `act` of it."""
        if not maps.takes(x, len(self.weight), self.weight):
            found = super().forward(x)
            if other is not None:
                return found.add_(other)
            return act_(found) if acted else found
        found = F.conv2d(x, self.weight, None, self.stride, self.padding, self.dilation)
        slope = SLOPE if acted else 1.0
        return maps.finished(found, self.bias, slope=slope, other=other, in_place=True)


def conv(
    inside: int, outside: int, *, size: int = 3, stride: int = 1, dilation: int = 1
) -> Convolution:
    """A convolution that keeps the size (or divides it by the stride), He-initialised."""
    made = Convolution(
        inside, outside, size, stride, padding=dilation * (size // 2), dilation=dilation
    )
    nn.init.kaiming_normal_(made.weight, a=SLOPE)
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made


def zeroed(made: Convolution) -> Convolution:
    """The same convolution, answering 0 until it is trained."""
    nn.init.zeros_(made.weight)
    return made


class Residual(nn.Module):
    """x + conv(act(conv(x))). The second convolution starts small, so that depth needs no
    normalisation (H. Zhang et al., "Fixup Initialization", ICLR 2019, without its scalars)."""

    def __init__(self, channels: int, dilation: int = 1):
        super().__init__()
        self.first = conv(channels, channels, dilation=dilation)
        self.second = conv(channels, channels, dilation=dilation)
        self.second.weight.data.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second.then(self.first.then(act(x), acted=True), other=x)
