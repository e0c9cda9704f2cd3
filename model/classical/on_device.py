"""Closed form with look-alikes, and the prior made of it, by CUDA kernels where those can run.

`model.classical.closed_form` and `model.classical.coarse_to_fine` are the specification and what
runs elsewhere: on a CPU, on a card older than 8.0, and where a kernel fails, of which the log has
one line then. ``DVM_PRIOR=torch`` in the environment chooses plain torch, for comparing.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable

import torch
from torch import Tensor

from cuda_ops import matting_kernels, variants
from cuda_ops.layout import laid_out
from cuda_ops.neighbours import Searches
from cuda_ops.nvrtc import KernelError
from model.classical.data_term import DataTerm
from model.classical.laplacian import bounded
from model.classical.look_alikes import MOST_KNOWN, SEARCHES

CHOICE = "DVM_PRIOR"  # of the environment: "torch" for plain torch everywhere
_LOG = logging.getLogger("dvm.kernels")
_broken: dict[torch.device, str] = {}  # where kernels failed, and how


def solve_alpha(
    light: Tensor,
    trimap: Tensor,
    picture: Tensor,
    linear: bool,
    strength: float,
    told: DataTerm | None = None,
) -> Tensor | None:
    """As `model.classical.closed_form.solve_alpha`, of a frame that has unknown pixels and known
    ones of both classes; None if no kernel runs.

    Args:
        strength: of the look-alikes.
    """

    def found() -> Tensor:
        three, seen, known = _planes(light, picture, trimap)
        three, seen = (bounded(planes, linear) for planes in (three, seen))
        said = _said(told)
        layout = laid_out(known)
        alpha = matting_kernels.solve(
            three, known, seen, layout, linear, _searches(strength), said
        ).alpha
        return alpha[None, None].to(trimap.dtype)

    return _tried(found, light)


def prior_alpha(
    light: Tensor,
    trimap: Tensor,
    picture: Tensor,
    linear: bool,
    strength: float,
    most: int,
    told: DataTerm | None = None,
) -> Tensor | None:
    """As `model.classical.coarse_to_fine.prior_alpha`; None if no kernel runs, or the frame is to
    be solved as it is, or lacks a class that something told stands in for.

    Args:
        strength: of the look-alikes.
    """
    coarsest = math.ceil(math.sqrt(trimap.numel() / most))

    def found() -> Tensor | None:
        three, seen, said = _planes(light, picture, trimap)
        for factor in range(coarsest, 1, -1):
            small, small_seen, known = matting_kernels.reduce(three, seen, said, factor)
            layout = laid_out(known)
            if layout.both:
                data = _said(told.reduced(factor)) if told else None
                answer = matting_kernels.solve(
                    small, known, small_seen, layout, linear, _searches(strength), data
                )
                alpha = matting_kernels.carry(small, answer, three, said, linear, factor)
                return alpha[None, None].to(trimap.dtype)
            if told and not (bool((said == 0).any()) and bool((said == 1).any())):
                return None  # no grid has a class that the trimap lacks
        return None

    return _tried(found, light) if coarsest > 1 else None


def no_kernels(light: Tensor) -> str:
    """Why plain torch runs for a frame; empty if kernels do."""
    device = light.device
    if device.type != "cuda":
        return f"kernels are for CUDA devices, not for {device.type}"
    if os.environ.get(CHOICE) == "torch":
        return f"{CHOICE} asks for it"
    return _broken.get(device) or variants.card_refusal(device) or matting_kernels.refusal(light)


def _tried(found: Callable[[], Tensor | None], light: Tensor) -> Tensor | None:
    if no_kernels(light):
        return None
    try:
        return found()
    except KernelError as error:
        _broken[light.device] = str(error)
        _LOG.warning("priors run in plain torch on %s: %s", light.device, error)
        return None


def _planes(light: Tensor, picture: Tensor, trimap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """3×H×W, 3×H×W, H×W, as kernels read them."""
    return (
        light[0].float().contiguous(),
        picture[0].float().contiguous(),
        trimap[0, 0].float().contiguous(),
    )


def _said(told: DataTerm | None) -> tuple[Tensor, Tensor] | None:
    """Alpha and weight, H×W each, finite."""
    if told is None:
        return None
    alpha, weight = (x[0, 0].float().nan_to_num() for x in (told.alpha, told.weight))
    return alpha, weight


def _searches(strength: float) -> Searches:
    (first, near), (second, far) = SEARCHES
    return Searches((first, second), (near, far), strength, MOST_KNOWN)
