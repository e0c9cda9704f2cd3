"""Modulated deformable convolution by CUDA kernels of our own (csrc).

In float16, bfloat16 and float32. Everything is computed pixel by pixel, channels innermost: a
thread then reads 16 bytes at once where a tap looks, and a position is worked out once for all
channels of its group. Two ways:

* one kernel for all of it (`convolve.cu`), where channels are few: what the taps see never leaves
  the multiprocessor. There the rows below would be most of the memory traffic;
* rows of what the taps see (`im2col.cu`), as many at a time as `COLUMN_BYTES` says, and cuBLAS.

Pictures that lie channel by channel are turned round first, and the result is written as they lie.
Where a group has eight channels, which one thread reads at once, 32 threads would then read in 32
places of the cache, which is what the one kernel takes longest for. So it has such a picture laid
out group by group (`by_group.cu`), and neighbouring threads read at neighbouring pixels
(`convolve_by_group.cu`). Offsets and masks are read where they are in either layout, as slices of a
larger tensor too.

Gradients: the rows again, products of matrices, then `gradients.cu`, which adds the picture's with
atomic additions in float32: their order, and with it the last bits, differ from run to run.

Positions are float32. A tap that looks at no number gives NaN, at an infinite distance zero.
float32 goes through TF32 only where `torch.backends.cuda.matmul.allow_tf32` says so.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import gcd

import torch
from torch import Tensor

from cuda_ops import nvrtc, variants
from cuda_ops.taps import Geometry
from cuda_ops.variants import Variant

__all__ = [
    "BY_GROUP",
    "BY_GROUP_LAST",
    "FUSED",
    "GroupTile",
    "Tile",
    "backward",
    "forward",
    "is_channels_last",
    "refusal",
]

# Rows that are held at once: so many bytes, or a card's memory divided by _COLUMN_SHARE if that is
# more. Larger runs leave cuBLAS fuller waves: with 256 channels in float16 on an H200, HD takes
# 487 µs where all of its rows fit (601 MB), 559 in runs of 2**27 bytes. It is a share so that rows
# take little of small cards.
COLUMN_BYTES = 2**27
_COLUMN_SHARE = 64
_ELEMENTS = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2}
_THREADS = 256
_COLUMNS = 16  # of a tile: 32 bytes of a row of pixels, which is what memory moves
_GROUP_COLUMNS = 32  # of a tile by group: a warp
_BEFORE = ("machine", "element", "sampling")  # of kernels that sample
_SAFE_SHARED = 48 * 1024  # bytes of shared memory that every kernel may have
_SYSTEM_BYTES = 1024  # of it that each block takes by itself


@dataclass(frozen=True)
class Tile:
    """How the one-kernel way divides its work.

    Attributes:
        rows: of 16 pixels each, done by one block.
        threads: of a block.
        blocks: together on a multiprocessor. More hide waiting, fewer leave memory to its cache.
    """

    rows: int
    threads: int
    blocks: int


# By the larger of channels in and out, up to which a line holds; beyond the last: rows and cuBLAS.
FUSED = {64: Tile(rows=4, threads=256, blocks=3)}


@dataclass(frozen=True)
class GroupTile:
    """How the one-kernel way divides its work where a picture lies group by group.

    Attributes:
        rows: of 32 pixels each, done by one block; a power of two.
        threads: of a block, as many for each pixel as divide the groups of a chunk.
        blocks: together on a multiprocessor.
        across: warps that share the channels of the result for the same pixels. With one warp and
            one thread for a pixel, warps wait for each other only for the weights.
        chunk: channels that are multiplied at a time.
        together: groups that a thread reads before it waits for the first; one in bfloat16, whose
            weights take more registers.
    """

    rows: int
    threads: int
    blocks: int
    across: int
    chunk: int
    together: int


# None: as pictures that lie pixel by pixel. The second one for offsets and masks that lie so.
# In float16 on an H200, HD with 64 channels takes 445 and 499 µs by group, 629 and 703 otherwise.
BY_GROUP: GroupTile | None = GroupTile(
    rows=4, threads=256, blocks=3, across=2, chunk=64, together=2
)
BY_GROUP_LAST: GroupTile | None = GroupTile(
    rows=4, threads=256, blocks=3, across=2, chunk=32, together=2
)


class _Shape(ctypes.Structure):
    """`Shape` of csrc/sampling.cu."""

    _fields_ = (
        *((name, ctypes.c_longlong) for name in ("offset_picture", "mask_picture", "out_picture")),
        *(
            (name, ctypes.c_int)
            for name in (
                "offset_channel", "offset_pixel", "mask_channel", "mask_pixel",
                "out_channel", "out_pixel", "height", "width", "out_height", "out_width",
                "stride", "padding", "dilation", "first", "end", "pictures",
            )
        ),
    )  # fmt: skip


def refusal(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, at: Geometry) -> str:
    """Why the kernels do not take these; empty if they do."""
    if x.dtype not in _ELEMENTS or offset.dtype not in (torch.float16, torch.float32):
        return f"no kernel for {x.dtype} with offsets in {offset.dtype}"
    batch, _, height, width = x.shape
    pixels = offset.shape[2] * offset.shape[3]
    most = max(offset.shape[1] * pixels, weight.shape[0] * pixels, batch * pixels)
    # Places are kept in 29 bits, steps inside of a picture in 31.
    if batch * height * width >= 2**29 or most >= 2**31 or batch >= 2**16:
        return f"too large: {batch} pictures of {width}×{height}"
    groups = mask.shape[1] // at.taps
    if groups * at.taps * _GRADIENT_BYTES > _SAFE_SHARED:
        return f"too many taps: {groups} groups of {at.taps}"
    return ""


def forward(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, at: Geometry
) -> Tensor:
    """The convolution; arguments as `cuda_ops.reference`, result in the layout of ``x``.

    Raises:
        KernelError: if a kernel cannot be compiled or loaded.
    """
    work = _Work(x, offset, mask, weight, at)
    out = work.empty_result()
    if x.numel() == 0 or out.numel() == 0:
        return out.zero_() if bias is None else out.copy_(bias[:, None, None].expand_as(out))
    variant = _fused(work)
    if variant is not None:
        work.convolve(variant, bias, out)
        return out
    last = is_channels_last(out)
    rows = out.permute(0, 2, 3, 1).reshape(-1, work.out) if last else None
    for first, end in work.chunks(across_pictures=last):
        left, right = work.column(first, end), work.kernel.T
        if rows is not None:
            part = rows[first:end]
        else:  # the same, turned round
            picture, start = divmod(first, work.pixels)
            part = out[picture].reshape(work.out, -1)[:, start : start + end - first]
            left, right = right.T, left.T
        if bias is None:
            torch.mm(left, right, out=part)
        else:
            torch.addmm(bias if rows is not None else bias[:, None], left, right, out=part)
    return out


def backward(
    gradient: Tensor, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, at: Geometry
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x (laid out as x), offset, mask and weight, each in its own type.

    Raises:
        KernelError: if a kernel cannot be compiled or loaded.
    """
    work = _Work(x, offset, mask, weight, at)
    batch, channels, height, width = x.shape
    of_x = x.new_zeros(batch, height, width, channels, dtype=torch.float32)
    of_offset = torch.empty_like(offset, memory_format=torch.contiguous_format)
    of_mask = torch.empty_like(mask, memory_format=torch.contiguous_format)
    of_kernel = torch.zeros_like(work.kernel, dtype=torch.float32)
    if x.numel() and gradient.numel():
        pulls = work.pixel_by_pixel(gradient).reshape(-1, work.out)
        for first, end in work.chunks(across_pictures=True):
            column = work.column(first, end)
            if x.dtype == torch.float32:
                of_kernel.addmm_(pulls[first:end].T, column)
            else:
                of_kernel += torch.mm(pulls[first:end].T, column)
            torch.mm(pulls[first:end], work.kernel, out=column)
            work.gradients(first, end, column, of_x, of_offset, of_mask)
        del pulls, column
    shape = (work.out, at.rows, at.columns, channels)
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    return (
        of_x.permute(0, 3, 1, 2).to(x.dtype).contiguous(memory_format=layout),
        of_offset,
        of_mask,
        of_kernel.reshape(shape).permute(0, 3, 1, 2).to(weight.dtype).contiguous(),
    )


