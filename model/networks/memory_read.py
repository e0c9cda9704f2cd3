"""Box 3 of `trimap_memory_s`: each place of a frame asks all places of the frames remembered.

Scaled dot-product attention of A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, over
the pixels of remembered frames as in S. W. Oh et al., "Video Object Segmentation using Space-Time
Memory Networks", ICCV 2019. Ours: one slot more that holds nothing, so that a place like no other
reads nothing and says so; and, for frames just gone by, a pull towards where the place is now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH = 48  # of what is compared and of what is read: equal, so that fused kernels take it
KEY = _WIDTH - 5  # the rest is one for the empty slot and four for the pull
VALUE = _WIDTH - 1  # the rest says how much was read from what is not empty


@dataclass(frozen=True)
class Kept:
    """A frame as memory keeps it: ``key`` N×KEY×h×w and ``value`` N×VALUE×h×w."""

    key: Tensor
    value: Tensor


class MemoryRead(nn.Module):
    """See the module. ``local`` if frames are read with the pull towards the same place."""

    def __init__(self, local: bool):
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(math.log(10.0)))
        self.empty = nn.Parameter(torch.tensor(4.0))
        # The pull of a bell of 6 places (48 px); None: everywhere is equally near.
        self.pull = nn.Parameter(torch.tensor(-math.log(2 * 6.0**2))) if local else None

    def forward(self, key: Tensor, kept: Sequence[Kept]) -> Tensor:
        """N×(VALUE + 1)×h×w, float32: what was read, and how well anything matched, 0…1.

        A frame that is given twice counts as one that is given once: what counts is the mean over
        all that is remembered, so clips with one keyframe and with two can share a batch.

        Args:
            key: N×KEY×h×w of the frame that asks.
            kept: the frames asked, at least one.
        """
        with torch.autocast(key.device.type, enabled=False):  # bfloat16 cannot tell places apart
            query = F.normalize(_rows(key.float()), dim=2) * self.sharpness.exp()
            keys = F.normalize(torch.cat([_rows(k.key.float()) for k in kept], 1), dim=2)
            values = torch.cat([_rows(k.value.float()) for k in kept], 1)
            here, there = self._places(key, len(kept))
            n, places = keys.shape[:2]
            query = torch.cat([query, query.new_ones(n, query.shape[1], 1), here], 2)
            keys = torch.cat([keys, keys.new_zeros(n, places, 1), there], 2)
            values = torch.cat([values, values.new_ones(n, places, 1)], 2)
            there_is_none = (self.empty + math.log(places)).view(1, 1, 1)
            empty = F.pad(there_is_none, (KEY, _WIDTH - KEY - 1)).expand(n, 1, -1)
            found = F.scaled_dot_product_attention(
                query[:, None],
                torch.cat([keys, empty.to(keys.dtype)], 1)[:, None],
                F.pad(values, (0, 0, 0, 1))[:, None],
                scale=1.0,
            )
        return found[:, 0].transpose(1, 2).reshape(n, _WIDTH, *key.shape[2:])

    def _places(self, key: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """N×P×4 and N×(frames·P)×4, whose products are −pull · squared distance."""
        n, _, rows, columns = key.shape
        y, x = torch.meshgrid(
            torch.arange(rows, device=key.device, dtype=torch.float32) - rows / 2,
            torch.arange(columns, device=key.device, dtype=torch.float32) - columns / 2,
            indexing="ij",
        )
        x, y, one = x.flatten(), y.flatten(), torch.ones(rows * columns, device=key.device)
        square = x * x + y * y
        there = torch.stack([x, y, square, one], 1)
        if self.pull is None:
            here = torch.zeros_like(there)
        else:
            here = torch.stack([2 * x, 2 * y, -one, -square], 1) * self.pull.exp()
        return here.expand(n, -1, -1), there.repeat(frames, 1).expand(n, -1, -1)


def _rows(planes: Tensor) -> Tensor:
    """N×C×h×w → N×(h·w)×C."""
    return planes.flatten(2).transpose(1, 2)
