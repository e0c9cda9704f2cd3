"""The background behind a frame as the frames after it show it, once all their trimaps are known.

With one keyframe trimaps are carried one way, and each frame knows the background of those before
it alone. On a way back over the same frames, by what is known of their motion already, each learns
of that of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model.classical.anchor import carried_classes
from model.classical.background_layer import BackgroundLayer
from model.classical.evidence import shows_background
from model.classical.filters import Image, arrays, floats, placed
from model.classical.flow import extend, motion_of
from model.classical.working_size import WorkingSize
from model.trimap_classes import Clues


@dataclass(frozen=True)
class Hindsight:
    """What is carried from frame to frame; its size depends on the working size alone.

    Attributes:
        clues: of the last frame, from the way there.
        trimap: of it, 0, 0.5 or 1.
        behind: its background, from the frames behind it on the way there.
    """

    clues: Clues
    trimap: Image
    behind: BackgroundLayer


def look_back(
    memory: Hindsight | None, clues: Clues, trimap: npt.NDArray[np.uint8]
) -> tuple[Hindsight, Clues]:
    """Go back to the frame before.

    Args:
        memory: of the frame after; None to begin.
        clues: of this frame, from the way there.
        trimap: uint8 H×W, the carried one: 0, 128, 255; numpy's, wherever the clues are.

    Returns:
        The memory, and this frame's clues with the background that frames after it have shown;
        none of it to begin with.
    """
    size = WorkingSize.of(*trimap.shape)
    small = carried_classes(placed(trimap, clues.light), size)
    behind = BackgroundLayer(clues.light, arrays(small).zeros_like(small))
    if memory is not None:
        move = motion_of(memory.clues.forth, memory.clues.back)
        shown = shows_background(memory.trimap, None, move, size)
        behind = memory.behind.moved(extend(move.back, floats(shown)))
    seen = replace(clues, background=behind.colours, known=behind.known)
    return Hindsight(clues, small, behind.with_seen(clues.light, small == 0)), seen
