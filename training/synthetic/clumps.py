"""Tussocks: hundreds of opaque blades one behind the other, with dark gaps between them.

Unlike hair, a blade is many pixels wide and hardly anywhere partial, yet an artist paints the whole
thing unknown; what is to be learned is that most of it is plainly there, however its colours vary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.synthetic.locks import Array, grown_guides
from training.synthetic.painting import (
    SIZE,
    Picture,
    canvas,
    draw_ribbons,
    finished,
    layer,
    noise,
    texture,
    tone,
)

_POINTS = 12


def clump(rng: np.random.Generator, photographs: Sequence[Picture]) -> Picture:
    """One of them, standing, hanging or blown to a side, 1×SIZE×SIZE×4."""
    into = canvas()
    layers = int(rng.integers(2, 6))
    count = int(np.exp(rng.uniform(np.log(60), np.log(700))))
    half = rng.uniform(60, 270)
    thick = np.exp(rng.uniform(np.log(1.5), np.log(9)))
    long = rng.uniform(150, 560)
    fan, spread = rng.uniform(0, 0.8), rng.uniform(0.04, 0.3)
    pull = np.array([rng.normal(0, 0.4), rng.uniform(-0.1, 0.9)])
    colour = _colour(rng, photographs)
    gloom = rng.uniform(0.05, 0.8)  # of the blades behind, which the others shade
    for number in range(layers):
        near = (number + 1) / layers
        lines = _blades(rng, max(count // layers, 8), half, long, fan, spread, pull)
        s = np.linspace(0, 1, _POINTS)
        wide = thick * np.exp(rng.normal(0, 0.3, (len(lines), 1)))
        widths = wide * np.minimum(s * 6 + 0.6, 1) * (1 - s ** rng.uniform(1.2, 4)) + 0.3
        shade = (gloom + (1 - gloom) * near) * np.exp(rng.normal(0, 0.25, (len(lines), 1, 1)))
        rise = 0.4 + 0.7 * s[1:][None, :, None]
        hue = colour * np.exp(rng.normal(0, 0.12, (len(lines), 1, 3)))
        draw_ribbons(into, lines, widths, hue * shade * rise)
    colours, alpha = layer(into)
    uneven = 1 + float(rng.uniform(0, 0.3)) * noise(rng, rng.uniform(3, 60), octaves=3)
    if rng.random() < 0.7:
        share = rng.uniform(0.2, 0.9)
        worn = texture(rng, photographs) / max(float(colour.max()), 1.0)
        colours = colours * (1 - share + share * worn)
    picture = finished((colours, alpha), uneven)[None]
    return np.ascontiguousarray(picture[:, ::-1]) if rng.random() < 0.25 else picture


def _blades(
    rng: np.random.Generator,
    count: int,
    half: float,
    long: float,
    fan: float,
    spread: float,
    pull: Array,
) -> Array:
    """count×_POINTS×2, from the ground up; the pull turns those aside that lean that way most."""
    x = rng.uniform(-1, 1, count)
    roots = np.stack([SIZE / 2 + half * x, SIZE - 60 + rng.uniform(-30, 30, count)], 1)
    ways = np.stack([fan * x + rng.normal(0, spread, count), -np.ones(count)], 1)
    lengths = long * rng.uniform(0.35, 1.05, count) * (1 - 0.3 * x**2)
    lines = grown_guides(rng, roots, ways, lengths, pull, _POINTS)
    return np.asarray(np.clip(lines, 10, SIZE - 10))


def _colour(rng: np.random.Generator, photographs: Sequence[Picture]) -> Array:
    if rng.random() < 0.5:
        return np.array([rng.uniform(60, 190), rng.uniform(100, 200), rng.uniform(20, 90)])
    return np.asarray(tone(rng, photographs) * 0.8 + 30)
