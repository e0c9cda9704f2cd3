"""Foreground and background colours of a frame, given its alpha.

An alpha is an estimate, and colours that are made to explain the plate with a wrong one hold light
of the other layer. So at each pixel the alpha, the foreground and the background are asked for
together: alphas near the given one, colours as both layers have them nearby, and noise. The answer
is the expected light of the foreground.

Source: Y.-Y. Chuang, B. Curless, D. Salesin, R. Szeliski, "A Bayesian Approach to Digital Matting",
CVPR 2001, equations 4 to 9. Differences: the mean of the posterior over some alphas instead of the
most probable one, around an alpha that is given; layers from a pyramid, not from single clusters.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from model.classical.foreground_layers import Layer, layer_around

# Chosen on held-out footage and synthetic clips (tests/benchmarks/foreground.py).
_PURE = 32  # power of alpha (of 1 − alpha) that says how surely a pixel is one layer alone
_CREDIT = 2  # power of the confidence that it counts with besides
_SURE = 0.01  # standard deviation of an alpha that is told to be exact
_DOUBT = 0.2  # what no confidence at all adds to it
_STEPS = torch.linspace(-1.5, 1.5, 5)  # alphas that are tried, in standard deviations
_NOISE = 0.01  # of a plate, in shares of a pixel's luminance plus the usual one
_MOST = 2.0  # times a pixel is brighter or darker than the layer, where alpha is told wrong
_LEAST = 1e-6


def estimate_foreground(
    light: Tensor,
    alpha: Tensor,
    confidence: Tensor | None = None,
    background: Tensor | None = None,
    known: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The straight foreground and background colours that explain the plate.

    Args:
        light: float32 1×3×H×W, finite, in the light the frame was composited in; may be negative
            or far above 1.
        alpha: float32 1×1×H×W in 0…1.
        confidence: float32 1×1×H×W in 0…1, of alpha, as `model.face.Estimate` has it; None = alpha
            is exact.
        background: float32 1×3×H×W, a clean plate in the same light, or None.
        known: bool 1×1×H×W, where the clean plate holds; None = everywhere.

    Returns:
        Foreground and background, straight (not multiplied by alpha), float32 1×3×H×W. Where alpha
        is 1 the foreground is the plate, where alpha is 0 the background is the plate, to the bit.
        Where a layer is not seen at all it has the colours that it has nearby. Neither is below
        zero except where the plate is. In between, ``alpha · foreground`` is the expected light of
        the foreground: where alpha is probably too high or too low it is up to twice darker or
        brighter than the layer's own colour, and has that colour's hue.
    """
    height, width = alpha.shape[-2:]
    places = ((alpha > 0) & (alpha < 1)).flatten().nonzero().squeeze(1)
    pixels = light[0].flatten(1).index_select(1, places)
    share = alpha.flatten().index_select(0, places)
    luminance = pixels.abs().mean(0)
    usual = (luminance if len(places) else light.abs().flatten()).median().clamp_min(_LEAST)
    noise = (_NOISE * (luminance + usual)).square()
    sure = torch.ones_like(alpha) if confidence is None else confidence.pow(_CREDIT)
    front = _widened(layer_around(light, sure * alpha.pow(_PURE), places, usual), noise)
    behind = _widened(layer_around(light, sure * (1 - alpha).pow(_PURE), places, usual), noise)
    if background is not None:
        behind = _given(behind, background, known, places, noise)
    spread = torch.full_like(share, _SURE)
    if confidence is not None:
        spread += _DOUBT * (1 - confidence.flatten().index_select(0, places))
    tried = share + _STEPS.to(share.device)[:, None] * spread
    light_of, share_of = _expected(pixels, share, tried.clamp(0, 1), spread, front, behind, noise)
    foreground = torch.where(alpha == 1, light, front.everywhere.clamp_min(0))
    backdrop = torch.where(alpha == 0, light, behind.everywhere.clamp_min(0))
    least, most = pixels.clamp_max(0), pixels.clamp_min(0)
    for into, amount, given in ((foreground, 0, share), (backdrop, 1, 1 - share)):
        told = share_of[amount].clamp_min(_LEAST)
        scale = told.clamp(given / _MOST, given * _MOST) / told
        seen = (light_of[amount] * scale).clamp(least, most)
        into[0].view(3, height * width).index_copy_(1, places, seen / given.clamp_min(_LEAST))
    return foreground, backdrop


