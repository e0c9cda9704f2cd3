"""What happens in one synthetic clip: everything random is drawn here, on the CPU.

A scene holds no pictures, only which sources it shows, how they move, and what light, camera and
artist do. It depends on the cast, the configuration and its random generator alone, so that every
device shows the same scene. Whether there is an edge to see is asked of the sources' own alpha,
carried through the paths: no picture has to be made, and no device waited for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.sprites import Sprite
from training.synthetic.camera import Noise
from training.synthetic.layers import Layer
from training.synthetic.motion import Array, Bending, Path, Sway, mapped, spline
from training.synthetic.trimaps import Brush, drawn_margin

FRAMINGS = ("close", "whole")
_PLACINGS = 12  # tries to place a sprite, an occluder
_EDGES = 600  # edge pixels that are followed through a clip
_ENOUGH = 0.0006  # of the frame must be edge, in every frame
_SURE = 0.1  # of the frame must be foreground or background entirely, in every frame
_CUT = 0.02  # of the frame may show a sprite beyond its own border
_BRIGHT = 0.6  # linear: no layer is brighter in the mean
_UPRIGHT = ("person",)  # kinds that are not turned over
_THERE = 96  # alpha's code above which a border cuts an object off rather than brushes it
_LYING = 0.2  # radians they may lean


@dataclass(frozen=True)
class SynthesisConfig:
    """What clips look like.

    Attributes:
        height, width: of the frame in pixels.
        frames: of a clip.
        exposures: most sub-frames of an exposure; slow layers take fewer.
        linear_share: of the clips, composited in scene-linear light; the others in display light.
        framing: ``close``: an edge fills the frame; ``whole``: the object has room to move.
        still_share: of the layers, that do not travel.
        speeds: slowest and fastest travel of the others, pixels a frame at a width of 320;
            evenly drawn between their logarithms, so that few are fast.
        shutter: longest exposure, in frames.
        similar_share: of the clips, with colours alike on both sides of the edge.
        occluder_share: of the clips, with something passing in front.
        pair_share: of the clips, with two overlapping objects.
        clutter_share: of the clips, with a sprite in the background, often the foreground's own.
        rolling_share: of the clips, with light that changes.
        defocus_share, noise_share: of the clips.
        compression_share: of the clips in display light; a fifth as often in linear light.
        partial_share: mean share of partial alpha in the band of unknown pixels.
        hasty_share: of the clips, whose trimap takes in far more than what is partial, as where an
            artist paints a whole tussock unknown.
        specks_share: of the clips, whose trimap has specks of unknown anywhere.
        kind_shares: how often each kind of sprite plays, against 1 for kinds that are not named;
            within a kind all sprites play alike.
    """

    height: int = 320
    width: int = 320
    frames: int = 6
    exposures: int = 8
    linear_share: float = 0.75
    framing: str = "close"
    still_share: float = 0.15
    speeds: tuple[float, float] = (0.25, 15.0)
    shutter: float = 0.6
    similar_share: float = 0.3
    occluder_share: float = 0.12
    pair_share: float = 0.12
    clutter_share: float = 0.15
    rolling_share: float = 0.2
    defocus_share: float = 0.3
    noise_share: float = 0.8
    compression_share: float = 0.5
    partial_share: float = 0.31
    hasty_share: float = 0.0
    specks_share: float = 0.0
    kind_shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.framing not in FRAMINGS:
            raise ValueError(f"framing is {' or '.join(FRAMINGS)}, not {self.framing!r}")
        if min(self.height, self.width) < 16 or self.frames < 1 or self.exposures < 1:
            raise ValueError("a clip has at least 16×16 pixels, one frame and one exposure")
        if not 0 < self.speeds[0] <= self.speeds[1]:
            raise ValueError("speeds are above 0, the slowest first")
        if not 0 <= self.shutter <= 1:
            raise ValueError("a shutter is open for 0 … 1 of a frame")

    @property
    def unit(self) -> float:
        """Pixels of this frame per pixel of one that is 320 wide."""
        return self.width / 320


@dataclass(frozen=True)
class Source:
    """Which pictures a layer shows.

    Attributes:
        group: ``sprite``, ``photograph``, ``clip``, or ``made`` for a picture of this scene alone.
        number: in its group.
        made: uint8 1×h×w×3, where made.
    """

    group: str
    number: int = 0
    made: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Shot:
    """A layer and the source it shows; ``texture`` is the photograph it takes its colour from."""

    source: Source
    layer: Layer
    texture: int | None = None


@dataclass(frozen=True)
class Rolling:
    """Light that wanders over the frame: lamps that swing, clouds, shadows of leaves.

    Attributes:
        gains: T×rows×columns, at the knots of `training.synthetic.motion.spline`.
        before, behind: whether it falls on the foreground, on the background.
    """

    gains: NDArray[np.float32]
    before: bool
    behind: bool


@dataclass(frozen=True)
class Scene:
    """One clip, entirely drawn.

    Attributes:
        kind: of the first foreground's sprite.
        foregrounds: one or two, the first on top.
        occluder: what passes in front of them and belongs to the background.
        clutter: a sprite that belongs to the background, behind them.
        rolling: how the light on foreground and background changes.
        linear: composited in scene-linear light.
        noise: of the camera; None for none.
        quality: of the codec, 1 … 100; None for none.
        halved: chroma is stored at half the size.
        codes: a noisy display picture is rounded to eight bits.
    """

    kind: str
    foregrounds: tuple[Shot, ...]
    background: Shot
    occluder: Shot | None
    clutter: Shot | None
    rolling: Rolling | None
    linear: bool
    noise: Noise | None
    quality: float | None
    halved: bool
    codes: bool
    brush: Brush


@dataclass
class _Player:
    """A sprite, and what has to be known of it to place it."""

    sprite: Sprite
    looseness: NDArray[np.float32]
    colour: Array  # mean, sRGB-encoded
    solid: float  # share of what it covers that it covers entirely
    cut: tuple[bool, bool, bool, bool]  # see `cut_sides`
    _edges: dict[int, tuple[Array, int]] = field(default_factory=dict)
    _boxes: dict[int, Array] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        return self.sprite.frames.shape[1], self.sprite.frames.shape[2]

    def edges(self, number: int) -> Array:
        """P×2: places of some mixed pixels of a frame."""
        return self._mixed(number)[0]

    def edge_count(self, number: int) -> int:
        """How many mixed pixels a frame has."""
        return self._mixed(number)[1]

    def _mixed(self, number: int) -> tuple[Array, int]:
        if number not in self._edges:
            self._edges[number] = _mixed_places(self.sprite.frames[number, ..., 3])
        return self._edges[number]

    def bounds(self, number: int) -> Array:
        """2×2: least and greatest x, y of what is covered."""
        if number not in self._boxes:
            covered = self.sprite.frames[number, ..., 3] > 12
            rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
            height, width = self.size
            ends = (
                (columns[0], rows[0], columns[-1], rows[-1]) if len(rows) else (0, 0, width, height)
            )
            self._boxes[number] = np.array(ends, np.float64).reshape(2, 2)
        return self._boxes[number]

    def alpha_at(self, number: int, places: Array) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Alpha at P×2 places, the border's going on beyond it; and which places lie beyond."""
        height, width = self.size
        x = np.rint(places[:, 0]).astype(int)
        y = np.rint(places[:, 1]).astype(int)
        beyond = (x < 0) | (y < 0) | (x >= width) | (y >= height)
        alpha = self.sprite.frames[number, ..., 3]
        return alpha[y.clip(0, height - 1), x.clip(0, width - 1)], beyond


