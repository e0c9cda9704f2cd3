"""Trimaps carried by optical flow chained from frame to frame, and nothing else: a baseline.

The trimap of a keyframe is warped from each frame to the next with DIS flow; what the warp has
mixed becomes unknown. With several keyframes each frame has it from the nearest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from model.classical.flow import Grey, motion, warp


def chained(pictures: Sequence[Grey], painted: Mapping[int, Grey]) -> dict[int, Grey]:
    """Carry trimaps to all other frames.

    Args:
        pictures: luminance of every frame, uint8 H×W.
        painted: trimaps by the index of their frame, uint8 H×W, 0 / 128 / 255; at least one.

    Returns:
        By index, a trimap for each frame between and beyond the keyframes.
    """
    last = len(pictures) - 1
    nearest = {i: min(painted, key=lambda k: (abs(k - i), k)) for i in range(last + 1)}
    carried: dict[int, Grey] = {}
    for key, trimap in painted.items():
        mine = [i for i, its in nearest.items() if its == key]
        for order in (range(key, max(mine) + 1), range(key, min(mine) - 1, -1)):
            way = trimap
            for before, now in pairwise(order):
                back = motion(pictures[before], pictures[now]).back
                warped = warp(way.astype(np.float32), back)
                way = np.where(warped < 1, 0, np.where(warped > 254, 255, 128)).astype(np.uint8)
                carried[now] = way
    return {i: carried[i] for i in sorted(carried) if i not in painted}
