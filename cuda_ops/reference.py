"""Modulated deformable convolution in plain torch: the specification.

One bilinear gather per kernel tap, then one matrix product. Differentiable by autograd, and slow to
differentiate: what runs is `cuda_ops.deform_conv`.
Source: Zhu et al., "Deformable ConvNets v2", CVPR 2019, eq. 1; layout of offsets as in torchvision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


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

    Args:
        x: N×C×H×W.
        offset: N×(2·G·K)×H'×W' in pixels, ordered (group, tap, (y, x)); G groups share C evenly.
        mask: N×(G·K)×H'×W', a weight for each tap.
        weight: O×C×k×k with K = k·k.
        bias: O, or None.

    Returns:
        N×O×H'×W' in the type of x, computed in float32 or better. Outside of x there are zeros.

    Raises:
        ValueError: if shapes do not fit.
    """
    out_h, out_w = output_size(x, offset, mask, weight, bias, stride, padding, dilation)
    n, c, h, w = x.shape
    o, _, kh, kw = weight.shape
    taps = kh * kw
    groups = mask.shape[1] // taps
    # A grid in half precision is off by half a pixel at HD; positions are float32 or better.
    precise = torch.promote_types(x.dtype, torch.float32)
    offset = offset.reshape(n, groups, taps, 2, out_h, out_w).to(precise)
    mask = mask.reshape(n, groups, taps, out_h, out_w).to(precise)
    row = torch.arange(out_h, device=x.device, dtype=precise)[:, None] * stride - padding
    column = torch.arange(out_w, device=x.device, dtype=precise)[None, :] * stride - padding
    grouped = x.reshape(n * groups, c // groups, h, w).to(precise)
    kernel = weight.reshape(o, c, taps).to(precise)
    out = grouped.new_zeros(n, o, out_h * out_w)
    for tap in range(taps):
        y = row + (tap // kw) * dilation + offset[:, :, tap, 0]
        z = column + (tap % kw) * dilation + offset[:, :, tap, 1]
        # grid_sample's coordinates run from -1 at the first pixel's edge to 1 at the last one's.
        grid = torch.stack(((2 * z + 1) / w - 1, (2 * y + 1) / h - 1), -1)
        sampled = F.grid_sample(
            grouped,
            grid.reshape(n * groups, out_h, out_w, 2),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        sampled = sampled.reshape(n, groups, c // groups, out_h, out_w) * mask[:, :, None, tap]
        out = out + kernel[:, :, tap] @ sampled.reshape(n, c, out_h * out_w)
    if bias is not None:
        out = out + bias[:, None]
    return out.reshape(n, o, out_h, out_w).to(x.dtype)


def output_size(
    x: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
) -> tuple[int, int]:
    """Height and width of the result.

    Raises:
        ValueError: if shapes do not fit.
    """
    four = all(t.dim() == 4 for t in (x, offset, mask, weight))
    if four and stride > 0 and dilation > 0 and padding >= 0:
        n, c, h, w = x.shape
        o, c_weight, kh, kw = weight.shape
        taps = kh * kw
        groups = mask.shape[1] // taps
        height = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
        width = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
        if (
            groups > 0
            and height > 0
            and width > 0
            and c_weight == c
            and c % groups == 0
            and mask.shape == (n, groups * taps, height, width)
            and offset.shape == (n, 2 * groups * taps, height, width)
            and (bias is None or bias.shape == (o,))
        ):
            return height, width
    raise ValueError(
        f"shapes do not fit: x {tuple(x.shape)}, offset {tuple(offset.shape)}, "
        f"mask {tuple(mask.shape)}, weight {tuple(weight.shape)}, "
        f"bias {None if bias is None else tuple(bias.shape)}, "
        f"stride {stride}, padding {padding}, dilation {dilation}"
    )
