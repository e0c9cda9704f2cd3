"""Trimap classes of one frame as propagation finds them: at working size, until they are blended.

Those of the frame's own size are made of them then: what is carried, and waits on disk, is a ninth
of that for HD.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

FIRM = 3.0  # logit of the class that was carried: a network can change its mind
_LEAST = 1e-4  # confidence is kept this far from 0 and 1, where its logit ends


@dataclass(frozen=True)
class Clues:
    """What one direction of propagation saw at a frame beside its trimap, at working size: float32
    h×w, h×w×2 or h×w×3, as `model.classical.filters` has images.

    Attributes:
        light: of the frame.
        background: in the same light, as frames gone by have shown it.
        known: 0 = it was never seen … 1 = it was seen in the frame before.
        back: from a pixel to its place in the frame before, x and y in pixels.
        forth: from a pixel of the frame before to its place in this one.
    """

    light: npt.NDArray[np.float32]
    background: npt.NDArray[np.float32]
    known: npt.NDArray[np.float32]
    back: npt.NDArray[np.float32]
    forth: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Classes:
    """Trimap classes of one frame.

    Attributes:
        carried: float32 1×4×h×w at working size, 0…1: how probable background, unknown and
            foreground are, which sums to 1; and the confidence: how much to trust it against the
            other direction.
        height, width: of the frame.
        added: float32 1×4×h×w: what a network adds to the logits of these; None = nothing.
        clues: what else was seen, if anything.
    """

    carried: Tensor
    height: int
    width: int
    added: Tensor | None = None
    clues: Clues | None = None

    def at_frame_size(self) -> tuple[Tensor, Tensor]:
        """Float32 1×3×H×W, `probability`, and 1×1×H×W, `confidence`."""
        planes = self.carried if self.added is None else torch.cat([self.carried, self.added], 1)
        if planes.shape[2:] != (self.height, self.width):
            size = (self.height, self.width)
            planes = F.interpolate(planes, size, mode="bilinear", align_corners=False)
        classes, confidence = planes[:, :3], planes[:, 3:4]
        if self.added is None:
            return classes, confidence
        logits, sure = laid_over(classes, confidence, planes[:, 4:7], planes[:, 7:])
        return logits.softmax(1), sure.sigmoid_()

    @property
    def probability(self) -> Tensor:
        """Float32 1×3×H×W at the frame's size."""
        return self.at_frame_size()[0]

    @property
    def confidence(self) -> Tensor:
        """Float32 1×1×H×W at the frame's size."""
        return self.at_frame_size()[1]


def laid_over(
    classes: Tensor, confidence: Tensor, to_classes: Tensor, to_confidence: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits of classes (N×3×H×W) and of the confidence (N×1×H×W), with what is added to them."""
    sure = torch.logit(confidence.float().clamp(_LEAST, 1 - _LEAST))
    # Added in place: at a frame's size new memory costs as much as the sum.
    return (FIRM * classes.float()).add_(to_classes), sure.add_(to_confidence)
