"""Strands with a body, and fur: thousands of lines that sway.

A strand is a line of a few points from its root. Strands gather in clumps towards their tips, curl,
vary in width and colour, and are darker at their roots; flyaways leave the clumps. Frames differ by
sway: a tip moves with the square of how far along the strand it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from training.painting import (
    FINER,
    SIZE,
    Picture,
    Plane,
    blob,
    draw,
    filled,
    fixed,
    noise,
    reduced,
    texture,
    whole,
)

_POINTS = 11  # of a strand


def hair(rng: np.random.Generator, photographs: Sequence[Picture], frames: int) -> Picture:
    """A head or body with long strands, T×SIZE×SIZE×4."""
    outline = blob(rng, rng.uniform(110, 190), rng.uniform(0.02, 0.12))
    count = int(rng.integers(500, 2200))
    roots = outline[rng.integers(len(outline), size=count)]
    middle = outline.mean(0)
    roots = middle + (roots - middle) * rng.uniform(0.55, 0.98, (count, 1))
    away = roots - middle
    away /= np.linalg.norm(away, axis=1, keepdims=True) + 1e-6
    pull = rng.uniform(0, 2 * np.pi) if rng.random() < 0.3 else np.pi / 2
    gravity = rng.uniform(0, 1.2) * np.array([np.cos(pull), np.sin(pull)])
    length = rng.uniform(50, 260) * rng.uniform(0.6, 1.25, (count, 1))
    lines = _grown(rng, roots, away, gravity, length, clumps=int(rng.integers(8, 90)))
    body = texture(rng, photographs)
    return _painted(rng, lines, outline, body, _hair_colours(rng, photographs, count), frames, 1.6)


def fur(rng: np.random.Generator, photographs: Sequence[Picture], frames: int) -> Picture:
    """An animal's outline under dense short strands, T×SIZE×SIZE×4."""
    outline = blob(rng, rng.uniform(130, 220), rng.uniform(0.03, 0.15))
    count = int(rng.integers(3500, 8000))
    middle = outline.mean(0)
    depth = 1 - rng.random((count, 1)) ** 2 * 0.9
    roots = middle + (outline[rng.integers(len(outline), size=count)] - middle) * depth
    away = roots - middle
    away /= np.linalg.norm(away, axis=1, keepdims=True) + 1e-6
    turn = rng.normal(0, 0.5) + 0.35 * noise(rng, 3, octaves=1)
    angle = _at(turn, roots)
    turned = np.stack(
        [
            away[:, 0] * np.cos(angle) - away[:, 1] * np.sin(angle),
            away[:, 0] * np.sin(angle) + away[:, 1] * np.cos(angle),
        ],
        1,
    )
    length = rng.uniform(14, 60) * rng.uniform(0.5, 1.3, (count, 1))
    gravity = rng.uniform(0, 0.8) * np.array([0.0, 1.0])
    lines = _grown(rng, roots, turned, gravity, length, clumps=int(rng.integers(80, 500)))
    body = texture(rng, photographs)
    x, y = np.clip(roots, 0, SIZE - 1).astype(int).T
    colours = body[y, x] * np.exp(rng.normal(0, rng.uniform(0.1, 0.3), (count, 1)))
    order = np.argsort(-depth[:, 0])  # the outer ones lie below
    return _painted(
        rng, lines[order], outline, body * 0.8, colours[order].clip(0, 255), frames, 1.1
    )


