"""Translucent cloth: veils, curtains and scarves with folds and a hem."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.synthetic.painting import (
    SIZE,
    Picture,
    Points,
    blob,
    filled,
    noise,
    texture,
    tone,
    whole,
)


def cloth(rng: np.random.Generator, photographs: Sequence[Picture], frames: int) -> Picture:
    """T×SIZE×SIZE×4. Where a fold turns away from the eye, more threads lie behind each other.

    A cloth that lets through ``1 − a`` square on lets through ``(1 − a)^(1/cos)`` at an angle,
    and the square of that where it lies double.
    """
    outline, hang = _outline(rng)
    inside = filled(outline).astype(np.float32) / 255
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    turn = rng.normal(0, 0.25) if hang else rng.uniform(0, np.pi)
    sheer = float(rng.uniform(0.15, 0.7))
    across = x * np.cos(turn) + y * np.sin(turn)
    down = -x * np.sin(turn) + y * np.cos(turn)
    across = across + rng.uniform(3, 16) * noise(rng, 2, octaves=2)
    if hang and rng.random() < 0.5:  # gathered at the top
        gather = np.clip(down / SIZE, 0, 1) * rng.uniform(0.3, 0.9)
        across = (across - SIZE / 2) / (0.4 + gather) + SIZE / 2
    waves = [
        (rng.uniform(40, 160) / (1 + i), rng.uniform(0, 6.3), rng.uniform(0.4, 1) / (1 + 0.5 * i))
        for i in range(4)
    ]
    deep = rng.uniform(0.5, 2.4)
    crease = rng.uniform(0, 0.25) * noise(rng, 14, octaves=3)
    pace = rng.uniform(0.03, 0.2) * rng.choice([-1, 1])
    double, soft = rng.uniform(0.9, 2.5), rng.uniform(1, 5)
    weave = rng.uniform(0, 0.08) if rng.random() < 0.4 else 0.0
    pitch = rng.uniform(2.6, 6)
    threads = np.sin(across * 2 * np.pi / pitch) * np.sin(down * 2 * np.pi / pitch)
    distance = cv2.distanceTransform((inside > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    hem = np.clip(rng.uniform(2, 12) - distance, 0, 1) if rng.random() < 0.75 else 0
    dye = texture(rng, photographs)
    if rng.random() < 0.65:
        dye = np.broadcast_to(tone(rng, photographs).astype(np.float32), dye.shape)
        if rng.random() < 0.5:
            dye = 0.3 * dye + 165
    light = rng.choice([-1, 1]) * rng.uniform(0.1, 0.35)
    made = []
    for frame in range(frames):
        slope = crease.copy()
        for period, phase, height in waves:
            slope += height * np.cos(
                across * 2 * np.pi / period + phase + pace * frame * 60 / period
            )
        slope = slope * deep
        layers = np.sqrt(1 + slope**2) * (1 + np.clip((np.abs(slope) - double) * soft, 0, 1))
        clear = np.power(np.float32(1 - sheer), layers) * (1 - weave * threads)
        alpha = np.maximum(1 - np.clip(clear, 0.02, 0.97), hem) * inside
        shade = 0.85 + light * slope / np.sqrt(1 + slope**2) + 0.1 * (layers - 1)
        code = np.rint(255 * alpha).astype(np.uint8)
        made.append(whole(dye * np.clip(shade, 0.25, 1.5)[..., None], code))
    return np.stack(made)


def _outline(rng: np.random.Generator) -> tuple[Points, bool]:
    """A hanging sheet, a scarf or a shred, and whether it hangs."""
    sort = rng.random()
    s = np.linspace(0, 1, 60)
    if sort < 0.45:
        top, low = rng.uniform(60, 250), rng.uniform(180, 285)
        high = rng.uniform(30, 120)
        foot = rng.uniform(430, 600) + rng.uniform(4, 18) * np.sin(s * rng.uniform(6, 50))
        lower = np.stack([SIZE / 2 - low + 2 * low * s, foot], 1)
        curve = rng.uniform(-20, 20) * np.sin(s * np.pi)
        left = np.stack(
            [SIZE / 2 - top + (top - low) * s**1.3 + curve, high + (foot[0] - high) * s], 1
        )
        right = np.stack(
            [SIZE / 2 + top - (top - low) * s**1.3 - curve, high + (foot[-1] - high) * s], 1
        )
        outline = np.concatenate([left, lower, right[::-1]])
        return np.clip(outline, 8, SIZE - 8), True
    if sort < 0.75:
        along = np.stack(
            [40 + 560 * s, SIZE / 2 + 120 * np.sin(s * rng.uniform(2, 7) + rng.uniform(0, 6))], 1
        )
        half = rng.uniform(35, 110) * (1 + 0.3 * np.sin(s * rng.uniform(3, 12)))
        outline = np.concatenate(
            [along - [0, 1] * half[:, None], (along + [0, 1] * half[:, None])[::-1]]
        )
        return np.clip(outline, 8, SIZE - 8), False
    return np.clip(blob(rng, rng.uniform(160, 250), rng.uniform(0.05, 0.2)), 8, SIZE - 8), False
