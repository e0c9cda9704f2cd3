"""Hair on heads and shoulders, and hanks of strands that hang from something."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.synthetic.locks import Array, Locks, grown_guides, hair_colour, in_locks, units
from training.synthetic.painting import (
    SIZE,
    Layer,
    Picture,
    Points,
    blob,
    canvas,
    ellipse,
    filled,
    finished,
    fixed,
    layer,
    noise,
    over,
    texture,
    tone,
)

_SKIN = np.array([(242, 208, 184), (224, 178, 146), (184, 132, 98), (126, 82, 58), (78, 52, 40)])


def hair(rng: np.random.Generator, photographs: Sequence[Picture], frames: int) -> Picture:
    """Hair, long, short, curly or blown, on a head or on its own; T×SIZE×SIZE×4."""
    return (_head if rng.random() < 0.72 else _hank)(rng, photographs, frames)


def _head(rng: np.random.Generator, photographs: Sequence[Picture], frames: int) -> Picture:
    wide = rng.uniform(80, 130)
    radii = np.array([wide, wide * rng.uniform(1.15, 1.35)])
    middle = np.array([SIZE / 2 + rng.normal(0, 20), radii[1] + rng.uniform(80, 150)])
    style = str(
        rng.choice(["long", "short", "curly", "blown", "tied"], p=[0.34, 0.2, 0.2, 0.16, 0.1])
    )
    length, curl, lift = {
        "long": (
            rng.uniform(2.2, 3.6),
            (rng.uniform(0, 0.02), rng.uniform(1, 3.5)),
            0.45,
        ),
        "short": (rng.uniform(0.2, 0.6), (rng.uniform(0, 0.05), 1.2), 0.6),
        "curly": (
            rng.uniform(0.7, 1.8),
            (rng.uniform(0.03, 0.07), rng.uniform(2.5, 5)),
            0.9,
        ),
        "blown": (
            rng.uniform(1.4, 2.6),
            (rng.uniform(0.01, 0.04), rng.uniform(1, 2.5)),
            0.35,
        ),
        "tied": (rng.uniform(1.6, 2.8), (rng.uniform(0, 0.03), 2.0), 0.3),
    }[style]
    lift *= rng.uniform(0.5, 1.2)
    points = 10 if style == "short" else int(14 + 8 * (curl[1] - 1))
    side = rng.choice([-1.0, 1.0])
    pull = {
        "long": np.array([rng.normal(0, 0.15), rng.uniform(1.5, 3.5)]),
        "short": rng.normal(0, 0.7, 2),
        "curly": np.array([rng.normal(0, 0.2), rng.uniform(0.4, 1.8)]),
        "blown": np.array([side * rng.uniform(1.5, 3), rng.uniform(-0.8, 0.8)]),
        "tied": np.array([side * 0.3, 2.5]),
    }[style]
    colour = hair_colour(rng, tone(rng, photographs))
    shine = rng.uniform(0.1, 1.1)
    thickness = np.exp(rng.uniform(np.log(0.6), np.log(1.6)))
    spread = wide * rng.uniform(0.06, 0.15)
    tight = rng.uniform(-0.3, 0.85)
    frizz = wide * length * rng.uniform(0.01, 0.06)
    dense = rng.uniform(0.5, 1.0)

    def locks(roots: Points, ways: Points, long: float, count: int, hug: bool) -> Locks:
        lengths = wide * long * rng.uniform(0.7, 1.1, len(roots))
        around = (middle, radii * 1.02) if hug else None
        ways = units(ways) * lift + units(pull) * (1 - lift)
        guides = grown_guides(rng, roots, ways, lengths, pull, points, curl, around)
        return in_locks(
            rng,
            guides,
            int(count * dense / thickness),
            spread,
            tight,
            frizz,
            thickness,
            colour,
            shine,
        )

    behind = rng.random() < 0.35  # seen from behind: hair all over
    angle = rng.uniform(-np.pi - 0.5, 0.5, int(rng.integers(30, 90)))
    ways = np.stack([np.cos(angle), np.sin(angle)], 1)
    roots = middle + ways * radii * rng.uniform(0.8, 1, (len(angle), 1))
    ways = ways + rng.normal(0, 0.25, ways.shape)
    few = 900 if style == "curly" else 1500
    back = locks(roots, ways, length, few, hug=style != "blown").darker(0.72)

    part = middle + radii * np.array([rng.uniform(-0.4, 0.4), -0.92])
    count = int(rng.integers(30, 80)) * (3 if behind and style == "short" else 1)
    if behind:
        angle = rng.uniform(-np.pi, np.pi, count)
        deep = np.sqrt(rng.random((count, 1))) * 0.85
        roots = middle + np.stack([np.cos(angle), np.sin(angle)], 1) * radii * deep
        roots = roots[np.argsort(-roots[:, 1])]  # the crown's lie on top
        ways = (roots - part) / radii + rng.normal(0, 0.15, roots.shape)
    else:
        way = rng.choice([-1.0, 1.0], count)
        roots = (
            part
            + np.stack([way * rng.uniform(0, 0.35, count), rng.uniform(-0.08, 0.1, count)], 1)
            * radii
        )
        ways = np.stack([way * rng.uniform(0.8, 1.4, count), rng.uniform(-0.5, 0.3, count)], 1)
    front_long = length * (1 if behind or style == "long" else rng.uniform(0.4, 0.8))
    front = locks(roots, ways, front_long, few, hug=False)
    wisps = _wisps(rng, back, front, wide * length * rng.uniform(0.04, 0.2))

    low, foot = 0.0, np.array([SIZE / 2, SIZE])
    for one in (back, front):
        far = one.lines.reshape(-1, 2) - foot
        low = max(low, abs(far[:, 0]).max() / (SIZE / 2 - 24), -far[:, 1].min() / (SIZE - 24))
    scale = min(1 / low, 1.15)
    back, front, wisps = (one.placed(scale, foot * (1 - scale)) for one in (back, front, wisps))
    middle, radii = middle * scale + foot * (1 - scale), radii * scale
    covered = None if not behind else colour * 0.5
    body = _bust(rng, photographs, middle, radii, covered)
    wind = np.array([side * 1.0, rng.normal(0, 0.3)]) * wide * length * rng.uniform(0.02, 0.1)
    return _filmed(rng, (back, front, wisps), body, wind, frames)


def _bust(
    rng: np.random.Generator,
    photographs: Sequence[Picture],
    middle: Points,
    radii: Points,
    hair: Array | None,
) -> Layer:
    """Head, neck and shoulders, cut off by the lower border; the head in the hair's colour."""
    skin = _SKIN[int(rng.integers(len(_SKIN)))] * np.exp(rng.normal(0, 0.12, 3))
    face = np.clip(skin * (1 + 0.1 * noise(rng, 4)[..., None]), 0, 255).astype(np.float32)
    if rng.random() < 0.4:
        face = texture(rng, photographs, widest=0.6)
    light = np.cos(rng.uniform(-1, 1)), np.sin(rng.uniform(-1, 1))
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    across = ((x - middle[0]) * light[0] + (y - middle[1]) * light[1]) / radii[0]
    face = face * np.clip(1 + 0.3 * across, 0.4, 1.5)[..., None]
    wide, tall = radii
    neck = wide * rng.uniform(0.42, 0.6)
    top, shoulder = middle[1] + tall * 0.6, middle[1] + tall * rng.uniform(1.35, 1.6)
    reach = wide * rng.uniform(1.5, 2.3)
    half = [
        (neck, top), (neck * 1.05, shoulder - tall * 0.25), (reach * 0.7, shoulder),
        (reach * 0.93, shoulder + tall * 0.25), (reach, shoulder + tall * 0.8),
        (reach * 1.05, SIZE + 40),
    ]  # fmt: skip
    outline = np.array([(dx, y) for dx, y in half] + [(-dx, y) for dx, y in reversed(half)])
    smooth = _rounded(outline) + np.array([middle[0], 0])
    outline = ellipse((middle[0], middle[1]), (wide * 0.93, tall))
    head = filled(outline)[..., None].astype(np.float32) / 255
    trunk = filled(smooth)[..., None].astype(np.float32) / 255
    cloth = texture(rng, photographs)
    fold = 1 + 0.15 * noise(rng, 5, octaves=2)[..., None]
    dressed = np.where(y[..., None] > shoulder - tall * 0.1, cloth * fold, face * 0.8)
    if hair is not None:
        face = (hair * (1 + 0.2 * noise(rng, 30, octaves=2)[..., None])).astype(np.float32)
    return over((face * head, head), (dressed.astype(np.float32) * trunk, trunk))


