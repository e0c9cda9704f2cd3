"""Modulated deformable convolution and its gradients, tap by tap, in torch's own operators.

What `cuda_ops.reference` specifies, written for speed and without autograd: positions are computed
in grid_sample's coordinates at once, what was gathered is weighted in place, and what the gradients
need is gathered again instead of kept. As many taps go together as fit into a budget: small
pictures are bound by launches, large ones by memory.

Positions are float32 or better whatever the rest is in, and so are gathering and sums. Products of
matrices are made in the type of ``x`` on CUDA, whose tensor cores sum in float32 inside, and in
float32 or better on the CPU, which is no slower there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Gathered numbers that are held at once, per device: on the CPU they should stay near the cache.
BUDGET = {"cpu": 2**20, "cuda": 2**25}
# Devices that multiply matrices of halves faster than of floats, and sum them in float32.
HALVES_PAY = ("cuda",)
_ZEROS_BILINEAR = (0, 0, False)  # grid_sampler's interpolation, padding and align_corners


@dataclass(frozen=True)
class Geometry:
    """How the taps lie: a kernel of ``rows``×``columns``, over a picture of height × width."""

    rows: int
    columns: int
    stride: int
    padding: int
    dilation: int

    @property
    def taps(self) -> int:
        return self.rows * self.columns


def forward(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, at: Geometry
) -> Tensor:
    """The convolution; arguments and result as `cuda_ops.reference.modulated_deform_conv2d`."""
    layers = _Layers(x, offset, mask, at)
    out_channels = weight.shape[0]
    kernel = weight.reshape(out_channels, -1, at.taps)
    out = x.new_zeros(layers.batch, out_channels, layers.pixels, dtype=layers.precise)
    if bias is not None:
        out += bias[:, None]
    for taps in layers.runs():
        gathered = layers.gathered(layers.grid(taps))
        column = layers.weighted(gathered, taps, reuse=True)
        rows = kernel[:, :, taps].reshape(1, out_channels, -1).to(layers.working)
        rows = rows.expand(layers.batch, -1, -1)
        column = column.reshape(layers.batch, rows.shape[2], layers.pixels)
        if layers.working == layers.precise:
            out.baddbmm_(rows, column)
        else:
            out += torch.bmm(rows, column)
    return out.to(x.dtype).reshape(layers.batch, out_channels, *layers.size)


def backward(
    gradient: Tensor, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, at: Geometry
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, offset, mask and weight, each in its own type, from that of the result."""
    layers = _Layers(x, offset, mask, at)
    out_channels = weight.shape[0]
    kernel = weight.reshape(out_channels, -1, at.taps)
    gradient = gradient.reshape(layers.batch, out_channels, -1).to(layers.working)
    of_x = torch.zeros_like(layers.x)
    dense = torch.contiguous_format
    of_offset = torch.empty_like(layers.offset, dtype=layers.precise, memory_format=dense)
    of_mask = torch.empty_like(layers.mask, memory_format=dense)
    of_kernel = torch.empty_like(kernel, memory_format=dense)
    for taps in layers.runs():
        grid = layers.grid(taps)
        gathered = layers.gathered(grid)
        column = layers.weighted(gathered, taps).reshape(layers.batch, -1, layers.pixels)
        found = torch.bmm(gradient, column.transpose(1, 2)).sum(0, dtype=layers.precise)
        of_kernel[:, :, taps] = found.reshape(out_channels, kernel.shape[1], -1).to(weight.dtype)
        del column
        rows = kernel[:, :, taps].reshape(1, out_channels, -1).to(layers.working)
        of_column = torch.bmm(rows.transpose(1, 2).expand(layers.batch, -1, -1), gradient)
        of_column = of_column.reshape(gathered.shape)
        of_mask[:, :, taps] = (gathered * of_column).sum(2).to(mask.dtype)
        del gathered
        of_gathered = of_column.to(layers.precise) * layers.mask[:, :, None, taps]
        del of_column
        part, of_grid = torch.ops.aten.grid_sampler_2d_backward(
            of_gathered.flatten(0, 1).flatten(2, 3),
            layers.x,
            grid.flatten(0, 1).flatten(1, 2),
            *_ZEROS_BILINEAR,
            [True, True],
        )
        of_x += part
        of_grid = of_grid.reshape(grid.shape)
        torch.mul(of_grid[..., 0], 2 / layers.width, out=of_offset[:, :, taps, 1])
        torch.mul(of_grid[..., 1], 2 / layers.height, out=of_offset[:, :, taps, 0])
    return (
        of_x.reshape(x.shape).to(x.dtype),
        of_offset.reshape(offset.shape).to(offset.dtype),
        of_mask.reshape(mask.shape),
        of_kernel.reshape(weight.shape),
    )


