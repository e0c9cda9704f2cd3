"""What a frame says by itself about where its foreground is, given what was there a frame ago."""

from __future__ import annotations

from model.classical.background_layer import BackgroundLayer
from model.classical.colour_classifier import Places, bins
from model.classical.filters import (
    Image,
    Mask,
    arrays,
    blur,
    floats,
    grown,
    shrunk,
)
from model.classical.flow import Motion, warp
from model.classical.working_size import WorkingSize

Wholes = tuple[Image | None, Image | None]  # of foreground and background

SOFT = 0.05  # alphas from here to 1 − here are mixed

# In pixels of a 640×360 picture.
_CELL = 48.0  # side of the cells that have colour classifiers of their own
_NOISE = 20.0  # neighbourhood in which the background's noise is measured
_NEAR = 7.0  # how near the warped foreground a pixel may be foreground though nothing moved
_FAR = 80.0  # and at most, however fast it moved
_MARGIN = 3.0  # how far from doubt a pixel must be to be fixed before its neighbours are asked

_UNSEEN = 4.0  # density of colours that were never seen; 1 = uniform over scaled Lab
_AMISS = 0.1  # share of background pixels that do not look like the layer though it is known
_LIMIT = 4.0  # most that colours can say, in log odds
_TRUST = (
    1.0,
    4.0,
)  # most that the warped alpha can say, in log odds: always; if flow is consistent


def shows_background(alpha: Image, covered: Mask | None, move: Motion, size: WorkingSize) -> Mask:
    """Where this frame surely shows background whose motion is known.

    ``alpha`` and ``covered`` (what else is no background) are of the frame before.
    """
    doubted = alpha > SOFT if covered is None else (alpha > SOFT) | covered
    doubtful = floats(grown(doubted, size.radius(_MARGIN)))
    return (warp(doubtful, move.back) < 0.01) & move.consistent


def colour_odds(
    colours: Image,
    before: tuple[Image, Image],
    layer: BackgroundLayer,
    shown: Mask,
    wholes: Wholes,
    size: WorkingSize,
) -> Image:
    """Log odds, H×W within ±4, that a pixel is foreground, by its colour alone.

    Args:
        colours: H×W×3 of this frame, scaled Lab.
        before: colours and alpha of the frame before: what the foreground looks like around here.
        layer: the background layer, moved to this frame.
        shown: where this frame surely shows background.
        wholes: picture-wide models of foreground and background, pinned to the keyframes.
    """
    of_foreground, of_background = wholes
    if of_foreground is None or of_background is None:
        one_sided = -_LIMIT if of_foreground is None else _LIMIT
        return floats(arrays(colours).full_like(colours[..., 0], one_sided))
    places = Places(size.rows, size.columns, size.radius(_CELL, 8))
    here = bins(colours)
    solid = floats(before[1] > 1 - SOFT)
    foreground = places.density(bins(before[0]), solid, of_foreground, here) + _UNSEEN
    background = places.density(bins(layer.colours), layer.known, of_background, here) + _UNSEEN
    seen = layer.density(colours, floats(shown), size.radius(_NOISE))
    there = (1 - _AMISS) * seen + _AMISS * background
    background = layer.known * there + (1 - layer.known) * background
    of = arrays(foreground)
    return blur(of.clip(of.log(foreground / background), -_LIMIT, _LIMIT))


def combined(odds: Image, warped: Image, move: Motion) -> Image:
    """Probability of foreground from colour odds and the warped alpha, H×W."""
    trust = _TRUST[0] + _TRUST[1] * arrays(odds).exp(-move.error)
    return probability(odds + (2 * warped - 1) * trust)


def probability(odds: Image) -> Image:
    """Of log odds."""
    return floats(1 / (1 + arrays(odds).exp(-odds)))


def reach(fast: float, size: WorkingSize) -> int:
    """How many pixels the foreground can have reached beyond where it is expected, if it moves so
    fast against the background."""
    return max(1, round(min(size.pixels(_NEAR) + 1.5 * fast, size.pixels(_FAR))))


def certain(
    odds: Image, warped: Image, move: Motion, near: Mask, size: WorkingSize
) -> tuple[Mask, Mask]:
    """Where the frame is surely background and surely foreground, before neighbours are asked.

    Background is what the foreground cannot have reached (is not ``near``), and what flow and
    colour agree on; foreground what both agree on. ``warped`` is the alpha of the frame before,
    moved to this one.
    """
    beyond = ~near
    quiet = (warped < 0.02) & (move.error < 1) & (odds < -1)
    never = beyond | shrunk(quiet | beyond, size.radius(_MARGIN))
    solid = shrunk((warped > 0.98) & (odds > -0.5), size.radius(_MARGIN + 1))
    return never, solid & ~never