def _expected(
    pixels: Tensor,
    share: Tensor,
    tried: Tensor,
    spread: Tensor,
    front: Layer,
    behind: Layer,
    noise: Tensor,
) -> tuple[Tensor, Tensor]:
    """The light of both layers, 2×3×M, and their shares, 2×M, in the mean over the tried alphas.

    Args:
        pixels: 3×M.
        share: M, the given alpha, and ``spread``, M, its standard deviation.
        tried: K×M.
        front, behind: the two layers.
        noise: M, the variance of the plate's.
    """
    total = pixels.new_zeros(8, len(share))
    best = torch.full_like(share, -torch.inf)
    weight = torch.zeros_like(share)
    for a in tried:
        b = 1 - a
        missing = pixels - a * front.mean - b * behind.mean
        spans = a.square() * front.covariance + b.square() * behind.covariance
        spans = torch.cat([spans[:3] + noise, spans[3:]])
        pull, log_volume = _solved(spans, missing)
        fit = (missing * pull).sum(0) + log_volume + ((a - share) / spread).square()
        likely = -0.5 * fit
        # The mean is gathered one alpha after the other, always in terms of the likeliest so far.
        higher = torch.maximum(best, likely)
        fades, counts = (best - higher).exp(), (likely - higher).exp()
        front_light = a * (front.mean + a * _times(front.covariance, pull))
        behind_light = b * (behind.mean + b * _times(behind.covariance, pull))
        planes = torch.cat([front_light, behind_light, a[None], b[None]])
        total = fades * total + counts * planes
        weight = fades * weight + counts
        best = higher
    total = total / weight
    return total[:6].view(2, 3, -1), total[6:]


def _widened(layer: Layer, noise: Tensor) -> Layer:
    """A layer whose colours are never surer than the plate's noise."""
    covariance = torch.cat([layer.covariance[:3] + noise, layer.covariance[3:]])
    return replace(layer, covariance=covariance)


def _given(
    layer: Layer, background: Tensor, known: Tensor | None, places: Tensor, noise: Tensor
) -> Layer:
    """The background layer where a clean plate shows it: certain but for its own noise."""
    colours = background[0].flatten(1).index_select(1, places)
    exact = torch.cat([noise.expand(3, -1), torch.zeros_like(colours)])
    if known is None:
        return replace(layer, mean=colours, covariance=exact)
    there = known.flatten().index_select(0, places)
    return replace(
        layer,
        mean=torch.where(there, colours, layer.mean),
        covariance=torch.where(there, exact, layer.covariance),
    )


def _solved(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of symmetric 3×3 matrices (6×M) times vectors (3×M), by the adjugate; and the
    logarithms of their determinants."""
    xx, yy, zz, xy, xz, yz = matrix
    first = torch.stack([yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy])
    second = torch.stack([first[1], xx * zz - xz * xz, xy * xz - xx * yz])
    third = torch.stack([first[2], second[2], xx * yy - xy * xy])
    determinant = xx * first[0] + xy * first[1] + xz * first[2]
    # Rounding may eat what is left, but no less than the regularised least is there.
    determinant = determinant.clamp_min(1e-30)
    rows = torch.stack([(row * right).sum(0) for row in (first, second, third)])
    return rows / determinant, determinant.log()


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Symmetric 3×3 matrices (6×M) times vectors (3×M)."""
    xx, yy, zz, xy, xz, yz = matrix
    x, y, z = vector
    return torch.stack(
        [xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z]
    )
