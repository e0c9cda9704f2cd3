"""Closed-form matting: the alpha that the matting Laplacian makes smoothest, given the trimap.

Source: A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form Solution to Natural Image Matting",
IEEE TPAMI 30(2), 2008. Known pixels are eliminated instead of weighted, so they are exactly 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from model.classical.dissection import dissect
from model.classical.elimination import factorise
from model.classical.laplacian import assemble
from model.classical.solver import conjugate_gradients
from model.errors import SetupError
from model.face import Estimate, Frame

TOLERANCE = 1e-7
DISPLAY_EPSILON = 1e-7
LINEAR_EPSILON = 1e-4  # of the squared exposure, see `_regularisation`
_LIMIT = 50

# The factor's precision, and the share added to A's diagonal so that rounding cannot make a pivot
# negative. The second is for frames that the first cannot bring to the tolerance.
_ATTEMPTS = ((torch.float32, 1e-7), (torch.float64, 1e-13))


def solve_alpha(
    light: Tensor,
    trimap: Tensor,
    *,
    composited_in: str,
    tolerance: float = TOLERANCE,
) -> Tensor:
    """Alpha of one frame; depends on nothing but its arguments.

    Args:
        light: float 1×3×H×W, in the light the frame was composited in.
        trimap: float 1×1×H×W: 0 background, 1 foreground, anything between is unknown.
        composited_in: ``linear`` or ``display``: which light that is.
        tolerance: of the solver, relative to the right-hand side.

    Returns:
        float32 1×1×H×W in 0…1, exactly 0 and 1 where the trimap is. 0.5 where nothing is known
        at all.
    """
    alpha: Tensor = _solve(light, trimap, composited_in, tolerance).alpha
    return alpha


class ClosedForm:
    """The face of `model.face.MattingNetwork`: everything happens in `prior`."""

    reach = 0
    halo = 0
    multiple = 1

    def prior(self, frame: Frame) -> Estimate:
        """Solve the whole frame in ``frame.light``."""
        if frame.trimap is None:
            raise ValueError(f"frame {frame.number} came to closed_form without a trimap")
        return _solve(frame.light, frame.trimap, frame.composited_in, TOLERANCE)

    def encode(self, frame: Frame, prior: Estimate) -> Estimate:
        """Nothing to add."""
        return prior

    def decode(self, window: Sequence[Estimate], centre: int) -> Estimate:
        """The prior of the window's centre."""
        return window[centre]


def open_network(checkpoint: str | None, device: torch.device) -> ClosedForm:
    """Nothing to load: SetupError ``setup.no_checkpoint_wanted`` if a checkpoint is named."""
    if checkpoint:
        raise SetupError(
            "setup.no_checkpoint_wanted",
            f"closed_form learns nothing and cannot use the checkpoint {checkpoint}",
            hint="leave the checkpoint out, or name the network it belongs to",
        )
    return ClosedForm()


def _solve(light: Tensor, trimap: Tensor, composited_in: str, tolerance: float) -> Estimate:
    known = trimap[0, 0].clamp(0, 1)
    unknown = (known > 0) & (known < 1)
    if unknown.all():
        return Estimate(torch.full_like(trimap, 0.5), torch.zeros_like(trimap))
    if not unknown.any():
        return Estimate(known[None, None].clone(), torch.ones_like(trimap))
    planes = torch.cat([light[0].double(), known[None].double()])
    planes, inside = _thickened(planes.nan_to_num().clamp(-1e6, 1e6))
    picture, alpha = planes[:3], planes[3]
    open_ = (alpha > 0) & (alpha < 1)
    dissection = dissect(open_)
    epsilon = _regularisation(picture, composited_in)
    system = assemble(picture, alpha, open_, dissection.pixels, epsilon)
    for dtype, shift in _ATTEMPTS:
        factor = factorise(system, dissection, dtype, shift)
        solution = conjugate_gradients(
            system.apply, system.right, factor.solve, tolerance=tolerance, limit=_LIMIT
        )
        if factor.sound and solution.residual <= tolerance:
            break
    alpha = alpha.flatten().index_copy(0, dissection.pixels, solution.x.clamp(0, 1))
    alpha = alpha.view_as(open_)[inside].float()
    confidence = torch.where(unknown, (2 * alpha - 1).abs(), 1.0)
    return Estimate(alpha[None, None], confidence[None, None])


def _regularisation(picture: Tensor, composited_in: str) -> Tensor:
    """ε of the window around each pixel, H×W.

    Display light lies in 0…1 and has the literature's constant. Linear light has no scale of its
    own: ε follows the square of the window's luminance over that of the frame.
    """
    if composited_in == "display":
        return torch.full_like(picture[0], DISPLAY_EPSILON)
    luminance = picture.abs().mean(0)
    around = avg_pool2d(luminance[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    return LINEAR_EPSILON * (around + 0.1).square()


def _thickened(planes: Tensor) -> tuple[Tensor, tuple[slice, slice]]:
    """Repeat the border of a C×H×W picture that is too thin to hold a 3×3 window.

    Returns:
        The picture, at least 3×3, and where the original lies in it.
    """
    height, width = planes.shape[1:]
    more_rows, more_columns = max(0, 3 - height), max(0, 3 - width)
    top, left = more_rows // 2, more_columns // 2
    inside = slice(top, top + height), slice(left, left + width)
    if more_rows or more_columns:
        around = (left, more_columns - left, top, more_rows - top)
        planes = pad(planes[None], around, mode="replicate")[0]
    return planes, inside
