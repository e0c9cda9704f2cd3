"""What is known of the background, also behind the foreground, carried along with the background's motion.

A pixel that shows the background known to be there is background; one that does not is covered.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model.classical.flow import stays_inside, warp

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_FADE = 0.98  # of what is known, each frame that it is covered
_LEAST_NOISE = 0.01  # standard deviation of a channel; grain, compression and resampling


@dataclass(frozen=True)
class BackgroundLayer:
    """The background of one frame.

    Attributes:
        colours: H×W×3, scaled Lab.
        known: H×W, 0 = never seen … 1 = seen now.
    """

    colours: Image
    known: Image

    def moved(self, back: Image) -> BackgroundLayer:
        """The layer seen from the next frame; ``back`` is the background's motion, see `flow.Motion`."""
        known = warp(self.known, back) * stays_inside(back) * np.float32(_FADE)
        return BackgroundLayer(warp(self.colours, back), known)

    def with_seen(self, colours: Image, seen: Mask) -> BackgroundLayer:
        """The layer after the pixels of ``seen`` were seen to be background."""
        return BackgroundLayer(
            np.where(seen[..., None], colours, self.colours),
            np.where(seen, np.float32(1), self.known),
        )

    def noise(self, colours: Image, sure: Image, radius: int) -> Image:
        """Variance of a channel around the layer, H×W, measured around each pixel where ``sure`` > 0."""
        weight = sure * self.known
        side = (2 * radius + 1, 2 * radius + 1)
        error = ((colours - self.colours) ** 2).sum(2)
        least = np.float32(_LEAST_NOISE**2)
        total = cv2.boxFilter(error * weight, -1, side) + 0.05 * least
        variance: Image = total / (cv2.boxFilter(weight, -1, side) + np.float32(0.05))
        return np.maximum(variance, least)

    def distance(self, colours: Image, variance: Image) -> Image:
        """Squared distance from the layer in standard deviations, H×W."""
        error: Image = ((colours - self.colours) ** 2).sum(2) / variance
        return cv2.GaussianBlur(error, (0, 0), 1.0)  # type: ignore[no-any-return]


def density(distance: Image, variance: Image) -> Image:
    """Normal density at a squared distance in standard deviations, per unit of scaled Lab volume."""
    normal: Image = np.exp(-0.5 * np.minimum(distance, 60)) * (2 * np.pi * variance) ** -1.5
    return normal.astype(np.float32)
