"""Closed-form matting: the alpha that the matting Laplacian makes smoothest, given the trimap.

Source: A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form Solution to Natural Image Matting",
IEEE TPAMI 30(2), 2008. Known pixels are eliminated instead of weighted, so they are exactly 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.classical.laplacian import assemble
from model.classical.solver import conjugate_gradients
from model.errors import SetupError
from model.face import Estimate, Frame

EPSILON = 1e-7
TOLERANCE = 1e-7


def solve_alpha(
    light: Tensor,
    trimap: Tensor,
    *,
    composited_in: str,
    tolerance: float = TOLERANCE,
    epsilon: float = EPSILON,
    limit: int = 10000,
) -> Tensor:
    """Alpha of one frame; depends on nothing but its arguments.

    Args:
        light: float 1×3×H×W, in the light the frame was composited in.
        trimap: float 1×1×H×W: 0 background, 1 foreground, anything between is unknown.
        composited_in: ``linear`` or ``display``: which light that is.
        tolerance: of the solver, relative to the right-hand side.
        epsilon: regularisation of the colour covariance.
        limit: most iterations.

    Returns:
        float32 1×1×H×W in 0…1, exactly 0 and 1 where the trimap is. 0.5 where nothing is known
        at all.
    """
    estimate = _solve(light, trimap, composited_in, tolerance, epsilon, limit)
    return estimate.alpha


class ClosedForm:
    """The face of `model.registry.MattingNetwork`: everything happens in `prior`."""

    reach = 0
    halo = 0
    multiple = 1

    def prior(self, frame: Frame) -> Estimate:
        """Solve the whole frame in ``frame.light``."""
        if frame.trimap is None:
            raise ValueError(f"frame {frame.number} came to closed_form without a trimap")
        return _solve(frame.light, frame.trimap, frame.composited_in, TOLERANCE, EPSILON, 10000)

    def encode(self, frame: Frame, prior: Estimate) -> Estimate:
        return prior

    def decode(self, window: Sequence[Estimate], centre: int) -> Estimate:
        """The centre of t−2 … t+2, or the last of a causal t−2 … t."""
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
    light: Tensor, trimap: Tensor, composited_in: str, tolerance: float, epsilon: float, limit: int
) -> Estimate:
    known = trimap[0, 0].clamp(0, 1)
    unknown = (known > 0) & (known < 1)
    alpha = known.to(torch.float64)
    confidence = torch.ones_like(known)
    if unknown.all():
        return Estimate(torch.full_like(trimap, 0.5), torch.zeros_like(trimap))
    if unknown.any():
        height, width = known.shape
        thin = (max(0, 3 - width), max(0, 3 - height))
        pad = (thin[0] // 2, thin[0] - thin[0] // 2, thin[1] // 2, thin[1] - thin[1] // 2)
        inside = (slice(pad[2], pad[2] + height), slice(pad[0], pad[0] + width))
        picture = _repeat(torch.nan_to_num(light[0].double()), pad)
        fixed, open_ = _repeat(alpha[None], pad)[0], _repeat(unknown[None].double(), pad)[0] > 0
        system = assemble(picture, fixed, open_, epsilon)
        inverse = 1 / system.diagonal()
        x, _ = conjugate_gradients(
            system.apply, system.right, lambda r: r * inverse, tolerance=tolerance, limit=limit
        )
        fixed = fixed.flatten().index_copy(0, system.pixels, x.clamp(0, 1)).view_as(fixed)
        alpha = fixed[inside]
        confidence = torch.where(unknown, (2 * alpha - 1).abs().float(), confidence)
    return Estimate(alpha.float()[None, None], confidence[None, None].float())


def _repeat(planes: Tensor, pad: tuple[int, int, int, int]) -> Tensor:
    """Repeat the border of C×H×W: a picture one or two pixels thin has no 3×3 window of its own."""
    return torch.nn.functional.pad(planes[None], pad, mode="replicate")[0] if any(pad) else planes
