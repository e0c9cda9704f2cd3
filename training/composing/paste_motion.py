"""How a still foreground moves over its background: the random walk of the published data set.

The centre of the paste starts in the middle of the frame and walks at 0.5 to 2 px a frame inside 5
to 95 % of it, turning at up to 1° a frame inside ±60° and zooming by up to 0.015 a frame between
0.9 and 1.1, from 0.9 on. All speeds are drawn anew every 20 frames. At a border the walk and the
turn come back; the zoom stays there. Two things differ from the published tool: places are not cut
to whole pixels, which made slow walks stutter, and no frame is beyond a limit, which there the step
after a bounce could be.

Source: nowsyn/DVM, ``data/video_processor.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

INSIDE = (0.05, 0.95)  # of the frame's width and height
SPEEDS = (0.5, 2.0)  # px a frame
TURNS = (-1.0, 1.0)  # degrees a frame
ANGLES = (-60.0, 60.0)
ZOOM_SPEEDS = (-0.015, 0.015)  # a frame
ZOOMS = (0.9, 1.1)
LEG_FRAMES = 20


@dataclass(frozen=True)
class Leg:
    """Speeds from one frame on: px a frame and its direction in degrees, degrees a frame, zoom a
    frame."""

    first: int
    speed: float
    direction: float
    turn: float
    zoom: float


@dataclass(frozen=True)
class Pose:
    """Where a foreground is: its centre in pixels of the frame (0 is the middle of the first
    pixel), its angle in degrees, its scale."""

    x: float
    y: float
    angle: float
    zoom: float


def draw_legs(rng: np.random.Generator, frames: int) -> tuple[Leg, ...]:
    """The speeds for a clip of so many frames."""
    return tuple(
        Leg(
            first,
            speed=float(rng.uniform(*SPEEDS)),
            direction=float(rng.uniform(0, 360)),
            turn=float(rng.uniform(*TURNS)),
            zoom=float(rng.uniform(*ZOOM_SPEEDS)),
        )
        for first in range(0, frames, LEG_FRAMES)
    )


def poses(legs: Sequence[Leg], width: int, height: int, frames: int) -> tuple[Pose, ...]:
    """The walk in a frame of ``width`` × ``height`` pixels; one pose a frame."""
    across, down = (tuple(share * side for share in INSIDE) for side in (width, height))
    x, y, angle, zoom = (width - 1) / 2, (height - 1) / 2, 0.0, ZOOMS[0]
    leg = legs[0]
    step_x, step_y, turn = _speeds(leg)
    found = []
    for frame in range(frames):
        if frame:
            x, step_x = _bounced(x + step_x, step_x, across[0], across[1])
            y, step_y = _bounced(y + step_y, step_y, down[0], down[1])
            angle, turn = _bounced(angle + turn, turn, *ANGLES)
            zoom = min(max(zoom + leg.zoom, ZOOMS[0]), ZOOMS[1])
        found.append(Pose(x, y, angle, zoom))
        following = frame // LEG_FRAMES + 1
        if (frame + 1) % LEG_FRAMES == 0 and following < len(legs):
            leg = legs[following]
            step_x, step_y, turn = _speeds(leg)
    return tuple(found)


def _speeds(leg: Leg) -> tuple[float, float, float]:
    way = math.radians(leg.direction)
    return leg.speed * math.cos(way), leg.speed * math.sin(way), leg.turn


def _bounced(place: float, speed: float, low: float, high: float) -> tuple[float, float]:
    """Mirrored at a limit that was passed; in a frame too small for that, held at it."""
    if low <= place <= high:
        return place, speed
    mirrored = 2 * low - place if place < low else 2 * high - place
    return min(max(mirrored, low), high), -speed
