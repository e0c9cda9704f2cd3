"""The fast form of `st_fam_r50`: the same weights, the same answer where a trimap is unknown.

What is saved, all of it exact but for the order of rounding:

* each frame is encoded once, and so is its half of the first convolution of `R50Alignment`:
  look(cat[neighbour, centre]) = near(neighbour) + far(centre);
* BatchNorm is part of the convolution before it;
* where taps look is found on the whole frame, but what they see is gathered and multiplied only
  where the answer wants it; the whole frame's means are had without (`r50_sampling`);
* fusion, wide kernels, decoder and refining stage are made where they reach an unknown pixel
  (`r50_regions`), each level with as much around it as what follows looks at;
* maps are kept channels last, and on processors wide 3×3 convolutions take half of the
  multiplications (`r50_winograd`).

A GPU convolves a whole frame faster than it gathers a region: there `r50_dense` runs, which has the
first two too, unless tiles are asked for, which take less memory.

Tensor names: C channels, h×w of a level, P pixels of a region.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.networks.r50_alignment import SLOPE, R50Alignment, wishes
from model.networks.r50_decoder import REACH, Refine, Rise, WideKernel
from model.networks.r50_dense import FEW, LAST, DenseR50
from model.networks.r50_encoder import Bottleneck
from model.networks.r50_fusion import R50Fusion
from model.networks.r50_regions import MARGIN, TILE, Region, Sheet, convolve, ended, product
from model.networks.r50_sampling import Looks
from model.networks.r50_winograd import Convolve3

if TYPE_CHECKING:
    from model.networks.st_fam_r50 import StFamR50


@dataclass(frozen=True)
class FrameMaps:
    """One frame, 1×…, channels last.

    Attributes:
        planes: 1×4×H×W.
        levels: the encoder's five.
        near: of the four that are aligned, their half as a neighbour.
    """

    planes: Tensor
    levels: tuple[Tensor, ...]
    near: tuple[Tensor, ...]


@dataclass(frozen=True)
class Found:
    """Over the padded frame, right where it is unknown, float32 1×1×H×W.

    Attributes:
        coarse: alpha before the refining stage.
        alpha: after it.
    """

    coarse: Tensor
    alpha: Tensor


@dataclass(frozen=True)
class Kernel:
    """A convolution's numbers."""

    weight: Tensor
    bias: Tensor

    @staticmethod
    def of(conv: nn.Module) -> Kernel:
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        return Kernel(conv.weight.detach().contiguous(memory_format=LAST), conv.bias.detach())