class _Layers:
    """The inputs in the layout that gathering wants: deformable groups beside the batch.

    x is (N·G)×(C/G)×H×W, offset N×G×K×2×H'×W', mask N×G×K×H'×W'.
    """

    def __init__(self, x: Tensor, offset: Tensor, mask: Tensor, at: Geometry):
        self.batch, channels, self.height, self.width = x.shape
        self.size = tuple(offset.shape[2:])
        self.pixels = self.size[0] * self.size[1]
        groups = mask.shape[1] // at.taps
        self.at = at
        self.precise = torch.promote_types(x.dtype, torch.float32)
        self.working = x.dtype if x.device.type in HALVES_PAY else self.precise
        self._each = channels // groups
        self.x = x.reshape(self.batch * groups, self._each, self.height, self.width)
        self.x = self.x.to(self.precise).contiguous()
        self.offset = offset.reshape(self.batch, groups, at.taps, 2, *self.size)
        self.mask = mask.reshape(self.batch, groups, at.taps, *self.size)
        self._down, self._across = self._starts(0, self.height), self._starts(1, self.width)
        self._per_tap = max(1, self.batch * channels * self.pixels)

    def runs(self) -> Iterator[slice]:
        """The taps that go together."""
        together = max(1, BUDGET.get(self.x.device.type, BUDGET["cuda"]) // self._per_tap)
        for first in range(0, self.at.taps, together):
            yield slice(first, min(first + together, self.at.taps))

    def grid(self, taps: slice) -> Tensor:
        """Where the taps look, N×G×t×H'×W'×2 (x, y) in grid_sample's coordinates.

        They run from -1 at the first pixel's outer edge to 1 at the last one's.
        """
        offset = self.offset[:, :, taps]
        batch, groups, count = offset.shape[:3]
        grid = self.x.new_empty(batch, groups, count, *self.size, 2)
        across, down = self._across[taps, None, :], self._down[taps, :, None]
        torch.add(across, offset[:, :, :, 1], alpha=2 / self.width, out=grid[..., 0])
        torch.add(down, offset[:, :, :, 0], alpha=2 / self.height, out=grid[..., 1])
        return grid

    def _starts(self, axis: int, length: int) -> Tensor:
        """Where the taps look without offsets, K × size along an axis (0 y, 1 x)."""
        at, device = self.at, self.x.device
        tap = torch.arange(at.taps, device=device)
        step = tap % at.columns if axis else tap // at.columns
        first = torch.arange(self.size[axis], device=device) * at.stride - at.padding
        pixel = (first + step[:, None] * at.dilation).to(self.precise)
        return (2 * pixel + 1) / length - 1

    def gathered(self, grid: Tensor) -> Tensor:
        """What is there, N×G×(C/G)×t×H'×W'."""
        batch, groups, count = grid.shape[:3]
        grid = grid.reshape(batch * groups, count * self.size[0], self.size[1], 2)
        found: Tensor = torch.ops.aten.grid_sampler_2d(self.x, grid, *_ZEROS_BILINEAR)
        return found.reshape(batch, groups, self._each, count, *self.size)

    def weighted(self, gathered: Tensor, taps: slice, *, reuse: bool = False) -> Tensor:
        """Times the mask, in the type that matrices are multiplied in; may reuse the memory."""
        reuse = reuse and self.working == gathered.dtype
        column = gathered if reuse else torch.empty_like(gathered, dtype=self.working)
        return torch.mul(gathered, self.mask[:, :, None, taps], out=column)
