"""What stands between a network's convolutions, each in one pass over its maps, on a CUDA device.

torch adds a bias, an activation and a residual in a pass each, none of them at the speed of a copy
where channels lie innermost; it enlarges slower than it convolves, and compares a map with another
in fifty small steps. These kernels (csrc) compute in float and round once. They know no gradients:
`takes` says where they go, and everywhere else networks have the same in plain torch.

Maps are N×C×H×W, channels last, float16, bfloat16 or float32, C a multiple of 16 bytes.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cuda_ops import nvrtc, variants
from cuda_ops.nvrtc import KernelError
from cuda_ops.variants import Variant

__all__ = [
    "EIGHT",
    "doubled",
    "filled",
    "finished",
    "matches",
    "moved",
    "peaks",
    "shuffled",
    "takes",
]

_ELEMENTS = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2}
_THREADS = 256
_BYTES = 16  # that a thread reads at once
EIGHT = 8  # channels, of a map that a convolution is to take
_LOG = logging.getLogger("dvm.kernels")
_broken: set[torch.device] = set()  # where kernels could not be made; the log has said why


def takes(x: Tensor, channels: int, weight: Tensor | None = None) -> bool:
    """Whether what becomes of a map is for the kernels.

    Args:
        x: the map.
        channels: of what kernels read and write.
        weight: of a convolution between x and that.
    """
    device = x.device
    if (
        device.type != "cuda"
        or torch.is_grad_enabled()
        or torch.is_autocast_enabled("cuda")
        or x.dtype not in _ELEMENTS
        or channels * x.itemsize % _BYTES
        or (weight is not None and weight.dtype != x.dtype)
        or not x.is_contiguous(memory_format=torch.channels_last)
        or device in _broken
        or variants.card_refusal(device)
    ):
        return False
    try:  # one stands for all of them
        variants.kernel_on(device, _variant("finish", x.dtype, 64, HAS_BIAS=1, HAS_OTHER=0, GATE=0))
    except KernelError as error:
        _broken.add(device)
        _LOG.warning("maps are finished in plain torch, which is slower: %s", error)
        return False
    return True


def finished(
    x: Tensor,
    bias: Tensor | None,
    *,
    slope: float = 1.0,
    other: Tensor | None = None,
    gate: Tensor | None = None,
    in_place: bool = False,
) -> Tensor:
    """act(σ(gate)·x + bias + other), where act multiplies what is below zero by ``slope``.

    Args:
        x: a map.
        bias: C.
        slope: 1 = no activation.
        other: as x; or of one picture for all of x's.
        gate: its first channel is meant, of as many pixels.
        in_place: the result is x; else it is a new map.

    Raises:
        KernelError: as all of them, if the kernel cannot be made.
    """
    assert not in_place or x.is_contiguous(memory_format=torch.channels_last)
    x = _last(x)
    found = x if in_place else torch.empty_like(x)
    options = {
        "HAS_BIAS": int(bias is not None),
        "HAS_OTHER": int(other is not None),
        "GATE": 0 if gate is None else gate.shape[1],
    }
    variant = _variant("finish", x.dtype, x.shape[1], **options)
    other = None if other is None else _last(other)
    gate = None if gate is None else _last(gate)
    count, others = (0 if one is None else _vectors(one) for one in (x, other))
    sizes = ctypes.c_float(slope), ctypes.c_int(count), ctypes.c_int(others)
    _launch(variant, count, x, bias, other, gate, found, *sizes)
    return found


def doubled(x: Tensor, bias: Tensor | None, onto: Tensor) -> Tensor:
    """onto + x enlarged + bias, as a new map.

    Args:
        x: N×C×h×w, enlarged as torch's bilinear interpolation does without aligned corners.
        bias: C.
        onto: N×C×2h×2w.
    """
    pictures, channels, height, width = x.shape
    found = _map(x, channels, 2 * height, 2 * width)
    sizes = map(ctypes.c_int, (pictures, height, width))
    variant = _variant("doubled", x.dtype, channels, HAS_BIAS=int(bias is not None))
    _launch(variant, _vectors(x), _last(x), bias, _last(onto), found, *sizes)
    return found


def matches(neighbour: Tensor, centre: Tensor, reach: int) -> Tensor:
    """Cosine between the centre's feature and the neighbour's at each place up to ``reach`` pixels
    away in either axis: N×(2·reach+1)²×h×w, channels last."""
    pictures, channels, height, width = centre.shape
    side = 2 * reach + 1
    found = _map(centre, side * side, height, width)
    sizes = map(ctypes.c_int, (pictures, height, width))
    vectors = channels * centre.itemsize // _BYTES
    lanes = next(lanes for lanes in (4, 2, 1) if vectors % lanes == 0)
    variant = _variant("matches", centre.dtype, channels, REACH=reach, LANES=lanes)
    count = pictures * height * width * side * lanes
    _launch(variant, count, _last(neighbour), _last(centre), found, *sizes)
    return found


def moved(x: Tensor, shift: Tensor) -> Tensor:
    """x looked up at p + shift, bilinear, the border repeated.

    Args:
        x: a map.
        shift: float32 N×2×h×w (x, y), in pixels, channel by channel.
    """
    pictures, channels, height, width = x.shape
    found = _map(x, channels, height, width)
    sizes = map(ctypes.c_int, (pictures, height, width))
    variant = _variant("moved", x.dtype, channels)
    _launch(variant, _vectors(x), _last(x), shift.contiguous(), found, *sizes)
    return found


def shuffled(x: Tensor) -> Tensor:
    """N×(2·2·C)×h×w, a pixel's channels those of its two rows of two sub-pixels, to N×C×2h×2w."""
    pictures, channels, height, width = x.shape
    found = _map(x, channels // 4, 2 * height, 2 * width)
    sizes = map(ctypes.c_int, (pictures, height, width))
    _launch(_variant("shuffled", x.dtype, channels // 4), _vectors(x), _last(x), found, *sizes)
    return found


def peaks(x: Tensor, weight: Tensor) -> Tensor:
    """The mean and the maximum of each pixel's channels, times N×C weights: N×8×h×w, zeros after
    those two."""
    pictures, channels, height, width = x.shape
    found = _map(x, EIGHT, height, width)
    variant = _variant("peaks", x.dtype, channels, WIDE=EIGHT)
    sizes = map(ctypes.c_int, (pictures, height * width))
    count = 32 * pictures * height * width
    _launch(variant, count, _last(x), weight.contiguous(), found, *sizes)
    return found


def filled(x: Tensor) -> Tensor:
    """N×C×H×W with zeros up to the next eight channels, which is what convolutions want."""
    return F.pad(x, (0, 0, 0, 0, 0, -x.shape[1] % EIGHT))


def _vectors(x: Tensor) -> int:
    return x.numel() * x.itemsize // _BYTES


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _map(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    size = (like.shape[0], channels, height, width)
    return torch.empty(
        size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _variant(name: str, dtype: torch.dtype, channels: int, **more: int) -> Variant:
    options = {
        "ELEMENT": _ELEMENTS[dtype], "CHANNELS": channels, "VECTOR": _BYTES // dtype.itemsize,
        "THREADS": _THREADS, **more,
    }  # fmt: skip
    return Variant(name, ("machine", "element", "vectors"), tuple(options.items()), _THREADS)


def _launch(variant: Variant, count: int, *arguments: Tensor | nvrtc.Argument | None) -> None:
    """A thread for each of ``count``, on the device of the first tensor."""
    tensors = [one for one in arguments if isinstance(one, Tensor)]
    values: list[nvrtc.Argument] = []
    for one in arguments:
        if isinstance(one, Tensor):
            assert one.data_ptr() % _BYTES == 0
            values.append(ctypes.c_void_p(one.data_ptr()))
        else:
            values.append(ctypes.c_void_p() if one is None else one)
    grid: Sequence[int] = (-(-count // _THREADS), 1, 1)
    variants.kernel_on(tensors[0].device, variant)(grid, _THREADS, values)