class FastR50:
    """Made of the plain form, which is not changed and can be let go.

    Args:
        network: the plain form, in evaluation mode.
        dense: convolve whole frames where no tiles are asked for; None = on a GPU.
    """

    def __init__(self, network: StFamR50, *, dense: bool | None = None):
        self.shift = network.shift
        self.refines = network.refine is not None
        folded = _folded(network)
        self._is_dense = folded.encoder.conv.weight.is_cuda if dense is None else dense
        self._dense: dict[torch.dtype, DenseR50] = {}
        self._encoder, self._head = folded.encoder, Kernel.of(folded.decoder.head)
        align = [one for one in folded.align if isinstance(one, R50Alignment)]
        fuse = [one for one in folded.fuse if isinstance(one, R50Fusion)]
        wide = [one for one in folded.decoder.wide if isinstance(one, WideKernel)]
        rise = [one for one in folded.decoder.rise if isinstance(one, Rise)]
        self._align = [_Alignment(one) for one in align]
        self._fuse = [_Fusion(one) for one in fuse]
        self._wide = [_Wide(one) for one in wide]
        self._rise = [_Rise(one) for one in rise]
        self._seen_beside = int(any(one.by_deconv for one in rise))
        self._refine = None if folded.refine is None else _Refine(folded.refine)
        self._made_dense = partial(
            DenseR50, folded.encoder, align, fuse, wide, rise, folded.decoder.head, folded.refine
        )

    def encode(self, planes: Tensor) -> FrameMaps:
        """A frame, 1×4×H×W; see `model.networks.st_fam_r50.planes_of`."""
        planes = planes.contiguous(memory_format=LAST)
        if self._is_dense:
            levels, near = self._in(_wanted_type(planes)).encode(planes)
        else:
            levels = self._encoder(planes)
            near = [one.near(x) for one, x in zip(self._align, levels, strict=False)]
        return FrameMaps(planes, tuple(levels), tuple(near))

    def decode(self, window: Sequence[FrameMaps], unknown: Tensor, side: int = 0) -> Found:
        """The last frame of a window.

        Args:
            window: shift + 1 frames, oldest first.
            unknown: bool 1×1×H×W, where the answer is wanted; anywhere at all.
            side: convolutions of regions are made so many pixels squared of the frame at a time;
                0 = all at once.
        """
        planes = window[-1].planes
        if self._is_dense and not side:
            form = self._in(window[-1].levels[0].dtype)
            levels, near = [one.levels for one in window], [one.near for one in window]
            return Found(*form.decode(levels, near, planes))
        refine, beside = self._refine is not None, self._seen_beside
        wanted = _Wanted.of(unknown[0, 0], refine=refine, beside=beside)
        x: Sheet | None = None
        for level in reversed(range(len(self._wide))):
            most = _most(side, level + 1)
            fused = self._fused(window, level, wanted)
            skip = self._wide[level](fused, wanted.skips[level], most)
            x = skip if x is None else self._rise[level + 1](x, skip, wanted.joins[level + 1], most)
        assert x is not None
        most = _most(side, 0)
        skip = Sheet.of_map(planes, wanted.planes)
        x = self._rise[0](x, skip, wanted.joins[0], most)
        logit = convolve([x], self._head.weight, self._head.bias, wanted.coarse, most)
        raw = logit.rows.float()
        coarse = torch.sigmoid(raw)
        alpha = coarse
        if self._refine is not None:
            picture = Sheet.of_map(planes[:, :3], wanted.coarse).rows
            seen = torch.cat([picture, coarse.to(picture.dtype)], 1)
            seen[-1] = 0
            more = self._refine(Sheet(seen, wanted.coarse), wanted.refined, most).spread().float()
            alpha = torch.sigmoid(Sheet(raw, wanted.coarse).spread() + more)
            return Found(Sheet(coarse, wanted.coarse).spread(), alpha)
        found = Sheet(alpha, wanted.coarse).spread()
        return Found(found, found)

    def _in(self, dtype: torch.dtype) -> DenseR50:
        if dtype not in self._dense:
            self._dense[dtype] = self._made_dense(dtype)
        return self._dense[dtype]

    def _fused(self, window: Sequence[FrameMaps], level: int, wanted: _Wanted) -> Sheet:
        """One level of the window made one frame."""
        maps = [one.levels[level] for one in window]
        where = wanted.fused[level].grown(REACH, REACH, exactly=True)
        if level < len(self._align):
            align = self._align[level]
            near = [one.near[level] for one in window]
            rows, means = align(maps, near, where)
        else:
            rows = torch.cat([Sheet.of_map(x, where).rows[:-1] for x in maps], 1)
            means = torch.cat([x.mean((2, 3), dtype=torch.float32) for x in maps], 1)
        return self._fuse[level](rows, means, where, wanted.fused[level])


def _wanted_type(planes: Tensor) -> torch.dtype:
    device = planes.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else planes.dtype


def _most(side: int, halvings: int) -> int:
    return (side >> halvings) ** 2 if side else 2**40


