"""The form of `st_fam_r50` that GPUs run: whole frames, each convolution with what follows it.

A GPU convolves a whole frame faster than it gathers a region. What it is slow at are the passes
over maps in between, which took longer than the convolutions: so biases and activations go with
cuDNN's own convolutions where that has them, or with one pass (`cuda_ops.maps`); what convolutions
are given is not stacked first, but convolved apart and added; few channels are filled up to eights.
Numbers are those of the type they are computed in, and not cast at each call.

The same weights and the same answer as the plain form, but for the order of rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops import maps
from cuda_ops.deform_conv import modulated_deform_conv2d
from model.networks.r50_alignment import GROUPS, SLOPE, TAPS, R50Alignment
from model.networks.r50_decoder import Refine, Rise, WideKernel
from model.networks.r50_encoder import Bottleneck, R50Encoder
from model.networks.r50_fusion import R50Fusion

LAST = torch.channels_last
FEW = 2**13  # pixels of a level up to which a window's frames go through convolutions together


@dataclass(frozen=True)
class Conv:
    """A convolution's numbers.

    Attributes:
        weight: O×C×k×k, channels last.
        bias: O, or None.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    @staticmethod
    def of(conv: nn.Module, dtype: torch.dtype) -> Conv:
        assert isinstance(conv, nn.Conv2d) and not isinstance(conv.padding, str)
        bias = None if conv.bias is None else conv.bias.detach().to(dtype)
        return Conv(_kept(conv.weight, dtype), bias, conv.stride, conv.padding)

    def split(self, *parts: int) -> list[Conv]:
        """For each of the parts that inputs are stacked of; the bias stays with the first."""
        weights = torch.split(self.weight, list(parts), 1)
        found = [Conv(_kept(one), None, self.stride, self.padding) for one in weights]
        found[0] = Conv(found[0].weight, self.bias, self.stride, self.padding)
        return found

    def filled(self) -> Conv:
        """With zeros after inputs and results, up to the next eight of either."""
        more, wider = (-length % maps.EIGHT for length in self.weight.shape[:2])
        weight = _kept(F.pad(self.weight, (0, 0, 0, 0, 0, wider, 0, more)))
        bias = None if self.bias is None else F.pad(self.bias, (0, more))
        return Conv(weight, bias, self.stride, self.padding)

    def bare(self, x: Tensor) -> Tensor:
        """Without its bias."""
        return F.conv2d(x, self.weight, None, self.stride, self.padding)

    def acted(self, x: Tensor, slope: float, other: Tensor | None = None) -> Tensor:
        """conv(x) + other, and what is below zero times ``slope``."""
        return _finished(self.bare(x), self.bias, slope, other, in_place=True)

    def positive(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """ReLU of conv(x) + other."""
        assert self.bias is not None
        if not _has_cudnn(x):
            found = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
            return F.relu_(found if other is None else found.add_(other))
        more = self.stride, self.padding, (1, 1), 1
        if other is None:
            return torch.cudnn_convolution_relu(x, self.weight, self.bias, *more)
        return torch.cudnn_convolution_add_relu(x, self.weight, other, 1.0, self.bias, *more)


class DenseR50:
    """`FastR50` where it convolves whole frames, whatever autocast says.

    Args:
        encoder, align, fuse, wide, rise, head, refine: boxes of the plain form, BatchNorm folded.
        dtype: of all numbers; offsets are computed in float32 where that is bfloat16.
    """

    def __init__(
        self,
        encoder: R50Encoder,
        align: Sequence[R50Alignment],
        fuse: Sequence[R50Fusion],
        wide: Sequence[WideKernel],
        rise: Sequence[Rise],
        head: nn.Module,
        refine: Refine | None,
        dtype: torch.dtype,
    ):
        self.dtype = dtype
        self._stem = Conv.of(encoder.conv, dtype).filled()
        self._stages = [
            [_Bottleneck(one, dtype) for one in stage if isinstance(one, Bottleneck)]
            for stage in encoder.stages
            if isinstance(stage, nn.Sequential)
        ]
        self._align = [_Alignment(one, dtype) for one in align]
        self._fuse = [_Fusion(one, dtype) for one in fuse]
        self._wide = [_Wide(one, dtype) for one in wide]
        self._rise = [_Rise(one, dtype) for one in rise]
        self._head = Conv.of(head, dtype).filled()
        self._refine = [] if refine is None else [Conv.of(c, dtype).filled() for c in refine.convs]
        self._last = None if refine is None else Conv.of(refine.head, dtype).filled()

    @torch.no_grad()  # the kernels between convolutions know no gradients
    def encode(self, planes: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """A frame, 1×4×H×W, to the encoder's five maps and, of four, their half as a neighbour."""
        with torch.autocast(planes.device.type, enabled=False):
            return self._encoded(planes)

    def _encoded(self, planes: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        found = [self._stem.positive(_filled(planes.to(self.dtype)))]
        x = F.max_pool2d(found[0], 3, 2, padding=1)
        for stage in self._stages:
            for one in stage:
                x = one(x)
            found.append(x)
        near = [one.near.bare(x) for one, x in zip(self._align, found, strict=False)]
        return found, near

    @torch.no_grad()
    def decode(
        self, levels: Sequence[Sequence[Tensor]], near: Sequence[Sequence[Tensor]], planes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The last frame of a window, oldest first.

        Args:
            levels: of each frame, as `encode` found them.
            near: the same.
            planes: of the last frame, 1×4×H×W.

        Returns:
            Alpha before the refining stage and after it, float32 1×1×H×W.
        """
        with torch.autocast(planes.device.type, enabled=False):
            return self._decoded(levels, near, planes)

    def _decoded(
        self, levels: Sequence[Sequence[Tensor]], near: Sequence[Sequence[Tensor]], planes: Tensor
    ) -> tuple[Tensor, Tensor]:
        skips = []
        for level, (fuse, wide) in enumerate(zip(self._fuse, self._wide, strict=True)):
            frames = [one[level] for one in levels]
            if level < len(self._align):
                frames = self._align[level](frames, [one[level] for one in near])
            skips.append(wide(fuse(frames)))
        x = skips.pop()
        for rise in reversed(self._rise[1:]):
            x = rise(x, skips.pop())
        x = self._rise[0](x, _filled(planes.to(self.dtype)))
        logit = self._head.acted(x, 1.0)[:, :1].float()
        coarse = torch.sigmoid(logit)
        if self._last is None:
            return coarse, coarse
        x = _filled(torch.cat([planes[:, :3].to(self.dtype), coarse.to(self.dtype)], 1))
        for conv in self._refine:
            x = conv.positive(x)
        return coarse, torch.sigmoid(logit + self._last.acted(x, 1.0)[:, :1].float())


class _Bottleneck:
    """`Bottleneck`."""

    def __init__(self, one: Bottleneck, dtype: torch.dtype):
        self._first, self._second = Conv.of(one.conv1, dtype), Conv.of(one.conv2, dtype)
        third = Conv.of(one.conv3, dtype)
        self._shortcut = None if one.shortcut is None else Conv.of(one.shortcut[0], dtype)
        if self._shortcut is not None and self._shortcut.bias is not None:
            assert third.bias is not None
            third = Conv(third.weight, third.bias + self._shortcut.bias, (1, 1), (0, 0))
        self._third = third

    def __call__(self, x: Tensor) -> Tensor:
        y = self._second.positive(self._first.positive(x))
        return self._third.positive(y, x if self._shortcut is None else self._shortcut.bare(x))


class _Alignment:
    """`R50Alignment` of a window's frames to its last."""

    def __init__(self, one: R50Alignment, dtype: torch.dtype):
        channels = one.bias.numel()
        far, near = Conv.of(one.look, dtype).split(channels, channels)[::-1]
        self.near = Conv(near.weight, None, near.stride, near.padding)  # a frame as a neighbour
        self._far, self._bias_of_look = far, near.bias
        self._think = Conv.of(one.think, dtype)
        # Offsets are never in bfloat16.
        precise = torch.float32 if dtype == torch.bfloat16 else dtype
        self._taps = Conv.of(one.taps, precise)
        self._weight, self._bias = _kept(one.weight, dtype), one.bias.detach().to(dtype)

    def __call__(self, frames: Sequence[Tensor], near: Sequence[Tensor]) -> list[Tensor]:
        """Frames aligned, 1×C×h×w each."""
        far = self._far.bare(frames[-1])
        together = len(near) if far.shape[2] * far.shape[3] <= FEW else 1
        found: list[Tensor] = []
        for first in range(0, len(near), together):
            x, some = (torch.cat(list(one[first : first + together])) for one in (frames, near))
            thought = self._think.acted(_finished(some, self._bias_of_look, SLOPE, far), SLOPE)
            wishes = self._taps.acted(thought.to(self._taps.weight.dtype), 1.0)
            offset = wishes[:, : 2 * GROUPS * TAPS]
            mask = torch.sigmoid(wishes[:, 2 * GROUPS * TAPS :])
            moved = modulated_deform_conv2d(
                x, offset, mask.to(x.dtype), self._weight, self._bias, padding=1
            )
            found += torch.split(moved, 1)
        return found


class _Fusion:
    """`R50Fusion`."""

    def __init__(self, one: R50Fusion, dtype: torch.dtype):
        self._squeeze = one.squeeze.weight.detach().to(dtype)
        self._excite = one.excite.weight.detach().to(dtype)
        self._space = Conv.of(one.space, dtype)
        self._wider = self._space.filled()
        self._merge = Conv.of(one.merge, dtype)

    def __call__(self, frames: Sequence[Tensor]) -> Tensor:
        """Frames 1×C×h×w to one."""
        x = torch.cat(list(frames), 1)
        means = x.mean((2, 3))
        weights = F.linear(F.relu(F.linear(means, self._squeeze)), self._excite).sigmoid()
        if maps.takes(x, len(self._merge.weight)):
            # What weighs channels weighs the kernel's as well, and what weighs places its result.
            gate = self._wider.bare(maps.peaks(x, weights))
            found = F.conv2d(x, self._merge.weight * weights[:, :, None, None])
            bias = self._merge.bias
            return maps.finished(found, bias, slope=0.0, gate=gate, in_place=True)
        x = x * weights[:, :, None, None]
        seen = torch.cat([x.mean(1, True), x.amax(1, True)], 1)
        return self._merge.positive(x.mul_(torch.sigmoid(self._space.bare(seen))))


class _Wide:
    """`WideKernel`."""

    def __init__(self, one: WideKernel, dtype: torch.dtype):
        self._left1, self._left2 = Conv.of(one.left1, dtype), Conv.of(one.left2, dtype)
        self._right1, self._right2 = Conv.of(one.right1, dtype), Conv.of(one.right2, dtype)
        assert self._left2.bias is not None and self._right2.bias is not None
        self._bias = self._left2.bias + self._right2.bias

    def __call__(self, x: Tensor) -> Tensor:
        left = self._left2.bare(self._left1.acted(x, 1.0))
        right = self._right2.bare(self._right1.acted(x, 1.0))
        return _finished(left, self._bias, 1.0, right, in_place=True)


class _Rise:
    """`Rise`."""

    def __init__(self, one: Rise, dtype: torch.dtype):
        join = Conv.of(one.join, dtype)
        outside = len(join.weight)
        by_deconv = one.by_deconv
        self._doubled = _Deconv(one.enlarge, dtype) if by_deconv else _Shuffle(one.spread, dtype)
        self._own, beside = join.split(outside, join.weight.shape[1] - outside)
        self._beside = beside.filled()
        self._beside = Conv(self._beside.weight[:outside], None, (1, 1), (1, 1))

    def __call__(self, x: Tensor, skip: Tensor) -> Tensor:
        """N×inside×h×w and N×skip×2h×2w, filled up, to N×outside×2h×2w."""
        return self._own.positive(self._doubled(x), self._beside.bare(skip))


class _Shuffle:
    """What `Rise` does by ``shuffle``, N×inside×h×w to N×outside×2h×2w."""

    def __init__(self, one: nn.Module, dtype: torch.dtype):
        spread = Conv.of(one, dtype)
        outside = len(spread.weight) // 4
        assert spread.bias is not None
        # Sub-pixels first, so that a pixel's channels lie together.
        weight = spread.weight.view(outside, 4, -1, 1, 1).transpose(0, 1).flatten(0, 1)
        bias = spread.bias.view(outside, 4).t().flatten()
        self._spread = Conv(_kept(weight), bias, (1, 1), (0, 0))

    def __call__(self, x: Tensor) -> Tensor:
        return _shuffled(self._spread.positive(x))


class _Deconv:
    """What `Rise` does by ``deconv``, N×inside×h×w to N×outside×2h×2w."""

    def __init__(self, one: nn.ConvTranspose2d, dtype: torch.dtype):
        assert one.bias is not None
        self._weight, self._bias = _kept(one.weight, dtype), one.bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        found = F.conv_transpose2d(x, self._weight, None, 2, 1).contiguous(memory_format=LAST)
        return _finished(found, self._bias, 1.0, None, in_place=True)


def _shuffled(x: Tensor) -> Tensor:
    """N×(2·2·C)×h×w, sub-pixels outermost, to N×C×2h×2w."""
    channels = x.shape[1] // 4
    if maps.takes(x, channels):
        return maps.shuffled(x)
    pictures, _, height, width = x.shape
    apart = x.view(pictures, 2, 2, channels, height, width).permute(0, 3, 4, 1, 5, 2)
    found = apart.reshape(pictures, channels, 2 * height, 2 * width)
    return found.contiguous(memory_format=LAST)


def _finished(
    x: Tensor, bias: Tensor | None, slope: float, other: Tensor | None, *, in_place: bool = False
) -> Tensor:
    """x + bias + other, and what is below zero times ``slope``."""
    if maps.takes(x, x.shape[1]):
        return maps.finished(x, bias, slope=slope, other=other, in_place=in_place)
    found = x if in_place else x.clone()
    if bias is not None:
        found += bias[:, None, None]
    if other is not None:
        found += other
    return found if slope == 1.0 else F.leaky_relu_(found, slope)


def _has_cudnn(x: Tensor) -> bool:
    """And not what stands for it on AMD's cards."""
    if not x.is_cuda or torch.version.hip:
        return False
    return bool(torch.backends.cudnn.is_acceptable(x))  # type: ignore[no-untyped-call]


def _filled(x: Tensor) -> Tensor:
    return maps.filled(x).contiguous(memory_format=LAST)


def _kept(weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return weight.detach().to(dtype or weight.dtype).contiguous(memory_format=LAST)
