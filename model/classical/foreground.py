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

from model.classical.foreground_layers import Layer, layer_around, widened
from model.classical.foreground_likelihood import fit, seen_of

# Chosen on held-out footage and synthetic clips (tests/benchmarks/foreground.py).
_PURE = (32, 8)  # powers of alpha (of 1 − alpha) that say how well a pixel shows a layer
_CREDIT = 2  # power of the confidence that it counts with besides
_SURE = 0.01  # standard deviation of an alpha that is told to be exact
_DOUBT = 0.2  # what no confidence at all adds to it
_STEPS = torch.linspace(-1.5, 1.5, 5)  # alphas that are tried, in standard deviations
_NOISE = 0.01  # of a plate, in shares of a pixel's luminance plus the usual one
_MOST = 2.0  # times a pixel is brighter or darker than the layer, where alpha is told wrong
_FAINT = 0.01  # share below which a layer's colour is not asked of a pixel
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
    places = ((alpha > 0) & (alpha < 1)).flatten().nonzero().squeeze(1)
    pixels = light[0].flatten(1).index_select(1, places)
    share = alpha.flatten().index_select(0, places)
    luminance = pixels.abs().mean(0)
    usual = (luminance if len(places) else light.abs().flatten()).median().clamp_min(_LEAST)
    noise = (_NOISE * (luminance + usual)).square()
    sure = torch.ones_like(alpha) if confidence is None else confidence.pow(_CREDIT)
    spread = torch.full_like(share, _SURE)
    if confidence is not None:
        spread += _DOUBT * (1 - confidence.flatten().index_select(0, places))
    tried = share + _STEPS.to(share.device)[:, None] * spread
    tried = tried.clamp(0, 1)
    foreground = backdrop = light
    shares = torch.stack([share, 1 - share])
    for power in _PURE:
        # What a layer is like is seen best where it is alone, at first; then also where it has
        # been told from the other.
        front = widened(layer_around(foreground, sure * alpha.pow(power), places, usual), noise)
        behind = widened(
            layer_around(backdrop, sure * (1 - alpha).pow(power), places, usual), noise
        )
        if background is not None:
            behind = _given(behind, background, known, places, noise)
        lights, told = _expected(pixels, share, tried, spread, front, behind, noise)
        # Neither layer is darker than nothing, nor alone brighter than the plate.
        lights = lights.clamp(pixels.clamp_max(0), pixels.clamp_min(0))
        colours = lights / told.clamp_min(_FAINT)[:, None]
        foreground = _with(light, places, colours[0])
        backdrop = _with(light, places, colours[1])
    scale = told.clamp(shares / _MOST, shares * _MOST) / told.clamp_min(_LEAST)
    colours = lights * (scale / shares.clamp_min(_LEAST))[:, None]
    colours = colours.clamp(
        pixels.clamp_max(0), pixels.clamp_min(0) / shares.clamp_min(_LEAST)[:, None]
    )
    foreground = torch.where(alpha == 1, light, front.everywhere.clamp_min(0))
    backdrop = torch.where(alpha == 0, light, behind.everywhere.clamp_min(0))
    return _with(foreground, places, colours[0]), _with(backdrop, places, colours[1])


def _with(planes: Tensor, places: Tensor, colours: Tensor) -> Tensor:
    """1×3×H×W with 3×M other colours at M places."""
    return planes.flatten(2).index_copy(2, places, colours[None]).view_as(planes)


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
        unlike, pull = fit(pixels, a, front, behind, noise)
        likely = -0.5 * (unlike + ((a - share) / spread).square())
        # The mean is gathered one alpha after the other, always in terms of the likeliest so far.
        higher = torch.maximum(best, likely)
        fades, counts = (best - higher).exp(), (likely - higher).exp()
        lights = [seen_of(front, a, pull), seen_of(behind, b, pull)]
        planes = torch.cat([*lights, a[None], b[None]])
        total = fades * total + counts * planes
        weight = fades * weight + counts
        best = higher
    total = total / weight
    return total[:6].view(2, 3, -1), total[6:]


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
