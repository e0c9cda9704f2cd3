"""Adapting `trimap_memory_s` to a shot by its own keyframes, and nothing else.

Where there are two keyframes or more, each is carried to its neighbours over the plates between,
and what arrives is compared with what the artist painted there. Besides, and where there is one
alone, keyframes are carried over motion that is made: the plate and its trimap, warped.

A painted trimap says where it must be unknown, and so does a finished matte, more exactly.

Source of the idea: Y. Zhang et al., "Attention-guided Temporally Coherent Video Object Matting",
ACM Multimedia 2021, whose trimap network is tuned on the clip's keyframes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.canvas import canvas_of
from model.classical.filters import Image, fetched
from model.classical.working_size import PIXELS, WorkingSize
from model.face import Frame
from model.networks.trimap_memory_s import RECENT, TrimapMemoryS
from model.plates.image_files import read_plate
from model.view import LightView
from training import propagation
from training.adapting.crops import cut_around, filled
from training.adapting.loop import Adapted, Course, Loop
from training.adapting.shot import ShotFiles, matte_on, unknown_trimap
from training.judging.carried import CarriedClip, carry
from training.judging.metrics import trimap_quality
from training.synthesis import Clips

BATCH = 2
CROP = 192, 288
MADE = 5  # frames of a clip whose motion is made
MADE_SHARE = 0.3  # of the windows, where there are others
_EACH = 3  # such clips of each keyframe that is learned from
_WALK = 24  # frames that the network walks when it is judged; before them, what flow answered
_PERFECT = {"missed": 1e-3, "width": 1e-3, "wrong": 1e-2}  # no figure counts as better than that
_WORST = 1.1  # no figure may become this many times what it was
WEIGHTS = {**propagation.WEIGHTS, "missed": 24.0, "wrong": 24.0, "wide": 0.6}  # as by the recipe


@dataclass(frozen=True)
class Key:
    """A keyframe at working size: light and picture h×w×3, trimap h×w (0, 0.5, 1), alpha h×w."""

    light: Image
    picture: Image
    trimap: Image
    alpha: Image
    composited_in: str


@dataclass(frozen=True)
class Window:
    """A crop of two keyframes, two frames gone by and the one asked for: uint8 5×C×h×w.

    Attributes:
        picture, guess, alpha: see `training.judging.carried.CarriedClip`.
        scale: pixels of the uncropped clip to one of a 640×360 picture.
    """

    picture: NDArray[np.uint8]
    guess: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    scale: float


@dataclass(frozen=True)
class Carries:
    """Clips that end in a keyframe: learned from, and judged by."""

    taught: tuple[CarriedClip, ...]
    made: tuple[CarriedClip, ...]
    judged: tuple[CarriedClip, ...]


def adapt_propagation(
    base: TrimapMemoryS, carries: Carries, course: Course, say: Callable[[str], None]
) -> Adapted:
    """Learn from carried keyframes; the step is chosen by those held out.

    Raises:
        SetupError: ``setup.not_finite``.
    """
    device = next(base.parameters()).device

    def loss(network: TrimapMemoryS, step: int) -> Tensor:
        rng = np.random.default_rng((course.seed, 2, step))
        windows = []
        for _ in range(BATCH):
            own = carries.taught if rng.random() >= MADE_SHARE or not carries.made else carries.made
            own = own or carries.made
            windows.append(_window(own[int(rng.integers(len(own)))], rng))
        return _loss(network, windows, device)

    def judge(network: TrimapMemoryS) -> dict[str, float]:
        return judged(network.eval(), carries.judged, device)

    return Loop(loss, judge, score).run(base, course, say)


def score(after: dict[str, float], before: dict[str, float]) -> float:
    """Geometric mean of the figures over those of the base, of those that left something to wish
    for; infinite if any has become a tenth larger."""
    ratios = {k: (after[k] + eps) / (before[k] + eps) for k, eps in _PERFECT.items()}
    if max(ratios.values()) > _WORST:
        return math.inf
    open_ = [ratios[k] for k, eps in _PERFECT.items() if before[k] > eps]
    return float(np.exp(np.mean(np.log(open_)))) if open_ else 1.0


@torch.no_grad()
def judged(
    network: TrimapMemoryS, clips: Sequence[CarriedClip], device: torch.device
) -> dict[str, float]:
    """Of what arrives at the last frame of each clip, against the keyframe there: the share of the
    mixed band that is missed, the band's width, per cent certainly wrong."""
    rows = []
    for clip in clips:
        first = max(1, len(clip.picture) - _WALK)
        order = [*_remembered(clip, first), *range(first, len(clip.picture))]
        picture, guess = (_tensor(x[order], device)[None] for x in (clip.picture, clip.guess))
        *_, last = propagation.walk(network, filled(picture), filled(guess))
        height, width = clip.alpha.shape[-2:]
        answer = propagation.chosen(last.logits[..., :height, :width])[0, 0].cpu().numpy()
        found = trimap_quality(propagation.LEVELS[answer], clip.alpha[-1, 0] / 255.0)
        rows.append((1 - found.mixed_recall, found.band_width, found.certainly_wrong))
    means = np.mean(rows, 0)
    return {n: float(x) for n, x in zip(("missed", "width", "wrong"), means, strict=True)}