def _rounded(corners: Points) -> Points:
    """A closed outline without corners, by cutting them three times."""
    for _ in range(3):
        after = np.roll(corners, -1, 0)
        corners = np.stack([corners * 0.75 + after * 0.25, corners * 0.25 + after * 0.75], 1)
        corners = corners.reshape(-1, 2)
    return corners


def _hank(rng: np.random.Generator, photographs: Sequence[Picture], frames: int) -> Picture:
    """Strands that hang from, or stand on, a bar, a knot or a stone."""
    down = 1.0 if rng.random() < 0.65 else -1.0
    count = int(rng.integers(12, 70))
    wide = rng.uniform(10, 230)
    high = SIZE / 2 - down * rng.uniform(120, 230)
    bend = rng.uniform(-0.4, 0.4)
    offset = np.sort(rng.uniform(-1, 1, count))
    roots = np.stack([SIZE / 2 + offset * wide, high + bend * wide * offset**2 * 0.5], 1)
    rng.shuffle(roots)
    fan = rng.uniform(0.05, 0.9)
    ways = np.stack([(roots[:, 0] - SIZE / 2) / wide * fan, np.full(count, down)], 1)
    ways += rng.normal(0, rng.uniform(0.03, 0.3), ways.shape)
    lengths = rng.uniform(150, 380) * rng.uniform(0.6, 1.1, count)
    curly = rng.random() < 0.3
    curl = (rng.uniform(0.02, 0.06), rng.uniform(2, 5)) if curly else (rng.uniform(0, 0.02), 2.0)
    pull = np.array([rng.normal(0, 0.5), rng.uniform(0, 1.2)])
    guides = grown_guides(
        rng, roots, ways, lengths, pull, int(12 + 9 * curl[1]) if curly else 16, curl
    )
    colour = hair_colour(rng, tone(rng, photographs))
    strands = in_locks(
        rng,
        guides,
        int(rng.integers(300, 1700)),
        rng.uniform(2, 9),
        rng.uniform(-1.5, 0.8),
        rng.uniform(2, 20),
        rng.uniform(0.7, 2.6),
        colour,
        rng.uniform(0, 0.9),
    )
    third = len(strands.lines) // 3
    radius = max(wide * 1.05, 26)
    high_left, high_right = (
        [SIZE / 2 - radius, high - 40],
        [SIZE / 2 + radius, high + 40],
    )
    corners = strands.lines.reshape(-1, 2)
    least, most = (
        np.minimum(corners.min(0), high_left),
        np.maximum(corners.max(0), high_right),
    )
    scale = min((SIZE - 56) / (most - least).max(), 1.4)
    shift = SIZE / 2 - (least + most) / 2 * scale
    strands = strands.placed(scale, shift)
    back, front = (
        strands.some(slice(third)).darker(0.7),
        strands.some(slice(third, None)),
    )
    wisps = _wisps(rng, back, front, rng.uniform(10, 50))
    if rng.random() < 0.5:
        outline = ellipse((SIZE / 2, high), (radius, rng.uniform(10, 40)))
    else:
        outline = blob(rng, 1, 0.1) - SIZE / 2
        outline = outline * [radius, rng.uniform(16, 50)] + [SIZE / 2, high]
    cover = (
        filled(np.clip(outline * scale + shift, 14, SIZE - 14))[..., None].astype(np.float32) / 255
    )
    body = texture(rng, photographs, widest=0.6) * cover, cover
    wind = np.array([rng.choice([-1.0, 1.0]), rng.normal(0, 0.2)]) * rng.uniform(3, 30)
    return _filmed(rng, (back, front, wisps), body, wind, frames)


