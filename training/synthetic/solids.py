"""Things with sharp edges, some with holes: leaves, stones, letters, gratings, wheels, hands."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic.painting import (
    FINER,
    SIZE,
    Picture,
    Plane,
    Points,
    blob,
    ellipse,
    filled,
    noise,
    reduced,
    texture,
    whole,
)

Array = NDArray[np.float64]


def solid(rng: np.random.Generator, photographs: Sequence[Picture]) -> Picture:
    """One object, 1×SIZE×SIZE×4."""
    sorts = (_lump, _polygon, _leaf, _flower, _stone, _letters, _frame, _wheel, _limbs, _vessel)
    sort = sorts[
        int(rng.choice(len(sorts), p=[0.14, 0.1, 0.14, 0.08, 0.1, 0.1, 0.1, 0.08, 0.1, 0.06]))
    ]
    alpha = _turned(rng, sort(rng)) if sort is not _limbs else sort(rng)
    if rng.random() < 0.15:
        for _ in range(int(rng.integers(1, 9))):
            hole = blob(rng, rng.uniform(6, 40), 0.2) + rng.uniform(-150, 150, 2)
            alpha = np.minimum(alpha, 255 - filled(hole))
    if rng.random() < 0.15:  # out of focus at its edge
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.6, 4)), np.uint8)
    return whole(texture(rng, photographs) * _lit(rng, alpha)[..., None], alpha)[None]


def _lit(rng: np.random.Generator, alpha: Picture) -> Plane:
    """Light on a body that is round towards its edges."""
    deep = cv2.distanceTransform((alpha > 127).astype(np.uint8), cv2.DIST_L2, 5)
    reach = rng.uniform(4, 60)
    height = np.sqrt(1 - (1 - np.minimum(deep / reach, 1)) ** 2) * reach
    height = cv2.GaussianBlur(height.astype(np.float32), (0, 0), 2)
    across = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    along = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    turn = rng.uniform(0, 2 * np.pi)
    slope = np.tanh(across * np.cos(turn) + along * np.sin(turn))
    shade = 1 + rng.uniform(0, 0.45) * slope + rng.uniform(0, 0.2) * noise(rng, 2, octaves=2)
    return np.asarray(np.clip(shade, 0.2, 1.8), np.float32)


def _turned(rng: np.random.Generator, alpha: Picture) -> Picture:
    middle = SIZE / 2, SIZE / 2
    turn = np.asarray(cv2.getRotationMatrix2D(middle, rng.uniform(0, 360), 1), np.float64)
    if rng.random() < 0.5:
        turn = turn * rng.uniform(0.75, 1.0)
        turn[:, 2] += SIZE / 2 - turn @ np.array([*middle, 1])
    return np.asarray(cv2.warpAffine(alpha, turn, (SIZE, SIZE), flags=cv2.INTER_CUBIC), np.uint8)


def _polar(angle: Array, reach: Array) -> Points:
    points = SIZE / 2 + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.asarray(np.clip(points, 12, SIZE - 12))


def _lump(rng: np.random.Generator) -> Picture:
    return filled(np.clip(blob(rng, rng.uniform(110, 230), rng.uniform(0.05, 0.3)), 16, SIZE - 16))


def _polygon(rng: np.random.Generator) -> Picture:
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    return filled(_polar(angle, rng.uniform(90, 290, len(angle))))


def _stone(rng: np.random.Generator) -> Picture:
    """A rough outline: a midpoint is put aside, again and again."""
    corners = blob(rng, rng.uniform(130, 220), 0.2, 9)
    rough = rng.uniform(0.06, 0.25)
    for _ in range(6):
        after = np.roll(corners, -1, 0)
        gap = np.linalg.norm(after - corners, axis=1, keepdims=True)
        middle = (corners + after) / 2 + rng.normal(0, rough, corners.shape) * gap
        corners = np.stack([corners, middle], 1).reshape(-1, 2)
    return filled(np.clip(corners, 12, SIZE - 12))


def _leaf(rng: np.random.Generator) -> Picture:
    """Leaves with toothed edges along a stem, or one alone."""
    teeth, tooth = rng.integers(0, 40), rng.uniform(0, 0.12)
    slim = rng.uniform(0.15, 0.45)
    s = np.linspace(0, 1, 240)
    half = slim * np.sin(np.pi * s ** rng.uniform(0.6, 1.1)) ** rng.uniform(0.7, 1.5)
    half = half * (1 + tooth * np.abs(np.mod(teeth * s, 1) * 2 - 1))
    curve = rng.normal(0, 0.15) * s**2

    def leaf(root: Points, turn: float, length: float) -> Points:
        upper = np.stack([s, curve + half], 1)
        lower = np.stack([s, curve - half], 1)[::-1]
        c, n = np.cos(turn), np.sin(turn)
        turned = np.concatenate([upper, lower]) @ np.array([[c, n], [-n, c]])
        return np.asarray(turned * length + root)

    stem = rng.uniform(2, 7)
    if rng.random() < 0.45:
        root = np.array([70.0, SIZE / 2])
        high = SIZE / 2
        stalk = np.array(
            [[20, high - stem], [95, high - stem], [95, high + stem], [20, high + stem]]
        )
        return filled(leaf(root, 0.0, 500), stalk)
    pairs = int(rng.integers(2, 7))
    parts = [leaf(np.array([SIZE / 2, 225.0]), -np.pi / 2, 200)]
    for at in np.linspace(260, 520, pairs):
        lean = rng.uniform(0.1, 0.6)
        long = rng.uniform(150, 260)
        parts.append(leaf(np.array([SIZE / 2, at]), -lean, long))
        parts.append(leaf(np.array([SIZE / 2, at + rng.uniform(0, 20)]), np.pi + lean, long))
    x = SIZE / 2
    parts.append(
        np.array([[x - stem / 2, 210], [x + stem / 2, 210], [x + stem, 625], [x - stem, 625]])
    )
    return filled(*(np.clip(part, 8, SIZE - 8) for part in parts))


def _flower(rng: np.random.Generator) -> Picture:
    angle = np.linspace(0, 2 * np.pi, 900, endpoint=False)
    petals = int(rng.integers(3, 18))
    reach = rng.uniform(200, 270) * (
        1 - rng.uniform(0.1, 0.75) * np.abs(np.sin(petals / 2 * angle)) ** rng.uniform(0.5, 3)
    )
    return filled(_polar(angle, reach * (1 + rng.uniform(0, 0.03) * np.cos(petals * 9 * angle))))


def _letters(rng: np.random.Generator) -> Picture:
    """Signs and letters: strokes of one width that meet and enclose."""
    plane = np.zeros((SIZE * FINER, SIZE * FINER), np.uint8)
    font = int(
        rng.choice(
            [cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX]
        )
    )
    text = "".join(rng.choice(list("ABCDEGHKMOQRSWX&%#@2348"), int(rng.integers(1, 4))))
    thick = int(rng.integers(6, 70))
    (wide, high), _ = cv2.getTextSize(text, font, 10, thick)
    scale = 10 * 0.72 * SIZE * FINER / max(wide, high)
    (wide, high), _ = cv2.getTextSize(text, font, scale, thick)
    foot = ((SIZE * FINER - wide) // 2, (SIZE * FINER + high) // 2)
    cv2.putText(plane, text, foot, font, scale, 255, thick, cv2.LINE_AA)
    return reduced(plane)


def _frame(rng: np.random.Generator) -> Picture:
    """A frame, a grating, a fence: bars around holes."""
    columns, rows = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    half = np.array([rng.uniform(150, 250), rng.uniform(120, 230)])
    bar = rng.uniform(0.05, 0.45)
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    alpha = filled(corner * half + SIZE / 2)
    cell = 2 * half / [columns, rows]
    round_ = rng.random() < 0.3
    for i in range(columns):
        for j in range(rows):
            middle = SIZE / 2 - half + cell * [i + 0.5, j + 0.5]
            size = cell / 2 * (1 - bar)
            hole = (
                ellipse((middle[0], middle[1]), (size[0], size[1]))
                if round_
                else corner * size + middle
            )
            alpha = np.minimum(alpha, 255 - filled(hole))
    return alpha


def _wheel(rng: np.random.Generator) -> Picture:
    """A gear or a wheel with spokes."""
    angle = np.linspace(0, 2 * np.pi, 1440, endpoint=False)
    teeth = int(rng.integers(8, 40))
    outer = rng.uniform(190, 265)
    tooth = rng.uniform(0, 0.14) if rng.random() < 0.6 else 0.0
    profile = np.clip(np.sin(teeth * angle) * 3, -1, 1)
    alpha = filled(_polar(angle, outer * (1 + tooth * profile) / (1 + tooth)))
    rim, hub = outer * rng.uniform(0.6, 0.9), outer * rng.uniform(0.1, 0.35)
    spokes, thick = int(rng.integers(3, 12)), rng.uniform(3, 28)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) - (SIZE - 1) / 2
    reach, way = np.hypot(x, y), np.arctan2(y, x)
    beside = np.abs(np.sin(spokes * way / 2)) * reach * 2 / spokes
    hole = np.minimum(np.minimum(rim - reach, reach - hub), beside - thick / 2)
    return np.asarray(np.minimum(alpha, 255 * (1 - np.clip(hole + 0.5, 0, 1))), np.uint8)


def _limbs(rng: np.random.Generator) -> Picture:
    """A hand, a puppet, a tree trunk: limbs that taper from a body."""
    trunk = blob(rng, rng.uniform(60, 110), 0.1, middle=(SIZE / 2, rng.uniform(330, 430)))
    parts = [trunk]
    for angle in np.linspace(-np.pi - 0.3, 0.3, int(rng.integers(3, 8))):
        s = np.linspace(0, 1, 20)
        way = angle + rng.normal(0, 0.15) + rng.normal(0, 0.5) * s
        long = rng.uniform(150, 260)
        step = np.stack([np.cos(way), np.sin(way)], 1) * long / 20
        line = trunk.mean(0) + np.cumsum(step, 0)
        thick = rng.uniform(14, 40) * (1 - rng.uniform(0.1, 0.8) * s)[:, None]
        across = np.stack([-np.sin(way), np.cos(way)], 1) * thick
        parts.append(np.concatenate([line + across, (line - across)[::-1]]))
        parts.append(ellipse((line[-1, 0], line[-1, 1]), (thick[-1, 0], thick[-1, 0])))
    if rng.random() < 0.5:
        foot = rng.uniform(40, 120)
        left, right, low = SIZE / 2 - foot, SIZE / 2 + foot, SIZE + 9
        parts.append(np.array([[left, 380], [right, 380], [right, low], [left, low]]))
    return filled(*(np.clip(part, [12, 12], [SIZE - 12, SIZE + 9]) for part in parts))


def _vessel(rng: np.random.Generator) -> Picture:
    """A bottle, a vase, a lamp: the same on both sides, with a handle perhaps."""
    s = np.linspace(0, 1, 200)
    half = 60 + sum(
        rng.normal(0, 45) * np.cos(i * np.pi * s + rng.uniform(0, 6)) / i for i in range(1, 5)
    )
    half = np.clip(half, 14, 230)
    y = 60 + 520 * s
    outline = np.concatenate([
        np.stack([SIZE / 2 + half, y], 1), np.stack([SIZE / 2 - half, y], 1)[::-1]
    ])  # fmt: skip
    alpha = filled(outline)
    if rng.random() < 0.5:
        at = int(rng.integers(40, 150))
        middle = SIZE / 2 + half[at], y[at]
        size = rng.uniform(40, 90), rng.uniform(50, 110)
        thick = rng.uniform(8, 22)
        ring = np.minimum(
            filled(ellipse(middle, size)),
            255 - filled(ellipse(middle, (size[0] - thick, size[1] - thick))),
        )
        alpha = np.maximum(alpha, ring)
    return alpha
