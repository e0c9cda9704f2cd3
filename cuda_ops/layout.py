"""The unknown pixels of a frame, tile by tile, on a CUDA device.

Tiles of 8×8 pixels lie together four by four, see csrc/matting.cu. The host waits once, for how
many pixels of which kind there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cuda_ops.matting_parts import THREADS, launch, part

__all__ = ["Layout", "Pixels", "Tiles", "laid_out", "numbered"]

_TILE = 8
_MOST_LARGEST = 48  # tiles whose system is inverted whole: 192 functions
_SCAN = 1024  # threads of the scan's block


@dataclass(frozen=True)
class Tiles:
    """The grid in tiles; `halvings` from the largest ones down to 8×8, at least three."""

    height: int
    width: int
    halvings: int

    @property
    def across(self) -> int:
        return -(-self.width // (_TILE << self.halvings))

    @property
    def down(self) -> int:
        return -(-self.height // (_TILE << self.halvings))

    def count(self, halvings: int) -> int:
        """Tiles so many halvings below the largest."""
        return self.across * self.down << 2 * halvings

    @staticmethod
    def of(height: int, width: int) -> Tiles:
        """Of a frame, with as many of the largest as are inverted whole."""
        halvings = 3
        while Tiles(height, width, halvings).count(0) > _MOST_LARGEST:
            halvings += 1
        return Tiles(height, width, halvings)


@dataclass(frozen=True)
class Layout:
    """Where pixels lie in which order, and how many there are.

    Attributes:
        tiles: the frame in tiles.
        starts: int32, the first unknown pixel of each 8×8 tile, and how many there are.
        opened: int32, the tiles of 32×32 with unknown pixels; the first `areas`.
        begins: int32, the first known pixel of each 64 in raster order.
        areas: tiles of 32×32 with unknown pixels.
        unknown: pixels.
        known: pixels.
        both: whether there is background as well as foreground.
    """

    tiles: Tiles
    starts: Tensor
    opened: Tensor
    begins: Tensor
    areas: int
    unknown: int
    known: int
    both: bool


@dataclass(frozen=True)
class Pixels:
    """Raster indices, int32 each.

    Attributes:
        unknown: tile by tile.
        number: of each pixel of the frame among these; -1 = known.
        searched: for look-alikes: the unknown ones, then known ones.
    """

    unknown: Tensor
    number: Tensor
    searched: Tensor


def laid_out(known: Tensor) -> Layout:
    """The layout of float32 H×W: 0, 1, between is unknown. Waits for the device."""
    height, width = known.shape
    tiles = Tiles.of(height, width)
    smallest, some = tiles.count(tiles.halvings), -(-known.numel() // 64)
    sizes = [smallest, some, smallest + 1, smallest // 16, some, 5]
    numbers = torch.empty(sum(sizes), dtype=torch.int32, device=known.device)
    unknown, among, starts, opened, begins, totals = torch.split(numbers, sizes)
    launch(
        part("tally"), _grid(smallest, some), known, height, width, tiles.halvings, tiles.across,
        smallest, unknown, among,
    )  # fmt: skip
    scan = part("scan", threads=_SCAN, shared=_SCAN // 32 * 4)
    launch(scan, (2, 1, 1), unknown, smallest, among, some, starts, opened, begins, totals)
    count, areas, others, background, foreground = totals.tolist()
    both = bool(background and foreground)
    return Layout(tiles, starts, opened, begins, areas, count, others, both)


def numbered(layout: Layout, known: Tensor, most_known: int) -> Pixels:
    """The pixels of a frame that has unknown and known ones.

    Args:
        layout: of it.
        known: float32 H×W.
        most_known: known pixels that are searched; of more, every second, third …
    """
    tiles, count = layout.tiles, layout.unknown
    step = max(1, -(-layout.known // most_known))
    searched = layout.starts.new_empty(count + -(-layout.known // step))
    pixels, number = searched.new_empty(count), searched.new_empty(known.numel())
    smallest = tiles.count(tiles.halvings)
    launch(
        part("number"), _grid(smallest, -(-known.numel() // 64)), known, *known.shape,
        tiles.halvings, tiles.across, smallest, layout.starts, layout.begins, count, step, pixels,
        number, searched,
    )  # fmt: skip
    return Pixels(pixels, number, searched)


def _grid(*warps: int) -> tuple[int, int, int]:
    return -(-max(warps) // (THREADS // 32)), len(warps), 1
