"""The one public door to modulated deformable convolution.

The function checks and casts, the operator ``dvm::modulated_deform_conv2d`` behind it computes, so
that autograd, torch.compile and torch.export see one node, and what runs is chosen behind it
without a change to any network. `cuda_ops.reference` is the specification,
`cuda_ops.taps` what runs in plain torch, `cuda_ops.kernels` what runs on a CUDA device where it
can: compute capability 8.0 or newer, float16, bfloat16 or float32. Where it cannot, one line in the
log says why, once, and plain torch goes on. ``DVM_DEFORM_CONV=torch`` in the environment chooses
plain torch, for comparing.

On a CUDA device the result lies as x does, channels last or not, and so does the gradient of x.
The kernels add up that gradient in an order that differs from run to run; under
`torch.use_deterministic_algorithms` plain torch computes gradients instead, where grid_sample's own
gradient then says that it has no deterministic form either.

Offsets are never rounded to bfloat16: at 14 pixels that moves a tap by 0.03. That is also why the
operator has no autocast rule of its own: torch's would cast every input, offsets with them.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import torch

from cuda_ops import kernels, variants
from cuda_ops.nvrtc import KernelError
from cuda_ops.reference import output_size
from cuda_ops.taps import Geometry, backward, forward

__all__ = ["implementation", "modulated_deform_conv2d", "self_check"]

DEVICES = ("cuda",)  # where kernels may run
CHOICE = "DVM_DEFORM_CONV"  # of the environment: "torch" for plain torch everywhere
_LOG = logging.getLogger("dvm.kernels")
_told: set[str] = set()  # what the log has said
_broken: dict[torch.device, str] = {}  # where kernels failed, and how


def modulated_deform_conv2d(
    x: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> torch.Tensor:
    """Convolve with a kernel whose taps are moved and weighted pixel by pixel.

    Under autocast x, mask, weight and bias go to its type; offsets stay what they are.

    Args:
        x: N×C×H×W, float16, bfloat16, float32 or float64.
        offset: N×(2·G·K)×H'×W' in pixels, ordered (group, tap, (y, x)); G groups share C evenly.
            float16 or better.
        mask: N×(G·K)×H'×W', a weight for each tap.
        weight: O×C×k×k with K = k·k, of x's type.
        bias: O, of x's type, or None.

    Returns:
        N×O×H'×W' in the type of x, summed in float32 or better. Outside of x there are zeros.

    Raises:
        ValueError: if shapes or types do not fit.
    """
    output_size(x, offset, mask, weight, bias, stride, padding, dilation)
    if offset.dtype not in (torch.float16, torch.float32, torch.float64):
        raise ValueError(
            f"offsets are {offset.dtype}: too coarse for positions, hand them on in float32"
        )
    device = x.device.type
    # As autocast itself does, float64 is left alone.
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    if not x.is_floating_point() or any(
        t is not None and t.dtype != x.dtype for t in (weight, bias)
    ):
        raise ValueError(
            f"types do not fit: x {x.dtype}, weight {weight.dtype}, "
            f"bias {None if bias is None else bias.dtype}"
        )
    found: torch.Tensor = _convolve(
        x, offset, mask.to(x.dtype), weight, bias, stride, padding, dilation
    )
    return found


def implementation(device: torch.device) -> str:
    """Which implementation runs on a device, in words for `dvm doctor`."""
    plain = f"plain torch on {device.type}"
    if device.type not in DEVICES:
        return plain
    why = _no_kernels(device)
    if why:
        return f"{plain}: {why}"
    major, minor = torch.cuda.get_device_capability(device)
    return f"CUDA kernels for compute capability {major}.{minor}"


def self_check(device: torch.device) -> float:
    """Largest difference from torchvision's operator on two small cases.

    One in float32, and one in float16 whose numbers need no rounding anywhere. torchvision's
    operator serves as the independent second implementation; it runs on the CPU.
    """
    from torchvision.ops import deform_conv2d

    g = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 7, 9, generator=g)
    offset = torch.randn(1, 2 * 2 * 9, 7, 9, generator=g) * 2
    mask = torch.rand(1, 2 * 9, 7, 9, generator=g)
    weight = torch.randn(3, 4, 3, 3, generator=g)
    rough = (x, offset, mask, weight)
    x = torch.randint(-3, 4, (2, 32, 6, 18), generator=g).float()
    offset = torch.randint(-12, 13, (2, 2 * 4 * 9, 6, 18), generator=g) / 4
    mask = torch.randint(0, 2, (2, 4 * 9, 6, 18), generator=g).float()
    weight = torch.randint(-1, 2, (16, 32, 3, 3), generator=g).float()
    weight *= torch.rand(weight.shape, generator=g) < 0.05
    exact = (x, offset, mask, weight)
    errors = []
    for case, dtype in ((rough, torch.float32), (exact, torch.float16)):
        ours = modulated_deform_conv2d(*(t.to(device, dtype) for t in case), padding=1)
        theirs = deform_conv2d(case[0], case[1], case[3], padding=1, mask=case[2])
        errors.append(float((ours.cpu().float() - theirs).abs().max()))
    return max(errors)


def _no_kernels(device: torch.device) -> str:
    """Why plain torch runs on a CUDA device; empty if kernels do."""
    if os.environ.get(CHOICE) == "torch":
        return f"{CHOICE} asks for it"
    if device == torch.device("cuda"):  # the current one
        device = torch.device("cuda", torch.cuda.current_device())
    return _broken.get(device) or variants.card_refusal(device)


def _takes(
    x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor, at: Geometry
) -> bool:
    """Whether kernels do this; if not where they may run, the log has said why."""
    if x.device.type not in DEVICES:
        return False
    why = _no_kernels(x.device) or kernels.refusal(x, offset, mask, weight, at)
    if why:
        _tell(why)
    return not why


def _broke(device: torch.device, error: KernelError) -> None:
    _broken[device] = str(error)
    _tell(str(error))


def _tell(why: str) -> None:
    if why not in _told:
        _told.add(why)
        _LOG.warning("deformable convolution in plain torch, which is slower: %s", why)


def _layout(x: torch.Tensor) -> torch.memory_format:
    """How what belongs to x lies on its device."""
    last = x.device.type in DEVICES and kernels.is_channels_last(x)
    return torch.channels_last if last else torch.contiguous_format


@torch.library.custom_op(
    "dvm::modulated_deform_conv2d",
    mutates_args=(),
    schema="(Tensor x, Tensor offset, Tensor mask, Tensor weight, Tensor? bias, "
    "int stride, int padding, int dilation) -> Tensor",
)
def _convolve(
    x: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
) -> torch.Tensor:
    at = Geometry(weight.shape[2], weight.shape[3], stride, padding, dilation)
    with torch.autocast(x.device.type, enabled=False):  # it would round the sums
        if _takes(x, offset, mask, weight, at):
            try:
                return kernels.forward(x, offset, mask, weight, bias, at)
            except KernelError as error:
                _broke(x.device, error)
        found = forward(x, offset, mask, weight, bias, at)
        return found.contiguous(memory_format=_layout(x))


@torch.library.custom_op(
    "dvm::modulated_deform_conv2d_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor x, Tensor offset, Tensor mask, Tensor weight, "
    "int stride, int padding, int dilation) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _differentiate(
    gradient: torch.Tensor,
    x: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    stride: int,
    padding: int,
    dilation: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    at = Geometry(weight.shape[2], weight.shape[3], stride, padding, dilation)
    with torch.autocast(x.device.type, enabled=False):
        if not torch.are_deterministic_algorithms_enabled() and _takes(x, offset, mask, weight, at):
            try:
                return kernels.backward(gradient, x, offset, mask, weight, at)
            except KernelError as error:
                _broke(x.device, error)
        of_x, of_offset, of_mask, of_weight = backward(gradient, x, offset, mask, weight, at)
        return of_x.contiguous(memory_format=_layout(x)), of_offset, of_mask, of_weight


@_convolve.register_fake
def _(
    x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor, *_: Any
) -> torch.Tensor:
    found = x.new_empty(x.shape[0], weight.shape[0], *offset.shape[2:])
    return found.contiguous(memory_format=_layout(x))


@_differentiate.register_fake
def _(
    gradient: torch.Tensor,
    x: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    *_: Any,
) -> tuple[torch.Tensor, ...]:
    of_x, *others = (t.new_empty(t.shape) for t in (x, offset, mask, weight))
    return (of_x.contiguous(memory_format=_layout(x)), *others)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, offset, mask, weight, bias, *ctx.at = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, offset, mask, weight)


def _gradients(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    of_bias = None
    if ctx.has_bias and ctx.needs_input_grad[4]:
        of_bias = gradient.sum((0, 2, 3), dtype=torch.promote_types(gradient.dtype, torch.float32))
        of_bias = of_bias.to(gradient.dtype)
    found = _differentiate(gradient, *ctx.saved_tensors, *ctx.at)
    return *found, of_bias, None, None, None


_convolve.register_autograd(_gradients, setup_context=_keep)
