"""A direct solver for the unknown pixels: sparse Cholesky, front by front.

Source: J. Liu, "The Multifrontal Method for Sparse Matrix Solution", SIAM Review 34(1), 1992, over
the fronts of `model.classical.dissection`. All fronts of similar size are dense matrices of one
batch, so the work is matrix multiplication on any device.

The factor is made in single precision and corrected by conjugate gradients in double: an artist's
card does double precision 64 times slower, and two or three corrections are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.classical.dissection import Batch, Dissection, Level, levels
from model.classical.gather import pick
from model.classical.laplacian import UnknownSystem

_AT_ONCE = 1 << 22  # numbers in a temporary: small enough for memory to be used again at once


@dataclass(frozen=True)
class _Block:
    """The factor's columns of one batch of fronts.

    Attributes:
        eliminated: int64 M×E, see `Batch`.
        kept: int64 M×B.
        copies: int64 M×B, where each kept pixel's share is put before shares are summed.
        diagonal: M×E×E, lower triangular.
        below: M×B×E.
    """

    eliminated: Tensor
    kept: Tensor
    copies: Tensor
    diagonal: Tensor
    below: Tensor


@dataclass(frozen=True)
class Factor:
    """L of A ≈ L·Lᵀ, level by level. ``sound`` is False if A was not positive definite in it."""

    count: int
    blocks: tuple[tuple[_Block, ...], ...]
    sound: bool
    dtype: torch.dtype

    def solve(self, right: Tensor) -> Tensor:
        """L⁻ᵀ·L⁻¹·right; shape N and dtype of ``right``."""
        count = self.count
        rest = torch.cat([right.to(self.dtype), right.new_zeros(1, dtype=self.dtype)])
        halves = []
        for level in self.blocks:
            # A kept pixel gets a share from up to four fronts. Each has its own place and they are
            # summed after: adding in place would depend on the order on a GPU.
            shares = rest.new_zeros(4 * (count + 1))
            for block in level:
                half = torch.linalg.solve_triangular(
                    block.diagonal, pick(rest, block.eliminated)[:, :, None], upper=False
                )
                shares[block.copies] = (block.below @ half).squeeze(2)
                halves.append(half)
            rest = rest - shares.view(4, -1).sum(0)
            rest[count] = 0
        solution = torch.zeros_like(rest)
        for level in reversed(self.blocks):
            for block in reversed(level):
                half = halves.pop() - block.below.mT @ pick(solution, block.kept)[:, :, None]
                solution[block.eliminated] = torch.linalg.solve_triangular(
                    block.diagonal.mT, half, upper=True
                ).squeeze(2)
                solution[count] = 0
        return solution[:count].to(right.dtype)


def factorise(
    system: UnknownSystem, dissection: Dissection, dtype: torch.dtype, shift: float
) -> Factor:
    """Cholesky factor of A with its diagonal multiplied by 1 + ``shift``.

    Args:
        system: its rows in the order of ``dissection``.
        dissection: of the same unknown pixels.
        dtype: of the factor.
        shift: about the rounding error of ``dtype``, so that small pivots stay positive.
    """
    weights = system.weights.to(dtype)
    weights[weights.shape[0] // 2] *= 1 + shift
    factored: list[tuple[_Block, ...]] = []
    carried: list[_Update] = []
    sound = torch.ones((), dtype=torch.bool, device=weights.device)
    storage = weights.new_empty(0)
    for level in levels(dissection):
        if storage.numel() < level.storage:
            storage = weights.new_empty(level.storage)
        fronts = storage[: level.storage].zero_()
        _add_entries(fronts, level, weights, system.neighbours)
        for update in carried:
            _add_update(fronts, level, update)
        blocks, carried = [], []
        for batch in level.batches:
            block, rest, failed = _eliminate(batch, _of(batch, fronts), len(dissection.pixels))
            blocks.append(block)
            carried.append(_Update(level, batch, rest))
            sound &= ~failed
        factored.append(tuple(block for block in blocks if block.eliminated.shape[1]))
    return Factor(len(dissection.pixels), tuple(factored), bool(sound), dtype)


@dataclass(frozen=True)
class _Update:
    """What a batch of fronts leaves to the next level: M×B×B over its kept pixels."""

    level: Level
    batch: Batch
    matrix: Tensor


def _eliminate(batch: Batch, front: Tensor, count: int) -> tuple[_Block, Tensor, Tensor]:
    """Dense Cholesky of the eliminated pixels: the factor's columns, what is left, did it fail."""
    out = batch.eliminated.shape[1]
    corner = front[:, :out, :out]
    corner.diagonal(dim1=1, dim2=2).add_(batch.eliminated == count)  # padding is the identity
    diagonal, failed = torch.linalg.cholesky_ex(corner)
    below = torch.linalg.solve_triangular(diagonal.mT, front[:, out:, :out], upper=True, left=False)
    rest = torch.baddbmm(front[:, out:, out:], below, below.mT, alpha=-1)
    copies = batch.copies * (count + 1) + batch.kept
    return _Block(batch.eliminated, batch.kept, copies, diagonal, below), rest, failed.any()


def _of(batch: Batch, fronts: Tensor) -> Tensor:
    """The batch's fronts, M×(E+B)×(E+B), in the level's storage."""
    number, out, keep = batch.shape
    side = out + keep
    return fronts[batch.start : batch.start + number * side * side].view(number, side, side)


def _add_entries(fronts: Tensor, level: Level, weights: Tensor, neighbours: Tensor) -> None:
    """Put A's entries of the pixels eliminated here into their fronts, lower triangle only."""
    begin, end, count = level.begin, level.end, weights.shape[1]
    column = torch.arange(begin, end, device=weights.device)
    around = neighbours[:, begin:end]
    wanted = (around >= column) & (around < count)
    row = around.masked_select(wanted)
    at = column.expand_as(around).masked_select(wanted)
    tile = level.first_tile[begin:end]
    head = pick(level.base, tile) + level.positions[begin:end]
    side = pick(level.side, tile)
    at -= begin
    place = pick(head, at) + level.place(pick(tile, at), row) * pick(side, at)
    fronts[place] = weights[:, begin:end].masked_select(wanted)


def _add_update(fronts: Tensor, level: Level, update: _Update) -> None:
    """Add what fronts of the level below leave to the fronts that take them up."""
    tiles = level.parents(update.level, update.batch.tiles)
    place = level.place(tiles[:, None], update.batch.kept)
    into = pick(level.batch_of, tiles)
    kept = place.shape[1]
    for number, parent in enumerate(level.batches):
        _, out, keep = parent.shape
        side = out + keep
        matrix = _of(parent, fronts).view(-1, side)
        chosen = (into == number).nonzero().squeeze(1)
        for some in torch.split(chosen, max(1, _AT_ONCE // max(1, kept * side))):
            places = place.index_select(0, some)
            wide = fronts.new_zeros(len(some), kept, side)
            # Padding has place 0 as well, but adds 0 to it.
            wide.scatter_add_(
                2, places[:, None, :].expand(-1, kept, -1), update.matrix.index_select(0, some)
            )
            rows = (pick(level.base, pick(tiles, some)) - parent.start) // side
            _add_rows(matrix, (rows[:, None] + places).flatten(), wide.view(-1, side))


def _add_rows(matrix: Tensor, rows: Tensor, values: Tensor) -> None:
    """``matrix[rows] += values``, in an order that does not change from run to run."""
    if matrix.is_cuda:
        matrix.index_put_((rows,), values, accumulate=True)  # sorts first; index_add_ would race
    else:
        matrix.index_add_(0, rows, values)
