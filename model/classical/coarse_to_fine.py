"""The prior of the learned networks: closed form with look-alikes, of a large frame on a coarser
grid, and the answer carried up along the frame's own colours.

Source: A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form Solution to Natural Image Matting", IEEE
TPAMI 30(2), 2008, section 6: where alpha is a linear function of the colours around a pixel, the
function found at low resolution holds at high resolution too. The functions are those of K. He,
J. Sun, "Fast Guided Filter", 2015.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from model.classical import on_device
from model.classical.closed_form import ALIKE, regularisation, solve_alpha
from model.classical.data_term import DataTerm, reduced
from model.classical.laplacian import bounded

# Pixels that are solved one by one; of a larger frame, squares of pixels are solved as one each. By
# the frame's size and not by what is unknown in it, which changes from frame to frame and would
# make mattes flicker.
MOST_PIXELS = 640 * 360
_SOFT = 1e-4  # regularisation of the linear functions in display light, in squared light


def prior_alpha(
    light: Tensor,
    trimap: Tensor,
    picture: Tensor,
    composited_in: str,
    most: int = MOST_PIXELS,
    told: DataTerm | None = None,
) -> Tensor:
    """Alpha of one frame; depends on nothing but its arguments.

    Args:
        light: float 1×3×H×W, in the light the frame was composited in.
        trimap: float 1×1×H×W: 0 background, 1 foreground, 0.5 unknown.
        picture: float 1×3×H×W, 0…1, encoded: where look-alikes are looked for.
        composited_in: ``linear`` or ``display``: which light that is.
        most: see `MOST_PIXELS`.
        told: see `model.classical.closed_form.solve_alpha`.

    Returns:
        As `model.classical.closed_form.solve_alpha`, and the same if the frame has no more pixels.
    """
    named = composited_in == "linear", ALIKE[composited_in]
    found = on_device.prior_alpha(light, trimap, picture, *named, most, told)
    if found is not None:
        return found
    # A class that the trimap lacks is on no grid; one that it has may not be lost to a coarse one,
    # however little something else tells.
    both = told is None or (bool((trimap == 0).any()) and bool((trimap == 1).any()))
    factor, known = _coarse_trimap(trimap, most, both=both)
    if factor == 1:
        return solve_alpha(light, trimap, composited_in=composited_in, picture=picture, told=told)
    light = bounded(light, composited_in == "linear")
    small = reduced(light, factor)
    solved = solve_alpha(
        small,
        known,
        composited_in=composited_in,
        picture=reduced(picture, factor),
        told=told.reduced(factor) if told else None,
    )
    functions = _linear_functions(solved, small, _softness(small, known, composited_in))
    open_ = (trimap[0, 0] == 0.5).flatten().nonzero().squeeze(1)
    alpha = _along_colours(functions, light, open_, factor)
    return trimap.flatten().index_copy(0, open_, alpha.to(trimap.dtype)).view_as(trimap)


def coarseness(pixels: int, most: int = MOST_PIXELS) -> int:
    """Pixels to the side of the squares that a frame of so many pixels is solved in."""
    return math.ceil(math.sqrt(pixels / most))


def _coarse_trimap(trimap: Tensor, most: int, *, both: bool = True) -> tuple[int, Tensor]:
    """How many pixels to the side of a square are solved as one, and the trimap of these squares.

    A square is known if its known pixels are of one class and half of all or more. Where a class
    has no such square the grid is finer, though there is then more to solve; unless ``both`` is
    False, and something else tells the layers apart.
    """
    for factor in range(coarseness(trimap.numel(), most), 1, -1):
        shares = reduced(torch.cat([trimap == 0, trimap == 1], 1).float(), factor)
        background, foreground = shares[:, :1], shares[:, 1:]
        known = torch.full_like(background, 0.5)
        known[(background >= 0.5) & (foreground == 0)] = 0
        known[(foreground >= 0.5) & (background == 0)] = 1
        if not both or (bool((known == 0).any()) and bool((known == 1).any())):
            return factor, known
    return 1, trimap


def _softness(light: Tensor, trimap: Tensor, composited_in: str) -> Tensor:
    """Regularisation of the linear functions, 1×1×h×w in squared light.

    In linear light that of the matting Laplacian; in display light that is meant for a solver, and
    would let functions of nine colours follow the noise of these.
    """
    if composited_in != "linear":
        return torch.full_like(trimap, _SOFT)
    flag = torch.tensor([True], device=light.device)
    return regularisation(light, trimap[:, 0] == 0.5, flag)[:, None]


def _linear_functions(alpha: Tensor, light: Tensor, epsilon: Tensor) -> Tensor:
    """float64 1×4×h×w: alpha ≈ the first three · colour + the fourth, around each pixel.

    The regression of alpha on the colours of each 3×3 window, written out with the adjugate of
    the covariance, and then the mean of the nine windows that hold a pixel.
    """
    r, g, b = light[0].double()
    alpha, epsilon = alpha[0, 0].double(), epsilon[0, 0].double()
    planes = [r, g, b, alpha, r * r, r * g, r * b, g * g, g * b, b * b]
    planes += [r * alpha, g * alpha, b * alpha]
    r, g, b, mean, rr, rg, rb, gg, gb, bb, ra, ga, ba = _mean_of_nine(torch.stack(planes)[None])[0]
    xx, yy, zz = rr - r * r + epsilon, gg - g * g + epsilon, bb - b * b + epsilon
    xy, xz, yz = rg - r * g, rb - r * b, gb - g * b
    cross = torch.stack([ra - r * mean, ga - g * mean, ba - b * mean])
    first = torch.stack([yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy])
    second = torch.stack([first[1], xx * zz - xz * xz, xy * xz - xx * yz])
    third = torch.stack([first[2], second[2], xx * yy - xy * xy])
    determinant = xx * first[0] + xy * first[1] + xz * first[2]
    slopes = [(row * cross).sum(0) / determinant for row in (first, second, third)]
    offset = mean - slopes[0] * r - slopes[1] * g - slopes[2] * b
    return _mean_of_nine(torch.stack([*slopes, offset])[None])


def _mean_of_nine(planes: Tensor) -> Tensor:
    return F.avg_pool2d(planes, 3, stride=1, padding=1, count_include_pad=False)


def _along_colours(functions: Tensor, light: Tensor, pixels: Tensor, factor: int) -> Tensor:
    """float64 N in 0…1: what the functions make of the colours of some pixels of the fine frame."""
    height, width = functions.shape[2:]
    columns = light.shape[3]
    place = torch.stack([pixels % columns, pixels // columns], 1).double()
    size = place.new_tensor([width, height])
    grid = 2 * (place + 0.5) / (factor * size) - 1  # as grid_sample has it: -1 is the first edge
    found = F.grid_sample(
        functions, grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )[0, :, 0]
    colours = light[0].flatten(1).index_select(1, pixels)
    return ((found[:3] * colours).sum(0) + found[3]).clamp(0, 1)