def _wisps(rng: np.random.Generator, back: Locks, front: Locks, astray: float) -> Locks:
    """Single hairs that leave the locks, thinner than a pixel."""
    source = back if rng.random() < 0.6 else front
    count = int(rng.integers(10, 160))
    picked = rng.integers(len(source.lines), size=count)
    lines = source.lines[picked]
    s = np.linspace(0, 1, lines.shape[1])[None, :, None]
    away = rng.normal(0, 1, (count, 1, 2)) * astray * s**1.5
    wave = rng.normal(0, 0.25 * astray, (count, 1, 2)) * np.sin(
        rng.uniform(3, 9, (count, 1, 1)) * s + rng.uniform(0, 6, (count, 1, 1))
    )
    colours = source.colours[picked] * rng.uniform(0.9, 1.5, (count, 1, 1))
    return Locks(
        lines + away + wave * s,
        source.widths[picked] * 0.5,
        colours,
        source.phase[picked],
    )


def _filmed(
    rng: np.random.Generator,
    locks: tuple[Locks, Locks, Locks],
    body: Layer,
    wind: Points,
    frames: int,
) -> Picture:
    """Back locks, body, front locks and wisps, once a frame; the front ones shade the body."""
    pace = rng.uniform(0.25, 0.9)
    faint = float(rng.uniform(0.3, 0.95))
    made = []
    for frame in range(frames):
        back, front, wisps = (one.swayed(frame, wind, pace) for one in locks)
        layers = []
        for one in (back, front):
            into = canvas()
            one.paint(into)
            layers.append(layer(into))
        into = canvas()
        for line, colour in zip(fixed(wisps.lines), wisps.colours[:, 0].tolist(), strict=True):
            cv2.polylines(into, [line], False, [*colour, 255.0], 1, cv2.LINE_AA, 4)
        fine = layer(into)
        lying = cv2.GaussianBlur(layers[1][1], (0, 0), 6)[..., None]
        shaded = body[0] * (1 - 0.4 * lying), body[1]
        painted = over(layers[1], over(shaded, layers[0]))
        made.append(finished(over((fine[0] * faint, fine[1] * faint), painted)))
    return np.stack(made)
