"""The background behind a frame as the frames after it show it, once all their trimaps are known.

With one keyframe trimaps are carried one way, and each frame knows the background of those before
it alone. A way back over the same frames, with nothing to be found but how the background moves,
knows that of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from model.classical.anchor import three_classes
from model.classical.background_layer import BackgroundLayer
from model.classical.evidence import shows_background
from model.classical.filters import Image
from model.classical.flow import Grey, extend, luminance, motion
from model.classical.working_size import WorkingSize
from model.face import Clues, Frame


@dataclass(frozen=True)
class Hindsight:
    """What is carried from frame to frame; its size depends on the working size alone.

    Attributes:
        levels: luminance of the last frame.
        trimap: its trimap, 0, 0.5 or 1.
        behind: its background.
    """

    levels: Grey
    trimap: Image
    behind: BackgroundLayer


def look_back(
    memory: Hindsight | None, frame: Frame, trimap: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
) -> tuple[Hindsight, Clues]:
    """Go on to the next frame.

    Args:
        memory: None to begin.
        frame: it needs no trimap.
        trimap: uint8 H×W, the carried one: 0, 128, 255.

    Returns:
        The memory after this frame, and what the frames before it (on this way) show of what is
        behind it; nothing to begin with.
    """
    size = WorkingSize.of(*trimap.shape)
    light, levels = size.reduce(frame.light), luminance(size.reduce(frame.picture))
    classes = np.where(trimap == 128, np.float32(0.5), trimap / np.float32(255))
    small = three_classes(size.reduce(torch.from_numpy(classes)[None, None]))
    if memory is None:
        behind = BackgroundLayer(light, np.zeros_like(small))
    else:
        move = motion(memory.levels, levels)
        nothing = np.zeros(small.shape, np.bool_)
        shown = shows_background(memory.trimap, nothing, move, size)
        behind = memory.behind.moved(extend(move.back, shown.astype(np.float32)))
    clues = Clues(light, behind.colours, behind.known)
    return Hindsight(levels, small, behind.with_seen(light, small == 0)), clues
