"""Lace and nets: regular holes, flowers that are denser, scalloped hems."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.synthetic.painting import SIZE, Picture, Plane, blob, noise, texture, tone, whole

_FINE = 2  # lace is computed on a grid so much finer
_SIDE = SIZE * _FINE


def lace(rng: np.random.Generator, photographs: Sequence[Picture]) -> Picture:
    """A piece of lace, a net or a doily, bent a little; 1×SIZE×SIZE×4."""
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32) / _FINE
    bend = np.float32(rng.uniform(0, 13))
    right, down = (cv2.resize(noise(rng, 2, octaves=2), (_SIDE, _SIDE)) for _ in range(2))
    bent_x, bent_y = x + bend * right, y + bend * down
    threads = _doily(rng, bent_x, bent_y) if rng.random() < 0.3 else _piece(rng, bent_x, bent_y)
    cover = cv2.resize(threads, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    dye = texture(rng, photographs)
    if rng.random() < 0.65:
        pale = rng.random() < 0.6
        plain = 205 + 0.2 * tone(rng, photographs) if pale else tone(rng, photographs)
        dye = 0.15 * dye + 0.85 * plain.astype(np.float32)
    fold = 1 + rng.uniform(0.02, 0.2) * noise(rng, 4, octaves=2)
    round_ = 0.72 + 0.28 * cv2.GaussianBlur(cover, (0, 0), 1.3)  # threads are round
    colour = dye * (fold * round_)[..., None]
    return whole(np.clip(colour, 0, 255), np.rint(cover * 255).astype(np.uint8))[None]


def _edge(field: Plane) -> Plane:
    """Coverage of where a field is above 0: a pixel of the fine grid soft."""
    across = cv2.Sobel(field, cv2.CV_32F, 1, 0, scale=1 / 8)
    along = cv2.Sobel(field, cv2.CV_32F, 0, 1, scale=1 / 8)
    slope = np.maximum(np.hypot(across, along), 1e-4)
    return np.asarray(np.clip(field / slope + 0.5, 0, 1), np.float32)


def _mesh(sort: int, u: Plane, v: Plane, open_: float) -> Plane:
    """Above 0 on the threads of a net; u and v in radians a hole."""
    if sort == 0:  # round holes in a triangle
        root = np.float32(np.sqrt(3) / 2)
        return np.asarray(
            1.5 - 2.4 * open_ - (np.cos(u) + np.cos(u / 2 + root * v) + np.cos(u / 2 - root * v)),
            np.float32,
        )
    if sort == 1:  # square
        return np.asarray(np.maximum(np.cos(u), np.cos(v)) - (0.35 + 0.6 * open_), np.float32)
    if sort == 2:  # lozenges
        lines = np.maximum(np.cos(u + v * 0.6), np.cos(u - v * 0.6))
        return np.asarray(lines - (0.35 + 0.6 * open_), np.float32)
    return np.asarray(0.9 - 1.5 * open_ - np.cos(u) - np.cos(v), np.float32)  # round in a square


def _piece(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """A net with flowers within an outline, with a hem."""
    turn = rng.uniform(0, np.pi)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    across, along = x * c + y * s, y * c - x * s
    pitch = np.float32(np.exp(rng.uniform(np.log(6), np.log(34))))
    u, v = across * (2 * np.pi / pitch), along * (2 * np.pi / pitch)
    sort = int(rng.integers(4))
    threads = _edge(_mesh(sort, u, v, rng.uniform(0.15, 0.85)))
    if rng.random() < 0.6 and pitch < 24:
        threads = _flowered(rng, threads, across, along, pitch)
    outline = np.clip(blob(rng, rng.uniform(190, 270), rng.uniform(0.02, 0.15), 720), 24, SIZE - 24)
    if rng.random() < 0.5:  # a straight piece, its corners turned
        half = np.array([rng.uniform(200, 290), rng.uniform(90, 280)])
        corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        side = np.concatenate([
            a + (b - a) * np.linspace(0, 1, 180, endpoint=False)[:, None]
            for a, b in zip(corner, np.roll(corner, -1, 0), strict=True)
        ])  # fmt: skip
        lean = rng.normal(0, 0.1)
        turned = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
        outline = side @ turned + SIZE / 2
    out = outline - outline.mean(0)
    out = out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-6)
    scallops = int(rng.integers(16, 60)) * 2
    bows = np.abs(np.sin(np.linspace(0, np.pi * scallops / 2, len(outline), endpoint=False)))
    if rng.random() < 0.6:
        outline = outline + out * (rng.uniform(4, 14) * bows)[:, None]
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    points = np.rint(np.clip(outline, 6, SIZE - 6) * _FINE * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    inside = mask.astype(np.float32) / 255
    cover = threads * inside
    hem = np.zeros_like(mask)
    cv2.polylines(hem, [points], True, 255, int(rng.integers(2, 16)), cv2.LINE_AA, 4)
    if rng.random() < 0.4:
        inner = (points - SIZE * _FINE * 8) * rng.uniform(0.86, 0.95) + SIZE * _FINE * 8
        cv2.polylines(hem, [np.rint(inner).astype(np.int32)], True, 255, 5, cv2.LINE_AA, 4)
    return np.asarray(np.maximum(cover, hem.astype(np.float32) / 255), np.float32)


def _flowered(
    rng: np.random.Generator, threads: Plane, across: Plane, along: Plane, pitch: np.float32
) -> Plane:
    """Flowers in every cell of a lattice: an outline, petals filled with a closer net, an eye."""
    cell = np.float32(rng.uniform(70, 170))
    row = np.floor(along / cell)
    p = np.mod(across + 0.5 * cell * np.mod(row, 2), cell) - cell / 2
    q = np.mod(along, cell) - cell / 2
    angle, reach = np.arctan2(q, p), np.hypot(p, q)
    petals, deep = int(rng.integers(4, 9)), rng.uniform(0.15, 0.45)
    size = cell * rng.uniform(0.28, 0.46)
    rim = size * (1 - deep + deep * np.abs(np.cos(petals / 2 * angle)))
    inside = (rim - reach).astype(np.float32)
    fill = _edge(
        _mesh(3, across * (2.6 * 2 * np.pi / pitch), along * (2.6 * 2 * np.pi / pitch), 0.35)
    )
    if rng.random() < 0.4:
        fill = np.ones_like(fill)
    petal = np.clip(inside + 0.5, 0, 1)
    cord = np.clip(rng.uniform(0.7, 2.2) - np.abs(inside) + 0.5, 0, 1)
    vein = np.clip(1.0 - np.abs(np.sin(petals / 2 * angle)) * reach, 0, 1) * petal
    eye = np.clip(rng.uniform(0.08, 0.2) * size - reach + 0.5, 0, 1)
    flower = np.maximum(np.maximum(fill * petal, cord), vein)
    return np.asarray(np.maximum(threads * (1 - petal), flower) * (1 - eye), np.float32)


def _doily(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Rings around a middle, each with its own repeats, and a scalloped rim."""
    p, q = x - SIZE / 2, (y - SIZE / 2) * np.float32(rng.uniform(1, 1.5))
    angle, reach = np.arctan2(q, p), np.hypot(p, q)
    cover = np.zeros_like(x)
    radius = 0.0
    repeats = int(rng.integers(6, 13))
    most = rng.uniform(230, 275)
    while radius < most:
        wide = rng.uniform(18, 55)
        if radius > 0 and 2 * np.pi * radius / repeats > 60:
            repeats *= 2
        s = (reach - radius) / wide
        band = (s >= 0) & (s < 1)
        phase = repeats * angle + rng.uniform(0, 6)
        thick = rng.uniform(1.0, 3.2)
        sort = int(rng.integers(5))
        if sort == 0:  # spokes
            ring = np.clip(thick - np.abs(np.sin(phase / 2)) * 2 * reach / repeats + 0.5, 0, 1)
        elif sort == 1:  # bows
            bow = np.abs(np.sin(phase / 2)) - s
            ring = np.clip(thick - np.abs(bow) * wide * 0.7 + 0.5, 0, 1)
        elif sort == 2:  # solid, with round holes
            hole = np.hypot((np.mod(phase, 2 * np.pi) - np.pi) * reach / repeats, (s - 0.5) * wide)
            ring = np.clip(hole - wide * rng.uniform(0.2, 0.42) + 0.5, 0, 1)
        elif sort == 3:  # leaves
            leaf = np.abs(np.sin(phase / 2)) - 0.8 * np.sin(np.pi * np.clip(s, 0, 1))
            ring = np.clip(-leaf * reach / repeats * 2 + 0.5, 0, 1)
        else:  # a net
            u, v = phase, (s * 2 * np.pi * max(1, round(wide / 14))).astype(np.float32)
            ring = _edge(_mesh(2, u.astype(np.float32), v, rng.uniform(0.3, 0.8)))
        cord = np.clip(rng.uniform(0.8, 2.5) - np.abs(reach - radius) + 0.5, 0, 1)
        cover = np.maximum(np.where(band, ring, cover), cord)
        radius += wide
    rim = radius + rng.uniform(3, 12) * np.abs(np.sin(repeats * angle / 2))
    inside = np.clip(rim - reach + 0.5, 0, 1)
    cord = np.clip(rng.uniform(1, 2.5) - np.abs(reach - rim) + 0.5, 0, 1)
    gone = np.clip((np.minimum(np.minimum(x, y), SIZE - np.maximum(x, y)) - 6), 0, 1)
    return np.asarray(np.maximum(cover * inside, cord) * gone, np.float32)
