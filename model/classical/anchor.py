"""The keyframe's own trimap, for as long as nothing near it has moved.

What the artist painted is better than anything derived, so in a still picture the trimap stays as
it was painted, to the pixel. Positions are carried, not the trimap: it is read once, from the
keyframe, and does not blur on the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model.classical.filters import (
    Image,
    Mask,
    arrays,
    floats,
    grown,
    highest,
    pixel_places,
    sampled,
    shrunk,
)
from model.classical.flow import Motion, length, warp
from model.classical.working_size import WorkingSize

# In pixels of a 640×360 picture.
_AROUND = 7.0  # motion this near counts
_STILL = 0.25  # less than this a frame is no motion
_SLIVER = 3.0  # half the width of a rim that is left over
_RIM = 20.0  # and how far it may lie from what moved away
_LEAVE = 2.0  # a place that has moved this far from the keyframe is on its own


@dataclass(frozen=True)
class Anchor:
    """Where each pixel was in the keyframe.

    Attributes:
        trimap: H×W, the keyframe's: 0 background, 1 foreground, else unknown.
        place: H×W×2, x and y in the keyframe.
        moved: H×W, how far the surroundings have moved against the background since, in pixels.
    """

    trimap: Image
    place: Image
    moved: Image

    @classmethod
    def at(cls, trimap: Image) -> Anchor:
        return cls(trimap, pixel_places(trimap), arrays(trimap).zeros_like(trimap))

    def carried(self, move: Motion, still: Image, size: WorkingSize) -> Anchor:
        """The anchor of the next frame; ``still`` is how the background alone moves."""
        step = length(move.back - still) + move.error
        step = arrays(step).clip(step - size.pixels(_STILL), 0, None)
        moved = warp(self.moved, move.back) + highest(step, size.radius(_AROUND))
        return Anchor(self.trimap, warp(self.place, move.back), moved)

    def held(self, size: WorkingSize) -> Mask:
        """Where the keyframe's trimap still stands."""
        return self.moved < size.pixels(_LEAVE)

    def laid_over(self, derived: Image, size: WorkingSize) -> Image:
        """The keyframe's trimap where it stands, a derived one elsewhere; 0, 0.5 or 1.

        Where part of the painted band has moved away, what is left of its rim goes too: slivers of
        unknown that only the keyframe asks for, next to a place that is on its own.
        """
        held = self.held(size)
        painted = three_classes(sampled(self.trimap, self.place))
        where = arrays(derived).where
        trimap = where(held, painted, derived)
        thin, near = size.radius(_SLIVER), size.radius(_RIM)
        unknown = trimap == 0.5
        sliver = unknown & ~grown(shrunk(unknown, thin), thin) & grown(~held, near)
        found: Image = where(sliver & (derived != 0.5), derived, trimap)
        return found


def carried_classes(trimap: npt.NDArray[np.uint8], size: WorkingSize) -> Image:
    """A carried trimap (uint8 H×W: 0, 128, 255; a tensor too) at working size: 0, 0.5 or 1."""
    classes = floats(arrays(trimap).where(trimap == 128, 0.5, floats(trimap) / 255))
    return three_classes(size.reduce(torch.as_tensor(classes)[None, None]))


def three_classes(trimap: Image) -> Image:
    """Exactly 0, 0.5 or 1; what resampling has mixed is unknown."""
    where = arrays(trimap).where
    return floats(where(trimap < 0.01, 0.0, where(trimap > 0.99, 1.0, 0.5)))
