"""Mattes steadied by the priors of the frames before and after.

A closed form is solved for each frame alone, so its errors flicker. What a neighbour's says at the
same place of the subject is as good a guess: where two frames have the same colours after one was
brought to the other, the mean of the guesses has less error, and moves as the subject does. Where
they have not (things that move fast or come into view, a background that moves behind), the frame's
own stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.classical.coarse_to_fine import coarseness
from model.classical.lucas_kanade import at_places, flow, pyramid
from model.face import Estimate, Frame

# Flow is found on pictures of at most so many pixels; larger ones made mattes no better.
FLOW_PIXELS = 320 * 180
# Colours this far apart (root of the squares' sum over R, G and B in 0…1) weigh 1/e. Chosen on
# held-out footage and held-out synthetic clips.
ALIKE = 0.03
_LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Looks:
    """What a frame looks like, to its neighbours.

    Attributes:
        picture: float32 1×3×H×W, each pixel the mean of 3×3: grain is not compared.
        square: pixels to the side of what is a pixel of ``levels``.
        levels: its grey picture, small, as `model.classical.lucas_kanade` wants it.
    """

    picture: Tensor
    square: int
    levels: tuple[Tensor, ...]


def looks_of(frame: Frame) -> Looks:
    """Of a frame, once."""
    height, width = frame.picture.shape[-2:]
    square = coarseness(round(height * width / frame.share), FLOW_PIXELS)
    weights = frame.picture.new_tensor(_LUMINANCE)[None, :, None, None]
    grey = (frame.picture * weights).sum(1, keepdim=True)
    small = F.avg_pool2d(grey, square, ceil_mode=True, count_include_pad=False)
    mean = F.avg_pool2d(frame.picture, 3, 1, padding=1, count_include_pad=False)
    return Looks(mean, square, tuple(pyramid(small)))


def steadied(
    estimate: Estimate,
    unknown: Tensor,
    own: tuple[Estimate, Looks],
    others: Sequence[tuple[Estimate, Looks]],
) -> Estimate:
    """An estimate, changed by as much as its prior is by those of other frames.

    Args:
        estimate: the network's, over a canvas.
        unknown: bool 1×1×H×W: where it may change.
        own: the prior that it began with, and the frame's looks.
        others: of frames beside it, on the same canvas. Priors whose confidence is 0 say nothing.

    Returns:
        The estimate with another alpha; the confidence stays.
    """
    places = unknown[0, 0].nonzero()
    if not others or not len(places):
        return estimate
    rows, columns = places.unbind(1)
    prior, looks = own
    at = places.flip(1)[None, None].float()
    colour = looks.picture[..., rows, columns][:, :, None]
    total = before = prior.alpha[..., rows, columns][:, :, None]
    weights = torch.ones_like(total)
    small = ((at + 0.5) / looks.square - 0.5).expand(len(others), -1, -1, -1)
    shifts = looks.square * at_places(_flows(looks, [one for _, one in others]), small)
    for (theirs, their_looks), shift in zip(others, shifts.chunk(len(others)), strict=True):
        there = at + shift.permute(0, 2, 3, 1)
        apart = (at_places(their_looks.picture, there) - colour).square().sum(1, keepdim=True)
        weight = at_places(theirs.confidence, there) * torch.exp(-apart / ALIKE**2)
        total = total + weight * at_places(theirs.alpha, there)
        weights = weights + weight
    change = (total / weights - before) * prior.confidence[..., rows, columns][:, :, None]
    alpha = estimate.alpha.clone()
    alpha[..., rows, columns] = (alpha[..., rows, columns] + change[:, :, 0]).clamp(0, 1)
    return Estimate(alpha, estimate.confidence)


def _flows(here: Looks, there: Sequence[Looks]) -> Tensor:
    """To each of several frames, K×2×h×w: together, for a GPU is hardly busy with one."""
    own = [level.expand(len(there), -1, -1, -1) for level in here.levels]
    return flow(own, [torch.cat(one) for one in zip(*(one.levels for one in there), strict=True)])
