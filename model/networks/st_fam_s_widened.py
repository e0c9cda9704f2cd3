"""`st_fam_s` in shapes that a CUDA card multiplies fast: the same numbers, and zeros beside them.

Tensor cores take channels by eights. cuDNN has other kernels for 9, 12 or 2 of them, several times
slower: on an H200, in halves at HD, 12 → 12 takes 0.83 ms, 16 → 16 takes 0.13. Its kernels for 24
and 48 are slower than those for 32 and 64, too: 144 → 24 at 1/8 takes 0.41 ms and 144 → 32 takes
0.05. So channels are filled up where that pays; what is filled in stays zero from convolution to
convolution, and nothing reads what is made of it at the end.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from cuda_ops.maps import EIGHT
from model.networks.alignment import Alignment
from model.networks.blocks import Residual
from model.networks.frame_encoder import INPUTS

if TYPE_CHECKING:
    from model.networks.st_fam_s import StFamS

# What channels are filled up to a multiple of where `EIGHT` is not enough, and those that alignment
# looks at.
_WIDE, _LOOK = 32, 16


def widened(network: StFamS, dtype: torch.dtype) -> StFamS:
    """A copy for use, channels last, its numbers in ``dtype``."""
    made = copy.deepcopy(network).eval().requires_grad_(False)
    encoder, decoder = made.encoder, made.decoder
    to_eighth = encoder.to_eighth[0]
    assert isinstance(to_eighth, nn.Conv2d)
    full, quarter = len(encoder.stem.weight), to_eighth.in_channels
    at_full, planes = (full, _up(full, EIGHT)), (INPUTS, _up(INPUTS, EIGHT))
    for conv, inside, outside in (
        (encoder.stem, [planes], EIGHT),
        (encoder.to_half[0], [at_full], 1),
        (decoder.narrow[3], [], EIGHT),
        (decoder.full, [at_full, planes], EIGHT),
        (decoder.finer.first, [at_full], EIGHT),
        (decoder.finer.second, [at_full], EIGHT),
        (decoder.head, [at_full], EIGHT),
    ):
        _fill(conv, inside, outside)
    if made.aligned < 3:  # else that scale is aligned as well
        at_quarter = (quarter, _up(quarter, _WIDE))
        residuals = [*encoder.to_quarter[1:], decoder.refine[1]]
        _fill(encoder.to_quarter[0], [], _WIDE)
        for one in residuals:
            assert isinstance(one, Residual)
            _fill(one.first, [at_quarter], _WIDE)
            _fill(one.second, [at_quarter], _WIDE)
        _fill(to_eighth, [at_quarter], 1)
        _fill(decoder.narrow[1], [], _WIDE)
        _fill(decoder.narrow[2], [at_quarter], 1)
    for align in made.align:
        assert isinstance(align, Alignment)
        guide = len(align.think.weight)
        at_guide = (guide, _up(guide, _WIDE))
        seen = align.look.weight.shape[1] - guide - 2  # what comes before the guide and the shift
        rest = _up(seen + at_guide[1] + 2, _LOOK) - seen - at_guide[1]
        _fill(align.look, [(seen, seen), at_guide, (2, rest)], _WIDE)
        _fill(align.think, [at_guide], _WIDE)
        _fill(align.shift, [at_guide], 1)
        _fill(align.taps, [at_guide], EIGHT)
    return made.to(dtype).to(memory_format=torch.channels_last)


def _up(count: int, step: int) -> int:
    return -(-count // step) * step


def _fill(conv: nn.Module, inside: Sequence[tuple[int, int]], step: int) -> None:
    """Zeros beside a convolution's numbers.

    Args:
        inside: of each part that its inputs are stacked of, how many they are and shall be; none =
            they stay as they are.
        step: results become a multiple of it.
    """
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    weight = conv.weight
    if inside:
        parts = torch.split(weight, [count for count, _ in inside], 1)
        beside = [to - count for count, to in inside]
        padded = [F.pad(one, (0, 0, 0, 0, 0, n)) for one, n in zip(parts, beside, strict=True)]
        weight = torch.cat(padded, 1)
    more = _up(len(weight), step) - len(weight)
    conv.weight = nn.Parameter(F.pad(weight, (0, 0, 0, 0, 0, 0, 0, more)), requires_grad=False)
    conv.bias = nn.Parameter(F.pad(conv.bias, (0, more)), requires_grad=False)
