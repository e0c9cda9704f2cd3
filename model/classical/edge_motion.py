"""How much wider a shape's edge is for what moves: from optical flow to the neighbouring frames.

Between two frames a point moves by its flow. While the shutter is open it smears over a part of
that way, over all of it at most, to both sides of where it is drawn: by half of it. A shape drawn
roughly on one frame is also drawn a little early or late. So the edge is widened by half of the
way, of the faster neighbour, of the fastest point near by: at an edge, flow may be that of what
stands still beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from model.classical.filters import highest, resized
from model.classical.flow import length, luminance, motion
from model.classical.working_size import WorkingSize

_SMEARED = 0.5
_NEAR = 6  # pixels of a 640×360 picture, as all of these
_MOST = 24.0
# The way there and back must end where it began, up to this and a share of the way.
_ERROR, _ERROR_SHARE = 1.0, 0.1


def edge_motion(
    picture: torch.Tensor, neighbours: Sequence[torch.Tensor]
) -> npt.NDArray[np.float32]:
    """By how many pixels edges are to be widened, to either side.

    Args:
        picture: float32 1×3×H×W, 0…1, encoded.
        neighbours: the same of the frame before and the one after, as far as there are any.

    Returns:
        float32 H×W; 0 where nothing moves, and if there are no neighbours.
    """
    height, width = picture.shape[-2:]
    size = WorkingSize.of(height, width)
    now = luminance(size.reduce(picture))
    most = np.zeros(now.shape, np.float32)
    for other in neighbours:
        found = motion(luminance(size.reduce(other)), now)
        way = length(found.back)
        # What cannot be followed there and back tells nothing.
        sure = found.error <= _ERROR + _ERROR_SHARE * way
        most = np.maximum(most, np.where(sure, way, 0))
    wide = np.minimum(_SMEARED * highest(most, size.radius(_NEAR)), size.pixels(_MOST))
    wide = resized(wide, height, width, by_area=False)
    return np.asarray(wide * (width / size.columns), np.float32)
