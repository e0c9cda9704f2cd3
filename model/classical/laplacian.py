"""The matting Laplacian, restricted to the unknown pixels.

Source: A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form Solution to Natural Image Matting",
IEEE TPAMI 30(2), 2008, with 3×3 windows. For a window of nine colours with covariance Σ, the entry
of pixels p and q is δ − (1 + (cₚ − c̄)ᵀ(Σ + ε/9)⁻¹(c_q − c̄))/9, and an entry of the Laplacian is
the sum over the windows that hold both.

Everything is written as gathers, never as scatters that add: on CUDA those add in another order
each time, and results must not depend on the run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from model.classical.gather import pick

_WINDOW = 9  # pixels of a 3×3 window
_REACH = 25  # pixels of a 5×5 neighbourhood: all that share a window with its centre
_MOST_DISPLAY, _MOST_LINEAR = 1e4, 1e6  # colours beyond are damage, see `bounded`
OWN = 12  # place of the centre among them


@dataclass(frozen=True)
class UnknownSystem:
    """The linear system A·x = b over the N unknown pixels of one frame.

    Attributes:
        neighbours: int64 25×N, the unknowns of the 5×5 neighbourhood in raster order; N where a
            neighbour is known or outside.
        weights: float 25×N, the entries of A at those neighbours; 0 where known or outside.
        right: float N, b: what the known pixels of alpha 1 contribute.
    """

    neighbours: Tensor
    weights: Tensor
    right: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """A·x."""
        padded = torch.cat([x, x.new_zeros(1)])
        total = torch.zeros_like(x)
        for weight, neighbour in zip(self.weights, self.neighbours, strict=True):
            total.addcmul_(weight, pick(padded, neighbour))
        return total


def assemble(
    light: Tensor,
    alpha: Tensor,
    unknown: Tensor,
    pixels: Tensor,
    epsilon: Tensor,
    between: Tensor | None = None,
) -> UnknownSystem:
    """Build the system of the unknown pixels; only windows that hold one are looked at.

    Args:
        light: float 3×H×W, finite, H and W at least 3.
        alpha: H×W in the dtype of ``light``, 0 or 1 where known; ignored elsewhere.
        unknown: bool H×W.
        pixels: int64 N, raster indices of the unknown pixels, in the order of the system's rows.
        epsilon: H×W, regularisation of the colour covariance of the window around each pixel, in
            squared units of ``light``; positive.
        between: bool H×W, windows centred there are left out: they would join pictures that were
            put side by side to be solved together. None = no window is.
    """
    height, width = unknown.shape
    count, device = len(pixels), light.device
    y, x = pixels // width, pixels % width

    holds = max_pool2d(unknown[None].float(), 3, stride=1)[0] > 0
    if between is not None:
        holds &= ~between[1:-1, 1:-1]
    windows = holds.flatten().nonzero().squeeze(1)
    top, left = windows // (width - 2), windows % (width - 2)
    corner = top * width + left
    steps = [(place // 3, place % 3) for place in range(_WINDOW)]
    flat = light.flatten(1)
    colours = torch.stack([flat.index_select(1, corner + (dy * width + dx)) for dy, dx in steps], 1)
    u, v, w = _whitened(colours, pick(epsilon.flatten(), corner + (width + 1)))

    # Which window has its corner at a pixel: len(windows) where none is looked at.
    window_at = torch.full(((height + 2) * (width + 2),), len(windows), device=device)
    window_at[(top + 2) * (width + 2) + left + 2] = torch.arange(len(windows), device=device)
    home = (y + 2) * (width + 2) + x + 2
    holder = [pick(window_at, home - (dy * (width + 2) + dx)) for dy, dx in steps]
    weights = light.new_zeros(_REACH, count)
    padded = light.new_zeros(len(windows) + 1)
    element = padded[:-1]
    centre = _REACH // 2
    for p, (py, px) in enumerate(steps):
        for q, (qy, qx) in enumerate(steps[p:], p):
            torch.mul(u[p], u[q], out=element)
            element.addcmul_(v[p], v[q]).addcmul_(w[p], w[q]).add_(1).div_(-_WINDOW)
            if p == q:
                element.add_(1)
            way = 5 * (qy - py) + qx - px
            weights[centre + way] += pick(padded, holder[p])
            if p != q:
                weights[centre - way] += pick(padded, holder[q])

    number = torch.full(((height + 4) * (width + 4),), count, device=device)
    home = (y + 2) * (width + 4) + x + 2
    number[home] = torch.arange(count, device=device)
    ones = pad(alpha.masked_fill(unknown, 0), (2, 2, 2, 2)).flatten()
    right = light.new_zeros(count)
    neighbours = torch.empty(_REACH, count, dtype=torch.int64, device=device)
    for way in range(_REACH):
        there = home + ((way // 5 - 2) * (width + 4) + way % 5 - 2)
        neighbours[way] = pick(number, there)
        right.addcmul_(weights[way], pick(ones, there), value=-1)
    weights.masked_fill_(neighbours == count, 0)
    return UnknownSystem(neighbours, weights, right)


def _whitened(colours: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centred colours in coordinates in which the window's regularised covariance is 1.

    Args:
        colours: 3×9×M, the nine pixels of M windows.
        epsilon: M, see `assemble`.

    Returns:
        The three coordinates, 9×M each: L⁻¹·(c − c̄), L the covariance's Cholesky factor, written
        out because a batched routine for 3×3 matrices spends its time on overhead.
    """
    red, green, blue = colours - colours.mean(1, keepdim=True)
    least = epsilon / _WINDOW

    def mean(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(0) / _WINDOW

    l00 = (mean(red, red) + least).sqrt()
    l10, l20 = mean(red, green) / l00, mean(red, blue) / l00
    # Rounding may eat what is left of a pivot, but not more than the regularisation.
    l11 = (mean(green, green) + least - l10 * l10).maximum(least).sqrt()
    l21 = (mean(green, blue) - l10 * l20) / l11
    l22 = (mean(blue, blue) + least - l20 * l20 - l21 * l21).maximum(least).sqrt()
    u = red / l00
    v = (green - l10 * u) / l11
    return u, v, (blue - l20 * u - l21 * v) / l22


def bounded(planes: Tensor, linear: bool) -> Tensor:
    """Colours that can be solved for: no NaN, and no more than covariances in double precision bear
    beside the regularisation of that light."""
    most = _MOST_LINEAR if linear else _MOST_DISPLAY
    return planes.nan_to_num().clamp(-most, most)