@dataclass(frozen=True)
class _Wanted:
    """Where each step's result is wanted.

    Attributes:
        refined: the refining stage's convolutions, the last for the answer itself.
        coarse: the first alpha.
        joins: the results of `Rise`, from full size to 1/16.
        planes: the skip at full size.
        skips: the results of the wide kernels, from 1/2 to 1/32.
        fused: the fused levels.
    """

    refined: tuple[Region, ...]
    coarse: Region
    joins: tuple[Region, ...]
    planes: Region
    skips: tuple[Region, ...]
    fused: tuple[Region, ...]

    @staticmethod
    def of(unknown: Tensor, *, refine: bool, beside: int = 0, levels: int = 5) -> _Wanted:
        """For a decoder whose `Rise` looks that many pixels of the doubled size beside itself."""
        refined = [Region.around(unknown)]
        if refine:
            for _ in range(3):
                refined.insert(0, refined[0].grown(1, 1))
        coarse = refined[0].grown(1, 1) if refine else refined[0]
        joins = [coarse.grown(1, 1)]
        joined = [joins[0].grown(1, 1)]  # what a join's 3×3 convolution looks at
        for _ in range(levels - 1):
            joins.append(joined[-1].grown(beside, beside).halved())
            joined.append(joins[-1].grown(1, 1))
        skips = [*joined[1:], joined[-1].grown(beside, beside).halved()]
        fused = [one.grown(REACH, REACH, exactly=True) for one in skips]
        return _Wanted(tuple(refined), coarse, tuple(joins), joined[0], tuple(skips), tuple(fused))


def _folded(network: StFamR50) -> StFamR50:
    """A copy with BatchNorm inside of its convolutions, channels last."""
    found = copy.deepcopy(network)
    encoder = found.encoder
    encoder.conv, encoder.norm = _with_norm(encoder.conv, encoder.norm), nn.Identity()
    for one in found.modules():
        if isinstance(one, Bottleneck):
            one.conv1, one.norm1 = _with_norm(one.conv1, one.norm1), nn.Identity()
            one.conv2, one.norm2 = _with_norm(one.conv2, one.norm2), nn.Identity()
            one.conv3, one.norm3 = _with_norm(one.conv3, one.norm3), nn.Identity()
            if one.shortcut is not None:
                one.shortcut = nn.Sequential(_with_norm(*one.shortcut))
        elif isinstance(one, R50Fusion):
            one.merge, one.norm = _with_norm(one.merge, one.norm), nn.Identity()
        elif isinstance(one, Rise):
            if not one.by_deconv:
                one.spread, one.spread_norm = _with_norm(one.spread, one.spread_norm), nn.Identity()
            one.join, one.join_norm = _with_norm(one.join, one.join_norm), nn.Identity()
        elif isinstance(one, Refine):
            pairs = zip(one.convs, one.norms, strict=True)
            one.convs = nn.ModuleList(_with_norm(conv, norm) for conv, norm in pairs)
            one.norms = nn.ModuleList(nn.Identity() for _ in one.convs)
    return found.to(memory_format=LAST).eval().requires_grad_(False)


def _with_norm(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm)


