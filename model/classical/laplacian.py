"""The matting Laplacian, restricted to the unknown pixels.

Source: A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form Solution to Natural Image Matting",
IEEE TPAMI 30(2), 2008, with 3×3 windows.

Everything is written as gathers with fixed index tables, never as scatters: on CUDA a scatter with
atomics would add in another order each time, and results must not depend on the run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_WINDOW = 9  # pixels of a 3×3 window
_REACH = 25  # pixels of a 5×5 neighbourhood: all that share a window with its centre


@dataclass(frozen=True)
class UnknownSystem:
    """The linear system A·x = b over the N unknown pixels of one frame, rows in raster order.

    Attributes:
        pixels: int64 N, raster indices of the unknown pixels.
        neighbours: int64 N×25, rows of the 5×5 neighbourhood; N where it is known or outside.
        weights: float N×25, the entries of A at those neighbours; 0 where it is known or outside.
        right: float N, what the known pixels of alpha 1 contribute.
        constraint: float N, what all known pixels would contribute if all their alphas were 1.
    """

    pixels: Tensor
    neighbours: Tensor
    weights: Tensor
    right: Tensor
    constraint: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """A·x for x of shape N or N×K."""
        padded = torch.cat([x, x.new_zeros(1, *x.shape[1:])])
        if x.dim() == 1:
            return (self.weights * padded[self.neighbours]).sum(1)
        return torch.einsum("nj,njk->nk", self.weights, padded[self.neighbours])

    def diagonal(self) -> Tensor:
        return self.weights[:, _REACH // 2]


def window_elements(colours: Tensor, epsilon: float) -> Tensor:
    """The 9×9 matrices whose sum over all windows is the matting Laplacian.

    Args:
        colours: M×9×3, the pixels of M windows in raster order.
        epsilon: regularisation of the colour covariance (sum convention: covariance + epsilon/9).

    Returns:
        M×9×9, symmetric, positive semidefinite; affine functions of colour are nearly in its kernel.
    """
    centred = colours - colours.mean(1, keepdim=True)
    covariance = centred.transpose(1, 2) @ centred / _WINDOW
    covariance.diagonal(dim1=1, dim2=2).add_(epsilon / _WINDOW)
    factor = torch.linalg.cholesky(covariance)
    whitened = torch.linalg.solve_triangular(factor, centred.transpose(1, 2), upper=False)
    elements: Tensor = -(1 + whitened.transpose(1, 2) @ whitened) / _WINDOW
    elements.diagonal(dim1=1, dim2=2).add_(1)
    return elements


def assemble(light: Tensor, alpha: Tensor, unknown: Tensor, epsilon: float) -> UnknownSystem:
    """Build the system of the unknown pixels; only windows that hold one are looked at.

    Args:
        light: float 3×H×W, finite, H and W at least 3.
        alpha: float H×W in the dtype of ``light``, 0 or 1 where known (ignored elsewhere).
        unknown: bool H×W.
        epsilon: see `window_elements`.
    """
    height, width = unknown.shape
    device = light.device
    pixels = unknown.flatten().nonzero().squeeze(1)
    y, x = pixels // width, pixels % width

    holds = torch.nn.functional.max_pool2d(unknown[None].to(light.dtype), 3, stride=1)[0] > 0
    windows = holds.flatten().nonzero().squeeze(1)
    top, left = windows // (width - 2), windows % (width - 2)
    across = torch.arange(_WINDOW, device=device)
    members = (top * width + left)[:, None] + (across // 3) * width + across % 3
    elements = window_elements(light.flatten(1).T[members], epsilon)
    elements = torch.cat([elements, elements.new_zeros(1, _WINDOW, _WINDOW)])
    window_row = torch.full((height + 2, width + 2), len(windows), dtype=torch.int64, device=device)
    window_row[2 + top, 2 + left] = torch.arange(len(windows), device=device)

    weights = light.new_zeros(len(pixels), 5, 5)
    for place in range(_WINDOW):  # the pixel is the place-th of the window
        down, right = place // 3, place % 3
        row = elements[window_row[y - down + 2, x - right + 2], place].view(-1, 3, 3)
        weights[:, 2 - down : 5 - down, 2 - right : 5 - right] += row
    weights = weights.flatten(1)

    number = torch.full((height + 4, width + 4), len(pixels), dtype=torch.int64, device=device)
    number[2 + y, 2 + x] = torch.arange(len(pixels), device=device)
    known_one = torch.nn.functional.pad(alpha.masked_fill(unknown, 0), (2, 2, 2, 2)).flatten()
    around = torch.arange(_REACH, device=device)
    reach = (y * (width + 4) + x)[:, None] + (around // 5) * (width + 4) + around % 5
    neighbours = number.flatten()[reach]
    known = neighbours == len(pixels)
    outer = weights.masked_fill(~known, 0)
    return UnknownSystem(
        pixels=pixels,
        neighbours=neighbours,
        weights=weights.masked_fill(known, 0),
        right=-(outer * known_one[reach]).sum(1),
        constraint=-outer.sum(1),
    )
