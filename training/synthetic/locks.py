"""How hair grows: a few guides, strands in a lock around each of them, colour, sway.

A guide is a line of P points that starts along the skin's normal, is turned by a pull and curls. A
strand keeps its place in its lock's cross-section while the lock narrows or frays towards the tip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.synthetic.painting import Picture, Points, draw_ribbons

Array = NDArray[np.float64]
# Black, dark brown, brown, light brown, blond, platinum, ginger, auburn, grey, white.
NATURAL = np.array(
    [
        *((22, 19, 18), (48, 32, 24), (84, 56, 37), (128, 92, 60), (190, 150, 98)),
        *(
            (224, 202, 160),
            (168, 84, 38),
            (104, 42, 28),
            (128, 124, 120),
            (222, 218, 212),
        ),
    ],
    np.float64,
)


@dataclass(frozen=True)
class Locks:
    """K strands of P points.

    Attributes:
        lines: K×P×2, pixels of the sprite.
        widths: K×P, pixels.
        colours: K×(P−1)×3, 0…255.
        phase: K, radians, where in its swing a strand is.
    """

    lines: Array
    widths: Array
    colours: Array
    phase: Array

    def swayed(self, time: float, reach: Points, pace: float) -> Locks:
        """As the wind has bent them: tips by ``reach`` pixels at most, roots not at all."""
        s = np.linspace(0, 1, self.lines.shape[1])[:, None]
        swing = np.sin(pace * time + self.phase) + 0.3 * np.sin(2.7 * pace * time + 2 * self.phase)
        return replace(self, lines=self.lines + swing[:, None, None] * s**2 * reach)

    def darker(self, by: float) -> Locks:
        return replace(self, colours=self.colours * by)

    def placed(self, scale: float, shift: Points) -> Locks:
        return replace(self, lines=self.lines * scale + shift)

    def some(self, picked: slice | NDArray[np.intp]) -> Locks:
        """These strands, the last on top."""
        return Locks(*(part[picked] for part in vars(self).values()))

    def paint(self, into: Picture) -> None:
        draw_ribbons(into, self.lines, self.widths, self.colours)


def grown_guides(
    rng: np.random.Generator,
    roots: Points,
    directions: Points,
    lengths: Array,
    pull: Points,
    points: int,
    curl: tuple[float, float] = (0, 1),
    around: tuple[Points, Points] | None = None,
) -> Array:
    """Guides, G×P×2.

    Args:
        roots: G×2.
        directions: G×2, along which they leave the skin.
        lengths: G, pixels.
        pull: towards which they turn, and how strongly: 1 turns a guide round at about its half.
        points: P.
        curl: its width as a share of the length, and waves along the strand.
        around: middle and radii of an ellipse that they go around.
    """
    step = (lengths / (points - 1))[:, None]
    heading = units(directions)
    places = [roots]
    for number in range(1, points):
        heading = units(heading + pull * (3 * number / (points - 1) + 1.5) / points)
        place = places[-1] + heading * step
        if around is not None:
            middle, radii = around
            inside = (place - middle) / radii
            depth = np.sqrt((inside**2).sum(1, keepdims=True))
            place = np.where(depth < 1, middle + inside / (depth + 1e-6) * radii, place)
        places.append(place)
    guides = np.stack(places, 1)
    s = np.linspace(0, 1, points)[None, :, None]
    wide, waves = curl
    turn = 2 * np.pi * waves * s * rng.uniform(0.8, 1.25, (len(roots), 1, 1))
    turn = turn + rng.uniform(0, 2 * np.pi, (len(roots), 1, 1))
    across = _across(guides)
    deep = wide * lengths[:, None, None] * np.minimum(s * 4, 1)
    return np.asarray(guides + deep * np.sin(turn) * across)


def in_locks(
    rng: np.random.Generator,
    guides: Array,
    count: int,
    spread: float,
    tight: float,
    frizz: float,
    thickness: float,
    colour: Array,
    shine: float,
) -> Locks:
    """``count`` strands around guides, lock after lock.

    Args:
        guides: G×P×2, the last one on top.
        spread: radius of a lock at its root, pixels.
        tight: 1 closes locks at their tips, 0 keeps them, below 0 they fray.
        frizz: pixels by which strands wander off towards their tips.
        thickness: pixels at the root.
        colour: of all, 3, or of each guide, G×3.
        shine: how much brighter a lock is in its highlight.
    """
    points = guides.shape[1]
    owner = np.sort(rng.integers(len(guides), size=count))
    reach = np.minimum(rng.uniform(0.55, 1.25, count), 1)  # a share of them are cut short
    at = np.linspace(0, 1, points)[None] * reach[:, None] * (points - 1)
    low = np.minimum(at.astype(int), points - 2)
    part = (at - low)[..., None]
    lines = guides[owner[:, None], low] * (1 - part) + guides[owner[:, None], low + 1] * part
    s = np.linspace(0, 1, points)[None, :, None]
    aside = rng.normal(0, 1, (count, 1, 1))
    opening = spread * (1 - tight * s ** rng.uniform(0.6, 1.6))
    root = rng.normal(0, spread * 0.5, (count, 1, 2)) * (1 - s)
    wander = np.zeros((count, points, 1))
    for wave in (0.8, 1.9, 3.3):
        if wave > points / 4:  # a line of few points cannot show it
            break
        turn = wave * np.pi * s * rng.uniform(0.6, 1.4, (count, 1, 1))
        wander += np.sin(turn + rng.uniform(0, 2 * np.pi, (count, 1, 1))) / wave
    stray = rng.exponential(1, (count, 1, 1))
    across = _across(lines)
    lines = lines + root + across * (aside * opening + frizz * stray * s * wander)

    thick = thickness * np.exp(rng.normal(0, 0.3, (count, 1)))
    taper = np.clip((1 - s[..., 0]) * 2.2, 0.15, 1)
    dyed = colour if colour.ndim == 1 else colour[owner]
    dyed = dyed * np.exp(rng.normal(0, 0.16, (len(guides), 1)))[owner]
    dyed = dyed * np.exp(rng.normal(0, 0.13, (count, 1)) + rng.normal(0, 0.03, (count, 3)))
    dyed = dyed * np.clip(1 + 0.22 * aside[:, 0], 0.5, 1.6)  # a lock is round, lit from one side
    middle = (s[:, 1:, 0] + s[:, :-1, 0]) / 2
    bright = (rng.uniform(0.15, 0.75) + rng.normal(0, 0.08, len(guides)))[owner, None]
    band = np.exp(-(((middle - bright) / rng.uniform(0.06, 0.2)) ** 2))
    shade = (rng.uniform(0.45, 0.9) + np.minimum(middle * 3, 1) * 0.45) * (1 + shine * band)
    gloss = 60 * shine * band * np.clip(aside[:, :, 0] * 0.4 + 0.5, 0, 1)
    colours = dyed[:, None] * shade[..., None] + gloss[..., None]
    phase = _phase(rng, lines[:, 0], owner)
    return Locks(lines, thick * taper, np.clip(colours, 0, 255), phase)


def hair_colour(rng: np.random.Generator, any_tone: Array) -> Array:
    """Natural mostly, else dyed like ``any_tone``."""
    if rng.random() < 0.75:
        first, second = NATURAL[rng.integers(len(NATURAL), size=2)]
        mixed = first + (second - first) * rng.uniform(0, 0.3)
        return np.asarray(np.clip(mixed * np.exp(rng.normal(0, 0.15)), 0, 255))
    return any_tone


def _phase(rng: np.random.Generator, roots: Points, owner: NDArray[np.intp]) -> Array:
    """A gust runs over the roots; each lock and each strand lags a little."""
    gust = rng.normal(0, 0.012, 2)
    lag = rng.normal(0, 0.4, int(owner.max()) + 1 if len(owner) else 1)
    return np.asarray(roots @ gust + lag[owner] + rng.normal(0, 0.15, len(roots)))


def units(vectors: Array) -> Array:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-6))


def _across(lines: Array) -> Array:
    along = units(np.gradient(lines, axis=1))
    return np.stack([-along[..., 1], along[..., 0]], 2)
