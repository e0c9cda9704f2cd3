"""One step of `trimap_flow`, as functions of images alone: so a CUDA device can replay them.

Between `expect`, `settle` and `lay_out` a step looks at what was found: how far the foreground can
have gone, and which regions hold something solid.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.classical.anchor import Anchor
from model.classical.background_layer import BackgroundLayer
from model.classical.colour_classifier import lab
from model.classical.evidence import (
    SOFT,
    Wholes,
    certain,
    colour_odds,
    combined,
    probability,
    shows_background,
)
from model.classical.filters import (
    Image,
    Mask,
    arrays,
    floats,
    grown,
    percentile_where,
    placed,
    shrunk,
)
from model.classical.flow import Motion, length, warp
from model.classical.guided import follow_edges
from model.classical.keyframe import ResolvedKeyframe
from model.classical.layer_motion import LayerMotion, motion_odds, occlusion_odds
from model.classical.working_size import WorkingSize

# In pixels of a 640×360 picture.
_BAND = 7.0  # how far the unknown band reaches beyond what looks mixed
_WEAK_BAND = 5.0  # and beyond what colours do not support
_WEAK_NEAR = 15.0  # which is looked for this near what looks mixed

# Half the widths below which a part would be unknown right through, and how far from what looks
# mixed its middle stays certain instead.
_THIN = ((6.0, 3.0), (9.0, 5.0))

_WEAK = 0.7  # log odds that colours must have in favour of a certain class near the band
_CLEAR = 2.0  # and in favour of the foreground in the middle of its thin parts
_FIRM = 0.02  # weight of firm evidence against the picture's edges
_FIXED = 100.0  # and of what is certain beforehand


@dataclass(frozen=True)
class State:
    """What is carried from frame to frame, all images.

    Attributes:
        colours: scaled Lab of the last frame.
        alpha: its alpha, 0…1.
        open: what colours cannot narrow; see `keyframe`.
        confidence: 0…1.
        background: its background layer.
        behind: the same in the light that the shot is composited in.
        anchor: the keyframe's trimap and where it lies now.
    """

    colours: Image
    alpha: Image
    open: Mask
    confidence: Image
    background: BackgroundLayer
    behind: BackgroundLayer
    anchor: Anchor


@dataclass(frozen=True)
class Seen:
    """A frame by itself and after the one before, all images.

    Attributes:
        picture: at working size.
        light: in the light that the shot is composited in.
        colours: scaled Lab.
        move: since the frame before.
    """

    picture: Image
    light: Image
    colours: Image
    move: Motion


@dataclass(frozen=True)
class Expected:
    """What a frame should be by the state before it and by its colours, all images.

    Attributes:
        warped: the alpha before, moved to this frame.
        open: what colours cannot narrow.
        layer, behind: background layers, moved by the background's own motion.
        anchor: where the keyframe's trimap lies.
        odds: log odds that a pixel is foreground, by its colour and by how it moves.
        fast: how fast the foreground moves against the background, in pixels.
    """

    warped: Image
    open: Mask
    layer: BackgroundLayer
    behind: BackgroundLayer
    anchor: Anchor
    odds: Image
    fast: Image


def first_state(picture: Image, light: Image, keyframe: ResolvedKeyframe) -> State:
    trimap, alpha, open_ = (
        placed(x, picture) for x in (keyframe.trimap, keyframe.alpha, keyframe.open)
    )
    colours, bare = lab(picture), floats(trimap == 0)
    return State(
        colours=colours,
        alpha=alpha,
        open=open_,
        confidence=arrays(alpha).ones_like(alpha),
        background=BackgroundLayer(colours, bare),
        behind=BackgroundLayer(light, bare),
        anchor=Anchor.at(trimap),
    )


def expect(state: State, seen: Seen, wholes: Wholes, size: WorkingSize) -> Expected:
    """What a frame should be, by the state before it and by its colours."""
    move = seen.move
    shown = shows_background(state.alpha, state.open, move, size)
    warped = warp(state.alpha, move.back)
    colours = seen.colours, state.colours
    foreground = LayerMotion.where((warped > 1 - SOFT) & move.consistent, move, *colours)
    background = LayerMotion.where(shown, move, *colours)
    still = background.back
    layer = state.background.moved(still)
    before = (state.colours, state.alpha)
    odds = colour_odds(seen.colours, before, layer, shown, wholes, size)
    odds = odds + motion_odds(*colours, move, foreground, background)
    odds = odds + occlusion_odds(state.alpha, move, foreground, background)
    # Open regions go with the foreground they hang on, if keyframes have any: flow inside of them
    # may be that of what is seen through them.
    along = move.back if wholes[0] is None else foreground.back
    open_: Mask = warp(floats(state.open), along) > 0.5
    return Expected(
        warped=warped,
        open=open_,
        layer=layer,
        # Both are known where the background was seen.
        behind=BackgroundLayer(warp(state.behind.colours, still), layer.known),
        anchor=state.anchor.carried(move, still, size),
        odds=odds,
        fast=percentile_where(state.alpha > 0.02, length(move.forth + still), 95),
    )


def settle(
    picture: Image, move: Motion, expected: Expected, near: Mask, size: WorkingSize
) -> tuple[Image, Mask, Mask]:
    """Alpha after neighbours were asked; certain places fixed, weak evidence left to them. And
    where anything is present, and where that is solid."""
    odds, warped = expected.odds, expected.warped
    never, sure = certain(odds, warped, move, near, size)
    evidence = combined(odds, warped, move)
    where = arrays(evidence).where
    evidence = floats(where(never, 0.0, where(sure, 1.0, evidence)))
    weight = floats(where(never | sure, _FIXED, _FIRM * (2 * evidence - 1) ** 2))
    alpha = follow_edges(picture, evidence, weight)
    return alpha, (alpha > SOFT) | expected.open, (alpha > 1 - SOFT) | expected.open


def lay_out(
    sure: Image, seen: Seen, expected: Expected, alpha: Image, held: Mask, size: WorkingSize
) -> tuple[State, Image]:
    """The state after a frame, and its classes and confidence, 4×H×W. What is not ``held`` by
    anything solid is left out: so does a cluttered background look. ``sure`` is the confidence
    before."""
    of = arrays(alpha)
    alpha = floats(of.where(held, alpha, 0.0))
    band = _band(alpha, expected.odds, expected.open, size)
    trimap = expected.anchor.laid_over(band, size)
    doubt = of.where(expected.anchor.held(size), 0.0, of.abs(alpha - probability(expected.odds)))
    confidence = floats(warp(sure, seen.move.back) * (0.99 - 0.1 * doubt))
    bare = (band == 0) & (trimap == 0)
    after = State(
        colours=seen.colours,
        alpha=alpha,
        open=expected.open,
        confidence=confidence,
        background=expected.layer.with_seen(seen.colours, bare),
        behind=expected.behind.with_seen(seen.light, bare),
        anchor=expected.anchor,
    )
    classes = [floats(trimap == level) for level in (0, 0.5, 1)]
    return after, of.stack([*classes, confidence])


def _band(alpha: Image, odds: Image, open_: Mask, size: WorkingSize) -> Image:
    """The trimap around an alpha: 0, 0.5 or 1.

    Unknown is what looks mixed, the edge of what does not, what is open, and what colours do not
    support near those; each with a margin, but for the middle of the foreground's thin parts.
    """
    inside = alpha > 0.5
    edge = grown(inside, 1) & grown(~inside, 1)
    mixed = edge | ((alpha > SOFT) & (alpha < 1 - SOFT)) | open_
    where = arrays(odds).where
    weak = (where(inside, odds, -odds) < _WEAK) & grown(mixed, size.radius(_WEAK_NEAR))
    weak = grown(shrunk(weak, 1), size.radius(_WEAK_BAND))
    unknown = grown(mixed, size.radius(_BAND)) | weak
    unknown = unknown & ~_middles(inside & ~mixed, odds > _CLEAR, size)
    return floats(where(unknown, 0.5, floats(inside)))


def _middles(solid: Mask, clear: Mask, size: WorkingSize) -> Mask:
    """The middle of what is solid and thin, an arm or a finger: margins on both sides leave nothing
    of it that is certain, and a prior that is not told of an arm may well take it for background.

    What is thin an opening takes away. Of background no middles are kept: gaps between limbs are
    where flow is wrong most often.
    """
    found = solid & ~solid
    for half, margin in _THIN:
        radius = size.radius(half)
        thin = ~grown(shrunk(solid, radius), radius)
        found = found | (shrunk(solid & clear, size.radius(margin)) & thin)
    return found
