"""Things one sees through: smoke, fire, translucent cloth."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.painting import SIZE, Picture, blob, filled, noise, texture, whole


def smoke(rng: np.random.Generator, photographs: Sequence[Picture], frames: int) -> Picture:
    """Smoke or fire that drifts; often nowhere opaque; T×SIZE×SIZE×4."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / SIZE - 0.5
    lumps = [
        (rng.normal(0, 0.14), rng.normal(0, 0.14), rng.uniform(0.1, 0.26))
        for _ in range(int(rng.integers(1, 6)))
    ]
    fall = sum(np.exp(-(((x - a) ** 2 + (y - b) ** 2) / (2 * r * r))) for a, b, r in lumps)
    fall = fall / fall.max()
    layers = noise(rng, rng.uniform(2, 5), octaves=6), noise(rng, rng.uniform(2, 5), octaves=6)
    drift = rng.normal(0, 3, (2, 2))
    peak = rng.uniform(0.25, 1.0) if rng.random() < 0.6 else rng.uniform(1.0, 2.5)
    wisp = rng.uniform(0.15, 0.5)
    fire = rng.random() < 0.25
    border = np.clip((0.49 - np.maximum(abs(x), abs(y))) / 0.06, 0, 1)
    made = []
    for frame in range(frames):
        moved = [
            cv2.warpAffine(
                layer,
                np.array([[1, 0, frame * dx], [0, 1, frame * dy]], np.float32),
                (SIZE, SIZE),
                borderMode=cv2.BORDER_REFLECT,
            )
            for layer, (dx, dy) in zip(layers, drift, strict=True)
        ]
        turbulence = 0.5 * (moved[0] + moved[1])
        density = np.clip(fall * (1 + wisp * 2 * turbulence) - 0.12, 0, None) * peak * border
        alpha = 1 - np.exp(-2.2 * density)
        alpha = np.where(alpha > 0.985, 1, alpha)
        heat = np.clip(density * 1.3, 0, 1)[..., None]
        if fire:
            colour = 255 * np.concatenate([heat**0.3, heat**0.9, heat**2.2], 2)
        else:
            colour = np.full((SIZE, SIZE, 3), 1.0) * rng_colour(rng, frame, made)
            colour = colour * (1 + 0.12 * turbulence[..., None])
        code = np.rint(255 * alpha).astype(np.uint8)
        made.append(whole(np.asarray(colour, np.float32), code))
    return np.stack(made)


def rng_colour(
    rng: np.random.Generator, frame: int, made: Sequence[Picture]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Grey mostly, a little tinted: the first frame's colour stays."""
    if frame:
        return made[0][SIZE // 2, SIZE // 2, :3].astype(np.float64)
    return np.asarray(rng.uniform(25, 245) * np.exp(rng.normal(0, 0.07, 3)), np.float64)


def cloth(rng: np.random.Generator, photographs: Sequence[Picture]) -> Picture:
    """A veil with folds and an opaque hem; 1×SIZE×SIZE×4."""
    outline = blob(rng, rng.uniform(150, 240), rng.uniform(0.05, 0.2))
    inside = filled(outline).astype(np.float32) / 255
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    across = x * np.cos(turn) + y * np.sin(turn) + 25 * noise(rng, 2, octaves=2)
    fold = np.abs(np.sin(across * 2 * np.pi / rng.uniform(50, 180)))
    thin = rng.uniform(0.15, 0.6)
    veil = thin + (1 - thin) * rng.uniform(0.2, 0.9) * fold ** rng.uniform(2, 6)
    distance = cv2.distanceTransform((inside > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    hem = np.clip(1.5 - distance / rng.uniform(2, 7), 0, 1) if rng.random() < 0.7 else 0
    alpha = np.clip(np.maximum(veil, hem), 0, 1) * inside
    dye = texture(rng, photographs)
    if rng.random() < 0.6:
        dye = np.broadcast_to(rng.uniform(40, 250, 3).astype(np.float32), dye.shape)
    colour = dye * (0.75 + 0.35 * fold[..., None])
    return whole(np.asarray(colour, np.float32), np.rint(255 * alpha).astype(np.uint8))[None]
