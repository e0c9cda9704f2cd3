"""What the taps of a deformable convolution see: at chosen pixels, and in the mean over the frame.

A deformable convolution is linear in what its taps see: mean(W·seen + b) = W·mean(seen) + b. So the
means that attention over channels wants need no matrix product at each pixel. Nor do they need the
gathering: what a tap sees in the mean is what it looks at, weighed by how often it looks there, and
that weight is the same for all channels of a deformable group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.r50_alignment import GROUPS, TAPS
from model.networks.r50_regions import Region, product

# Numbers that are gathered at once, per device: on the CPU they should stay near the cache.
BUDGET = {"cpu": 2**21, "cuda": 2**26}
LEAST = 1024  # pixels at once: fewer are not worth reading the weights for
PAYS_FROM = 64  # channels of a deformable group: from there on rows are added up
_ZEROS_BILINEAR = (0, 0, False)  # grid_sampler's interpolation, padding and align_corners


@dataclass(frozen=True)
class Looks:
    """Where the taps of each pixel look, of N frames, and what at.

    Attributes:
        at: float32 (N·8)×(C/8)×h×w.
        grid: float32 (N·8)×9×2×(h·w), (x, y) in grid_sample's coordinates.
        mask: float32 (N·8)×9×(h·w).
    """

    at: Tensor
    grid: Tensor
    mask: Tensor

    @staticmethod
    def of(x: Tensor, offset: Tensor, mask: Tensor) -> Looks:
        """At features N×C×h×w, by what `wishes` answers for them."""
        count, _, height, width = offset.shape
        offset = offset.contiguous().view(count * GROUPS, TAPS, 2, height, width)
        tap = torch.arange(TAPS, device=offset.device)
        row = torch.arange(height, device=offset.device) + (tap // 3 - 1)[:, None]
        column = torch.arange(width, device=offset.device) + (tap % 3 - 1)[:, None]
        across, down = (2 * column + 1) / width - 1, (2 * row + 1) / height - 1
        grid = torch.empty_like(offset)
        torch.add(across[:, None], offset[:, :, 1], alpha=2 / width, out=grid[:, :, 0])
        torch.add(down[:, :, None], offset[:, :, 0], alpha=2 / height, out=grid[:, :, 1])
        at = x.float().contiguous().view(count * GROUPS, -1, height, width)
        mask = mask.contiguous().view(count * GROUPS, TAPS, -1)
        return Looks(at, grid.flatten(3, 4), mask)

    def mean(self) -> Tensor:
        """What the taps see in the mean over the frame, float32 N×(C·9)."""
        many, each, height, width = self.at.shape
        count = height * width
        if self.at.device.type != "cpu":
            # There, what is below would be added up in another order each time.
            total = self.at.new_zeros(many // GROUPS, GROUPS * each * TAPS)
            for seen in self._seen(None):
                total += seen.sum(3).flatten(1)
            return total / count
        # How often each pixel is looked at is the gradient of what is seen there.
        planes = many * TAPS, 1, height, width
        often, _ = torch.ops.aten.grid_sampler_2d_backward(
            self.mask.reshape(planes),
            self.mask.new_zeros(()).expand(planes),
            self.grid.view(many * TAPS, 2, height, width).permute(0, 2, 3, 1),
            *_ZEROS_BILINEAR,
            [True, False],
        )
        often = often.view(many, TAPS, count).transpose(1, 2)
        found = torch.bmm(self.at.view(many, each, count), often)
        return found.view(many // GROUPS, -1) / count

    def convolved(self, weight: Tensor, by_taps: Tensor, bias: Tensor, where: Region) -> Tensor:
        """The convolution at the pixels of a region, the frames side by side: P×(N·O).

        Args:
            weight: O×C×3×3.
            by_taps: the same as O×(9·C).
            bias: O.
            where: the region.
        """
        chosen = None if where.whole else where.pixels
        if self.at.device.type == "cpu" and self.at.shape[1] >= PAYS_FROM:
            found = [product(rows.flatten(0, 1), by_taps, bias) for rows in self._rows(where)]
            many = len(self.at) // GROUPS
            found = [one.view(many, -1, len(bias)).transpose(0, 1) for one in found]
            return torch.cat(found).flatten(1)
        # Taps as rows of a picture: torch hands that to the fast library, a matrix product it
        # hands to one that is half as fast on processors that are not Intel's.
        kernel = weight.reshape(len(weight), -1, TAPS, 1)
        found = [F.conv2d(seen, kernel, bias) for seen in self._seen(chosen)]
        return torch.cat([one[:, :, 0].permute(2, 0, 1).flatten(1) for one in found])

    def _rows(self, where: Region) -> Iterator[Tensor]:
        """What the taps of a region's pixels see, N×p×(9·C), some of them at a time.

        As weighted sums of rows of a table, of four pixels each: several times faster than
        grid_sample where a deformable group has many channels, and in the order that products of
        matrices want.
        """
        groups, each, height, width = self.at.shape
        many = groups // GROUPS
        table = self.at.flatten(2).transpose(1, 2).reshape(-1, each)
        first = torch.arange(groups, device=table.device)[:, None, None] * (height * width)
        channels = GROUPS * each
        most = max(BUDGET["cpu"] // (many * channels * TAPS), LEAST)
        for those in torch.split(where.pixels, most):
            x = ((self.grid[:, :, 0, those] + 1) * width - 1) / 2
            y = ((self.grid[:, :, 1, those] + 1) * height - 1) / 2
            column, row = x.floor(), y.floor()
            right, below = x - column, y - row
            mask = self.mask[..., those]
            places, weights = [], []
            for down in (0, 1):
                for across in (0, 1):
                    r, c = row + down, column + across
                    inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
                    share = (right if across else 1 - right) * (below if down else 1 - below)
                    place = r.clamp(0, height - 1) * width + c.clamp(0, width - 1)
                    places.append(place.long() + first)
                    weights.append(mask * share * inside)

            def in_order(several: list[Tensor], count: int) -> Tensor:
                """4 of (N·8)×9×p, as (N·p·9·8)×4."""
                found = torch.stack(several, -1).view(many, GROUPS, TAPS, count, len(several))
                return found.permute(0, 3, 2, 1, 4).reshape(-1, len(several))

            found = F.embedding_bag(
                in_order(places, len(those)),
                table,
                mode="sum",
                per_sample_weights=in_order(weights, len(those)),
            )
            yield found.view(many, len(those), TAPS * channels)

    def _seen(self, chosen: Tensor | None) -> Iterator[Tensor]:
        """What the taps of chosen pixels see, N×C×9×p, as many of them at a time as there is room
        for."""
        many, each = self.at.shape[:2]
        budget = BUDGET.get(self.at.device.type, BUDGET["cuda"])
        most = max(budget // (many * each * TAPS), LEAST)
        count = self.grid.shape[3] if chosen is None else len(chosen)
        for first in range(0, count, most):
            part = slice(first, min(first + most, count))
            those = part if chosen is None else chosen[part]
            grid = self.grid[..., those].transpose(2, 3)
            seen = torch.ops.aten.grid_sampler_2d(self.at, grid, *_ZEROS_BILINEAR)
            seen.mul_(self.mask[:, None, :, those])
            yield seen.view(many // GROUPS, GROUPS * each, TAPS, -1)
