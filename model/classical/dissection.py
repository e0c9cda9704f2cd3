"""In which order to eliminate unknown pixels, and which of them meet in one dense matrix.

Source: A. George, "Nested Dissection of a Regular Finite Element Mesh", SIAM J. Numer. Anal. 10(2),
1973. The 3×3 windows of a frame are cut into square tiles, whose side doubles from level to level.
A pixel all of whose windows lie in one tile has no neighbour outside of that tile's *front* and can
be eliminated there; the others are kept for the next level, where four tiles make one. Unknown
pixels lie in thin bands, so tiles without any are not there, and fronts stay small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.classical.gather import pick

_LEAF = 3  # the smallest tiles have a side of two to the power of this, in windows
_CHEAP = 1 << 16  # numbers of padding that cost less than a batch of their own
_WASTE = 1.3  # fronts of one batch are padded to its largest, which is at most this much larger


@dataclass(frozen=True)
class Dissection:
    """The elimination order of N unknown pixels.

    Attributes:
        pixels: int64 N, raster indices in the order of elimination.
        windows: int64 4×N, row and column of the first and of the last window a pixel lies in.
        size: height and width of the frame.
        starts: where each level's pixels begin in that order, and N.
    """

    pixels: Tensor
    windows: Tensor
    size: tuple[int, int]
    starts: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """Fronts of one level, padded to one size; the eliminated pixels come first in each.

    Attributes:
        tiles: int64 M.
        eliminated: int64 M×E, places in the order of elimination; N is padding.
        kept: int64 M×B, likewise.
        copies: int64 M×B: which of its up to four tiles this one is to a kept pixel, 0…3.
        start: where the batch begins in the level's storage of M·(E+B)² numbers.
    """

    tiles: Tensor
    eliminated: Tensor
    kept: Tensor
    copies: Tensor
    start: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """M, E, B."""
        return len(self.tiles), self.eliminated.shape[1], self.kept.shape[1]


@dataclass(frozen=True)
class Level:
    """All fronts of one tile size.

    Attributes:
        batches: the fronts by size.
        begin: the first pixel that is eliminated here.
        end: the first pixel that is eliminated later.
        stride: tiles in a row of tiles.
        first_tile: int64 N+1, the top left tile that a pixel's windows lie in.
        positions: int64 4×(N+1) flat, a pixel's place in the front of each of its tiles.
        batch_of: int64, for each tile.
        base: int64, where each tile's front begins in the level's storage.
        side: int64, rows and columns of each tile's front with padding.
        storage: numbers in all fronts.
    """

    batches: tuple[Batch, ...]
    begin: int
    end: int
    stride: int
    first_tile: Tensor
    positions: Tensor
    batch_of: Tensor
    base: Tensor
    side: Tensor
    storage: int

    def place(self, tiles: Tensor, pixels: Tensor) -> Tensor:
        """Where pixels stand in the fronts of tiles (shapes must broadcast); padding gives 0."""
        copy = _copy(tiles - pick(self.first_tile, pixels), self.stride)
        return pick(self.positions, copy * len(self.first_tile) + pixels)

    def parents(self, below: Level, tiles: Tensor) -> Tensor:
        """The tiles of this level that tiles of the level below are part of."""
        return tiles // below.stride // 2 * self.stride + tiles % below.stride // 2


def dissect(unknown: Tensor) -> Dissection:
    """Put the unknown pixels of a bool H×W mask in order; H and W are at least 3."""
    height, width = unknown.shape
    pixels = unknown.flatten().nonzero().squeeze(1)
    windows = _windows(pixels, height, width)
    number_of_levels = _levels(height, width)
    level = torch.zeros_like(pixels)
    tile = torch.zeros_like(pixels)
    for number in range(number_of_levels):
        first, spread, _ = _tiles(windows, width, number)
        tile = torch.where(level == number, first, tile)
        level += spread > 0
    key = level * ((height + 1) * (width + 1)) + tile
    order = torch.argsort(key, stable=True)
    bounds = torch.arange(number_of_levels + 1, device=unknown.device)
    starts = torch.searchsorted(level[order], bounds).tolist()
    return Dissection(pixels[order], windows[:, order], (height, width), tuple(starts))


def levels(dissection: Dissection) -> Iterator[Level]:
    """The levels from the smallest tiles to the one that holds the whole frame."""
    for number in range(_levels(*dissection.size)):
        if dissection.starts[number] < len(dissection.pixels):
            yield _level(dissection, number)


def _levels(height: int, width: int) -> int:
    """How many it takes until one tile holds all windows."""
    return max(0, (max(height, width) - 3).bit_length() - _LEAF) + 1


def _windows(pixels: Tensor, height: int, width: int) -> Tensor:
    """Row and column of the first and of the last window that pixels lie in, 4×N."""
    y, x = pixels // width, pixels % width
    first = (y - 2).clamp(0, height - 3), (x - 2).clamp(0, width - 3)
    return torch.stack([*first, y.clamp(0, height - 3), x.clamp(0, width - 3)])


def _tiles(windows: Tensor, width: int, number: int) -> tuple[Tensor, Tensor, int]:
    """The first tile of a level that each pixel lies in, the way to its last, and tiles in a row.

    A row has at least two tiles, so that the ways 0, 1, stride and stride + 1 all differ.
    """
    power = _LEAF + number
    stride = max(((width - 3) >> power) + 1, 2)
    top, left, bottom, right = windows >> power
    first = top * stride + left
    return first, bottom * stride + right - first, stride


def _copy(way: Tensor, stride: int) -> Tensor:
    """0…3 for the ways 0, 1, stride and stride + 1."""
    return torch.where(way >= stride, way - (stride - 2), way).clamp(0, 3)


def _level(dissection: Dissection, number: int) -> Level:
    pixels, (height, width) = dissection.pixels, dissection.size
    begin, end, count = dissection.starts[number], dissection.starts[number + 1], len(pixels)
    device = pixels.device
    first, spread, stride = _tiles(dissection.windows, width, number)
    tiles = stride * (((height - 3) >> (_LEAF + number)) + 2)

    pixel, tile, copy = _kept(end, first, spread, stride)
    tile, order = torch.sort(tile, stable=True)
    pixel, copy = pick(pixel, order), pick(copy, order)
    out, keep = (
        torch.bincount(first[begin:end], minlength=tiles),
        torch.bincount(tile, minlength=tiles),
    )

    batch_of, slots = _batch(out, keep)
    shapes = [(int(out[one].max()), int(keep[one].max())) for one in slots]
    side_of, wide, base, row = (torch.zeros_like(out) for _ in range(4))
    storage, rows, starts = 0, 0, []
    for members, (e, b) in zip(slots, shapes, strict=True):
        within = torch.arange(len(members), device=device)
        side_of[members], wide[members] = e + b, e
        base[members], row[members] = storage + within * (e + b) ** 2, rows + within * (e + b)
        starts.append((storage, rows))
        storage += len(members) * (e + b) ** 2
        rows += len(members) * (e + b)

    place_out = torch.arange(begin, end, device=device)
    place_out -= begin + pick(out.cumsum(0) - out, first[begin:end])
    place_keep = torch.arange(len(tile), device=device) - pick(keep.cumsum(0) - keep - wide, tile)
    positions = torch.zeros(4 * (count + 1), dtype=torch.int64, device=device)
    positions[begin:end] = place_out
    positions[copy * (count + 1) + pixel] = place_keep
    members_of = torch.full((rows,), count, dtype=torch.int64, device=device)
    members_of[pick(row, first[begin:end]) + place_out] = torch.arange(begin, end, device=device)
    slot = pick(row, tile) + place_keep
    members_of[slot] = pixel
    copies_of = torch.zeros_like(members_of)
    copies_of[slot] = copy

    batches = []
    for members, (e, b), (start, top) in zip(slots, shapes, starts, strict=True):
        span = slice(top, top + len(members) * (e + b))
        who, which = members_of[span].view(-1, e + b), copies_of[span].view(-1, e + b)
        batches.append(
            Batch(members, who[:, :e].contiguous(), who[:, e:].contiguous(), which[:, e:], start)
        )
    padded = torch.cat([first, first.new_zeros(1)])
    return Level(
        tuple(batches), begin, end, stride, padded, positions, batch_of, base, side_of, storage
    )


def _kept(end: int, first: Tensor, spread: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels that are eliminated later, once for each tile they touch: pixel, tile, which copy."""
    later = torch.arange(end, len(first), device=first.device)
    way = spread[end:]
    touching = [
        later,
        later[(way == 1) | (way == stride + 1)],
        later[(way == stride) | (way == stride + 1)],
        later[way == stride + 1],
    ]
    ways = (0, 1, stride, stride + 1)
    return (
        torch.cat(touching),
        torch.cat([pick(first, pixel) + way for pixel, way in zip(touching, ways, strict=True)]),
        torch.cat([torch.full_like(pixel, copy) for copy, pixel in enumerate(touching)]),
    )


def _batch(out: Tensor, keep: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Sort tiles by the size of their fronts: the batch of each tile, the tiles of each batch."""
    total = out + keep
    grade = torch.log(total.clamp_min(1).double()).div(math.log(_WASTE)).ceil().long()
    grade[total == 0] = -1
    batch_of = torch.full_like(grade, -1)
    slots: list[Tensor] = []
    side = 0
    for one in sorted({one for one in grade.tolist() if one >= 0}, reverse=True):
        members = (grade == one).nonzero().squeeze(1)
        largest = int(total[members].max())
        if slots and len(members) * (side**2 - largest**2) < _CHEAP:
            slots[-1] = torch.cat([slots[-1], members])
        else:
            slots.append(members)
            side = largest
        batch_of[members] = len(slots) - 1
    return batch_of, slots