class _Alignment:
    """`R50Alignment` of a window's frames to its last."""

    def __init__(self, one: R50Alignment):
        channels = one.bias.numel()
        look, think, taps = (Kernel.of(conv) for conv in (one.look, one.think, one.taps))
        self.near = Convolve3(look.weight[:, :channels], None)  # a frame's half as a neighbour
        self._far = Convolve3(look.weight[:, channels:], look.bias)
        self._think = Convolve3(think.weight, think.bias)
        self._taps = Convolve3(taps.weight, taps.bias)
        self._weight, self._bias = one.weight.detach(), one.bias.detach()
        self._by_taps = self._weight.permute(0, 2, 3, 1).flatten(1).contiguous()

    def __call__(
        self, maps: Sequence[Tensor], near: Sequence[Tensor], where: Region
    ) -> tuple[Tensor, Tensor]:
        """K frames: their aligned rows P×(K·C), and the means over the frame 1×(K·C)."""
        rows, means = [], []
        for looked in self._looks(maps, near):
            looks = Looks.of(*looked)
            rows.append(looks.convolved(self._weight, self._by_taps, self._bias, where))
            means.append(looks.mean() @ self._weight.flatten(1).t() + self._bias)
        return torch.cat(rows, 1), torch.cat(means).view(1, -1)

    def _looks(
        self, maps: Sequence[Tensor], near: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Frames, as many as go together, and what `wishes` says of their taps."""
        far = self._far(maps[-1])
        together = len(near) if far.shape[2] * far.shape[3] <= FEW else 1
        for first in range(0, len(near), together):
            some = near[first : first + together]
            thought = (some[0] if together == 1 else torch.cat(list(some))) + far
            thought = F.leaky_relu_(thought, SLOPE)
            thought = F.leaky_relu_(self._think(thought), SLOPE)
            offsets, masks = wishes(thought, self._taps)
            x = torch.cat(list(maps[first : first + together]))
            yield x, offsets, masks


class _Fusion:
    """`R50Fusion` in a region."""

    def __init__(self, one: R50Fusion):
        self._weigh = one.weigh
        self._space = one.space.weight.detach()
        merge = Kernel.of(one.merge)
        self._merge, self._bias = merge.weight.flatten(1), merge.bias

    def __call__(self, rows: Tensor, means: Tensor, where: Region, wanted: Region) -> Sheet:
        """Rows P×(K·C) of a region, and the frame's means, to the sheet of a smaller one."""
        weighed = rows * self._weigh(means).to(rows.dtype)
        seen = torch.stack([weighed.mean(1), weighed.amax(1)], 1)
        place = torch.sigmoid(F.conv2d(Sheet(ended(seen), where).spread(), self._space, padding=3))
        chosen = Sheet(ended(weighed), where).within(wanted)
        place = Sheet.of_map(place, wanted).rows[:-1]
        merged = product(chosen * place.to(chosen.dtype), self._merge, self._bias)
        return Sheet(ended(F.relu(merged)), wanted)


class _Wide:
    """`WideKernel` in a region."""

    def __init__(self, one: WideKernel):
        self._left1, self._left2 = Kernel.of(one.left1), Kernel.of(one.left2)
        self._right1, self._right2 = Kernel.of(one.right1), Kernel.of(one.right2)
        # What a tap of the last convolution adds where it is above or below the frame, 7×C: there
        # lies not zero but the bias of the convolution before it.
        self._beyond = self._right2.weight[..., 0].permute(2, 0, 1) @ self._right1.bias

    def __call__(self, x: Sheet, wanted: Region, most: int) -> Sheet:
        def conv(x: Sheet, kernel: Kernel, where: Region) -> Sheet:
            return convolve([x], kernel.weight, kernel.bias, where, most)

        left = conv(conv(x, self._left1, wanted.grown(0, REACH)), self._left2, wanted)
        # Three columns at either side are no part of the right branch, but for its bias.
        inner = torch.zeros_like(wanted.mask)
        inner[:, REACH : wanted.width - REACH] = True
        between = conv(x, self._right1, Region.of(wanted.grown(REACH, 0).mask & inner))
        where = Region.of(wanted.mask & inner)
        right = conv(between, self._right2, where).rows[:-1]
        self._add_beyond(right, where)
        chosen = inner.flatten()[wanted.pixels]
        rows = left.rows
        rows[:-1][chosen] += right
        rows[:-1][~chosen] += self._right2.bias
        return Sheet(rows, wanted)

    def _add_beyond(self, rows: Tensor, where: Region) -> None:
        row = where.pixels // where.width
        at_edge = (row < REACH) | (row >= where.height - REACH)
        tap = torch.arange(2 * REACH + 1, device=rows.device) - REACH
        looked_at = row[at_edge][:, None] + tap
        outside = ((looked_at < 0) | (looked_at >= where.height)).float()
        with torch.autocast(rows.device.type, enabled=False):
            rows[at_edge] += (outside @ self._beyond).to(rows.dtype)


class _Rise:
    """`Rise` in a region."""

    def __init__(self, one: Rise):
        self._doubled = _Deconv(one.enlarge) if one.by_deconv else _Shuffle(one.spread)
        self._join = Kernel.of(one.join)

    def __call__(self, x: Sheet, skip: Sheet, wanted: Region, most: int) -> Sheet:
        sheets = [self._doubled(x, skip.region, most), skip]
        found = convolve(sheets, self._join.weight, self._join.bias, wanted, most)
        return Sheet(F.relu(found.rows), wanted)


class _Shuffle:
    """What `Rise` does by ``shuffle``, in a region of the doubled size."""

    def __init__(self, one: nn.Module):
        spread = Kernel.of(one)
        outside = spread.bias.numel() // 4
        # Sub-pixels first, so that each is a row by itself.
        weight = spread.weight.reshape(outside, 4, -1).transpose(0, 1)
        self._weight = weight.reshape(4 * outside, -1)
        self._bias = spread.bias.view(outside, 4).t().reshape(-1)

    def __call__(self, x: Sheet, where: Region, most: int) -> Sheet:
        spread = F.relu(product(x.rows[:-1], self._weight, self._bias))
        row, column = where.pixels // where.width, where.pixels % where.width
        coarser = x.region.places[MARGIN + row // 2, MARGIN + column // 2]
        up = spread.view(-1, spread.shape[1] // 4)[4 * coarser + 2 * (row % 2) + column % 2]
        return Sheet(ended(up), where)


class _Deconv:
    """What `Rise` does by ``deconv``, in a region of the doubled size.

    Along an axis, pixel 2y is made of the pixels y−1 and y, by the last and the second of the four
    taps, and pixel 2y+1 of y and y+1, by the third and the first. So the pixels of one parity are
    the product of what 2×2 pixels have and a matrix, one for each of the four parities.
    """

    def __init__(self, one: nn.ConvTranspose2d):
        assert one.bias is not None
        self._weight, self._bias = one.weight.detach(), one.bias.detach()
        taps = [3, 1], [2, 0]
        self._matrices = [
            self._weight[:, :, down][..., across].permute(1, 2, 3, 0).flatten(1)
            for down in taps
            for across in taps
        ]

    def __call__(self, x: Sheet, where: Region, most: int) -> Sheet:
        if where.whole and x.region.whole:
            found = F.conv_transpose2d(x.to_map(), self._weight, self._bias, 2, 1)
            return Sheet.of_map(found, where)
        row, column = where.pixels // where.width, where.pixels % where.width
        parity = 2 * (row % 2) + column % 2
        beside = torch.arange(2, device=row.device) + MARGIN - 1
        rows, columns = ((one[:, None] + 1) // 2 + beside for one in (row, column))
        chosen, parts = [], []
        for number, matrix in enumerate(self._matrices):
            for some in torch.split((parity == number).nonzero()[:, 0], max(most, TILE**2)):
                seen = x.rows[x.region.places[rows[some][:, :, None], columns[some][:, None, :]]]
                parts.append(product(seen.flatten(1), matrix, self._bias))
                chosen.append(some)
        found = torch.cat(parts)
        return Sheet(ended(found[torch.cat(chosen).argsort()]), where)


class _Refine:
    """`Refine` in regions."""

    def __init__(self, one: Refine):
        self._kernels = [Kernel.of(conv) for conv in one.convs]
        self._head = Kernel.of(one.head)

    def __call__(self, x: Sheet, wanted: Sequence[Region], most: int) -> Sheet:
        for kernel, where in zip(self._kernels, wanted, strict=False):
            found = convolve([x], kernel.weight, kernel.bias, where, most)
            x = Sheet(F.relu(found.rows), where)
        return convolve([x], self._head.weight, self._head.bias, wanted[-1], most)
