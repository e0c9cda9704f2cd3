"""What a clean plate, the background filmed or painted alone, tells about alpha.

Three uses, in this order: `evidence` pulls the prior before a network sees it, `refined` holds the
network's alpha against the clean plate once more, `matched` is the background for
`model.classical.foreground`. The clean plate needs not be exact: its exposure is matched, and how
far it differs from the plate (grain, compression, what has moved) is measured around each pixel on
what the trimap calls background.

Source of the likelihood: see `model.classical.foreground_likelihood`. With a known background this
is difference matting (R. Qian, M. Sezan, "Video Background Replacement without a Blue Screen",
ICIP 1999) with measured instead of fixed thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.classical.data_term import DataTerm
from model.classical.foreground_layers import Layer, layer_around, widened
from model.classical.foreground_likelihood import fit
from model.face import Estimate, Frame

# Chosen on held-out footage and synthetic clips (tests/benchmarks/clean_plate.py).
_ALPHAS = torch.linspace(0, 1, 21)  # that are tried
_ATOM = 5.0  # how much more often 0 and 1 are met than each alpha between
_NOISE = 0.01  # of the plate, in shares of a pixel's luminance plus the usual one
_OWN_NOISE = 0.1  # share of that variance that a clean plate has at least
_PULL = 1e-4  # weight of the evidence against the matting Laplacian, per unit of certainty
_ROUGH = 1e-4  # least variance that an alpha is believed to have
_EVEN = 1 / 12  # variance of an alpha that nothing is known of
_DOUBT = 0.15  # standard deviation of a network's alpha without any confidence …
_SURE = 0.03  # … and of one with full confidence
_PURE = 32  # see model.classical.foreground
_CREDIT = 2
_CERTAIN = 0.75  # probability of 0 or 1 from which on alpha is just that
_NEAR = 0.1  # confidence is the probability to be right to within this
_FEW = 50  # pixels below which exposure is not matched
_DARK = 0.2  # of the mean: darker pixels have too much noise for it
_AT_ONCE = 1 << 18  # pixels that are looked at together, to bound memory
_LEAST = 1e-6


def evidence(frame: Frame, loose: Tensor | None = None) -> DataTerm | None:
    """What the clean plate says about the unknown pixels, before anything is solved.

    Args:
        frame: with its trimap.
        loose: float32 1×1×H×W, by how much more the clean plate may differ than it does where the
            background is seen: a variance, of each channel. None = by no more.

    Returns:
        None if the frame has no clean plate, or no unknown pixel where it is known.
    """
    seen = _seen(frame, (frame.known == 1).to(frame.light.dtype), loose)
    if seen is None:
        return None
    mean, weight = (frame.light.new_zeros(frame.known.shape) for _ in range(2))
    for at in seen.parts():
        alphas = _ALPHAS.to(mean.device)[:, None]
        weights = seen.weights(at, torch.zeros(len(alphas), 1, device=mean.device))
        first = (weights * alphas).sum(0)
        second = (weights * alphas.square()).sum(0)
        mean.view(-1).index_copy_(0, seen.places[at], first)
        certainty = 1 / ((second - first.square()).clamp_min(0) + _ROUGH) - 1 / _EVEN
        weight.view(-1).index_copy_(0, seen.places[at], _PULL * certainty.clamp_min(0))
    return DataTerm(mean, weight)


def refined(frame: Frame, estimate: Estimate) -> Estimate:
    """An alpha held against the clean plate: the mean over all alphas, each as likely as the
    estimate with its confidence and the clean plate together make it.

    Args:
        frame: with its trimap.
        estimate: of the same frame, by any network.

    Returns:
        The same estimate if there is no clean plate. Else with other alphas and confidences where
        the trimap is unknown and the clean plate known; exactly 0 or 1 where that is certain.
    """
    alpha, confidence = estimate.alpha, estimate.confidence
    seen = _seen(frame, alpha.pow(_PURE) * confidence.pow(_CREDIT))
    if seen is None:
        return estimate
    alpha, confidence = (
        x.clone(memory_format=torch.contiguous_format) for x in (alpha, confidence)
    )
    tried = _ALPHAS.to(alpha.device)[:, None]
    for at in seen.parts():
        given, trust = (x.flatten().index_select(0, seen.places[at]) for x in (alpha, confidence))
        spread = _SURE + _DOUBT * (1 - trust)
        weights = seen.weights(at, ((tried - given) / spread).square())
        found = (weights * tried).sum(0)
        found = torch.where(weights[0] > _CERTAIN, 0.0, found)
        found = torch.where(weights[-1] > _CERTAIN, 1.0, found)
        near = ((tried - found).abs() <= _NEAR).to(weights.dtype)
        alpha.view(-1).index_copy_(0, seen.places[at], found.clamp(0, 1))
        confidence.view(-1).index_copy_(0, seen.places[at], (weights * near).sum(0).clamp(0, 1))
    return Estimate(alpha, confidence)


def matched(frame: Frame) -> tuple[Tensor, Tensor] | None:
    """The clean plate with the frame's exposure, and where it is known.

    Returns:
        float32 1×3×H×W in the light of ``frame.light``, and bool 1×1×H×W; None if there is none.
    """
    if frame.background is None or frame.background_known is None:
        return None
    usual = _usual(frame.light)
    nowhere = torch.zeros(0, dtype=torch.int64, device=frame.light.device)
    background, layer = _difference(frame, frame.background, frame.background_known, nowhere, usual)
    found = (background + layer.everywhere).maximum(background.clamp_max(0))
    return found, frame.background_known


@dataclass(frozen=True)
class _Seen:
    """The M unknown pixels where the clean plate is known, and the layers around them."""

    places: Tensor
    pixels: Tensor
    front: Layer
    behind: Layer
    noise: Tensor

    def parts(self) -> list[slice]:
        count = len(self.places)
        return [slice(i, min(i + _AT_ONCE, count)) for i in range(0, count, _AT_ONCE)]

    def weights(self, at: slice, unlikely: Tensor) -> Tensor:
        """K×m: how probable each of `_ALPHAS` is at some of the pixels.

        Args:
            at: which pixels.
            unlikely: K×m or K×1, −2·log of how likely each alpha is anyway.
        """
        front, behind = (
            replace(x, mean=x.mean[:, at], covariance=x.covariance[:, at])
            for x in (self.front, self.behind)
        )
        alphas = _ALPHAS.to(self.pixels.device)
        unlike = torch.stack(
            [fit(self.pixels[:, at], a, front, behind, self.noise[at])[0] for a in alphas]
        )
        unlike = unlike + unlikely
        often = 2 * torch.tensor(_ATOM).log()
        unlike[[0, -1]] -= often.to(unlike.device)
        return torch.softmax(-0.5 * unlike, 0)


def _seen(frame: Frame, purely_front: Tensor, loose: Tensor | None = None) -> _Seen | None:
    """The layers, or None if the clean plate says nothing about any unknown pixel.

    Args:
        purely_front: float32 1×1×H×W in 0…1, how surely a pixel is foreground alone.
        loose: see `evidence`.
    """
    if frame.background is None or frame.background_known is None:
        return None
    asked = (frame.known > 0) & (frame.known < 1) & frame.background_known
    places = asked.flatten().nonzero().squeeze(1)
    if not len(places):
        return None
    light = frame.light
    pixels = light[0].flatten(1).index_select(1, places)
    usual = _usual(light)
    noise = (_NOISE * (pixels.abs().mean(0) + usual)).square()
    background, layer = _difference(frame, frame.background, frame.background_known, places, usual)
    mean = background[0].flatten(1).index_select(1, places) + layer.mean
    own_noise = _OWN_NOISE * noise
    if loose is not None:
        own_noise = own_noise + loose.flatten().index_select(0, places)
    behind = widened(replace(layer, mean=mean), own_noise)
    front = layer_around(light, purely_front, places, usual)
    if not bool(purely_front.any()):  # of a foreground that is nowhere pure any colour may be
        spread = torch.cat([usual.square().expand(3), usual.new_zeros(3)])[:, None]
        any_colour = spread.expand(-1, len(places)).contiguous()
        front = replace(front, mean=usual.expand_as(pixels).contiguous(), covariance=any_colour)
    return _Seen(places, pixels, widened(front, noise), behind, noise)


def _difference(
    frame: Frame, background: Tensor, known: Tensor, places: Tensor, usual: Tensor
) -> tuple[Tensor, Layer]:
    """The clean plate with its exposure matched as a whole, 1×3×H×W, and what is left of the plate
    when that is taken away, around some pixels: offset and noise."""
    shared = (frame.known == 0) & known
    background = background * _gains(frame.light, background, shared)
    return background, layer_around(
        frame.light - background, shared.to(frame.light.dtype), places, usual
    )


def _gains(light: Tensor, background: Tensor, shared: Tensor) -> Tensor:
    """1×3×1×1: the median ratio of the plate to the clean plate where both show the background."""
    places = shared.flatten().nonzero().squeeze(1)
    gains = []
    for channel in range(3):
        above, below = (
            x[0, channel].flatten().index_select(0, places) for x in (light, background)
        )
        bright = below > _DARK * below.abs().mean()
        few = int(bright.sum()) < _FEW
        gains.append(light.new_ones(()) if few else (above[bright] / below[bright]).median())
    return torch.stack(gains).clamp(0.5, 2.0).view(1, 3, 1, 1)


def _usual(light: Tensor) -> Tensor:
    return light.abs().mean(1).median().clamp_min(_LEAST)