def carried_keyframes(files: ShotFiles, view: LightView, seed: int) -> Carries:
    """All clips of a shot's keyframes.

    Held out is the last pair of neighbours, there and back, if there are three keyframes; the way
    back between the two, if there are two; motion that is made otherwise, if there is one.

    Raises:
        InputError: ``input.no_unknown`` and what reading raises.
    """
    order, numbers = files.shot_frames, files.frames
    keys = {number: _key(files, number, view) for number in numbers}
    there = [_between(files, view, keys, order, a, b) for a, b in pairwise(numbers)]
    back = [_between(files, view, keys, order, b, a) for a, b in pairwise(numbers)]
    rng = np.random.default_rng((seed, 3))
    made = tuple(_made(key, rng) for key in keys.values() for _ in range(_EACH))
    if len(numbers) == 1:
        return Carries((), made, tuple(_made(keys[numbers[0]], rng) for _ in range(2)))
    if len(numbers) == 2:
        return Carries(tuple(there), made, tuple(back))
    return Carries((*there[:-1], *back[:-1]), made[:-_EACH], (there[-1], back[-1]))


def _key(files: ShotFiles, number: int, view: LightView) -> Key:
    plate = read_plate(files.plates.path(number), frame=number)
    canvas = canvas_of([(number, plate.header)])
    frame = view.frame(number, plate, canvas, unknown_trimap(files, number, plate))
    size = _size_of(frame)
    trimap = _classes(fetched(size.reduce(frame.known)))
    alpha = _mixed(trimap)
    if files.mattes is not None:
        alpha = fetched(size.reduce(matte_on(canvas, files.mattes.path(number), plate, number)))
    light, picture = (fetched(size.reduce(x)) for x in (frame.light, frame.picture))
    return Key(light, picture, trimap, alpha, frame.composited_in)


def _between(
    files: ShotFiles,
    view: LightView,
    keys: dict[int, Key],
    order: Sequence[int],
    start: int,
    end: int,
) -> CarriedClip:
    """From one keyframe over the plates between to another."""
    low, high = sorted((start, end))
    numbers = [f for f in order if low < f < high]
    rows: list[Key] = []
    for f in numbers if start < end else numbers[::-1]:
        plate = read_plate(files.plates.path(f), frame=f)
        frame = view.frame(f, plate, canvas_of([(f, plate.header)]))
        size = _size_of(frame)
        light, picture = (fetched(size.reduce(x)) for x in (frame.light, frame.picture))
        nothing = np.zeros(light.shape[:2], np.float32)
        rows.append(Key(light, picture, nothing, nothing, frame.composited_in))
    return _clip([keys[start], *rows, keys[end]])


def _size_of(frame: Frame) -> WorkingSize:
    return WorkingSize.of(*frame.light.shape[-2:])


def _clip(keys: Sequence[Key]) -> CarriedClip:
    """Carried from the first by `trimap_flow`; the alphas of the others are the truth, if any."""

    def planes(images: Sequence[Image]) -> Tensor:
        stacked = np.stack([np.atleast_3d(x).transpose(2, 0, 1) for x in images])
        return torch.from_numpy(np.ascontiguousarray(stacked, np.float32))[None]

    nothing = torch.zeros(0)
    clips = Clips(
        light=planes([k.light for k in keys]),
        picture=planes([k.picture for k in keys]),
        alpha=planes([k.alpha for k in keys]),
        foreground=nothing,
        background=nothing,
        flow=nothing,
        trimap=planes([k.trimap for k in keys]),
        linear=torch.tensor([keys[0].composited_in == "linear"]),
        kinds=("shot",),
    )
    return carry(clips, both=False)


