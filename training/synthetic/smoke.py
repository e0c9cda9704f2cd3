"""Smoke, steam, fog and fire that drift; often nowhere opaque."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.synthetic.painting import SIZE, Picture, Plane, noise, whole

_ROOM = SIZE * 3 // 2  # side of the clouds that are looked at through a moving window


def smoke(rng: np.random.Generator, photographs: Sequence[Picture], frames: int) -> Picture:
    """T×SIZE×SIZE×4. A cloud's density, seen through a turning warp, within an envelope."""
    fire = rng.random() < 0.25
    wispy = rng.random() < 0.4
    cells = rng.uniform(2, 6)
    clouds = [
        noise(rng, cells * 1.5, _ROOM, octaves=7),
        noise(rng, cells * 1.5, _ROOM, octaves=7) + 0.6 * noise(rng, cells * 6, _ROOM, octaves=5),
    ]
    bends = [noise(rng, 3.5, octaves=2) for _ in range(4)]
    swirl = rng.uniform(4, 26)
    rise = np.array([rng.normal(0, 2), -rng.uniform(1, 9) if fire or rng.random() < 0.7 else 0.5])
    pace = rng.uniform(0.05, 0.25)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    envelope = _flame(rng, x, y) if fire else _envelope(rng, x, y)
    thick = rng.uniform(0.3, 1.2) if rng.random() < 0.6 else rng.uniform(1.5, 4.0)
    ragged = rng.uniform(0.4, 0.9)
    blur = rng.uniform(0.8, 3)
    grey = _grey(rng)
    lit = rng.uniform(0, 2 * np.pi)
    relief = rng.uniform(0, 0.22)
    burnt = rng.uniform(0.3, 0.9)
    edge = np.minimum(np.minimum(x, SIZE - 1 - x), np.minimum(y, SIZE - 1 - y))
    border = np.clip((edge - 3) / 50, 0, 1) ** 2
    made = []
    for frame in range(frames):
        c, s = np.float32(np.cos(pace * frame)), np.float32(np.sin(pace * frame))
        right, down = bends[0] * c + bends[1] * s, bends[2] * c + bends[3] * s
        field = np.zeros((SIZE, SIZE), np.float32)
        for part, cloud in enumerate(clouds):
            ahead = rise * frame * (1, 0.6)[part]
            start = (_ROOM - SIZE) / 2
            field += (
                cv2.remap(
                    cloud,
                    x + start + swirl * right - np.float32(ahead[0]),
                    y + start + swirl * down - np.float32(ahead[1]),
                    cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REFLECT,
                )
                * (0.7, 0.5)[part]
            )
        shape = (1 - np.abs(field)) * 1.6 - 0.7 if wispy else field * ragged
        density = np.clip(envelope * (1.1 + shape) - 0.2, 0, None) * border * thick
        density = cv2.GaussianBlur(density, (0, 0), blur)
        alpha = 1 - np.exp(-2.0 * density)
        alpha = np.where(alpha > 0.985, 1, alpha)
        if fire:
            heat = np.clip(density / thick * burnt + 0.08 * field, 0.02, 1)[..., None]
            colour = 255 * np.concatenate([heat**0.2, heat**0.9, heat**2.6], 2)
        else:
            soft = cv2.GaussianBlur(density, (0, 0), 7)
            across, along = (cv2.Sobel(soft, cv2.CV_32F, *one) for one in ((1, 0), (0, 1)))
            slope = across * np.cos(lit) + along * np.sin(lit)
            slope = slope / (np.abs(slope).mean() * 3 + 1e-6)
            light = 1 + relief * np.tanh(slope) + 0.08 * field
            colour = grey * light[..., None]
        made.append(whole(np.asarray(colour, np.float32), _codes(alpha)))
    return np.stack(made)


def _codes(alpha: Plane) -> Picture:
    return np.rint(255 * np.clip(alpha, 0, 1)).astype(np.uint8)


def _grey(rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """White steam, grey or black smoke, dust; seldom coloured."""
    level = np.array([rng.uniform(200, 250), rng.uniform(90, 200), rng.uniform(15, 70)])[
        int(rng.choice(3, p=[0.45, 0.3, 0.25]))
    ]
    strength = 0.4 if rng.random() < 0.12 else 0.05
    tint = np.exp(rng.normal(0, strength, 3))
    if rng.random() < 0.15:
        tint = np.array([1.0, 0.85, 0.65])
    return np.asarray(np.clip(level * tint, 5, 250))


def _envelope(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Where smoke is, 0…1: puffs, a plume that rises, a bank of fog."""
    sort, half = rng.random(), np.float32(0.5)
    x, y = np.float32(1 / SIZE) * x - half, np.float32(1 / SIZE) * y - half
    if sort < 0.45:
        total = np.zeros_like(x)
        for _ in range(int(rng.integers(1, 7))):
            a, b = rng.normal(0, 0.13, 2)
            r = rng.uniform(0.07, 0.24)
            total = np.maximum(total, np.exp(-(((x - a) ** 2 + (y - b) ** 2) / (2 * r * r))))
        return np.asarray(total, np.float32)
    if sort < 0.8:
        height = np.clip(0.46 - y, 0, 1)
        lean, sway = rng.uniform(-0.35, 0.35), rng.uniform(0, 0.09)
        middle = lean * height + sway * np.sin(height * rng.uniform(4, 13) + rng.uniform(0, 6))
        wide = rng.uniform(0.015, 0.06) + height * rng.uniform(0.06, 0.3)
        fade = np.clip(height / 0.05, 0, 1) * np.clip((0.93 - height) / 0.5, 0, 1)
        return np.asarray(np.exp(-(((x - middle) / wide) ** 2)) * fade, np.float32)
    thick = rng.uniform(0.08, 0.22)
    drop = rng.uniform(-0.2, 0.25) + 0.05 * np.sin(x * rng.uniform(3, 12))
    return np.asarray(np.exp(-(((y - drop) / thick) ** 2)), np.float32)


def _flame(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Tongues that narrow upwards from a common bed."""
    half = np.float32(0.5)
    x, y = np.float32(1 / SIZE) * x - half, np.float32(0.92) - np.float32(1 / SIZE) * y
    total = np.zeros_like(x)
    for _ in range(int(rng.integers(1, 5))):
        at, tall = rng.normal(0, 0.1), rng.uniform(0.4, 0.85)
        up = np.clip(y / tall, 0, 1)
        wide = rng.uniform(0.07, 0.2) * (1 - up) ** 0.7 + 0.004
        lean = rng.normal(0, 0.15) * up**2
        tongue = np.exp(-(((x - at - lean) / wide) ** 2)) * (1 - up**3) * (y > 0)
        total = np.maximum(total, tongue * np.clip(y / 0.06, 0, 1))
    return np.asarray(total * 1.3, np.float32)
