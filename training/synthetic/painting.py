"""What all procedural sprites are painted with: noise, textures, canvases, extended colour.

A canvas is premultiplied RGBA, `FINER` times larger than the sprite: OpenCV's anti-aliased drawing
of (r, g, b, 255) over zeros is the "over" operator, so colour and coverage come from one drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]
Points = NDArray[np.float64]  # … × 2, (x, y) in pixels of the sprite
Layer = tuple[Floats, Floats]  # premultiplied colour, 0…255, H×W×3, and alpha, 0…1, H×W×1

SIZE = 640  # pixels of a sprite's side
FINER = 3
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_RIM = 1.0  # pixels of the finer canvas that anti-aliased filling adds to a width
_ONE = 255.0


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
    return np.asarray((total - total.mean()) / (total.std() + 1e-6), np.float32)


def texture(
    rng: np.random.Generator,
    photographs: Sequence[Picture],
    size: int = SIZE,
    widest: float = 1.0,
) -> Plane:
    """A colour texture, size×size×3, 0…255: a patch of a photograph, tinted, or noise.

    Args:
        widest: share of the photograph's shorter side that a patch may have.
    """
    if photographs and rng.random() < 0.8:
        photo = photographs[int(rng.integers(len(photographs)))]
        least = min(photo.shape[:2])
        side = min(least, max(8, int(least * widest * rng.uniform(0.35, 1))))
        y = int(rng.integers(photo.shape[0] - side + 1))
        x = int(rng.integers(photo.shape[1] - side + 1))
        patch = cv2.resize(photo[y : y + side, x : x + side], (size, size)).astype(np.float32)
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        tint = np.exp(rng.normal(0, 0.18, 3) + rng.normal(0, 0.2))
        return np.asarray(np.clip(patch * tint.astype(np.float32), 0, 255), np.float32)
    base = rng.uniform(10, 230, 3)
    planes = [base[i] + rng.uniform(5, 30) * noise(rng, rng.uniform(2, 12), size) for i in range(3)]
    shade = 1 + rng.uniform(0.05, 0.25) * noise(rng, rng.uniform(2, 30), size)
    return np.asarray(np.clip(np.dstack(planes) * shade[..., None], 0, 255), np.float32)


def tone(rng: np.random.Generator, photographs: Sequence[Picture]) -> NDArray[np.float64]:
    """One colour, 0…255: of a photograph's pixel, or any."""
    if photographs and rng.random() < 0.7:
        photo = photographs[int(rng.integers(len(photographs)))]
        y, x = (int(rng.integers(side)) for side in photo.shape[:2])
        return np.asarray(photo[y, x], np.float64)
    return np.asarray(rng.uniform(10, 245, 3))


def blob(
    rng: np.random.Generator,
    radius: float,
    roughness: float,
    points: int = 240,
    middle: tuple[float, float] = (SIZE / 2, SIZE / 2),
) -> Points:
    """A closed smooth outline, P×2."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    wobble = np.zeros(points)
    for wave in range(1, 9):
        wobble += rng.normal(0, 1) * np.cos(wave * angle + rng.uniform(0, 6.3)) / wave
    stretch = rng.uniform(0.75, 1.3)
    reach = radius * np.clip(1 + roughness * wobble, 0.3, 1.8)
    x = middle[0] + reach * np.cos(angle) * stretch
    y = middle[1] + reach * np.sin(angle) / stretch
    return np.stack([x, y], 1)


def ellipse(
    middle: tuple[float, float],
    radii: tuple[float, float],
    turn: float = 0,
    points: int = 120,
) -> Points:
    """A closed outline, P×2; ``turn`` in radians."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([middle[0] + c * x - s * y, middle[1] + s * x + c * y], 1)


def canvas() -> Picture:
    """An empty one, premultiplied RGBA, FINER·SIZE on a side."""
    return np.zeros((SIZE * FINER, SIZE * FINER, 4), np.uint8)


def fixed(points: Points) -> NDArray[np.int32]:
    """Sprite coordinates to OpenCV's, on the finer canvas."""
    return np.asarray(np.rint((points * FINER + (FINER - 1) / 2) * 2**_SHIFT), np.int32)