def _made(key: Key, rng: np.random.Generator) -> CarriedClip:
    """The keyframe set in motion: turned, enlarged, shifted and bent, steadily more, with light
    that changes."""
    height, width = key.trimap.shape
    unit = math.sqrt(height * width / PIXELS)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shift = rng.normal(0, 5 * unit, 2)
    turn, grow = rng.normal(0, 0.015), rng.normal(0, 0.015)
    coarse = rng.normal(0, 4 * unit, (2, 5, 7)).astype(np.float32)
    bend = [cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse]
    dim = rng.normal(0, 0.02)
    frames = []
    for t in range(MADE):
        cos, sin = math.cos(turn * t) / (1 + grow * t), math.sin(turn * t) / (1 + grow * t)
        cx, cy = x - width / 2, y - height / 2
        at_x = cos * cx - sin * cy + width / 2 + t * (shift[0] + bend[0]) / 2
        at_y = sin * cx + cos * cy + height / 2 + t * (shift[1] + bend[1]) / 2
        places = at_x.astype(np.float32), at_y.astype(np.float32)

        def warped(
            image: Image, how: int = cv2.INTER_LINEAR, p: tuple[Image, Image] = places
        ) -> Image:
            found = cv2.remap(image, *p, how, borderMode=cv2.BORDER_REPLICATE)
            return np.asarray(found, np.float32)

        frames.append(
            replace(
                key,
                light=warped(key.light) * (1 + dim * t),
                picture=(warped(key.picture) * (1 + dim * t)).clip(0, 1),
                trimap=warped(key.trimap, cv2.INTER_NEAREST),
                alpha=warped(key.alpha),
            )
        )
    return _clip(frames)


def _classes(trimap: Image) -> Image:
    """Certain is what was certain all over."""
    return np.where(trimap < 1e-3, 0.0, np.where(trimap > 1 - 1e-3, 1.0, 0.5)).astype(np.float32)


def _mixed(trimap: Image) -> Image:
    """A stand-in for alpha: what is truly mixed is, grown again, what was painted unknown."""
    side = 2 * propagation.GROWN + 1
    kernel = np.ones((side, side), np.uint8)
    shrunk = cv2.erode((trimap == 0.5).astype(np.uint8), kernel) > 0
    nearer = cv2.blur(trimap, kernel.shape[::-1]) > 0.5
    certain = np.where(trimap == 0.5, nearer, trimap)
    return np.where(shrunk, 0.5, certain).astype(np.float32)


def _remembered(clip: CarriedClip, first: int) -> list[int]:
    """What is in memory at a frame: the keyframe twice, and the frames before."""
    return [*clip.keyframes, *(max(0, first - i) for i in range(RECENT, 0, -1))]


def _window(clip: CarriedClip, rng: np.random.Generator) -> Window:
    """A crop around the unknown of a clip's last frame, with what is in memory there."""
    last = len(clip.picture) - 1
    order = [*_remembered(clip, last), last]
    edge = (clip.alpha[last, 0] > 5) & (clip.alpha[last, 0] < 250)
    places = np.argwhere(edge if edge.any() else np.ones_like(edge))
    place = places[int(rng.integers(len(places)))]
    rows, columns = cut_around(place, edge.shape, CROP, rng)
    flip = rng.random() < 0.5
    planes = [x[order][..., rows, columns] for x in (clip.picture, clip.guess, clip.alpha)]
    picture, guess, alpha = (x[..., ::-1] if flip else x for x in planes)
    return Window(picture, guess, alpha, math.sqrt(edge.size / PIXELS))


def _loss(network: TrimapMemoryS, windows: Sequence[Window], device: torch.device) -> Tensor:
    """As `training.propagation` teaches, of the last frame alone."""
    total = torch.zeros((), device=device)
    for one in windows:
        picture, guess = (filled(_tensor(x, device)[None]) for x in (one.picture, one.guess))
        truth, scale = filled(_tensor(one.alpha[-1:], device)), torch.tensor([one.scale])
        (given,) = propagation.walk(network, picture, guess)
        parts = propagation.frame_losses(given, guess[:, -1], truth, scale, WEIGHTS["margin"])
        total = total + sum(WEIGHTS[name] * part for name, part in parts.items()) / len(windows)
    return total


def _tensor(planes: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(planes)).to(device).float() / 255
