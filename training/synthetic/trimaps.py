"""Trimaps as artists draw them: everything mixed is unknown, and a margin around it.

How wide the margin is decides how hard a matte is: of the unknown pixels of real trimaps about
.31 are truly partial, now more, now fewer. The width is chosen per clip to come near a share that
is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.synthetic.motion import spline
from training.synthetic.sending import send

CERTAIN = 0.004  # this near to 0 or 1 alpha is 0 or 1
PARTIAL = 0.05, 0.95  # between these, alpha is partial
RADII = (1.0, 1.5, 2.0, 3.0, 4.0, 5.5, 7.5, 10.0, 13.0, 17.0, 22.0, 28.0)  # pixels
_KNOWN = 0.08  # of the pixels, at least, are certain where that can be
_REACH = 32  # no margin is wider, in pixels


@dataclass(frozen=True)
class Brush:
    """How the trimaps of one clip are drawn.

    Attributes:
        share: wanted share of partial alpha in the band.
        inside, outside: how wide the margin is over foreground and over background, against the
            wider of the two (one of them is 1).
        blobs: values at knots of `training.synthetic.motion.spline`, 0 or more: how much wider the
            margin is here and there; None for an even one.
        stroke: pixels: gaps between mixed parts that are narrower than twice this are not worth
            the artist's while, and unknown too.
        specks: places x, y and radii, in pixels, that are unknown in all frames whatever is there:
            what a careless stroke, or a mask that a trimap was made of, leaves in what is solid.
    """

    share: float
    inside: float = 1.0
    outside: float = 1.0
    blobs: NDArray[np.float32] | None = None
    stroke: float = 0.0
    specks: tuple[tuple[float, float, float], ...] = ()


def drawn_margin(rng: np.random.Generator, share: float) -> tuple[float, float, float]:
    """What a clip's `Brush` wants: its share of partial alpha, around ``share`` and mostly below
    it, and how wide it is inside and outside."""
    wanted = share * float(np.exp(rng.normal(-0.25, 0.45)))
    drawn, narrow = rng.random(), float(rng.uniform(0.3, 1))
    if drawn < 0.35:
        return wanted, 1.0, narrow
    if drawn < 0.5:
        return wanted, narrow, 1.0
    return wanted, 1.0, 1.0


def snapped(alpha: Tensor) -> Tensor:
    """Alpha with what is nearly 0 or 1 made exactly 0 or 1."""
    alpha = torch.where(alpha <= CERTAIN, torch.zeros_like(alpha), alpha)
    return torch.where(alpha >= 1 - CERTAIN, torch.ones_like(alpha), alpha)


def squared_distance(seeds: Tensor, reach: int) -> Tensor:
    """Squared distance to the nearest seed, exact up to ``reach``; beyond, more than reach².

    Args:
        seeds: bool K×H×W.
        reach: pixels.
    """
    width = seeds.shape[2]
    far = 4.0 * (reach + 1)
    place = torch.arange(width, device=seeds.device, dtype=torch.float32)
    before = torch.where(seeds, place, -far).cummax(2).values
    after = torch.where(seeds, place, width + far).flip(2).cummin(2).values.flip(2)
    across = torch.minimum(place - before, after - place).clamp_max(reach + 1.0).square_()
    nearest = across.clone()
    for step in range(1, min(reach, seeds.shape[1] - 1) + 1):
        shifted = across + float(step * step)
        for target, source in (
            (nearest[:, step:], shifted[:, :-step]),
            (nearest[:, :-step], shifted[:, step:]),
        ):
            torch.minimum(target, source, out=target)
    return nearest


def draw_trimaps(alpha: Tensor, brushes: list[Brush]) -> Tensor:
    """Trimaps of clips, certain only where alpha is.

    A clip keeps one radius over all its frames.

    Args:
        alpha: N×T×1×H×W, `snapped`.
        brushes: one for each clip.

    Returns:
        N×T×1×H×W: 0 background, 0.5 unknown, 1 foreground.
    """
    count, frames, _, height, width = alpha.shape
    flat = alpha.reshape(count * frames, height, width)
    seeds = (flat > 0) & (flat < 1)
    # Where a hard edge jumps from one pixel to the next, nothing is mixed but nothing is sure.
    across, down = flat.diff(dim=2).abs() == 1, flat.diff(dim=1).abs() == 1
    seeds[:, :, 1:] |= across
    seeds[:, 1:] |= down
    seeds = _joined(seeds.reshape(alpha.shape), brushes).flatten(0, 2)
    distance = squared_distance(seeds, _REACH)
    distance = distance.masked_fill(distance > _REACH**2, torch.inf).sqrt()
    distance = distance.reshape(alpha.shape) / _margin(alpha, brushes)
    partial = ((alpha > PARTIAL[0]) & (alpha < PARTIAL[1])).flatten(1).sum(1)
    shares = torch.stack(
        [partial / (distance <= radius).flatten(1).sum(1).clamp_min(1) for radius in RADII], 1
    )
    wanted = send(np.array([brush.share for brush in brushes], np.float32), alpha.device)
    miss = (shares.clamp_min(1e-4) / wanted[:, None]).log().abs()
    # Something must be left to know.
    known = 1 - partial[:, None] / shares.clamp_min(1e-4) / alpha[0].numel()
    miss = miss + 100 * (_KNOWN - known).clamp_min(0)
    radii = send(np.array(RADII, np.float32), alpha.device)[miss.argmin(1)]
    unknown = distance <= radii[:, None, None, None, None]
    y = torch.arange(height, device=alpha.device, dtype=torch.float32)[:, None]
    x = torch.arange(width, device=alpha.device, dtype=torch.float32)
    for clip, brush in zip(unknown, brushes, strict=True):
        for column, row, reach in brush.specks:
            clip |= (x - column).square() + (y - row).square() <= reach**2
    return torch.where(unknown, 0.5, alpha)


def _joined(seeds: Tensor, brushes: list[Brush]) -> Tensor:
    """N×T×1×H×W bool: seeds, and the gaps between them that no stroke fits into."""
    widest = max(brush.stroke for brush in brushes)
    if widest <= 0:
        return seeds
    reach = math.ceil(widest)
    strokes = np.array([brush.stroke for brush in brushes], np.float32)
    limit = send(strokes, seeds.device)[:, None, None, None, None].square()
    near = squared_distance(seeds.flatten(0, 2), reach).reshape(seeds.shape) <= limit
    return squared_distance(~near.flatten(0, 2), reach).reshape(seeds.shape) > limit


def _margin(alpha: Tensor, brushes: list[Brush]) -> Tensor:
    """How far the brush reaches, against its radius."""

    def each(values: list[float]) -> Tensor:
        return send(np.array(values, np.float32), alpha.device)[:, None, None, None, None]

    inside = each([brush.inside for brush in brushes])
    outside = each([brush.outside for brush in brushes])
    margin = torch.where(alpha > 0.5, inside, outside)
    if all(brush.blobs is None for brush in brushes):
        return margin
    down, across = spline(alpha.shape[3]), spline(alpha.shape[4])
    even = np.zeros((down.shape[1], across.shape[1]), np.float32)
    blobs = np.stack([even if brush.blobs is None else brush.blobs for brush in brushes])
    wide = send(down, alpha.device) @ send(blobs, alpha.device) @ send(across, alpha.device).T
    return margin * (1 + wide[:, None, None])


def partial_share(alpha: Tensor, trimap: Tensor) -> Tensor:
    """N: the share of partial alpha in each clip's band; 0 where there is no band."""
    partial = ((alpha > PARTIAL[0]) & (alpha < PARTIAL[1])).flatten(1).sum(1)
    return partial / (trimap == 0.5).flatten(1).sum(1).clamp_min(1)
