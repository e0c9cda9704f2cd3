"""Animals: short dense hair all over a body, combed, in tufts, with longer guard hairs."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.synthetic.locks import NATURAL, Array, Locks, grown_guides, in_locks, units
from training.synthetic.painting import (
    SIZE,
    Layer,
    Picture,
    Plane,
    Points,
    blob,
    canvas,
    ellipse,
    filled,
    finished,
    layer,
    noise,
    over,
    texture,
    tone,
)


def fur(rng: np.random.Generator, photographs: Sequence[Picture], frames: int) -> Picture:
    """A body under its coat, T×SIZE×SIZE×4."""
    long = np.exp(rng.uniform(np.log(13), np.log(60)))
    shape = filled(*_animal(rng, long) if rng.random() < 0.6 else [_lump(rng, long)])
    inside = np.asarray(cv2.erode(shape, np.ones((3, 3), np.uint8), iterations=3), np.uint8)
    core = cv2.erode(
        shape, np.ones((3, 3), np.uint8), iterations=int(3 + long * rng.uniform(0, 0.3))
    )
    covered = (shape > 127).astype(np.uint8)
    deep = np.asarray(cv2.distanceTransform(covered, cv2.DIST_L2, 5), np.float32)
    coat = _coat(rng, photographs)

    soft = cv2.GaussianBlur(deep, (0, 0), 5)
    outward = units(-np.dstack(np.gradient(soft)[::-1]).astype(np.float64))
    turn = rng.uniform(0, 2 * np.pi)
    comb = np.array([np.cos(turn), np.sin(turn)]) if rng.random() < 0.6 else np.array([0.0, 1.0])

    thickness = np.exp(rng.uniform(np.log(0.55), np.log(1.4)))
    strands = int(min(rng.uniform(0.45, 1.6) * 14 * (inside > 127).sum() / long / thickness, 8000))
    tufts = max(40, int(strands / rng.uniform(4, 18)))
    roots, edge = _roots(rng, inside, deep, tufts)
    # On top lie the tufts that others are combed away from.
    order = np.argsort(-(roots @ comb) + 60 * rng.random(tufts))
    roots, edge = roots[order], edge[order]
    x, y = roots.astype(int).T
    stand = rng.uniform(0.25, 1.3) * np.exp(-edge / (0.9 * long))[:, None]
    swirl = rng.uniform(0.1, 0.9) * noise(rng, 4, octaves=2)[y, x] + rng.normal(0, 0.22, tufts)
    ways = _turned(units(comb + outward[y, x] * stand * 3), swirl)
    lengths = long * (1 + 0.22 * noise(rng, 3, octaves=1)[y, x]) * rng.uniform(0.7, 1.2, tufts)
    pull = np.array([rng.normal(0, 0.3), rng.uniform(0, 1)])
    wave = (rng.uniform(0, 0.07), rng.uniform(0.6, 1.6)) if rng.random() < 0.4 else (0.0, 1.0)
    guides = grown_guides(rng, roots, ways, np.maximum(lengths, 5), pull, 7, wave)
    away = np.hypot(x - SIZE / 2, y - SIZE / 2)
    lit = (
        1
        + 0.35 * (outward[y, x] @ [np.cos(turn * 7), np.sin(turn * 7)]) * np.exp(-edge / 60)
        - 0.1 * away / SIZE
    )
    hairs = in_locks(
        rng,
        guides,
        strands,
        np.sqrt((inside > 127).sum() / tufts) * rng.uniform(0.35, 0.7),
        rng.uniform(0, 0.95),
        long * rng.uniform(0.03, 0.2),
        thickness,
        coat[y, x] * lit[:, None],
        rng.uniform(0, 0.5),
    )
    guard = _guard_hairs(rng, hairs, long)
    skin = coat * (0.55 + 0.12 * noise(rng, 60, octaves=2)[..., None]).clip(0.2)
    cover = core[..., None].astype(np.float32) / 255
    body = skin.astype(np.float32) * cover, cover
    return _filmed(rng, hairs, guard, body, long, frames)


def _animal(rng: np.random.Generator, long: float) -> list[Points]:
    """Outlines whose union is a head with ears on a body with a tail, or a part of that."""
    room = 40 + long
    big = rng.uniform(0.8, 1.0) * (SIZE / 2 - room)
    side = rng.choice([-1.0, 1.0])
    middle = SIZE / 2 - side * big * 0.15, SIZE / 2 + big * 0.25
    body = big * rng.uniform(0.5, 0.75), big * rng.uniform(0.42, 0.65)
    parts = [ellipse(middle, body, rng.normal(0, 0.3))]
    size = big * rng.uniform(0.28, 0.42)
    head = (
        SIZE / 2 + side * big * rng.uniform(0.25, 0.5),
        SIZE / 2 - big * rng.uniform(0.2, 0.4),
    )
    parts.append(ellipse(head, (size, size * rng.uniform(0.8, 1.1)), rng.normal(0, 0.3)))
    ear = size * rng.uniform(0.25, 0.7)
    for lean in (-0.7, 0.7):
        tip = head[0] + size * 1.0 * lean, head[1] - size * 0.85
        parts.append(ellipse(tip, (ear * 0.45, ear), lean * rng.uniform(0.3, 1.0)))
    s = np.linspace(0, 1, 24)
    bend = rng.uniform(-1.5, 1.5)
    tail = np.stack([-side * s, bend * s**2 * 0.5 - 0.2 * s], 1) * big * rng.uniform(0.6, 0.9)
    tail = tail + np.array([middle[0] - side * body[0] * 0.5, middle[1]])
    thick = big * rng.uniform(0.04, 0.14) * (1 - 0.5 * s)[:, None]
    across = units(np.gradient(tail, axis=0))[:, ::-1] * [-1, 1] * thick
    parts.append(np.concatenate([tail + across, (tail - across)[::-1]]))
    for step in rng.uniform(-0.8, 0.8, 3):
        foot = middle[0] + step * body[0], middle[1] + body[1] * 0.9
        parts.append(ellipse(foot, (big * 0.1, big * rng.uniform(0.15, 0.3))))
    return [np.clip(part, room, SIZE - room) for part in parts]


def _lump(rng: np.random.Generator, long: float) -> Points:
    outline = blob(rng, rng.uniform(110, 230), rng.uniform(0.04, 0.2))
    room = 30 + long
    return np.clip(outline, room, SIZE - room)


def _coat(rng: np.random.Generator, photographs: Sequence[Picture]) -> Array:
    """The coat's colours, SIZE×SIZE×3, 0…255: an animal's patches and stripes, or a photograph."""
    if rng.random() < 0.3:
        return texture(rng, photographs, widest=0.7).astype(np.float64)
    natural = rng.random() < 0.8
    first, second = (
        NATURAL[rng.integers(len(NATURAL), size=2)]
        if natural
        else (tone(rng, photographs), tone(rng, photographs))
    )
    if rng.random() < 0.4:  # plain
        second = first * rng.uniform(0.6, 1.3)
    field = noise(rng, rng.uniform(2, 9), octaves=2)
    if rng.random() < 0.4:  # stripes
        y, x = np.mgrid[:SIZE, :SIZE] / SIZE
        turn = rng.uniform(0, np.pi)
        along = x * np.cos(turn) + y * np.sin(turn)
        field = np.sin(2 * np.pi * rng.uniform(4, 14) * along + 1.6 * field) * 1.3
    share = 1 / (1 + np.exp(-field * rng.uniform(1, 8) + rng.normal(0, 1)))
    coat = first + (second - first) * share[..., None]
    return np.asarray(np.clip(coat * (1 + 0.08 * noise(rng, 20)[..., None]), 0, 255))


def _roots(
    rng: np.random.Generator, inside: Picture, deep: Plane, count: int
) -> tuple[Points, Array]:
    """Where tufts stand, more of them near the edge, and how far from it."""
    y, x = np.nonzero(inside > 127)
    likely = 0.4 + np.exp(-deep[y, x] / 25.0)
    total = np.cumsum(likely)
    picked = np.searchsorted(total, rng.uniform(0, total[-1], count)).clip(0, len(x) - 1)
    roots = np.stack([x[picked], y[picked]], 1) + rng.uniform(-0.5, 0.5, (count, 2))
    return np.clip(roots, 0, SIZE - 1), deep[y[picked], x[picked]].astype(np.float64)


def _turned(ways: Points, by: Array) -> Points:
    c, s = np.cos(by), np.sin(by)
    return np.stack([ways[:, 0] * c - ways[:, 1] * s, ways[:, 0] * s + ways[:, 1] * c], 1)


def _guard_hairs(rng: np.random.Generator, hairs: Locks, long: float) -> Locks:
    """Single hairs, longer and thinner than the others."""
    count = int(len(hairs.lines) * rng.uniform(0.01, 0.08))
    some = hairs.some(rng.integers(len(hairs.lines), size=count))
    root = some.lines[:, :1]
    s = np.linspace(0, 1, some.lines.shape[1])[None, :, None]
    lines = root + (some.lines - root) * rng.uniform(1.1, 1.7, (count, 1, 1))
    lines = lines + rng.normal(0, 0.25 * long, (count, 1, 2)) * s**2
    colours = some.colours * rng.uniform(0.8, 1.5, (count, 1, 1))
    return Locks(lines, np.minimum(some.widths, 0.7), colours, some.phase)


def _filmed(
    rng: np.random.Generator,
    hairs: Locks,
    guard: Locks,
    body: Layer,
    long: float,
    frames: int,
) -> Picture:
    pace = rng.uniform(0.3, 1.0)
    turn = rng.uniform(0, 2 * np.pi)
    wind = np.array([np.cos(turn), np.sin(turn)]) * long * rng.uniform(0.05, 0.25)
    faint = float(rng.uniform(0.4, 1))
    made = []
    for frame in range(frames):
        into = canvas()
        hairs.swayed(frame, wind, pace).paint(into)
        painted = over(layer(into), body)
        into = canvas()
        guard.swayed(frame, wind * 1.3, pace).paint(into)
        colour, alpha = layer(into)
        made.append(finished(over((colour * faint, alpha * faint), painted)))
    return np.stack(made)
