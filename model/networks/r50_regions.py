"""Maps that are kept, and convolved, only where something is wanted.

A `Region` is a set of pixels of one level, a `Sheet` the values there, one row of channels a pixel.
Convolutions are made in small tiles of the region that is wanted; what a tile sees beyond the frame
is zero, as padding is. Nothing is approximated: of what is wanted, all that it depends on has to be
in the region of what is convolved, and that is for the caller to see to (`Region.grown`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 3  # the widest that a kernel reaches
TILE = 8  # side of the tiles that convolutions are made in
FEW = 2  # times as many pixels as results up to which a convolution is a product of matrices
MANY = 4  # times as many rows as results make a product one of the rows, not of the weight
BATCH = 16
NEARLY_ALL = 0.8  # share of the frame from which the whole is cheaper


class Region:
    """A set of pixels of a level, bool h×w; `whole` if it is all of them."""

    def __init__(self, mask: Tensor, *, whole: bool = False):
        self.height, self.width = mask.shape
        self.mask, self.whole = mask, whole

    @staticmethod
    def of(mask: Tensor) -> Region:
        """Just these pixels."""
        return Region(mask, whole=bool(mask.all()))

    @staticmethod
    def around(mask: Tensor) -> Region:
        """These pixels; or the whole, if that is cheaper."""
        whole = float(mask.float().mean()) >= NEARLY_ALL
        return Region(torch.ones_like(mask) if whole else mask, whole=whole)

    @cached_property
    def pixels(self) -> Tensor:
        """Their numbers, row by row, int64 P."""
        return self.mask.flatten().nonzero()[:, 0]

    @cached_property
    def places(self) -> Tensor:
        """The row of each pixel in a sheet, with a margin for tiles, int64; P where it has none."""
        down, right = -self.height % TILE, -self.width % TILE
        count = len(self.pixels)
        order = torch.cumsum(self.mask.flatten(), 0) - 1
        rows = torch.where(self.mask.flatten(), order, count).view(self.mask.shape)
        return F.pad(rows, (MARGIN, MARGIN + right, MARGIN, MARGIN + down), value=count)

    @cached_property
    def corners(self) -> Tensor:
        """Row and column of the tiles that hold any of the pixels, in tiles, int64 T×2."""
        full = F.max_pool2d(self.mask[None].float(), TILE, ceil_mode=True)[0]
        return full.nonzero()

    def grown(self, down: int, across: int, *, exactly: bool = False) -> Region:
        """With all pixels that are at most so far away along the two axes; if these are nearly all,
        with all, unless it is to be exact."""
        if self.whole or not (down or across):
            return self
        size, padding = (2 * down + 1, 2 * across + 1), (down, across)
        mask = F.max_pool2d(self.mask[None].float(), size, 1, padding)[0] > 0
        return Region.of(mask) if exactly else Region.around(mask)

    def halved(self) -> Region:
        """The pixels of the next coarser level, of which these are part."""
        return Region.around(F.max_pool2d(self.mask[None].float(), 2)[0] > 0)

    def windows(self, corners: Tensor, down: int = 0, across: int = 0) -> Tensor:
        """What is in and around tiles, as rows of a sheet of this region, T×(8+2·down)×(8+2·…)."""
        rows = torch.arange(TILE + 2 * down, device=corners.device) + MARGIN - down
        columns = torch.arange(TILE + 2 * across, device=corners.device) + MARGIN - across
        rows = corners[:, :1] * TILE + rows
        columns = corners[:, 1:] * TILE + columns
        return self.places[rows[:, :, None], columns[:, None, :]]

    def beside(self, pixels: Tensor, down: int, across: int) -> Tensor:
        """What is at and around pixels, as rows of a sheet of this region, P×(1+2·down)×(…)."""
        row, column = pixels // self.width + MARGIN, pixels % self.width + MARGIN
        rows = row[:, None] + torch.arange(-down, down + 1, device=pixels.device)
        columns = column[:, None] + torch.arange(-across, across + 1, device=pixels.device)
        return self.places[rows[:, :, None], columns[:, None, :]]


@dataclass(frozen=True)
class Sheet:
    """The values of a region: (P+1)×C; the last row is what lies outside, zero."""

    rows: Tensor
    region: Region

    @staticmethod
    def of_map(x: Tensor, region: Region) -> Sheet:
        """Of a map 1×C×h×w, what lies in a region."""
        rows = rows_of(x)
        if not region.whole:
            rows = rows[region.pixels]
        return Sheet(ended(rows), region)

    def to_map(self) -> Tensor:
        """1×C×h×w, channels last; only if the region is the whole frame, without a copy."""
        rows = self.rows[:-1].view(1, self.region.height, self.region.width, -1)
        return rows.permute(0, 3, 1, 2)

    def spread(self) -> Tensor:
        """1×C×h×w, zero outside of the region."""
        if self.region.whole:
            return self.to_map()
        found = self.rows.new_zeros(self.region.height * self.region.width, self.rows.shape[1])
        found[self.region.pixels] = self.rows[:-1]
        return found.view(1, self.region.height, self.region.width, -1).permute(0, 3, 1, 2)

    def within(self, region: Region) -> Tensor:
        """The rows of a region that this one holds, P×C."""
        if region.whole:
            return self.rows[:-1]
        places = self.region.places[MARGIN:, MARGIN:][: region.height, : region.width]
        return self.rows[places.reshape(-1)[region.pixels]]


def rows_of(x: Tensor) -> Tensor:
    """A map 1×C×h×w as (h·w)×C; without a copy if it is channels last."""
    return x[0].permute(1, 2, 0).reshape(-1, x.shape[1])


def product(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """P×K rows times a weight O×K, plus a bias: P×O.

    On the CPU as a 1×1 convolution: torch's matrix product there is MKL's, which on processors that
    are not Intel's has half the speed of what convolutions are handed to (105 against 200 to 240
    GFLOP/s a core). With few rows the weight is taken for the picture and the rows for the kernel,
    so that the larger of the two need not be laid out anew. torch does so only if the batch is 16
    or there is more than one thread.
    """
    count, outside = len(rows), len(weight)
    if rows.device.type != "cpu" or not count:
        return F.linear(rows, weight, bias)
    if count <= MANY * outside and outside % BATCH == 0:
        found = F.conv2d(_as_pictures(weight), rows[:, :, None, None])
        return found.permute(1, 0, 2, 3).reshape(count, outside).contiguous() + bias
    found = F.conv2d(_as_pictures(rows), weight[:, :, None, None], bias)
    return found.permute(0, 2, 3, 1).reshape(count, outside)


def _as_pictures(rows: Tensor) -> Tensor:
    """P×K as 16×K×(P/16)×1, channels last; 1×K×P×1 if 16 does not divide it."""
    batch = BATCH if len(rows) % BATCH == 0 else 1
    return rows.reshape(batch, len(rows) // batch, 1, -1).permute(0, 3, 1, 2)


def convolve(
    sheets: Sequence[Sheet], weight: Tensor, bias: Tensor, wanted: Region, most: int
) -> Sheet:
    """A convolution of stride 1 that keeps the size, of the channels of one or several sheets.

    Args:
        sheets: together the channels; each holds what the kernel reaches from ``wanted``, or zeros
            are right there.
        weight: O×C×k×k', k and k' odd and at most 7.
        bias: O.
        wanted: where the result is.
        most: pixels that are made at a time, at least a tile.
    """
    down, across = weight.shape[2] // 2, weight.shape[3] // 2
    count, beside = len(wanted.pixels), len(wanted.corners) * TILE**2
    whole = wanted.whole and all(one.region.whole for one in sheets)
    if count <= FEW * len(weight) or 2 * count <= min(beside, most):
        return _by_pixels(sheets, weight, bias, wanted, most)
    if whole:
        maps = [one.to_map() for one in sheets]
        x = maps[0] if len(maps) == 1 else torch.cat(maps, 1)
        return Sheet.of_map(F.conv2d(x, weight, bias, padding=(down, across)), wanted)
    rows: Tensor | None = None
    for corners in torch.split(wanted.corners, max(most // TILE**2, 1)):
        tiles = [one.rows[one.region.windows(corners, down, across)] for one in sheets]
        x = tiles[0] if len(tiles) == 1 else torch.cat(tiles, 3)
        found = F.conv2d(x.permute(0, 3, 1, 2), weight, bias).permute(0, 2, 3, 1)
        if rows is None:
            rows = found.new_empty(count + 1, found.shape[3])
        rows[wanted.windows(corners)] = found
    if rows is None:
        rows = sheets[0].rows.new_empty(1, len(weight))
    rows[count] = 0
    return Sheet(rows, wanted)


def _by_pixels(
    sheets: Sequence[Sheet], weight: Tensor, bias: Tensor, wanted: Region, most: int
) -> Sheet:
    """`convolve` pixel by pixel, for few or scattered ones: what each kernel sees, side by side."""
    down, across = weight.shape[2] // 2, weight.shape[3] // 2
    matrix = weight.permute(0, 2, 3, 1).flatten(1)
    found = []
    for pixels in torch.split(wanted.pixels, max(most, TILE**2)):
        seen = [one.rows[one.region.beside(pixels, down, across)] for one in sheets]
        x = seen[0] if len(seen) == 1 else torch.cat(seen, 3)
        found.append(product(x.flatten(1), matrix, bias))
    rows = torch.cat(found) if found else sheets[0].rows.new_empty(0, len(weight))
    return Sheet(ended(rows), wanted)


def ended(rows: Tensor) -> Tensor:
    """With the row of zeros that a sheet ends in."""
    return torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
