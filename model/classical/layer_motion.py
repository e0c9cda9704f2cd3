"""Whether a pixel moves as the foreground around it does, or as the background, and what the
foreground must have covered and uncovered on its way.

Where an arm has been, uncovered background that nobody has seen before can have the foreground's
colours: what tells then is that the arm has left, that optical flow finds nothing that it could
have been before, and that it moves with the background from there on.

Source: pictures as layers, each with a motion of its own: J. Wang, E. Adelson, "Representing Moving
Images with Layers", IEEE Transactions on Image Processing 3(5), 1994.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.classical.filters import Image, Mask, arrays, blur, channel_sum, floats
from model.classical.flow import Motion, extend, warp

_LIKE = 1.0  # pixels within which motions are alike
_LIMIT = 4.0  # most that motion can say, in log odds


@dataclass(frozen=True)
class _Demand:
    """What it takes to be told by one's motion.

    Attributes:
        apart: pixels by which the layers must move apart.
        colours: how far colours may differ from those that have moved here, in scaled Lab.
    """

    apart: float
    colours: float


# Optical flow takes small parts of the foreground along with the background when both move nearly
# alike, and flat background along with what moves beside it.
_FOREGROUND = _Demand(apart=1.0, colours=0.015)
_BACKGROUND = _Demand(apart=3.0, colours=0.06)

_OCCLUDED = 3.0  # most that is said of what was covered and uncovered, in log odds
_ARRIVED = 0.06  # how far colours may differ that the foreground brings, in scaled Lab
_STAYED = 0.03  # and within which it is doubtful that it has left


@dataclass(frozen=True)
class LayerMotion:
    """The motion of one layer where it is seen, and its continuation everywhere.

    Attributes:
        back: H×W×2, as in `Motion`.
        seen: whether it is seen anywhere, one number.
        off: H×W, squared: how far colours lie from those that it brings, in scaled Lab.
    """

    back: Image
    seen: Image
    off: Image

    @classmethod
    def where(cls, mask: Mask, move: Motion, colours: Image, before: Image) -> LayerMotion:
        """Seen where ``mask`` is; colours H×W×3 of this frame and of the one before, scaled Lab."""
        back = extend(move.back, floats(mask))
        return cls.along(back, floats(arrays(mask).any(mask)), colours, before)

    @classmethod
    def along(cls, back: Image, seen: Image, colours: Image, before: Image) -> LayerMotion:
        """Known everywhere."""
        return cls(back, seen, _difference(colours, before, back))


def motion_odds(
    colours: Image, before: Image, move: Motion, foreground: LayerMotion, background: LayerMotion
) -> Image:
    """Log odds, H×W within ±4, that a pixel is foreground, by how it moves alone.

    It says something where the layers move apart, optical flow is consistent and is one layer's,
    and colours are those that this motion brings but not those that the other would bring.

    Args:
        colours: H×W×3 of this frame, scaled Lab.
        before: those of the frame before.
        move: between both.
        foreground: the motion of what is surely foreground.
        background: of what is surely background.
    """
    brought = _difference(colours, before, move.back)
    apart = _squared(foreground.back, background.back)

    def told(way: Image, by_other: Image, demand: _Demand) -> Image:
        alike = _bell(_squared(move.back, way), _LIKE)
        fits = _bell(brought, demand.colours) * (1 - _bell(by_other, demand.colours))
        return alike * fits * (1 - _bell(apart, demand.apart))

    either = told(foreground.back, background.off, _FOREGROUND)
    either = either - told(background.back, foreground.off, _BACKGROUND)
    firm = arrays(colours).exp(-move.error) * foreground.seen * background.seen
    return floats(_LIMIT * firm * either)


def occlusion_odds(
    alpha: Image, move: Motion, foreground: LayerMotion, background: LayerMotion
) -> Image:
    """Log odds, H×W within ±3, that a pixel is foreground, by where both layers have moved to.

    What the foreground has moved over is foreground, if the colours are those that it brings. What
    it has left is background, if they are not, and as far as optical flow finds nothing that the
    pixel was a frame ago.

    Args:
        alpha: of the frame before; the others as for `motion_odds`.
    """
    of = arrays(alpha)
    gone_over = warp(alpha, foreground.back) - warp(alpha, background.back)
    covered = of.clip(gone_over, 0, 1) * _bell(foreground.off, _ARRIVED)
    uncovered = of.clip(-gone_over, 0, 1) * (1 - _bell(foreground.off, _STAYED))
    unmatched = 1 - of.exp(-move.error)
    both = foreground.seen * background.seen
    return floats(_OCCLUDED * both * (covered - uncovered * unmatched))


def _difference(colours: Image, before: Image, back: Image) -> Image:
    """Squared, H×W, between colours and those of the frame before moved here."""
    return blur(_squared(colours, warp(before, back)))


def _squared(one: Image, other: Image) -> Image:
    """Squared distance at each pixel, H×W, between images of several channels."""
    return channel_sum((one - other) ** 2)


def _bell(squared: Image, width: float) -> Image:
    """1 at 0, falling as a normal distribution does."""
    return floats(arrays(squared).exp(squared * (-0.5 / width**2)))
