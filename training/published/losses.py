"""The losses of Y. Sun et al., "Deep Video Matting via Spatio-Temporal Alignment and Aggregation",
CVPR 2021, as its published training has them, and without what is odd about them.

All are of the n asked frames of one clip: alphas float32 n×1×H×W, ``unknown`` bool of that shape.
M is the unknown region, ρ(x) = sqrt(x² + 1e-12), p the answer, a the truth.

Odd, and done only if a recipe's ``[quirks]`` say so: ``grad`` is no loss of gradients but re-weighs
|p − a|, ``kld`` and ``temp`` look at whole frames. Not done at all: a composite of premultiplied
foreground, which no alpha makes the plate of.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.exposure import ExposureMap, to_picture
from model.networks.st_fam_r50 import SPREAD

_TINY = 1e-12
_NOTHING = 1e-30  # share of a pixel outside of the region, so that it has a logarithm


def difference(
    alpha: Tensor, truth: Tensor, unknown: Tensor, soft: float = 1.0, hard: float = 0.5
) -> Tensor:
    """soft · Σρ(p−a)M / (ΣM+1) + hard · Σρ(p−a)(1−M) / (Σ(1−M)+1)."""
    error = _rho(alpha - truth)
    return soft * _per_pixel(error, unknown) + hard * _per_pixel(error, ~unknown)


def composite(
    alpha: Tensor,
    light: Tensor,
    foreground: Tensor,
    background: Tensor,
    unknown: Tensor,
    *,
    linear: bool,
) -> Tensor:
    """Σρ(C−I)M / (ΣM+1) / 3, C = p·F + (1−p)·B over straight layers.

    Composited in the light the plate was; compared as a network sees it, in units of ImageNet's
    spread of colours, so that the published weight fits.

    Args:
        alpha: the answer.
        light: n×3×H×W, the plate.
        foreground, background: n×3×H×W, in its light.
        unknown: see the module.
        linear: whether that light is scene-linear.
    """
    made = alpha * foreground + (1 - alpha) * background
    if linear:
        made, light = to_picture(made, ExposureMap()), to_picture(light, ExposureMap())
    spread = made.new_tensor(SPREAD)[:, None, None]
    return _per_pixel(_rho((made - light) / spread), unknown) / 3


def gradient(alpha: Tensor, truth: Tensor, unknown: Tensor, *, reweighs: bool = False) -> Tensor:
    """|S(p) − S(a)| over M, S being Sobel's magnitude.

    With ``reweighs``, as published: w = 2M·|S(a) − S(p)|, through which nothing is learned, and
    Σw|p − a| / (Σw+1).
    """
    if not reweighs:
        return _per_pixel((sobel(alpha) - sobel(truth)).abs(), unknown)
    weight = 2 * unknown * (sobel(truth) - sobel(alpha.detach())).abs()
    return (weight * (alpha - truth).abs()).sum() / (weight.sum() + 1)


def divergence(
    alpha: Tensor, truth: Tensor, unknown: Tensor, *, whole: bool = False, least: float = 1e-10
) -> Tensor:
    """Kullback–Leibler: Σ â(log â − log p̂), with p̂ and â the alphas over their sums.

    Args:
        alpha, truth, unknown: see the module.
        whole: over whole frames, as published, and not over M.
        least: added to both before their logarithms. An answer that may be exactly 0 wants more
            than the published 1e-10, for the slope there is one over it.
    """
    region = torch.ones_like(alpha) if whole else unknown.float()
    shares = []
    for x in (alpha.clamp_min(0), truth):
        shares.append(region * (x + least) / ((region * x).sum() + 1e-5))
    mine, theirs = shares
    logs = theirs.clamp_min(_NOTHING).log() - mine.clamp_min(_NOTHING).log()
    return (theirs * logs).sum()


def temporal(alpha: Tensor, truth: Tensor, unknown: Tensor, *, whole: bool = False) -> Tensor:
    """Mean square of what neighbouring frames' changes differ in, over M of either frame, or over
    whole frames, as published. 0 for a single frame."""
    if len(alpha) < 2:
        return alpha.new_zeros(())
    square = (alpha.diff(dim=0) - truth.diff(dim=0)).square()
    if whole:
        return square.mean()
    return _per_pixel(square, unknown[1:] | unknown[:-1])


def sobel(alpha: Tensor) -> Tensor:
    """sqrt(gx² + gy² + 1e-6), kernels over 8, edges repeated: as kornia's, which was used."""
    across = alpha.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    kernels = torch.stack([across, across.T])[:, None]
    slopes = F.conv2d(F.pad(alpha, (1, 1, 1, 1), mode="replicate"), kernels)
    return (slopes.square().sum(1, keepdim=True) + 1e-6).sqrt()


def _rho(x: Tensor) -> Tensor:
    return (x.square() + _TINY).sqrt()


def _per_pixel(values: Tensor, region: Tensor) -> Tensor:
    return (values * region).sum() / (region.sum() + 1)
