"""What is known of the background, also behind the foreground, carried along with its own motion.

A pixel that shows the background known to be there is background; one that does not is covered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from model.classical.filters import Image, Mask, arrays, blur, box, channel_sum, chosen, floats
from model.classical.flow import stays_inside, warp

FADE = 0.98  # of what is known, each frame that it is covered
_NOISE = 0.01  # least standard deviation of a channel: grain, compression, resampling
# Share of pixels below which the noise around a place is not measured.
_FEW = float(np.float32(1e-4))


@dataclass(frozen=True)
class BackgroundLayer:
    """The background of one frame.

    Attributes:
        colours: H×W×3, in whatever it is to be compared in; for `density` that is scaled Lab.
        known: H×W, 0 = never seen … 1 = seen in this frame.
    """

    colours: Image
    known: Image

    def moved(self, back: Image) -> BackgroundLayer:
        """The layer seen from the next frame; ``back`` is the background's motion."""
        known = warp(self.known, back) * stays_inside(back) * FADE
        return BackgroundLayer(warp(self.colours, back), known)

    def with_seen(self, colours: Image, seen: Mask) -> BackgroundLayer:
        """The layer after the pixels of ``seen`` were seen to be background."""
        return BackgroundLayer(
            chosen(seen, colours, self.colours),
            floats(arrays(seen).where(seen, 1.0, self.known)),
        )

    def density(self, colours: Image, shown: Image, radius: int) -> Image:
        """Probability density of each pixel's colour as the background here, H×W.

        Normal around the layer; the noise is measured within ``radius`` where ``shown`` (0…1) says
        that the frame surely shows the layer. Per unit of scaled Lab volume.
        """
        error = channel_sum((colours - self.colours) ** 2)
        weight = shown * self.known
        least = float(np.float32(_NOISE**2))
        noise = (box(error * weight, radius) + _FEW * least) / (box(weight, radius) + _FEW)
        of = arrays(noise)
        variance = of.clip(noise, least, None)
        distance = of.clip(blur(error / variance), None, 60)  # beyond, exp would underflow
        return floats(of.exp(-distance / 2) / (2 * math.pi * variance) ** 1.5)
