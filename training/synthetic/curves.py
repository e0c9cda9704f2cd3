"""Thin things that are no hair: grass, twigs, wires, feathers, webs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.synthetic.locks import Array, grown_guides, units
from training.synthetic.painting import (
    SIZE,
    Picture,
    Points,
    blob,
    canvas,
    draw_outline,
    draw_ribbons,
    finished,
    layer,
    noise,
    texture,
    tone,
)


def curves(rng: np.random.Generator, photographs: Sequence[Picture]) -> Picture:
    """One of them, 1×SIZE×SIZE×4."""
    sorts = (_grass, _twigs, _wires, _feather, _web)
    draw = sorts[int(rng.choice(len(sorts), p=[0.28, 0.28, 0.18, 0.14, 0.12]))]
    into = canvas()
    draw(rng, photographs, into)
    shade = 1 + rng.uniform(0, 0.15) * noise(rng, rng.uniform(3, 40), octaves=2)
    return finished(layer(into), shade)[None]


def _grass(rng: np.random.Generator, photographs: Sequence[Picture], into: Picture) -> None:
    """Blades that taper and droop, the near ones in front; sometimes on a clod of earth."""
    count = int(np.exp(rng.uniform(np.log(25), np.log(420))))
    wide = rng.uniform(20, 250)
    depth = np.sort(rng.random(count))
    x = SIZE / 2 + wide * np.clip(rng.normal(0, 0.45, count), -1, 1)
    roots = np.stack([x, SIZE - 60 + 40 * depth], 1)
    fan = rng.uniform(0.1, 0.7)
    ways = np.stack([fan * (x - SIZE / 2) / wide + rng.normal(0, 0.25, count), -np.ones(count)], 1)
    lengths = rng.uniform(120, 430) * rng.uniform(0.4, 1.05, count)
    pull = np.array([rng.normal(0, 0.3), rng.uniform(0, 1.3)])
    lines = grown_guides(rng, roots, ways, lengths, pull, 14)
    lines = _inside(lines)
    s = np.linspace(0, 1, 14)
    thick = rng.uniform(1.2, 9) * rng.uniform(0.6, 1.2, (count, 1))
    widths = thick * np.minimum(s * 6 + 0.5, 1) * (1 - s**2) + 0.4
    green = np.array([rng.uniform(50, 150), rng.uniform(90, 170), rng.uniform(20, 70)])
    base = green if rng.random() < 0.6 else tone(rng, photographs)
    dry = np.array([190, 165, 100])
    share = rng.beta(0.6, 1.5, (count, 1, 1)) * rng.random()
    rise = (0.45 + 0.6 * s[1:])[None, :, None] * (0.6 + 0.4 * depth[:, None, None])
    colours = (base * (1 - share) + dry * share) * rise * np.exp(rng.normal(0, 0.18, (count, 1, 1)))
    if rng.random() < 0.4:
        clod = blob(rng, 1, 0.1) - SIZE / 2
        earth = clod * [wide + 25, 34] + np.array([SIZE / 2, SIZE - 48])
        draw_outline(into, np.clip(earth, 14, SIZE - 14), (tone(rng, photographs) * 0.4).tolist())
    draw_ribbons(into, lines, widths, colours)
    rib = np.clip(colours * rng.uniform(1.1, 1.5), 0, 255)
    broad = widths[:, 0] > 3
    draw_ribbons(into, lines[broad], widths[broad] * 0.25, rib[broad])


def _twigs(rng: np.random.Generator, photographs: Sequence[Picture], into: Picture) -> None:
    """A branch that branches, bare, with leaves or with needles."""
    points = 7
    start = np.array([[SIZE / 2 + rng.uniform(-150, 150), SIZE - 30.0]])
    angle = np.array([-np.pi / 2 + rng.normal(0, 0.25)])
    length, thick = np.array([rng.uniform(180, 330)]), np.array([rng.uniform(5, 20)])
    bark = tone(rng, photographs) * 0.6 if rng.random() < 0.6 else np.array([70.0, 56, 44])
    crooked, open_ = rng.uniform(0.05, 0.35), rng.uniform(0.35, 0.9)
    generations, ends = [], []
    for _ in range(int(rng.integers(3, 6))):
        turn = angle[:, None] + np.cumsum(rng.normal(0, crooked, (len(angle), points)), 1)
        step = (length / points)[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], 2)
        lines = np.concatenate([start[:, None], start[:, None] + np.cumsum(step, 1)], 1)
        s = np.linspace(0, 1, points + 1)
        widths = thick[:, None] * (1 - 0.55 * s)
        shade = np.exp(rng.normal(0, 0.12, (len(lines), 1, 1)))
        generations.append(
            (lines, widths, np.broadcast_to(bark * shade, (*lines[:, 1:, 0].shape, 3)))
        )
        ends.append(lines[:, points // 2 :].reshape(-1, 2))
        young = int(rng.integers(2, 6))
        parent = np.repeat(np.arange(len(lines)), young)[:700]
        at = rng.integers(2, points + 1, len(parent))
        start = lines[parent, at]
        side = rng.choice([-1.0, 1.0], len(parent))
        angle = turn[parent, at - 1] + side * open_ * rng.uniform(0.5, 1.3, len(parent))
        length = length[parent] * rng.uniform(0.35, 0.75, len(parent))
        thick = np.maximum(widths[parent, at] * rng.uniform(0.4, 0.75, len(parent)), 0.5)
    scale, shift = _fit(np.concatenate([g[0].reshape(-1, 2) for g in generations]))
    for lines, widths, colours in generations:
        draw_ribbons(into, lines * scale + shift, np.maximum(widths * scale, 0.5), colours)
        lit = np.clip(colours * 1.5 + 12, 0, 255)
        aside = np.array([-0.2, -0.2]) * widths[..., None] * scale
        draw_ribbons(into, lines * scale + shift + aside, widths * scale * 0.35, lit)
    dress = rng.random()
    if dress < 0.6:
        tips = np.concatenate(ends[1:]) * scale + shift
        tips = tips[rng.random(len(tips)) < rng.uniform(0.1, 0.7)][:1200]
        hue = tone(rng, photographs) if rng.random() < 0.4 else np.array([70.0, 120, 45])
        _leaves(rng, into, tips, hue, needles=dress < 0.2)


def _leaves(
    rng: np.random.Generator, into: Picture, at: Points, hue: Array, *, needles: bool
) -> None:
    size = rng.uniform(8, 30)
    count = len(at)
    ways = rng.normal(0, 1, (count, 2)) + np.array([0, 0.4])
    lengths = size * rng.uniform(0.5, 1.2, count)
    lines = grown_guides(rng, at, ways, lengths, rng.normal(0, 0.6, 2), 7)
    s = np.linspace(0, 1, 7)
    broad = rng.uniform(0.5, 1.2) if needles else size * rng.uniform(0.25, 0.6)
    widths = broad * np.sin(np.pi * np.clip(s, 0.04, 0.97)) ** 0.7 * np.ones((count, 1))
    colours = hue * np.exp(rng.normal(0, 0.25, (count, 1, 1)) + rng.normal(0, 0.06, (count, 1, 3)))
    colours = np.broadcast_to(colours, (count, 6, 3)) * (0.85 + 0.3 * s[1:, None])
    draw_ribbons(into, _inside(lines), widths, colours)


def _wires(rng: np.random.Generator, photographs: Sequence[Picture], into: Picture) -> None:
    """Cables, cords and spirals of one thickness, shining along their middle."""
    count = int(rng.integers(2, 22))
    points = 90
    s = np.linspace(0, 1, points)[None, :, None]
    knots = rng.uniform(50, SIZE - 50, (count, 5, 2))
    if rng.random() < 0.5:  # hung up
        knots[:, 0, 0], knots[:, 4, 0] = 30, SIZE - 30
        knots[:, 1:4, 0] = np.linspace(0.25, 0.75, 3) * SIZE
        knots[..., 1] = knots[:, :1, 1] + rng.uniform(-60, 60, (count, 5))
    weights = [1, 4, 6, 4, 1]
    lines = np.asarray(
        sum(w * s**i * (1 - s) ** (4 - i) * knots[:, i, None] for i, w in enumerate(weights))
    )
    if rng.random() < 0.35:
        along = units(np.gradient(lines, axis=1))
        across = np.stack([-along[..., 1], along[..., 0]], 2)
        reach, waves = rng.uniform(2, 14), rng.uniform(5, 20)
        turn = 2 * np.pi * waves * s
        lines = lines + reach * (np.sin(turn) * across + 0.7 * np.cos(turn) * along)
    lines = _inside(lines)
    widths = rng.uniform(0.6, 9) * rng.uniform(0.5, 1.2, (count, 1)) * np.ones((1, points))
    dyes = np.stack([tone(rng, photographs) for _ in range(count)])[:, None]
    colours = dyes * np.exp(0.15 * rng.normal(0, 1, (count, points - 1, 1)))
    for number in range(count):
        one = slice(number, number + 1)
        draw_ribbons(into, lines[one], widths[one], colours[one] * 0.55)
        draw_ribbons(into, lines[one], widths[one] * 0.7, colours[one])
        draw_ribbons(
            into, lines[one] - widths[one, :, None] * 0.12, widths[one] * 0.25, colours[one] * 1.6
        )


def _feather(rng: np.random.Generator, photographs: Sequence[Picture], into: Picture) -> None:
    """Feathers: a shaft, barbs that part here and there, down at the root."""
    for _ in range(int(rng.integers(1, 5))):
        length = rng.uniform(260, 520)
        turn = rng.uniform(0, 2 * np.pi)
        way = np.array([np.cos(turn), np.sin(turn)])
        root = SIZE / 2 - way * length / 2 + rng.normal(0, 30, 2)
        bend = np.array([-way[1], way[0]]) * rng.uniform(-0.8, 0.8)
        shaft = grown_guides(rng, root[None], way[None], np.array([length]), bend, 40)[0]
        count = int(rng.integers(260, 620))
        s = np.sort(rng.uniform(0.06, 1, count))
        at = np.stack([np.interp(s, np.linspace(0, 1, 40), shaft[:, i]) for i in range(2)], 1)
        along = units(np.gradient(shaft, axis=0))[(s * 39).astype(int)]
        side = rng.choice([-1.0, 1.0], count)
        across = np.stack([-along[:, 1], along[:, 0]], 1) * side[:, None]
        open_ = rng.uniform(0.4, 1.0) + 0.5 * (1 - s)
        steps = np.cumsum(rng.normal(0, 1, count))
        parted = 0.06 * (steps - np.convolve(steps, np.ones(25) / 25, "same"))
        down = np.clip(1 - s / rng.uniform(0.1, 0.4), 0, 1)
        ways = along + across * (open_ + parted + rng.normal(0, 0.4, count) * down)[:, None]
        wide = length * rng.uniform(0.08, 0.22)
        lengths = wide * np.sin(np.pi * np.clip(0.12 + 0.86 * s, 0, 0.985)) ** 0.5
        barbs = grown_guides(rng, at, ways, lengths, way * 0.6, 9)
        curl = rng.normal(0, 1, (count, 9, 2)) * 3 * down[:, None, None]
        barbs = barbs + np.cumsum(curl, 1) * 0.4
        thick = rng.uniform(0.5, 1.0)
        widths = np.full((count, 9), thick) * np.linspace(1, 0.6, 9)
        first, second = tone(rng, photographs), tone(rng, photographs)
        bars = 0.5 + 0.5 * np.sin(rng.uniform(0, 50) * s + rng.uniform(0, 6))[:, None, None]
        dyed = (first + (second - first) * bars) * np.exp(rng.normal(0, 0.1, (count, 1, 1)))
        draw_ribbons(into, _inside(barbs), widths, np.broadcast_to(dyed, (count, 8, 3)))
        spine = np.linspace(4, 0.8, 40)[None] * rng.uniform(0.4, 1)
        draw_ribbons(
            into, _inside(shaft[None]), spine, np.broadcast_to(first * 1.3 + 30, (1, 39, 3))
        )


def _web(rng: np.random.Generator, photographs: Sequence[Picture], into: Picture) -> None:
    """Threads from a middle, and threads around it: a web, a wheel, a net on a frame."""
    middle = SIZE / 2 + rng.normal(0, 40, 2)
    spokes, rings = int(rng.integers(9, 40)), int(rng.integers(4, 26))
    angle = np.sort(rng.uniform(0, 2 * np.pi, spokes))
    if rng.random() < 0.6:
        angle = np.linspace(0, 2 * np.pi, spokes, endpoint=False) + rng.normal(0, 0.04, spokes)
    reach = rng.uniform(200, 290) * rng.uniform(0.8, 1, spokes)
    ends = np.stack([np.cos(angle), np.sin(angle)], 1) * reach[:, None]
    straight = middle + ends[:, None] * np.linspace(0.02, 1, 6)[None, :, None]
    thick = np.exp(rng.uniform(np.log(0.55), np.log(4)))
    dye = tone(rng, photographs)

    def painted(lines: Array, width: float) -> None:
        count, points = lines.shape[:2]
        colours = dye * np.exp(rng.normal(0, 0.2, (count, points - 1, 1)))
        draw_ribbons(into, _inside(lines), np.full((count, points), width), colours)

    painted(straight, thick)
    sag = rng.uniform(0, 0.12)
    s = np.linspace(0, 1, 7)[None, :, None]
    for ring in np.linspace(0.12, 0.97, rings):
        first = ends * (ring * (1 + rng.normal(0, 0.01, (spokes, 1))))
        after = np.roll(first, -1, 0)
        line = first[:, None] * (1 - s) + after[:, None] * s
        painted(middle + line * (1 - sag * 4 * s * (1 - s)), thick * rng.uniform(0.5, 1))
    if rng.random() < 0.5:
        circle = np.stack([np.cos(angle), np.sin(angle)], 1) * reach.max()
        around = np.linspace(0, 2 * np.pi, 120)
        rim = middle + np.stack([np.cos(around), np.sin(around)], 1) * np.abs(circle).max()
        dye = texture(rng, photographs)[SIZE // 2, SIZE // 2].astype(np.float64)
        painted(rim[None], rng.uniform(4, 16))


def _inside(lines: Array) -> Array:
    return np.clip(lines, 10, SIZE - 10)


def _fit(places: Points) -> tuple[float, Points]:
    """Scale and shift that bring places into the sprite."""
    least, most = places.min(0), places.max(0)
    scale = min((SIZE - 80) / (most - least).max(), 1.3)
    return float(scale), np.asarray(SIZE / 2 - (least + most) / 2 * scale)