def _grown(
    rng: np.random.Generator,
    roots: NDArray[np.float64],
    direction: NDArray[np.float64],
    gravity: NDArray[np.float64],
    length: NDArray[np.float64],
    clumps: int,
) -> NDArray[np.float64]:
    """Strands K×P×2 in sprite pixels."""
    count = len(roots)
    s = np.linspace(0, 1, _POINTS)[None, :, None]
    spread = direction + rng.normal(0, rng.uniform(0.05, 0.35), direction.shape)
    lines = roots[:, None] + length[:, None] * (s * spread[:, None] + s**2 * gravity + 0.0)
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    waves = rng.uniform(0.3, 3.5)
    curl = rng.uniform(0, 0.09) * length[:, None] * s * np.sin(2 * np.pi * waves * s + phase)
    across = np.stack([-spread[:, 1], spread[:, 0]], 1)[:, None]
    lines = lines + curl * across
    leaders = rng.integers(count, size=clumps)
    nearest = np.empty(count, int)
    for first in range(0, count, 1024):
        part = roots[first : first + 1024]
        gaps = ((part[:, None] - roots[leaders][None]) ** 2).sum(2)
        nearest[first : first + 1024] = leaders[gaps.argmin(1)]
    tight = rng.uniform(0.2, 0.9) * (rng.random((count, 1, 1)) > 0.12)  # the others fly away
    return np.asarray(lines + tight * s**1.5 * (lines[nearest] - lines) * 0.8)


def _hair_colours(
    rng: np.random.Generator, photographs: Sequence[Picture], count: int
) -> NDArray[np.float64]:
    if rng.random() < 0.7:  # from black over brown and red to blond and grey
        base = np.array(
            [(25, 20, 18), (70, 45, 30), (120, 80, 45), (190, 150, 95), (150, 60, 30), (170,) * 3],
            float,
        )[int(rng.integers(6))]
    elif photographs:
        photo = photographs[int(rng.integers(len(photographs)))]
        base = photo[int(rng.integers(photo.shape[0])), int(rng.integers(photo.shape[1]))] * 1.0
    else:
        base = rng.uniform(10, 240, 3)
    vary = np.exp(
        rng.normal(0, rng.uniform(0.1, 0.35), (count, 1)) + rng.normal(0, 0.05, (count, 3))
    )
    return np.clip(base * vary, 0, 255)


def _painted(
    rng: np.random.Generator,
    lines: NDArray[np.float64],
    outline: Plane,
    body: NDArray[np.float32],
    colours: NDArray[np.float64],
    frames: int,
    thickness: float,
) -> Picture:
    """Draw the strands over the body, once a frame, swaying."""
    count = len(lines)
    s = np.linspace(0, 1, _POINTS)[None, :, None]
    phase = 3 * _at(noise(rng, 3, octaves=1), lines[:, 0])[:, None, None]
    swing = rng.uniform(0.02, 0.12) * np.linalg.norm(lines[:, -1] - lines[:, 0], axis=1)
    wind = rng.normal(0, 1, 2)
    wind /= np.linalg.norm(wind) + 1e-6
    pace = rng.uniform(0.3, 1.2)
    widths = np.maximum(1, rng.normal(thickness * FINER, 0.7, count)).astype(np.int64)
    inside = filled(outline)
    shade = 1 + 0.22 * noise(rng, rng.uniform(4, 14), octaves=2)[..., None]
    hold = rng.uniform(0.0, 1.0)  # of the body's own texture that shows between the strands
    under = body * (hold + (1 - hold) * 0.6)
    made = []
    for frame in range(frames):
        move = np.sin(pace * frame + phase) * swing[:, None, None] * s**2 * wind
        placed = fixed((lines + move).astype(np.float32))
        colour = cv2.resize(under.astype(np.uint8), None, fx=FINER, fy=FINER)
        cover = np.zeros((SIZE * FINER, SIZE * FINER), np.uint8)
        draw(colour, placed, widths, colours)
        draw(cover, placed, widths, np.full((count, 1), 255.0))
        alpha = np.maximum(reduced(cover), inside)
        made.append(whole(reduced(colour) * shade.astype(np.float32), alpha))
    return np.stack(made)


def _at(plane: Plane, places: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y = np.clip(np.rint(places), 0, SIZE - 1).astype(int).T
    return np.asarray(plane[y, x], np.float64)
