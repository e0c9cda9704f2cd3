"""What all procedural sprites are painted with: noise, textures, canvases, extended colour."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]

SIZE = 640  # pixels of a sprite's side
FINER = 2  # times larger than that, sprites are drawn
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def noise(rng: np.random.Generator, cells: float, size: int = SIZE, octaves: int = 4) -> Plane:
    """Smooth noise, about N(0, 1): ``cells`` features across, each octave half as large."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        count = max(2, round(cells * 2**octave))
        if count > size:
            break
        grid = rng.standard_normal((count + 3, count + 3)).astype(np.float32)
        fine = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        total += fine / 2**octave
    return np.asarray(total / (total.std() + 1e-6), np.float32)


def texture(
    rng: np.random.Generator, photographs: Sequence[Picture], size: int = SIZE
) -> NDArray[np.float32]:
    """A colour texture, size×size×3, 0…255: a patch of a photograph, tinted, or noise."""
    if photographs and rng.random() < 0.8:
        photo = photographs[int(rng.integers(len(photographs)))]
        least = min(photo.shape[:2])
        side = int(least * rng.uniform(0.35, 1))
        y = int(rng.integers(photo.shape[0] - side + 1))
        x = int(rng.integers(photo.shape[1] - side + 1))
        patch = cv2.resize(photo[y : y + side, x : x + side], (size, size)).astype(np.float32)
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        tint = np.exp(rng.normal(0, 0.18, 3) + rng.normal(0, 0.2))
        return np.clip(patch * tint.astype(np.float32), 0, 255)
    base = rng.uniform(10, 230, 3)
    planes = [base[i] + rng.uniform(5, 30) * noise(rng, rng.uniform(2, 12), size) for i in range(3)]
    shade = 1 + 0.25 * noise(rng, rng.uniform(2, 30), size)
    return np.clip(np.dstack(planes) * shade[..., None], 0, 255).astype(np.float32)


def blob(rng: np.random.Generator, radius: float, roughness: float, points: int = 240) -> Plane:
    """A closed smooth outline around the middle, P×2 (x, y) in pixels of the sprite."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    wobble = np.zeros(points)
    for wave in range(1, 9):
        wobble += rng.normal(0, 1) * np.cos(wave * angle + rng.uniform(0, 6.3)) / wave
    stretch = rng.uniform(0.75, 1.3)
    reach = radius * np.clip(1 + roughness * wobble, 0.3, 1.8)
    x = SIZE / 2 + reach * np.cos(angle) * stretch
    y = SIZE / 2 + reach * np.sin(angle) / stretch
    return np.stack([x, y], 1).astype(np.float32)


def filled(outline: Plane) -> Picture:
    """Coverage of a closed outline, uint8 SIZE×SIZE."""
    canvas = np.zeros((SIZE * FINER, SIZE * FINER), np.uint8)
    cv2.fillPoly(canvas, [fixed(outline)], 255, cv2.LINE_AA, _SHIFT)
    return reduced(canvas)


def fixed(points: Plane) -> NDArray[np.int32]:
    """Sprite coordinates to OpenCV's, on the finer canvas."""
    return np.rint(points * (FINER * 2**_SHIFT)).astype(np.int32)


def reduced(canvas: Picture) -> Picture:
    """From the finer canvas to the sprite's size."""
    return np.asarray(cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def draw(
    canvas: Picture,
    lines: NDArray[np.int32],
    widths: NDArray[np.int64],
    values: NDArray[np.float64],
) -> None:
    """Draw polylines K×P×2 (from `fixed`) one over the other, with K widths and K colours."""
    many = values.tolist()
    for line, width, value in zip(lines, widths.tolist(), many, strict=True):
        cv2.polylines(canvas, [line], False, value, width, cv2.LINE_AA, _SHIFT)


def extended(colour: Picture, alpha: Picture) -> Picture:
    """Straight colour carried on to where alpha is 0, from ever farther around.

    Args:
        colour: uint8 H×W×3, anything where alpha is 0.
        alpha: uint8 H×W.
    """
    weight = (alpha.astype(np.float32) / 255) ** 2
    weight[weight < 0.004] = 0
    sums = [np.dstack([colour * weight[..., None], weight])]
    while min(sums[-1].shape[:2]) > 2:
        sums.append(cv2.pyrDown(sums[-1]))
    found = sums[-1]
    for finer in sums[-2::-1]:
        up = cv2.pyrUp(found, dstsize=(finer.shape[1], finer.shape[0]))
        known = np.minimum(finer[..., 3:] * 4, 1)
        found = finer * known + up / np.maximum(up[..., 3:], 1e-6) * (1 - known) * 0.25
    straight = found[..., :3] / np.maximum(found[..., 3:], 1e-6)
    share = np.minimum(alpha.astype(np.float32) / 24, 1)[..., None]
    return np.clip(colour * share + straight * (1 - share), 0, 255).astype(np.uint8)


def whole(colour: NDArray[np.float32], alpha: Picture) -> Picture:
    """Colour and coverage as one frame of a sprite, H×W×4."""
    return np.dstack([extended(np.clip(colour, 0, 255).astype(np.uint8), alpha), alpha])