def _mixed_places(alpha: NDArray[np.uint8]) -> tuple[Array, int]:
    """Some of the mixed pixels, `_EDGES` at most, and how many there are."""
    mixed = (alpha - np.uint8(9)) < 238  # 9 … 246; below 9 it wraps round
    places = np.flatnonzero(mixed)
    if len(places) < 40:  # a hard edge mixes few pixels, yet it is an edge
        wide = alpha.astype(np.int16)
        mixed[:, 1:] |= np.abs(np.diff(wide, axis=1)) > 96
        mixed[1:] |= np.abs(np.diff(wide, axis=0)) > 96
        places = np.flatnonzero(mixed)
    # Spread by the golden ratio, so that no row or column is preferred.
    picked = places
    if len(places) > _EDGES:
        picked = places[(np.arange(_EDGES) * 0.6180339887 % 1 * len(places)).astype(int)]
    rows, columns = np.divmod(picked, alpha.shape[1])
    return np.stack((columns, rows), -1).astype(np.float64), len(places)


def _meet(sprite: Sprite) -> _Player:
    frames = sprite.frames
    if frames.ndim != 4 or frames.shape[3] != 4 or frames.dtype != np.uint8:
        raise ValueError(f"sprite {sprite.name!r}: frames are uint8 T×H×W×4")
    step = max(min(frames.shape[1:3]) // 160, 1)
    middle = frames[len(frames) // 2, ::step, ::step]
    alpha = middle[..., 3].astype(np.float32) / 255
    spread = max(alpha.shape) / 20
    loose = 1 - cv2.GaussianBlur(alpha, (0, 0), spread, borderType=cv2.BORDER_REPLICATE)
    loose = cv2.resize(loose, (32, 32), interpolation=cv2.INTER_AREA)
    covered = float((alpha > 0.02).sum())
    solid = float((alpha > 0.98).sum()) / max(covered, 1.0)
    weights = (alpha + 1e-6)[..., None]
    colour = (middle[..., :3] / 255 * weights).sum((0, 1)) / weights.sum()
    eased: NDArray[np.float32] = np.clip(loose, 0.04, 1).astype(np.float32)
    return _Player(sprite, eased, colour, solid, cut_sides(sprite.frames))


def cut_sides(frames: NDArray[np.uint8]) -> tuple[bool, bool, bool, bool]:
    """Whether the object goes on beyond the left, upper, right, lower border of its pictures."""
    alpha = frames[..., 3]
    lines = alpha[:, :, 0], alpha[:, 0], alpha[:, :, -1], alpha[:, -1]
    left, top, right, bottom = (bool((line > _THERE).mean(1).max() > 0.01) for line in lines)
    return left, top, right, bottom


def rounded_off(sprite: Sprite) -> Sprite:
    """The sprite without the faint coverage that would be drawn out beyond its borders.

    Alpha fades to nothing towards each border that the object is not cut off by.
    """
    frames = sprite.frames
    height, width = frames.shape[1:3]
    cut = cut_sides(frames)
    alpha = frames[..., 3]
    lines = alpha[:, :, 0], alpha[:, 0], alpha[:, :, -1], alpha[:, -1]
    if not any(line.any() and not off for line, off in zip(lines, cut, strict=True)):
        return sprite
    fade = np.ones((height, width), np.float32)
    rim = max(min(height, width) // 24, 2)
    ramp = np.sin(np.linspace(0, math.pi / 2, rim, dtype=np.float32)) ** 2
    sides = fade[:, :rim].T, fade[:rim], fade[:, ::-1][:, :rim].T, fade[::-1][:rim]
    for side, off in zip(sides, cut, strict=True):
        if not off:
            side *= ramp[:, None]
    frames = frames.copy()
    for frame in frames:
        frame[..., 3] = np.rint(frame[..., 3] * fade)
    return replace(sprite, frames=frames)


class Cast:
    """All that scenes can be made of, as the CPU knows it.

    Raises:
        ValueError: no sprite, or none with an edge, or a picture of another shape or type.
    """

    def __init__(
        self,
        sprites: Sequence[Sprite],
        photographs: Sequence[NDArray[np.uint8]],
        clips: Sequence[NDArray[np.uint8]],
        config: SynthesisConfig,
    ) -> None:
        for name, pictures, shape in (("photograph", photographs, 3), ("clip", clips, 4)):
            for picture in pictures:
                if picture.ndim != shape or picture.shape[-1] != 3 or picture.dtype != np.uint8:
                    raise ValueError(f"a {name} is uint8, {'T×' * (shape - 3)}H×W×3")
        self.players = [_meet(sprite) for sprite in sprites]
        for player in self.players:
            if not len(player.edges(len(player.sprite.frames) // 2)):
                raise ValueError(f"sprite {player.sprite.name!r} has no edge")
        if not self.players:
            raise ValueError("a clip needs at least one sprite")
        self.config = config
        self.photographs = [picture.shape for picture in photographs]
        self.clips = [clip.shape for clip in clips]
        self._photograph_colours = [_mean_colour(picture) for picture in photographs]
        self._clip_colours = [_mean_colour(clip[len(clip) // 2]) for clip in clips]
        self._solid = [i for i, player in enumerate(self.players) if player.solid > 0.8]
        y, x = np.mgrid[0 : config.height - 1 : 20j, 0 : config.width - 1 : 20j]
        self._raster = np.stack((x.ravel(), y.ravel()), -1)
        kinds = [player.sprite.kind for player in self.players]
        chances = np.array(
            [config.kind_shares.get(kind, 1.0) / kinds.count(kind) for kind in kinds]
        )
        whole = np.array([sum(player.cut) < 3 for player in self.players])
        if config.framing == "whole" and (chances * whole).any():
            chances = chances * whole  # what is cut off all around is never seen whole
        self._chances = chances / chances.sum()

    def _cast(self, rng: np.random.Generator) -> int:
        """Which sprite plays: its kind by the shares of those that are there, then any of it."""
        return int(rng.choice(len(self.players), p=self._chances))

    def scene(self, rng: np.random.Generator) -> Scene:
        """Draw a scene."""
        config = self.config
        linear = bool(rng.random() < config.linear_share)
        shutter = 0.0 if rng.random() < 0.2 else rng.uniform(0.15, 1) * config.shutter
        similar = rng.random() < config.similar_share
        number = self._cast(rng)
        player = self.players[number]
        fast = self._speed(rng)
        first = self._placed(rng, player, shutter, fast)
        foregrounds = [Shot(Source("sprite", number), first)]
        if rng.random() < config.pair_share:
            other = self._cast(rng)
            second = self._placed(rng, self.players[other], shutter, fast * rng.uniform(0, 1.5))
            foregrounds.append(Shot(Source("sprite", other), second))
        backdrop, texture = self._backdrop(rng, shutter, similar, player.sprite.motion)
        occluder = None
        if self._solid and rng.random() < config.occluder_share:
            occluder = self._occluder(rng, shutter, player, first)
        clutter = None
        if rng.random() < config.clutter_share:
            other = number if rng.random() < 0.5 else self._cast(rng)
            lies = self._placed(rng, self.players[other], shutter, self._speed(rng) * 0.5)
            clutter = _coloured(Shot(Source("sprite", other), lies), _light(rng, linear, 0.8))
        backdrop, foregrounds, occluder = self._lit(
            rng, linear, similar and texture is None, backdrop, foregrounds, occluder
        )
        if texture is not None:
            foregrounds = [replace(shot, texture=texture) for shot in foregrounds]
        disc = bool(rng.random() < 0.5)
        if rng.random() < config.defocus_share:
            behind = rng.random() < 0.6
            radius = rng.uniform(1, 6 if behind else 3.5) * config.unit
            if behind:
                backdrop = _defocused(backdrop, radius, disc)
                clutter = clutter and _defocused(clutter, radius, disc)
            else:
                foregrounds = [_defocused(shot, radius, disc) for shot in foregrounds]
        noise = self._noise(rng)
        packed = rng.random() < config.compression_share * (0.2 if linear else 1)
        return Scene(
            kind=player.sprite.kind,
            foregrounds=tuple(foregrounds),
            background=backdrop,
            occluder=occluder,
            clutter=clutter,
            rolling=self._rolling(rng, linear),
            linear=linear,
            noise=noise,
            quality=float(rng.uniform(35, 96)) if packed else None,
            halved=bool(rng.random() < 0.7),
            codes=bool(rng.random() < 0.7) and noise is not None,
            brush=self._brush(rng),
        )

    # What moves

    def _speed(self, rng: np.random.Generator) -> float:
        """Pixels a frame."""
        config = self.config
        low, high = np.log(config.speeds)
        drawn = float(np.exp(rng.uniform(low, high)))
        return 0.0 if rng.random() < config.still_share else drawn * config.unit

    def _sways(self, rng: np.random.Generator, speed: float, x: float, y: float) -> Any:
        """Travel with a top speed of ``speed`` through x, y in the middle of the clip, and turning
        and zooming of a like speed: sways of x, y, turn and logarithm of zoom."""
        config = self.config
        middle = (config.frames - 1) / 2
        size = min(config.height, config.width)
        heading = rng.uniform(0, 2 * math.pi)

        def sway(level: float, speed: float, room: float) -> Sway:
            swing = rng.uniform(0.4, 1) * room
            rate = min(abs(speed) / swing, 0.7)
            return Sway(
                level,
                math.copysign(speed / rate, speed) if rate else 0.0,
                rate,
                rng.uniform(-1.2, 1.2),
                middle,
            )

        if speed == 0:
            still = rng.random() < 0.5  # else the camera trembles a little
            speed = 0.0 if still else rng.uniform(0.05, 0.4) * config.unit
        room = (0.35 if config.framing == "close" else 0.28) * size
        along = sway(0.0, speed, room)
        sideways = sway(0.0, speed * rng.uniform(-0.5, 0.5), room)
        cosine, sine = math.cos(heading), math.sin(heading)
        turning = speed * rng.uniform(-0.6, 0.6) * (rng.random() < 0.6) / (size / 2)
        zooming = speed * rng.uniform(-0.5, 0.5) * (rng.random() < 0.6) / (size / 2)
        if abs(cosine) >= abs(sine):
            xy = (
                replace(along, level=x, swing=along.swing * math.copysign(1, cosine)),
                replace(sideways, level=y),
            )
        else:
            xy = (
                replace(sideways, level=x),
                replace(along, level=y, swing=along.swing * math.copysign(1, sine)),
            )
        return *xy, sway(0.0, turning, 0.5), sway(0.0, zooming, 0.25)

    def _bending(
        self, rng: np.random.Generator, player: _Player, size: float, speed: float
    ) -> Bending | None:
        """``size`` is the zoom: frame pixels per source pixel; ``speed`` in frame pixels."""
        if rng.random() < 0.35:
            return None
        count = 3
        unit = self.config.unit
        lengths = np.exp(rng.uniform(math.log(60), math.log(260), count)) * unit / size
        headings = rng.uniform(0, 2 * math.pi, count)
        waves = np.stack((np.cos(headings), np.sin(headings)), -1)
        waves *= (2 * math.pi / lengths)[:, None]
        # Together the waves shift neighbours apart by less than half their distance, so that
        # nothing folds.
        strength = rng.uniform(0.05, 0.4) / count * lengths / (2 * math.pi)
        directions = rng.uniform(0, 2 * math.pi, count)
        shifts = np.stack((np.cos(directions), np.sin(directions)), -1) * strength[:, None]
        limit = (0.25 * unit + 0.6 * speed) / (strength * size * count)
        rates = np.minimum(rng.uniform(0.1, 0.9, count), limit)
        phases = rng.uniform(0, 2 * math.pi, count)
        return Bending(waves, shifts, rates, phases, player.looseness, player.size)

    def _frames(self, rng: np.random.Generator, count: int) -> tuple[int, ...]:
        """Frames of a source of ``count`` frames, forth and back again if it is short."""
        if count == 1:
            return (0,) * self.config.frames
        start = int(rng.integers(2 * count - 2))
        step = 2 if rng.random() < 0.15 and count > 2 * self.config.frames else 1
        numbers = (start + step * np.arange(self.config.frames)) % (2 * count - 2)
        return tuple(int(n) for n in np.minimum(numbers, 2 * count - 2 - numbers))

    def _layer(self, path: Path, bending: Bending | None, frames: Any, shutter: float) -> Layer:
        neutral = np.zeros((3, 256), np.float32)
        return Layer(frames, path, bending, neutral, shutter, self.config.exposures)

    # Where things are

    def _placed(
        self, rng: np.random.Generator, player: _Player, shutter: float, speed: float
    ) -> Layer:
        """The best of some tries to lay a sprite so that its edge is seen in every frame.

        A try is good enough at once if enough edge is seen, and something that is none, and hardly
        anything beyond the sprite's border. Late tries are slower and show the object whole.
        """
        best: tuple[float, Layer] | None = None
        for turn in range(_PLACINGS):
            pace = speed * 0.6 ** max(turn - 3, 0)
            frames = self._frames(rng, len(player.sprite.frames))
            whole = self.config.framing == "whole" or turn >= _PLACINGS // 2
            path, bending = self._path(rng, player, frames, pace, whole)
            layer = self._layer(path, bending, frames, shutter)
            edge, sure, cut = self._visible(player, layer)
            score = min(edge / _ENOUGH, 1) + min(sure / _SURE, 1) - min(max(cut / _CUT, 1), 20) / 20
            if best is None or score > best[0]:
                best = score, layer
            if edge >= _ENOUGH and sure >= _SURE and cut <= _CUT:
                break
        assert best is not None
        return best[1]

    def _path(
        self, rng: np.random.Generator, player: _Player, frames: Any, speed: float, whole: bool
    ) -> tuple[Path, Bending | None]:
        config = self.config
        height, width = config.height, config.width
        number = frames[len(frames) // 2]
        upright = player.sprite.kind in _UPRIGHT
        lean = _LYING if upright else math.pi if rng.random() < 0.5 else 0.5
        turn = rng.uniform(-lean, lean)
        mirrored = bool(rng.random() < 0.5)
        x, y = (width - 1) / 2, (height - 1) / 2
        low, high = player.bounds(number)
        extent = np.maximum(high - low, 8)
        if not whole:
            edges = player.edges(number)
            if len(edges):
                anchor = edges[rng.integers(len(edges))]
            else:
                anchor = (low + high) / 2
            zoom = rng.uniform(math.log(0.6), math.log(1.6))
            x += rng.uniform(-0.25, 0.25) * width
            y += rng.uniform(-0.25, 0.25) * height
        else:
            anchor = (low + high) / 2
            turn *= 0.4
            zoom = math.log(rng.uniform(0.45, 0.9) * min(width / extent[0], height / extent[1]))
            zoom = min(zoom, math.log(2.0))
            x += rng.uniform(-0.12, 0.12) * width
            y += rng.uniform(-0.12, 0.12) * height
            zoom, x, y = self._standing(rng, player, number, zoom, x, y, mirrored)
            if any(player.cut):
                turn *= 0.2
        across, down, turning, zooming = self._sways(rng, speed, x, y)
        path = Path(
            (float(anchor[0]), float(anchor[1])),
            across,
            down,
            replace(turning, level=turn, swing=turning.swing * (0.3 if upright else 1)),
            replace(zooming, level=zoom),
            stretch=float(np.exp(rng.normal(0, 0.06))),
            mirrored=mirrored,
        )
        return path, self._bending(rng, player, math.exp(zoom), speed)

    def _standing(
        self,
        rng: np.random.Generator,
        player: _Player,
        number: int,
        zoom: float,
        x: float,
        y: float,
        mirrored: bool,
    ) -> tuple[float, float, float]:
        """Zoom and middle of a whole object so that the frame's borders hide where it is cut off:
        what is cut at the feet stands on the lower border."""
        low, high = player.bounds(number)
        size = player.size[::-1]
        frame = self.config.width, self.config.height
        first = [bool(player.cut[i] and low[i] < 3) for i in range(2)]
        last = [bool(player.cut[i + 2] and high[i] > size[i] - 4) for i in range(2)]
        if mirrored:
            first[0], last[0] = last[0], first[0]
        for i in range(2):
            if first[i] and last[i]:
                zoom = max(zoom, math.log(1.2 * frame[i] / (high[i] - low[i])))
        place = [x, y]
        for i in range(2):
            half = (high[i] - low[i]) / 2 * math.exp(zoom)
            over = rng.uniform(0.03, 0.15) * frame[i]
            if first[i] and not last[i]:
                place[i] = half - over
            elif last[i] and not first[i]:
                place[i] = frame[i] + over - half
        return zoom, place[0], place[1]

    def _visible(self, player: _Player, layer: Layer) -> tuple[float, float, float]:
        """Shares of the frame, of the clip's worst frame: what is edge, what is certainly one or
        the other, and what lies beyond the sprite's border and is yet covered."""
        height, width = self.config.height, self.config.width
        times = layer.times()
        forth, back = layer.path.to_frame(times), layer.path.to_source(times)
        raster = self._raster
        sizes = np.exp(layer.path.zoom.at(times))
        edge, sure, cut = 1.0, 1.0, 0.0
        for i, number in enumerate(layer.frames):
            edges = player.edges(number)
            seen = _inside(edges @ forth[i, :, :2].T + forth[i, :, 2], height, width)
            part = float(seen.mean()) if len(seen) else 0.0
            area = player.edge_count(number) * part * float(sizes[i]) ** 2
            edge = min(edge, area / (height * width))
            places = raster @ back[i, :, :2].T + back[i, :, 2]
            covered, beyond = player.alpha_at(number, places)
            sure = min(sure, float(((covered < 2) | (covered > 253)).mean()))
            cut = max(cut, float((beyond & (covered > 12)).mean()))
        return edge, sure, cut

    def _occluder(
        self, rng: np.random.Generator, shutter: float, player: _Player, layer: Layer
    ) -> Shot | None:
        """Something solid that passes in front of part of the edge; None if no try fits."""
        config = self.config
        size = min(config.height, config.width)
        times = layer.times()
        forth = layer.path.to_frame(times)
        for _ in range(_PLACINGS):
            number = self._solid[rng.integers(len(self._solid))]
            other = self.players[number]
            frames = self._frames(rng, len(other.sprite.frames))
            low, high = other.bounds(frames[0])
            extent = float(np.maximum(high - low, 8).max())
            zoom = math.log(min(rng.uniform(0.25, 0.8) * size / extent, 2.0))
            x = rng.uniform(0, config.width)
            y = rng.uniform(0, config.height)
            ways = self._sways(rng, self._speed(rng), x, y)
            anchor = (low + high) / 2
            path = Path(
                (float(anchor[0]), float(anchor[1])),
                ways[0],
                ways[1],
                replace(ways[2], level=rng.uniform(-0.6, 0.6)),
                replace(ways[3], level=zoom),
                mirrored=bool(rng.random() < 0.5),
            )
            bending = self._bending(rng, other, math.exp(zoom), 0.0)
            passing = self._layer(path, bending, frames, shutter)
            back = path.to_source(times)
            left, touched = [], False
            for i, frame in enumerate(layer.frames):
                edges = player.edges(frame)
                if not len(edges):
                    continue
                places = mapped(forth[i : i + 1], edges)[0]
                places = places[_inside(places, config.height, config.width)]
                if not len(places):
                    continue
                covered, _ = other.alpha_at(frames[i], mapped(back[i : i + 1], places)[0])
                left.append(float((covered < 128).mean()))
                touched = touched or left[-1] < 1
            cut = self._visible(other, passing)[2]
            if left and touched and min(left) > 0.35 and cut <= _CUT:
                return Shot(Source("sprite", number), passing)
        return None

    def _backdrop(
        self, rng: np.random.Generator, shutter: float, similar: bool, motion: str
    ) -> tuple[Shot, int | None]:
        """What lies behind, and the photograph that the foreground takes its colour from."""
        config = self.config
        texture = None
        drawn = rng.random()
        if self.clips and drawn < 0.25 and config.frames > 1:
            number = int(rng.integers(len(self.clips)))
            source, size = Source("clip", number), self.clips[number][1:3]
            frames = self._frames(rng, self.clips[number][0])
            speed = self._speed(rng) * 0.2
        elif self.photographs and drawn < 0.9:
            number = int(rng.integers(len(self.photographs)))
            source, size = Source("photograph", number), self.photographs[number][:2]
            frames, speed = (0,) * config.frames, self._speed(rng) * 0.6
            if similar and motion == "still" and rng.random() < 0.5:
                texture = number
        else:
            picture = _studio(rng) if rng.random() < 0.5 else _clouds(rng)
            source, size = Source("made", made=picture[None]), picture.shape[:2]
            frames, speed = (0,) * config.frames, self._speed(rng) * 0.6
        height, width = size
        turn = rng.uniform(-0.25, 0.25) if rng.random() < 0.5 else 0.0
        reach = abs(math.sin(turn)) * max(config.width, config.height)
        cover = max((config.width + reach) / width, (config.height + reach) / height)
        zoom = math.log(max(cover * 1.04, min(cover * rng.uniform(1.04, 2.0), 1.3)))
        slack = (
            max(width * math.exp(zoom) - config.width - reach, 0) / 2,
            max(height * math.exp(zoom) - config.height - reach, 0) / 2,
        )
        x, y = (
            (n - 1) / 2 + rng.uniform(-0.9, 0.9) * room
            for n, room in zip((config.width, config.height), slack, strict=True)
        )
        ways = self._sways(rng, speed, x, y)
        path = Path(
            ((width - 1) / 2, (height - 1) / 2),
            ways[0],
            ways[1],
            replace(ways[2], level=turn, swing=ways[2].swing * 0.5),
            replace(ways[3], level=zoom, swing=ways[3].swing * 0.5),
            mirrored=bool(rng.random() < 0.5),
        )
        return Shot(source, self._layer(path, None, frames, shutter)), texture

    # Light

    def _lit(
        self,
        rng: np.random.Generator,
        linear: bool,
        alike: bool,
        backdrop: Shot,
        foregrounds: list[Shot],
        occluder: Shot | None,
    ) -> tuple[Shot, list[Shot], Shot | None]:
        behind = _light(rng, linear, 0.8)
        before = _light(rng, linear, 0.6)
        if alike:
            # The same brightness, and nearly the same colour, on both sides of the edge.
            target = behind[np.arange(3), self._codes(backdrop)]
            own = before[np.arange(3), self._codes(foregrounds[0])]
            target, own = np.maximum(target, 0.02), np.maximum(own, 0.02)
            even = np.full(3, target.mean() / own.mean())
            part = rng.uniform(0, 1)
            gain = np.clip(even ** (1 - part) * (target / own) ** part, 0.2, 5)
            before = before * gain[:, None].astype(np.float32)
            if not linear:
                before = np.clip(before, 0, 1)
        if linear:
            # Whoever exposes the camera keeps most of the picture below white.
            codes = self._codes(backdrop), self._codes(foregrounds[0])
            means = [
                float(light[np.arange(3), code].mean())
                for light, code in zip((behind, before), codes, strict=True)
            ]
            stop = np.float32(min(1.0, _BRIGHT / max(*means, 1e-6)))
            behind, before = behind * stop, before * stop
        backdrop = _coloured(backdrop, behind)
        lit = [_coloured(foregrounds[0], before)]
        for shot in foregrounds[1:]:
            same = rng.random() < 0.5
            lit.append(_coloured(shot, before if same else _light(rng, linear, 0.6)))
        if occluder is not None:
            occluder = _coloured(occluder, _light(rng, linear, 0.8))
        return backdrop, lit, occluder

    def _rolling(self, rng: np.random.Generator, linear: bool) -> Rolling | None:
        config = self.config
        if rng.random() >= config.rolling_share:
            return None
        shape = spline(config.width).shape[1], spline(config.height).shape[1]
        waves = rng.normal(0, rng.uniform(0.1, 0.4), (2, 3, 3)).astype(np.float32)
        first, second = (cv2.resize(wave, shape, interpolation=cv2.INTER_CUBIC) for wave in waves)
        angle = rng.uniform(0.02, 0.5) * np.arange(config.frames)[:, None, None]
        gains = np.exp(np.cos(angle) * first + np.sin(angle) * second)
        if not linear:
            gains = gains / gains.max()  # display light ends at 1
        before, behind = ((True, True), (True, False), (False, True))[
            rng.choice(3, p=(0.6, 0.2, 0.2))
        ]
        return Rolling(gains.astype(np.float32), before, behind)

    def _codes(self, shot: Shot) -> Any:
        """Mean colour of a shot's source, as codes."""
        source = shot.source
        if source.made is not None:
            colour = _mean_colour(source.made[0])
        elif source.group == "sprite":
            colour = self.players[source.number].colour
        elif source.group == "photograph":
            colour = self._photograph_colours[source.number]
        else:
            colour = self._clip_colours[source.number]
        return np.clip(np.rint(colour * 255), 0, 255).astype(int)

    # Camera and artist

    def _noise(self, rng: np.random.Generator) -> Noise | None:
        wanted = rng.random() < self.config.noise_share
        noise = Noise(
            shot=float(10 ** rng.uniform(-5, -3)),
            read=float(10 ** rng.uniform(-3.6, -2.2)),
            soft=bool(rng.random() < 0.4),
            starts=tuple(float(start) for start in rng.random(self.config.frames)),
        )
        return noise if wanted else None

    def _brush(self, rng: np.random.Generator) -> Brush:
        config = self.config
        share, inside, outside = drawn_margin(rng, config.partial_share)
        blobs = None
        shape = spline(config.height).shape[1], spline(config.width).shape[1]
        if rng.random() < 0.4:
            coarse = rng.normal(0, 1, (6, 6)).astype(np.float32)
            smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
            blobs = np.maximum(smooth - 0.4, 0).astype(np.float32) * float(rng.uniform(0.5, 1.5))
        stroke = 0.0 if rng.random() < 0.2 else float(rng.uniform(1, 8)) * config.unit
        brush = Brush(float(np.clip(share, 0.08, 0.7)), inside, outside, blobs, stroke)
        if config.hasty_share and rng.random() < config.hasty_share:
            wide = max(share * float(rng.uniform(0.1, 0.5)), 0.01)
            brush = Brush(wide, 1.0, outside, blobs, max(stroke, 8 * config.unit))
        if config.specks_share and rng.random() < config.specks_share:
            brush = replace(brush, specks=self._specks(rng))
        return brush

    def _specks(self, rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
        """A few, of 1.5 to 14 pixels of a frame 320 wide, more small ones than large ones."""
        count = int(rng.integers(2, 16))
        x, y = rng.random((2, count)) * np.array([[self.config.width], [self.config.height]])
        radii = np.exp(rng.uniform(np.log(1.5), np.log(14), count)) * self.config.unit
        return tuple(zip(x.tolist(), y.tolist(), radii.tolist(), strict=True))


def _inside(places: Array, height: int, width: int) -> NDArray[np.bool_]:
    x, y = places[:, 0], places[:, 1]
    inside: NDArray[np.bool_] = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    return inside


def _mean_colour(picture: NDArray[np.uint8]) -> Array:
    mean: Array = picture[::8, ::8].reshape(-1, 3).mean(0) / 255
    return mean


def _coloured(shot: Shot, colours: NDArray[np.float32]) -> Shot:
    return replace(shot, layer=replace(shot.layer, colours=colours))


def _defocused(shot: Shot, radius: float, disc: bool) -> Shot:
    return replace(shot, layer=replace(shot.layer, defocus=radius, disc=disc))


def _light(rng: np.random.Generator, linear: bool, spread: float) -> NDArray[np.float32]:
    """3×256: the light of each code: exposure in stops, coloured light, highlights above 1."""
    codes = np.arange(256) / 255
    stops = float(np.clip(rng.normal(0, spread), -1.8, 1.8))
    tint = np.exp(rng.normal(0, 0.25 if rng.random() < 0.15 else 0.08, 3))
    glow = rng.uniform(0.5, 6) if rng.random() < 0.25 else 0.0
    if not linear:
        bent = codes ** float(np.exp(rng.normal(0, 0.2)))
        return np.clip(bent * tint[:, None] * 2 ** (stops / 4), 0, 1).astype(np.float32)
    light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    light = light + glow * (np.maximum(light - 0.6, 0) / 0.4) ** 2
    lit: NDArray[np.float32] = (light * tint[:, None] * 2.0**stops).astype(np.float32)
    return lit


def _studio(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A plain backing, lit unevenly: green, blue, grey, white, black, or any colour."""
    plain = ((40, 170, 60), (40, 70, 190), (128, 128, 128), (245, 245, 245), (8, 8, 8))
    pick = rng.integers(len(plain) + 2)
    colour = np.array(plain[pick]) if pick < len(plain) else rng.uniform(0, 255, 3)
    ramp = cv2.resize(rng.uniform(0.75, 1.1, (2, 2)), (96, 96), interpolation=cv2.INTER_LINEAR)
    backing: NDArray[np.uint8] = np.clip(colour * ramp[..., None], 0, 255).astype(np.uint8)
    return backing


def _clouds(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise of several sizes and colours, where no photograph is at hand or wanted."""
    size = 448
    roughness = rng.uniform(0.35, 0.85)
    picture = np.zeros((size, size, 3), np.float32)
    for octave in range(7):
        coarse = rng.normal(0, roughness**octave, (2 + 2**octave,) * 2 + (3,)).astype(np.float32)
        picture += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    grey = picture.mean(2, keepdims=True)
    picture = grey + (picture - grey) * float(rng.uniform(0, 1))
    picture = (picture - picture.mean()) / max(float(picture.std()), 1e-6)
    colour = rng.uniform(50, 200, 3) + picture * float(rng.uniform(15, 70))
    clouds: NDArray[np.uint8] = np.clip(colour, 0, 255).astype(np.uint8)
    return clouds