def filled(*outlines: Points) -> Picture:
    """Coverage of the union of closed outlines, uint8 SIZE×SIZE."""
    plane = np.zeros((SIZE * FINER, SIZE * FINER), np.uint8)
    for outline in outlines:
        cv2.fillPoly(plane, [fixed(outline)], 255, cv2.LINE_AA, _SHIFT)
    return reduced(plane)


def reduced(picture: Picture) -> Picture:
    """From the finer canvas to the sprite's size."""
    return np.asarray(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def draw_ribbons(
    into: Picture,
    lines: Floats,
    widths: Floats,
    colours: Floats,
) -> None:
    """Draw K tapered ribbons one over the other, each from its first point to its last.

    Args:
        into: a `canvas`.
        lines: K×P×2, the middles.
        widths: K×P, pixels of the sprite.
        colours: K×(P−1)×3, 0…255, of the pieces between points.
    """
    along = np.gradient(lines, axis=1)
    along /= np.linalg.norm(along, axis=2, keepdims=True) + 1e-6
    half = np.maximum(widths - _RIM / FINER, 0.02)[..., None] / 2
    across = np.stack([-along[..., 1], along[..., 0]], 2) * half
    left, right = fixed(lines + across), fixed(lines - across)
    quads = np.stack([left[:, :-1], left[:, 1:], right[:, 1:], right[:, :-1]], 2)
    paint = np.concatenate([np.clip(colours, 0, 255), np.full((*colours.shape[:2], 1), _ONE)], 2)
    flat = quads.reshape(-1, 4, 2)
    for quad, colour in zip(flat, paint.reshape(-1, 4).tolist(), strict=True):
        cv2.fillConvexPoly(into, quad, colour, cv2.LINE_AA, _SHIFT)


def draw_outline(into: Picture, outline: Points, colour: Sequence[float]) -> None:
    """Fill a closed outline on a `canvas`."""
    cv2.fillPoly(into, [fixed(outline)], [*map(float, colour), _ONE], cv2.LINE_AA, _SHIFT)


def layer(into: Picture) -> Layer:
    """A `canvas` at the sprite's size."""
    small = reduced(into).astype(np.float32)
    return small[..., :3], small[..., 3:] / 255


def over(upper: Layer, lower: Layer) -> Layer:
    """One layer over another."""
    clear = 1 - upper[1]
    return upper[0] + lower[0] * clear, upper[1] + lower[1] * clear


def finished(painted: Layer, shade: Plane | None = None) -> Picture:
    """A layer as one frame of a sprite, H×W×4.

    Args:
        shade: H×W, multiplies the colour.
    """
    colour, alpha = painted
    straight = colour / np.maximum(alpha, 1 / 255)
    if shade is not None:
        straight = straight * shade[..., None]
    return whole(straight, np.rint(alpha[..., 0] * 255).astype(np.uint8))


def whole(colour: Floats, alpha: Picture) -> Picture:
    """Straight colour 0…255 and coverage as one frame of a sprite, H×W×4."""
    return np.dstack([extended(np.clip(colour, 0, 255).astype(np.uint8), alpha), alpha])


def extended(colour: Picture, alpha: Picture) -> Picture:
    """Straight colour carried on to where alpha is 0, from ever farther around.

    Args:
        colour: uint8 H×W×3, anything where alpha is 0.
        alpha: uint8 H×W.
    """
    weight = (alpha.astype(np.float32) / 255) ** 2
    weight[weight < 0.004] = 0
    sums: list[Floats] = [np.dstack([colour * weight[..., None], weight])]
    while min(sums[-1].shape[:2]) > 2:
        sums.append(np.asarray(cv2.pyrDown(sums[-1]), np.float32))
    found = sums[-1]
    for finer in sums[-2::-1]:
        up = cv2.pyrUp(found, dstsize=(finer.shape[1], finer.shape[0]))
        known = np.minimum(finer[..., 3:] * 4, 1)
        found = finer * known + up / np.maximum(up[..., 3:], 1e-6) * (1 - known) * 0.25
    straight = found[..., :3] / np.maximum(found[..., 3:], 1e-6)
    share = np.minimum(alpha.astype(np.float32) / 24, 1)[..., None]
    return np.asarray(np.clip(colour * share + straight * (1 - share), 0, 255), np.uint8)
