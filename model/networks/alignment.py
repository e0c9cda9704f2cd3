"""Box 2 of `st_fam_s`: a neighbour's features moved to where they are in the frame at the centre.

Where to look is estimated from coarse to fine: at each scale a shift per pixel, seeded by the
coarser one's and by how well features match around it, and on top of it what each tap of a
deformable convolution wants. Sources: deformable alignment at several scales, X. Wang et al.,
"EDVR", CVPR Workshops 2019; offsets guided by a flow, K. Chan et al., "BasicVSR++", CVPR 2022.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops import maps
from cuda_ops.deform_conv import modulated_deform_conv2d
from model.networks.blocks import conv, zeroed

GROUPS = 4
TAPS = 9
TOGETHER = 16  # columns that are matched as one matrix
FURTHEST = 2.5  # most that a scale adds to the shift of the coarser one, in pixels of the scale
STRAY = 2.0  # most that a tap adds to that


class Alignment(nn.Module):
    """One scale.

    Args:
        channels: of the features.
        guide: channels of the map handed from scale to scale.
        reach: of the matching window, in pixels of the scale.
    """

    def __init__(self, channels: int, guide: int, reach: int):
        super().__init__()
        self.reach = reach
        matched = (2 * reach + 1) ** 2
        self.look = conv(2 * channels + matched + guide + 2, guide)
        self.think = conv(guide, guide)
        self.shift = zeroed(conv(guide, 2))
        self.taps = zeroed(conv(guide, 3 * GROUPS * TAPS))
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        nn.init.kaiming_normal_(self.weight, a=1.0)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, neighbour: Tensor, centre: Tensor, coarser: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Align.

        Args:
            neighbour: N×C×h×w, and centre: the same; how they correspond is to be found.
            coarser: what the scale of half the size returned, None at the coarsest.

        Returns:
            The neighbour's features as the centre would see them, N×C×h×w; and for the next
            scale: its guide N×G×h×w, and the shift N×2×h×w (x, y): the content of the centre's
            pixel p is at p + shift in the neighbour, in pixels of this scale.
        """
        n, _, h, w = centre.shape
        if coarser is None:
            guide = centre.new_zeros(n, len(self.think.weight), h, w)
            shift = torch.zeros(n, 2, h, w, device=centre.device)
        else:
            guide = F.interpolate(coarser[0], scale_factor=2, mode="nearest")
            shift = 2 * F.interpolate(coarser[1], scale_factor=2, mode="bilinear")
        moved = warp(neighbour, shift)
        seen = [moved, centre, matches(moved, centre, self.reach), guide, shift.to(centre.dtype)]
        spare = self.look.weight.shape[1] - sum(one.shape[1] for one in seen)
        if spare:  # weights were filled up
            seen.append(centre.new_zeros(n, spare, h, w))
        if maps.takes(neighbour, 8):  # else they would be stacked one way and turned round after
            seen = [one.contiguous(memory_format=torch.channels_last) for one in seen]
        guide = self.look.then(torch.cat(seen, 1), acted=True)
        guide = self.think.then(guide, acted=True)
        shift = shift + FURTHEST * torch.tanh(self.shift(guide).float())
        wishes = self.taps(guide).float()
        stray = STRAY * torch.tanh(wishes[:, : 2 * GROUPS * TAPS])
        # An operator's offsets are ordered (group, tap, (y, x)), and never in half precision here.
        offset = stray + shift.flip(1).repeat(1, GROUPS * TAPS, 1, 1)
        mask = 2 * torch.sigmoid(wishes[:, 2 * GROUPS * TAPS : 3 * GROUPS * TAPS])
        aligned = modulated_deform_conv2d(
            neighbour, offset, mask, self.weight, self.bias, padding=1
        )
        return aligned, (guide, shift)


def warp(x: Tensor, shift: Tensor) -> Tensor:
    """``x`` looked up at p + shift, bilinear, the border repeated.

    Args:
        x: N×C×h×w.
        shift: float32 N×2×h×w (x, y), in pixels.
    """
    if maps.takes(x, x.shape[1]):
        return maps.moved(x, shift)
    h, w = x.shape[2:]
    row = torch.arange(h, device=x.device, dtype=torch.float32)[:, None]
    column = torch.arange(w, device=x.device, dtype=torch.float32)[None, :]
    grid = torch.stack(
        [(2 * (column + shift[:, 0]) + 1) / w - 1, (2 * (row + shift[:, 1]) + 1) / h - 1], -1
    )
    found = F.grid_sample(
        x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return found.to(x.dtype)


def matches(neighbour: Tensor, centre: Tensor, reach: int) -> Tensor:
    """Cosine between the centre's feature and the neighbour's at each place up to ``reach`` pixels
    away in either axis: N×(2·reach+1)²×h×w."""
    n, channels, h, w = centre.shape
    if maps.takes(neighbour, channels):
        return maps.matches(neighbour, centre, reach)
    many, side = -(-w // TOGETHER), 2 * reach + 1
    spare = many * TOGETHER - w
    # Channels last, and columns in runs: a run's features times those around it in the neighbour's
    # row are one small matrix, on whose diagonals lie the products that are wanted.
    left = F.pad(F.normalize(centre, dim=1, eps=1e-4).permute(0, 2, 3, 1), (0, 0, 0, spare))
    left = left.reshape(n, h, many, TOGETHER, channels)
    around = F.normalize(neighbour, dim=1, eps=1e-4).permute(0, 2, 3, 1)
    around = F.pad(around, (0, 0, reach, reach + spare, reach, reach))
    runs = around.unfold(2, TOGETHER + 2 * reach, TOGETHER)
    found = []
    for y in range(side):
        products = left @ runs[:, y : y + h]
        found += [products.diagonal(x, 3, 4).reshape(n, h, -1)[..., :w] for x in range(side)]
    return torch.stack(found, 1)