def is_channels_last(x: Tensor) -> bool:
    """Whether a picture lies pixel by pixel, and not at the same time channel by channel."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


class _Work:
    """One call: its sizes, its inputs in the layouts that kernels want, and the launches."""

    def __init__(self, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, at: Geometry):
        self.batch, self.channels, self.height, self.width = x.shape
        self.out_height, self.out_width = offset.shape[2:]
        self.pixels = self.out_height * self.out_width
        self.out = weight.shape[0]
        self.at = at
        self.groups = mask.shape[1] // at.taps
        self.spots = self.groups * at.taps
        self.device, self.dtype = x.device, x.dtype
        self._like = x
        self.vector = _dividing(
            self.channels // self.groups, (4, 2, 1) if x.itemsize == 4 else (8, 4, 2, 1)
        )
        self.offset, self.mask = _planes(offset), _planes(mask)
        # O × (taps · C), as the rows are.
        self.kernel = _aligned(weight.permute(0, 2, 3, 1).reshape(self.out, -1))
        self.options = {
            "ELEMENT": _ELEMENTS[x.dtype],
            "OFFSET_FLOAT": int(offset.dtype == torch.float32),
            "OFFSET_LAST": int(self.offset.last),
            "CHANNELS": self.channels,
            "GROUPS": self.groups,
            "KERNEL_ROWS": at.rows,
            "KERNEL_COLUMNS": at.columns,
            "VECTOR": self.vector,
        }

    @cached_property
    def x(self) -> Tensor:
        """N×H×W×C, dense."""
        return self.pixel_by_pixel(self._like)

    @cached_property
    def x_by_group(self) -> Tensor:
        """As csrc/by_group.cu lays it; see `groups_fit`."""
        x, last = self._like, self._like.is_contiguous(memory_format=torch.channels_last)
        x = _aligned(x.permute(0, 2, 3, 1)) if last else x.contiguous()
        rows, pitch = self.batch * (self.height + 2), self.width + 2
        to = x.new_empty((self.groups * rows + 3) * pitch * 8)
        options = (("GROUPS", self.groups), ("FROM_LAST", int(last)), ("THREADS", _THREADS))
        variant = Variant("by_group", ("machine",), options, _THREADS)
        along = pitch * self.groups if last else pitch
        grid = (rows + 3, -(-along // _THREADS), 1 if last else self.groups)
        sizes = map(ctypes.c_int, (self.batch, self.height, self.width))
        _launch(variant, grid, x.device, _pointer(x), _pointer(to), *sizes)
        return to

    @property
    def groups_fit(self) -> bool:
        """Whether a picture can lie group by group: places are pixels of all groups."""
        pixels = self.groups * (self.batch * (self.height + 2) + 3) * (self.width + 2)
        one_vector = self.vector == 8 and self.channels == 8 * self.groups
        return one_vector and pixels < 2**31 and self.width < 2**16

    @property
    def spot_bytes(self) -> int:
        """What a spot takes in shared memory: its weights and its place."""
        return 4 + self.weights_bytes

    @property
    def weights_bytes(self) -> int:
        return 8 if self.dtype == torch.float16 else 16

    def empty_result(self) -> Tensor:
        last = is_channels_last(self._like)
        return torch.empty(
            (self.batch, self.out, self.out_height, self.out_width),
            dtype=self.dtype,
            device=self.device,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )

    def pixel_by_pixel(self, x: Tensor) -> Tensor:
        """N×H×W×C, dense."""
        if x.is_contiguous(memory_format=torch.channels_last):
            return _aligned(x.permute(0, 2, 3, 1))
        x = x.contiguous()
        batch, channels, height, width = x.shape
        turned = x.new_empty(batch, height, width, channels)
        if not x.numel():
            return turned
        options = (("ELEMENT", 0), ("ELEMENT_BYTES", x.itemsize))
        shared = 64 * 65 * x.itemsize
        variant = Variant("channels_last", ("machine",), options, _THREADS, shared)
        grid = (-(-height * width // 64), -(-channels // 64), batch)
        sizes = (ctypes.c_int(channels), ctypes.c_int(height * width))
        _launch(variant, grid, x.device, _pointer(x), _pointer(turned), *sizes)
        return turned

    def chunks(self, *, across_pictures: bool) -> list[tuple[int, int]]:
        """Pixels whose rows are made together, first and end, counted over all pictures."""
        row = self.at.taps * self.channels * self._like.itemsize
        held = max(COLUMN_BYTES, card_memory(self.device) // _COLUMN_SHARE)
        most = max(128, held // row // 128 * 128)
        runs = 1 if across_pictures else self.batch
        length = self.batch * self.pixels // runs
        return [
            (run * length + first, run * length + min(first + most, length))
            for run in range(runs)
            for first in range(0, length, most)
        ]

    def column(self, first: int, end: int) -> Tensor:
        """What the taps of these pixels see, pixels × (taps · C)."""
        column = self._like.new_empty(end - first, self.at.taps * self.channels)
        tile = _power_of_two(16 * 1024 // (self.spots * self.spot_bytes), most=16)
        variant = Variant(
            "im2col",
            _BEFORE,
            (*self.options.items(), ("TILE", tile), ("THREADS", _THREADS)),
            _THREADS,
            shared=tile * self.spots * self.spot_bytes,
        )
        shape = self._shape(first, end)
        grid = (-(-(end - first) // tile), 1, 1)
        tensors = (self.x, self.offset.tensor, self.mask.tensor, column)
        _launch(variant, grid, self.device, shape, *map(_pointer, tensors))
        return column

    def gradients(
        self, first: int, end: int, of_column: Tensor, of_x: Tensor, of_offset: Tensor,
        of_mask: Tensor,
    ) -> None:  # fmt: skip
        """Add to of_x, and fill these pixels of of_offset and of_mask."""
        tile = _power_of_two(40 * 1024 // (self.spots * _GRADIENT_BYTES), most=16)
        lanes = _dividing(self.channels // self.groups, (32, 16, 8, 4, 2, 1))
        variant = Variant(
            "gradients",
            _BEFORE,
            (*self.options.items(), ("TILE", tile), ("THREADS", _THREADS), ("LANES", lanes)),
            _THREADS,
            shared=tile * self.spots * _GRADIENT_BYTES,
        )
        shape = self._shape(first, end)
        grid = (-(-(end - first) // tile), 1, 1)
        given = (self.x, self.offset.tensor, self.mask.tensor)
        tensors = (*given, of_column, of_x, of_offset, of_mask)
        _launch(variant, grid, self.device, shape, *map(_pointer, tensors))

    def convolve(self, variant: Variant, bias: Tensor | None, out: Tensor) -> None:
        shape = self._shape(0, self.batch * self.pixels, out)
        options = dict(variant.options)
        rows, columns = options["TILE_ROWS"], options["TILE_COLUMNS"]
        tiles = -(-self.out_height // rows) * -(-self.out_width // columns)
        x = self.x_by_group if variant.name == "convolve_by_group" else self.x
        tensors = (x, self.offset.tensor, self.mask.tensor, self.kernel)
        last = (ctypes.c_void_p() if bias is None else _pointer(bias.contiguous()), _pointer(out))
        _launch(variant, (self.batch * tiles, 1, 1), self.device, shape,
                *map(_pointer, tensors), *last)  # fmt: skip

    def convolve_variant(self, tile: Tile) -> Variant:
        pixels, padded, chunk = tile.rows * _COLUMNS, self.padded, self.chunk(64)
        across = _dividing(padded // 16, (4, 2, 1) if tile.threads > _THREADS else (2, 1))
        # Each warp has 16 pixels at least.
        threads = min(tile.threads, 32 * across * (pixels // 16))
        row = (chunk + 8) * 2
        weights_row = pixels + (2 if self.dtype == torch.float16 else 1)
        shared = max(2 * (pixels + padded) * row, pixels * (padded + 8) * 2)
        shared += -(-2 * self.groups * weights_row * self.weights_bytes // 16) * 16
        shared += 2 * self.groups * (pixels + 4) * 4
        more = {
            "OUT": self.out, "CHUNK": chunk, "TILE_ROWS": tile.rows, "TILE_COLUMNS": _COLUMNS,
            "THREADS": threads, "WARP_COLUMNS": across, "MIN_BLOCKS": tile.blocks,
            "TOGETHER": 2 if self.dtype == torch.float16 else 1,
        }  # fmt: skip
        options = (*self.options.items(), *more.items())
        return Variant("convolve", (*_BEFORE, "product"), options, threads, shared, tile.blocks)

    def by_group_variant(self, tile: GroupTile, staged: int) -> Variant:
        """See the head of csrc/convolve_by_group.cu; for chunks that divide the channels."""
        pixels, padded, chunk = tile.rows * _GROUP_COLUMNS, self.padded, self.chunk(tile.chunk)
        groups = chunk // self.vector
        across = _dividing(padded // 16, [n for n in (4, 2, 1) if n <= tile.across])
        # Each warp has 16 pixels at least, and each thread of a pixel as many groups.
        most = min(tile.threads // pixels, 2 * across)
        shares = _dividing(groups, [n for n in (8, 4, 2, 1) if n <= most])
        across = min(across, shares * pixels // 32)
        own = shares == 1 and across == 1
        row = (chunk + 8) * 2
        shared = ((1 if own else 2) * pixels + 2 * padded) * row
        shared = max(shared, pixels * (padded + 8) * 2)
        if staged:
            words = groups * self.at.taps * (4 if self.offset.tensor.itemsize == 2 else 8) // 4
            shared += (words + groups * self.at.taps // 2) * (pixels + 2) * 4
        most = tile.together if self.dtype == torch.float16 else 1
        together = _dividing(groups // shares, [n for n in (4, 3, 2, 1) if n <= most])
        more = {
            "OUT": self.out, "CHUNK": chunk, "TILE_ROWS": tile.rows,
            "TILE_COLUMNS": _GROUP_COLUMNS, "THREADS": shares * pixels, "WARP_COLUMNS": across,
            "MIN_BLOCKS": tile.blocks, "TOGETHER": together, "STAGED": staged,
        }  # fmt: skip
        options = (*self.options.items(), *more.items())
        before = (*_BEFORE, "planes", "product")
        return Variant("convolve_by_group", before, options, shares * pixels, shared, tile.blocks)

    @property
    def padded(self) -> int:
        """Channels of the result in whole fragments of a product of matrices."""
        return -(-self.out // 16) * 16

    def chunk(self, most: int) -> int:
        """Channels that are multiplied at a time; 0 if they do not divide so."""
        sizes = [n for n in (64, 48, 32, 16) if n <= most]
        return _dividing(self.channels, [*sizes, 0]) if self.channels % 16 == 0 else 0

    def _shape(self, first: int, end: int, out: Tensor | None = None) -> _Shape:
        result = (0, 0, 0) if out is None else _planes(out).steps
        sizes = (self.height, self.width, self.out_height, self.out_width)
        at = (self.at.stride, self.at.padding, self.at.dilation)
        all_steps = (self.offset.steps, self.mask.steps, result)
        pictures, steps = zip(*((one[0], one[1:]) for one in all_steps), strict=True)
        inside = (n for two in steps for n in two)
        return _Shape(*pictures, *inside, *sizes, *at, first, end, self.batch)


_GRADIENT_BYTES = 32  # of shared memory for each spot of a pixel: slope 16, place 4, results 12


def _fused(work: _Work) -> Variant | None:
    """The one-kernel way; None if it does not go, or does not pay."""
    if work.dtype == torch.float32 or not work.chunk(64) or work.vector < 4:
        return None
    widest = max(work.channels, work.out)
    tile = next((tile for most, tile in sorted(FUSED.items()) if widest <= most), None)
    if tile is None:
        return None
    by_group = _fused_by_group(work)
    if by_group is not None:
        return by_group
    variant = work.convolve_variant(tile)
    if variant.threads < tile.threads:
        tile = replace(tile, rows=2 * tile.rows, blocks=max(1, tile.blocks - 1))
        variant = work.convolve_variant(tile)
    per_block, in_all = shared_limit(work.device)
    if variant.shared > per_block:
        return None
    if tile.blocks * variant.shared > in_all:
        variant = work.convolve_variant(replace(tile, blocks=in_all // variant.shared))
    return variant


def _fused_by_group(work: _Work) -> Variant | None:
    """The same where a thread reads a group's channels at once; None if that is not so."""
    staged = work.offset.last
    tile = BY_GROUP_LAST if staged else BY_GROUP
    if tile is None or not work.groups_fit or work.mask.last != staged:
        return None
    aligned = min(work.offset.aligned, work.mask.aligned) if staged else 0
    if (staged and aligned < 4) or not work.chunk(tile.chunk):
        return None
    per_block, in_all = shared_limit(work.device)
    for rows in (tile.rows, max(1, tile.rows // 2)):
        variant = work.by_group_variant(replace(tile, rows=rows), aligned)
        blocks = min(tile.blocks, in_all // (variant.shared + _SYSTEM_BYTES))
        # A block alone would have nobody to work while it waits.
        if variant.shared <= per_block and blocks >= min(tile.blocks, 2):
            return work.by_group_variant(replace(tile, rows=rows, blocks=blocks), aligned)
    return None


@cache
def shared_limit(device: torch.device) -> tuple[int, int]:
    """Bytes of shared memory that a block and a multiprocessor can have."""
    card = torch.cuda.get_device_properties(device)
    return card.shared_memory_per_block_optin, card.shared_memory_per_multiprocessor


@cache
def card_memory(device: torch.device) -> int:
    """Bytes of a card; 0 where kernels run without one, in tests."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0


def _launch(
    variant: Variant, grid: Sequence[int], device: torch.device, *arguments: nvrtc.Argument
) -> None:
    variants.kernel_on(device, variant)(grid, variant.threads, arguments)


@dataclass(frozen=True)
class _Planes:
    """Channels of pictures as kernels read or write them.

    Attributes:
        tensor: N×C×H×W.
        steps: elements from picture to picture, channel to channel and pixel to pixel; one of the
            last two is 1.
    """

    tensor: Tensor
    steps: tuple[int, int, int]

    @property
    def last(self) -> bool:
        """Whether they lie pixel by pixel."""
        return self.steps[1] < self.steps[2]

    @property
    def aligned(self) -> int:
        """Bytes that all pixels begin at multiples of, if channels are innermost; at most 16."""
        picture, _, pixel = self.steps
        size = self.tensor.itemsize
        return gcd(16, self.tensor.data_ptr(), picture * size, pixel * size)


def _planes(planes: Tensor) -> _Planes:
    """Without a copy where pixels follow each other evenly in one of the two layouts.

    So do channels cut out of a larger tensor.
    """
    count, channels, height, width = planes.shape
    pixels = height * width
    if not planes.is_contiguous():
        picture, channel, row, pixel = planes.stride()
        picture = picture if count > 1 else 0
        channel = channel if channels > 1 else 1
        if width == 1:
            pixel = row if height > 1 else channels
        even = height == 1 or width == 1 or row == width * pixel
        innermost = channel == 1 and pixel >= channels
        outermost = pixel == 1 and channel >= pixels
        # Steps inside of a picture are counted in 31 bits.
        within = max(channels * channel, pixels * pixel) < 2**31
        if even and (innermost or outermost) and within:
            return _Planes(planes, (picture, channel, pixel))
        planes = planes.contiguous()
    return _Planes(planes, (channels * pixels, pixels, 1))


def _aligned(tensor: Tensor) -> Tensor:
    """Dense, and beginning where 16 bytes can be read at once."""
    tensor = tensor.contiguous()
    return tensor if tensor.data_ptr() % 16 == 0 else tensor.clone()


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _dividing(number: int, divisors: Sequence[int]) -> int:
    """The first of them that divides the number; the last one if none does."""
    return next((one for one in divisors[:-1] if number % one == 0), divisors[-1])


def _power_of_two(number: int, *, most: int) -> int:
    return 1 << max(0, min(number, most).bit_length() - 1)
