"""Things with sharp edges: solid shapes, wires and blades, lace."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.painting import (
    FINER,
    SIZE,
    Picture,
    blob,
    draw,
    filled,
    fixed,
    noise,
    reduced,
    texture,
    whole,
)


def solid(rng: np.random.Generator, photographs: Sequence[Picture]) -> Picture:
    """One object, smooth, jagged or a polygon, sometimes with holes; 1×SIZE×SIZE×4."""
    sort = rng.random()
    if sort < 0.5:
        outline = blob(rng, rng.uniform(110, 230), rng.uniform(0.05, 0.3))
    elif sort < 0.8:  # a polygon
        corners = int(rng.integers(3, 9))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = rng.uniform(90, 270, corners)
        outline = (SIZE / 2 + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)).astype(
            np.float32
        )
    else:  # a leaf or a flower
        angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
        petals = rng.integers(3, 14)
        reach = rng.uniform(130, 230) * (1 + rng.uniform(0.1, 0.6) * np.cos(petals * angle)) * 0.8
        reach = reach * (1 + 0.03 * np.cos(petals * 9 * angle))
        outline = (SIZE / 2 + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)).astype(
            np.float32
        )
    alpha = filled(outline)
    for _ in range(int(rng.integers(0, 7)) if rng.random() < 0.4 else 0):
        hole = blob(rng, rng.uniform(6, 50), 0.2) + rng.uniform(-150, 150, 2).astype(np.float32)
        alpha = np.minimum(alpha, 255 - filled(hole))
    if rng.random() < 0.3:
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.6, 4))
    shade = 1 + rng.uniform(0, 0.3) * noise(rng, 2, octaves=1)[..., None]
    return whole(texture(rng, photographs) * shade, np.asarray(alpha, np.uint8))[None]


def curves(rng: np.random.Generator, photographs: Sequence[Picture]) -> Picture:
    """Wires, twigs or blades of grass that taper; 1×SIZE×SIZE×4."""
    count = int(rng.integers(8, 160))
    grass = rng.random() < 0.5
    points = 19
    s = np.linspace(0, 1, points)[None, :, None]
    if grass:
        roots = np.stack([rng.uniform(60, SIZE - 60, count), rng.uniform(420, 600, count)], 1)
        angle = -np.pi / 2 + rng.normal(0, 0.35, count)
    else:
        roots = rng.uniform(80, SIZE - 80, (count, 2))
        angle = rng.uniform(0, 2 * np.pi, count)
    along = np.stack([np.cos(angle), np.sin(angle)], 1)[:, None]
    across = np.stack([-along[..., 1], along[..., 0]], 2)
    length = rng.uniform(100, 420, (count, 1, 1))
    bend = rng.normal(0, 0.35, (count, 1, 1)) * s**2 + 0.04 * np.sin(
        rng.uniform(2, 12, (count, 1, 1)) * s + rng.uniform(0, 6, (count, 1, 1))
    )
    lines = fixed((roots[:, None] + length * (s * along + bend * across)).astype(np.float32))
    thick = rng.uniform(1.5, 11) * rng.uniform(0.5, 1.3, count)
    colour = np.zeros((SIZE * FINER, SIZE * FINER, 3), np.uint8)
    cover = np.zeros(colour.shape[:2], np.uint8)
    dye = texture(rng, photographs)
    x, y = np.clip(roots, 0, SIZE - 1).astype(int).T
    tone = np.clip(dye[y, x] * np.exp(rng.normal(0, 0.2, (count, 1))), 0, 255)
    pieces = 6
    for piece in range(pieces):
        part = lines[:, piece * 3 : piece * 3 + 4]
        taper = 1 - 0.9 * piece / pieces if grass or rng.random() < 0.7 else 1
        widths = np.maximum(1, thick * FINER * taper).astype(np.int64)
        draw(colour, part, widths, np.clip(tone * (0.8 + 0.07 * piece), 0, 255))
        draw(cover, part, widths, np.full((count, 1), 255.0))
    return whole(reduced(colour).astype(np.float32), reduced(cover))[None]


def lace(rng: np.random.Generator, photographs: Sequence[Picture]) -> Picture:
    """A cloth of regular holes, bent, with a hem; 1×SIZE×SIZE×4."""
    side = SIZE * FINER
    y, x = np.mgrid[:side, :side].astype(np.float32)
    bend = rng.uniform(5, 30) * FINER
    x = x + bend * cv2.resize(noise(rng, 3, octaves=2), (side, side))
    y = y + bend * cv2.resize(noise(rng, 3, octaves=2), (side, side))
    pitch = rng.uniform(9, 34) * FINER
    turn = rng.uniform(0, np.pi)
    u = (x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / pitch
    v = (-x * np.sin(turn) + y * np.cos(turn)) * 2 * np.pi / pitch
    sort = rng.random()
    if sort < 0.4:
        field = np.cos(u) + np.cos(v)
    elif sort < 0.7:
        field = np.cos(u) + np.cos(0.5 * u + 0.866 * v) + np.cos(0.5 * u - 0.866 * v)
    else:
        field = np.maximum(np.cos(u), np.cos(v)) + 0.5 * np.cos(2 * u) * np.cos(2 * v)
    flowers = cv2.resize(noise(rng, 5, octaves=1), (side, side)) * rng.uniform(0, 0.8)
    solidity = np.quantile(field + flowers, rng.uniform(0.3, 0.7))
    edge = pitch / 6.3 / 2.2
    thread = np.clip((field + flowers - solidity) * edge + 0.5, 0, 1)
    outline = blob(rng, rng.uniform(150, 240), rng.uniform(0.05, 0.2))
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [fixed(outline)], 255, cv2.LINE_AA, 4)
    cover = (thread * mask).astype(np.uint8)
    hem = int(rng.integers(2, 10)) * FINER
    cv2.polylines(cover, [fixed(outline)], True, 255, hem, cv2.LINE_AA, 4)
    pale = rng.random() < 0.6
    dye = texture(rng, photographs)
    dye = 200 + 0.2 * dye if pale else dye
    relief = 1 - 0.25 * (1 - reduced((thread * 255).astype(np.uint8)) / 255.0)[..., None]
    return whole((dye * relief).astype(np.float32), reduced(cover))[None]
