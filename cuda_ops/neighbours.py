"""Look-alikes on a CUDA device: the nearest neighbours of each unknown pixel, exactly.

All that are searched are put along a curve and into boxes; a box that cannot be nearer is passed
over. `model.classical.look_alikes` is the specification; among equally near ones the kernels take
those of the lower raster index.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from cuda_ops.layout import Pixels
from cuda_ops.matting_parts import THREADS, blocks_of, launch, part

__all__ = ["Searches", "neighbours", "turned"]


@dataclass(frozen=True)
class Searches:
    """How look-alikes are looked for, twice: how many, and how much the frame's width counts.

    Attributes:
        counts: neighbours of each pixel; 31 at most.
        spreads: width of the frame against black to white.
        strength: weight of a pixel's edges in sum.
        most_known: known pixels that are searched; of more, every second, third …
    """

    counts: tuple[int, int]
    spreads: tuple[float, float]
    strength: float
    most_known: int

    @property
    def options(self) -> tuple[tuple[str, int], ...]:
        """As kernels are told."""
        return tuple(zip(("FIRST", "SECOND"), self.counts, strict=True))


def neighbours(
    picture: Tensor, known: Tensor, pixels: Pixels, searches: Searches
) -> tuple[Tensor, Tensor]:
    """The unknown pixels that each one is joined to, N×K (N = none), and 2×2×N how many known ones,
    and known ones of alpha 1.

    Args:
        picture: float32 3×H×W, finite.
        known: float32 H×W: 0, 1, between is unknown.
        pixels: of the frame.
        searches: how.
    """
    _, ends, to_known = _nearest(picture, known, pixels, searches)
    return ends, to_known


def _nearest(
    picture: Tensor, known: Tensor, pixels: Pixels, searches: Searches
) -> tuple[Tensor, Tensor, Tensor]:
    """As `neighbours`, and which pixels of the frame they are, N×K, -1 = none."""
    size, width = known.numel(), known.shape[1]
    number, places = pixels.number, pixels.searched
    count, among = len(pixels.unknown), len(places)
    options = searches.options
    spreads = tuple(ctypes.c_double(spread) for spread in searches.spreads)
    along_curve = torch.empty(2 * among, dtype=torch.int64, device=picture.device)
    keys = part("keys")
    launch(
        keys, (blocks_of(among), 2, 1), picture, places, among, size, width, *spreads, along_curve
    )
    order = along_curve.sort().indices
    groups = -(-among // 1024)
    along, small = picture.new_empty(2, 5, groups * 1024), picture.new_empty(2, 10, groups * 32)
    large, place_along = picture.new_empty(2, 10, groups), number.new_empty(2, groups * 1024)
    boxes = part("boxes", threads=1024, shared=10 * 32 * 4)
    launch(
        boxes, (groups, 2, 1), picture, places, order, among, size, width, *spreads, along,
        place_along, small, large,
    )  # fmt: skip
    ends, found = (number.new_empty(count, sum(searches.counts)) for _ in range(2))
    to_known = picture.new_empty(2, 2, count)
    grid = (-(-groups * 1024 // (THREADS // 32)), 2, 1)
    launch(
        part("neighbours", *options), grid, count, number, known, along, place_along, small, large,
        groups, found, ends, to_known,
    )  # fmt: skip
    return found, ends, to_known


def turned(ends: Tensor) -> tuple[Tensor, Tensor]:
    """Who is joined to each pixel, all in a row, and where each pixel's begin, N + 1."""
    count = len(ends)
    targets, order = ends.flatten().sort(stable=True)
    sources = torch.div(order, ends.shape[1], rounding_mode="floor").int()
    numbers = torch.arange(count + 1, dtype=torch.int32, device=ends.device)
    return sources, torch.searchsorted(targets, numbers, out_int32=True)
