"""Closed form with look-alikes on a CUDA device, by kernels of our own (csrc).

The whole of it runs without the host looking at anything but how many pixels of which kind there
are (`cuda_ops.layout`): nearest neighbours, exactly, by boxes along a curve; the matting
Laplacian's rows; functions that are linear in colour, tile by tile, as preconditioner; and
conjugate gradients in one launch. Nothing is added up in an order that could differ: results are
equal bit by bit in every run.

`model.classical.closed_form` is the specification, `model.classical.on_device` uses this. What
conjugate gradients leave of the error: see `TOLERANCE`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from cuda_ops import variants
from cuda_ops.layout import Layout, Pixels, numbered
from cuda_ops.matting_parts import THREADS, blocks_of, launch, part
from cuda_ops.neighbours import Searches, neighbours, turned

__all__ = ["Answer", "carry", "reduce", "refusal", "solve"]

# Residual as the preconditioner measures it, relative to that of no answer at all. On 23 frames of
# stills, clips and synthetic ones the mean of alpha's error among unknown pixels was 0.0013 at most
# then, the 99th percentile 0.0085, after 26 to 131 iterations.
TOLERANCE = 5e-5
LIMIT = 400  # iterations
_DESCENT = 512  # threads of a block of the descent, at most; one runs on every multiprocessor
_STENCIL = 24
_MOST_PIXELS = 2**24


@dataclass(frozen=True)
class Answer:
    """What `solve` came to, all of it on the device.

    Attributes:
        alpha: float32 H×W.
        typical: float32, median luminance of the unknown pixels.
        outcome: float32 2: iterations, and what is left of the residual.
    """

    alpha: Tensor
    typical: Tensor
    outcome: Tensor


class _Problem(ctypes.Structure):
    """`Problem` of csrc/descend.cu."""

    _fields_ = (
        *(
            (name, ctypes.c_int)
            for name in ("count", "blocks", "areas", "open", "largest", "bits", "limit", "room")
        ),
        *((name, ctypes.c_float) for name in ("tolerance", "weight")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "weights", "others", "ends", "incoming", "sources", "tied", "right", "colours",
                "starts", "opened", "means8", "means16", "means32", "means_largest", "inverses8",
                "inverses16", "inverses32", "inverse", "x", "residual", "along", "along_image",
                "guess", "guess_image", "moments8", "moments16", "moments32", "energies",
                "arrived", "outcome",
            )
        ),
    )  # fmt: skip


def refusal(light: Tensor) -> str:
    """Why the kernels do not take a frame of this size; empty if they do."""
    height, width = light.shape[-2:]
    if min(height, width) < 3 or height * width > _MOST_PIXELS:
        return f"no kernel for frames of {width}×{height}"
    return ""


def reduce(
    light: Tensor, picture: Tensor, trimap: Tensor, factor: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Light and picture in squares of pixels, and what is known of these, 0, 1 or 0.5.

    Args:
        light: float32 3×H×W.
        picture: float32 3×H×W.
        trimap: float32 H×W.
        factor: pixels to the side of a square.

    Returns:
        3×h×w, 3×h×w, h×w, all finite.
    """
    height, width = trimap.shape
    rows, columns = -(-height // factor), -(-width // factor)
    small, seen = light.new_empty(3, rows, columns), light.new_empty(3, rows, columns)
    known = light.new_empty(rows, columns)
    launch(
        part("reduce"), (blocks_of(rows * columns), 7, 1), light, picture, trimap, height, width,
        factor, small, seen, known,
    )  # fmt: skip
    return small, seen, known


def solve(
    light: Tensor,
    known: Tensor,
    picture: Tensor,
    layout: Layout,
    linear: bool,
    searches: Searches,
    said: tuple[Tensor, Tensor] | None = None,
) -> Answer:
    """Alpha of a frame that has known pixels of both classes.

    Args:
        light: float32 3×H×W, finite, at least 3×3.
        known: float32 H×W: 0, 1, between is unknown.
        picture: float32 3×H×W, finite: where look-alikes are looked for.
        layout: of known.
        linear: whether light is linear.
        searches: how.
        said: alpha and weight, float32 H×W each, finite: what pixels say by themselves, as a data
            term; None = nothing.
    """
    light, picture, known = light.contiguous(), picture.contiguous(), known.contiguous()
    if not layout.unknown:
        return Answer(known, light.new_zeros(()), light.new_zeros(2))
    # First, for it takes long on the device: the host then gets ahead with the rest.
    pixels = numbered(layout, known, searches.most_known)
    ends, to_known = neighbours(picture, known, pixels, searches)
    typical = light.new_zeros(())
    if linear:
        long = pixels.unknown.long()
        typical = light.flatten(1).index_select(1, long).abs().mean(0).median()
    system = _System(light, known, layout, pixels, typical, linear)
    if said is not None:
        long = pixels.unknown.long()
        system.hear(*(plane.flatten().index_select(0, long) for plane in said))
    return system.solved(ends, to_known, searches)


def carry(
    small: Tensor, answer: Answer, light: Tensor, trimap: Tensor, linear: bool, factor: int
) -> Tensor:
    """Alpha of the frame itself, H×W, along its own colours.

    Args:
        small: 3×h×w, from `reduce`.
        answer: of it.
        light: float32 3×H×W.
        trimap: float32 H×W: 0.5 is unknown.
        linear: whether light is linear.
        factor: as for `reduce`.
    """
    rows, columns = answer.alpha.shape
    height, width = trimap.shape
    found, means = (small.new_empty(rows * columns, 4) for _ in range(2))
    grid = (blocks_of(rows * columns), 1, 1)
    launch(
        part("functions"), grid, small, answer.alpha, rows, columns, int(linear), answer.typical,
        found,
    )  # fmt: skip
    launch(part("smooth"), grid, found, rows, columns, means)
    alpha = torch.empty_like(trimap)
    grid = (blocks_of(height * width), 1, 1)
    launch(part("carry"), grid, light, trimap, means, height, width, factor, alpha)
    return alpha


class _System:
    """The matting Laplacian of the unknown pixels, which lie tile by tile."""

    def __init__(
        self,
        light: Tensor,
        known: Tensor,
        layout: Layout,
        pixels: Pixels,
        typical: Tensor,
        linear: bool,
    ):
        self.light, self.known, self.layout = light, known, layout
        self.pixels, self.typical = pixels.unknown, typical
        self.count = count = layout.unknown
        self.weights = light.new_empty(count, _STENCIL)
        self.others = pixels.number.new_empty(count, _STENCIL)
        self.tied, self.diagonal, self.right = (light.new_empty(count) for _ in range(3))
        laplacian = part("laplacian", threads=64, shared=25 * 64 * 8)
        launch(
            laplacian, (-(-count // 64), 1, 1), light, known, pixels.number, pixels.unknown, count,
            *known.shape, int(linear), typical, self.weights, self.others, self.tied, self.diagonal,
            self.right,
        )  # fmt: skip

    def hear(self, alpha: Tensor, weight: Tensor) -> None:
        """Add a data term, of the unknown pixels: each is tied to one more that is known."""
        self.tied += weight
        self.diagonal += weight
        self.right += weight * alpha

    def solved(self, ends: Tensor, to_known: Tensor, searches: Searches) -> Answer:
        options, weight = searches.options, searches.strength / sum(searches.counts)
        count, light, layout = self.count, self.light, self.layout
        tiles, starts = layout.tiles, layout.starts
        sources, incoming = turned(ends)
        smallest = tiles.count(tiles.halvings)
        colours, means = light.new_empty(count, 4), [light.new_empty(smallest, 4)]
        launch(
            part("tiles", *options), (-(-smallest // (THREADS // 32)), 1, 1), light, self.pixels,
            starts, smallest, count, self.known.numel(), ends, incoming, to_known,
            ctypes.c_float(weight), self.tied, self.diagonal, self.right, colours, means[0],
        )  # fmt: skip
        blocks, inverses = light.new_empty(smallest, 9, 16), [light.new_empty(smallest, 16)]
        galerkin = part("galerkin", threads=64, shared=(9 * 4 * 64 + 4 * 64 + 16) * 4)
        launch(
            galerkin, (smallest, 1, 1), self.pixels, starts, self.known.shape[1], self.weights,
            self.others, self.diagonal, colours, blocks, inverses[0],
        )  # fmt: skip
        below = tiles.halvings
        for halvings in (1, 1, tiles.halvings - 2):
            below -= halvings
            there = tiles.count(below)
            larger = light.new_empty(there, 9, 16)
            means.append(light.new_empty(there, 4))
            inverses.append(light.new_empty(there, 16))
            launch(
                part("coarsen"), (blocks_of(32 * 9 * there), 1, 1), blocks, means[-2], there,
                halvings, below, tiles.across, tiles.down, larger, means[-1], inverses[-1],
            )  # fmt: skip
            blocks = larger
        inverse = _inverted(blocks, tiles.across, tiles.down)
        x, outcome = self._descended(
            searches, weight, ends, incoming, sources, colours, means, inverses[:3], inverse
        )
        alpha = self.known.flatten().index_copy(0, self.pixels.long(), x.clamp(0, 1))
        return Answer(alpha.view_as(self.known), self.typical, outcome)

    def _descended(
        self,
        searches: Searches,
        weight: float,
        ends: Tensor,
        incoming: Tensor,
        sources: Tensor,
        colours: Tensor,
        means: Sequence[Tensor],
        inverses: Sequence[Tensor],
        inverse: Tensor,
    ) -> tuple[Tensor, Tensor]:
        light, layout = self.light, self.layout
        tiles = layout.tiles
        blocks, room = blocks_together(light.device), room_together(light.device)
        areas, largest = tiles.count(tiles.halvings - 2), tiles.count(0)
        vectors = light.new_empty(6, self.count)
        zeros = light.new_zeros(4 * 21 * areas + 3)  # moments, where blocks meet, what it came to
        sizes = [64 * areas, 16 * areas, 4 * areas, 1, 2]
        *moments, arrived, outcome = torch.split(zeros, sizes)
        energies = torch.empty(3, blocks, dtype=torch.float64, device=light.device)
        tensors = (
            self.weights, self.others, ends, incoming, sources, self.tied, self.right, colours,
            layout.starts, layout.opened, *means, *inverses, inverse, *vectors, *moments, energies,
            arrived, outcome,
        )  # fmt: skip
        numbers = (
            self.count, blocks, areas, layout.areas, largest, tiles.halvings - 2, LIMIT, room,
            TOLERANCE, weight,
        )  # fmt: skip
        problem = _Problem(*numbers, *(tensor.data_ptr() for tensor in tensors))
        shared = 4 * (7 * (_DESCENT // 32) + 80) + room
        descend = part("descend", *searches.options, threads=_DESCENT, shared=shared)
        kernel = variants.kernel_on(light.device, descend)
        kernel((blocks, 1, 1), descend.threads, (problem,), together=True)
        return vectors[0], outcome


def _inverted(blocks: Tensor, across: int, down: int) -> Tensor:
    """Dense inverse of the system of the largest tiles: blocks of each with the nine around it."""
    rank = 4 * across * down
    inverse = blocks.new_empty(rank, rank)
    ranks = -(-rank // 32)
    invert = part("invert", ("RANK", ranks), threads=512, shared=(5 * 32 * ranks + 2) * 4)
    launch(invert, (1, 1, 1), blocks, across, down, inverse)
    return inverse


@cache
def blocks_together(device: torch.device) -> int:
    """Blocks of the descent that run at the same time."""
    return torch.cuda.get_device_properties(device).multi_processor_count


@cache
def room_together(device: torch.device) -> int:
    """Bytes of shared memory that each of them keeps its rows of the system in.

    A third: what is left caches the vector that they are multiplied with, which is read at random.
    """
    return torch.cuda.get_device_properties(device).shared_memory_per_multiprocessor // 3 // 16 * 16
