"""Closed-form matting: the alpha that the matting Laplacian makes smoothest, given the trimap.

Source: A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form Solution to Natural Image Matting",
IEEE TPAMI 30(2), 2008. Known pixels are eliminated instead of weighted, so they are exactly 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from model.classical import on_device
from model.classical.clean_plate import evidence
from model.classical.data_term import ENOUGH, DataTerm, joined
from model.classical.dissection import Dissection, dissect
from model.classical.elimination import Factor, factorise
from model.classical.laplacian import OWN, UnknownSystem, assemble, bounded
from model.classical.look_alikes import LookAlikes, look_alikes
from model.classical.solver import conjugate_gradients
from model.errors import SetupError
from model.face import Estimate, Frame

TOLERANCE = 1e-7
DISPLAY_EPSILON = 1e-7
LINEAR_EPSILON = 3e-4  # of the squared exposure, see `regularisation`
_BLACK = 1e-6  # least exposure: a black window must not divide by nothing
_LOOSE = 3000.0  # looseness at which a pixel is trusted by half
_AMBIGUOUS = 0.3  # what an alpha of 0.5 takes off
_LIMIT = 50
# Weight of the look-alikes' Laplacian. In linear light the matting Laplacian is regularised more,
# leaves more open, and look-alikes may say more.
ALIKE = {"display": 0.003, "linear": 0.03}
_ALIKE_TOLERANCE = 1e-4  # of the solution with look-alikes
_ALIKE_LIMIT = 400

_USABLE = 1e-6  # residual accepted after the last attempt; where measured, 0.002 of alpha at most

# The factor's precision, and the share added to A's diagonal in case rounding makes a pivot
# negative. All but the first are for frames that the one before cannot bring to the tolerance.
_ATTEMPTS = (
    (torch.float32, 0.0),
    (torch.float32, 2e-7),
    (torch.float64, 0.0),
    (torch.float64, 1e-9),
)


def solve_alpha(
    light: Tensor,
    trimap: Tensor,
    *,
    composited_in: str,
    tolerance: float = TOLERANCE,
    picture: Tensor | None = None,
    told: DataTerm | None = None,
) -> Tensor:
    """Alpha of one frame; depends on nothing but its arguments.

    Args:
        light: float 1×3×H×W, in the light the frame was composited in.
        trimap: float 1×1×H×W: 0 background, 1 foreground, anything between is unknown.
        composited_in: ``linear`` or ``display``: which light that is.
        tolerance: of the solver, relative to the right-hand side; with ``picture`` it is 1e-4.
        picture: float 1×3×H×W, 0…1, encoded: if it is given, unknown pixels are joined to pixels of
            like colours too, anywhere in the frame, see `look_alikes`.
        told: what is known of single pixels besides, from a clean plate or a carried trimap's hint.

    Returns:
        float32 1×1×H×W in 0…1, exactly 0 and 1 where the trimap is. If only one of the two is
        known and nothing told it is that everywhere; 0.5, or what is told, if nothing is known.
    """
    return _solve(light, trimap, composited_in, tolerance, picture, told, judge=False)[0]


class ClosedForm:
    """The face of `model.face.MattingNetwork`: everything happens in `prior`."""

    needs_both = True
    causal = False
    tiles_itself = False
    reach = 0
    halo = 0
    multiple = 1

    def prior(self, frame: Frame) -> Estimate:
        """Solve the whole frame in ``frame.light``.

        Confidence is 1 where the trimap is certain, else see `_confidence`; 0 where the trimap
        lacks foreground or background, for then there is nothing to tell them apart by, unless
        a clean plate or a carried trimap's hint speaks for a fifth of what is unknown.
        """
        told = joined(evidence(frame), frame.hint)
        named = frame.light, frame.known, frame.composited_in
        return Estimate(*_solve(*named, TOLERANCE, None, told, judge=True))

    def encode(self, frame: Frame, prior: Estimate) -> Estimate:
        """Nothing to add."""
        return prior

    def decode(self, window: Sequence[Estimate], centre: int, side: int = 0) -> Estimate:
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


def _solve(
    light: Tensor,
    trimap: Tensor,
    composited_in: str,
    tolerance: float,
    seen: Tensor | None,
    told: DataTerm | None,
    *,
    judge: bool,
) -> tuple[Tensor, Tensor]:
    """Alpha and confidence, 1×1×H×W each; the confidence of unknown pixels is 0 unless judged."""
    known = trimap[0, 0].clamp(0, 1)
    unknown = (known > 0) & (known < 1)
    if unknown.all():
        half = torch.full_like(trimap, 0.5)
        said = half if told is None else torch.where(told.weight > 0, told.alpha, half)
        return said, torch.zeros_like(trimap)
    if not unknown.any():
        return known[None, None].clone(), torch.ones_like(trimap)
    foreground, background = (known == 1).any(), (known == 0).any()
    if not (foreground and background) and told is None:
        return torch.full_like(trimap, float(foreground)), (~unknown)[None, None].to(trimap.dtype)
    if seen is not None and foreground and background and not judge:
        named = composited_in == "linear", ALIKE[composited_in]
        found = on_device.solve_alpha(light, known[None, None], seen, *named, told)
        if found is not None:
            return found, torch.zeros_like(trimap)
    looks = light if seen is None else seen
    colours = bounded(torch.cat([light[0], looks[0]]).double(), composited_in == "linear")
    planes = torch.cat([colours, known[None].double()])
    if told is not None:
        planes = torch.cat([planes, told.alpha[0].double(), told.weight[0].double()])
    planes, inside = _thickened(planes.nan_to_num())
    picture, looks, alpha = planes[:3], planes[3:6], planes[6]
    open_ = (alpha > 0) & (alpha < 1)
    dissection = dissect(open_)
    linear = torch.tensor([composited_in == "linear"], device=light.device)
    epsilon = regularisation(picture[None], open_[None], linear)[0]
    system = assemble(picture, alpha, open_, dissection.pixels, epsilon)
    if told is not None:
        said, weight = planes[7:].flatten(1).index_select(1, dissection.pixels)
        weights = system.weights.clone()
        weights[OWN] += weight
        system = replace(system, weights=weights, right=system.right + weight * said)
    if seen is None:
        x, factor = _solution(system, dissection, tolerance)
    else:
        alike = look_alikes(looks, alpha, dissection.pixels, ALIKE[composited_in])
        x, factor = _solution(system, dissection, _ALIKE_TOLERANCE, alike)
    x = x.clamp(0, 1)
    trust = torch.zeros_like(x)
    # With a class missing, what next to nothing tells of is no answer, however sure it looks.
    both = bool(foreground) and bool(background)
    if judge and (both or (told is not None and bool(told.share(unknown) >= ENOUGH))):
        trust = _confidence(x, factor.solve(torch.ones_like(x)))
    alpha = alpha.flatten().index_copy(0, dissection.pixels, x).view_as(open_)
    confidence = torch.ones_like(alpha).flatten().index_copy(0, dissection.pixels, trust)
    confidence = confidence.view_as(open_)
    return alpha[inside][None, None].float(), confidence[inside][None, None].float()


def _solution(
    system: UnknownSystem,
    dissection: Dissection,
    tolerance: float,
    alike: LookAlikes | None = None,
) -> tuple[Tensor, Factor]:
    """The solution, and the factor it was found with.

    With look-alikes L it is that of A + L, found with the factor of A and L's diagonal alone: what
    joins pixels far apart would fill any factor.

    Raises:
        ArithmeticError: no attempt came near; never seen.
    """
    apply, right, limit, factored = system.apply, system.right, _LIMIT, system
    if alike is not None:
        joins = alike

        def apply(x: Tensor) -> Tensor:
            return system.apply(x) + joins.apply(x)

        right, limit = right + alike.right, _ALIKE_LIMIT
        weights = system.weights.clone()
        weights[OWN] += alike.diagonal
        factored = replace(system, weights=weights)
    for dtype, shift in _ATTEMPTS:
        factor = factorise(factored, dissection, dtype, shift)
        if not factor.sound:
            continue
        solution = conjugate_gradients(apply, right, factor.solve, tolerance=tolerance, limit=limit)
        last = (dtype, shift) == _ATTEMPTS[-1]
        if solution.residual <= (max(tolerance, _USABLE) if last else tolerance):
            return solution.x, factor
    raise ArithmeticError("the matting Laplacian could not be solved")


def _confidence(alpha: Tensor, looseness: Tensor) -> Tensor:
    """How far to trust the alpha of each unknown pixel, 0…1.

    The looseness of a pixel, A⁻¹·1, is small near known pixels of its own colour, large where
    nothing known reaches. Measured on nine frames of stills and clips, 1 − confidence is the mean
    absolute error to within a factor of two between 0.02 and 0.5, and ranks pixels by their error
    (mean Spearman correlation 0.77). The alpha's distance from 0 and 1 alone ranks as well, but is
    blind to whole regions that are wrong and look sure.
    """
    firm = 1 / (1 + looseness.clamp_min(0) / _LOOSE)
    return firm * (1 - _AMBIGUOUS * (1 - (2 * alpha - 1).abs()))


def regularisation(light: Tensor, unknown: Tensor, linear: Tensor) -> Tensor:
    """ε of the window around each pixel, N×H×W, for N frames.

    Display light lies in 0…1 and has the literature's constant. Linear light has no scale of its
    own, and its noise grows with it: there ε follows the square of the window's luminance plus the
    median luminance of the unknown pixels, so a matte does not change with the exposure.

    Args:
        light: float N×3×H×W.
        unknown: bool N×H×W.
        linear: bool N: which frames are in linear light.
    """
    luminance = light.abs().mean(1)
    around = avg_pool2d(luminance, 3, stride=1, padding=1, count_include_pad=False)
    typical = luminance.masked_fill(~unknown, torch.nan).flatten(1).nanmedian(1).values
    exposure = (around + typical.nan_to_num()[:, None, None]).clamp_min(_BLACK)
    display = torch.full_like(exposure, DISPLAY_EPSILON)
    return torch.where(linear[:, None, None], LINEAR_EPSILON * exposure.square(), display)


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
