"""One clip of a composed data set: what it will be (`Plan`) and its frames (`Composer`).

    v = (a · f + (1 − a) · b), rounded once, in the codes of the files

a, f and b are what is written, so v is their composite to the last code. f is straight colour.
Sizes, counts and motion are those of the published data set: the foreground is shrunk to at most
1920 px a side, the background is enlarged to cover it and cropped, at a random place, to at most
1.2 times the foreground. An image's foreground walks (`training.composing.paste_motion`) for at
most 60 frames; a movie's stays in the middle for at most 150.

Colour is resampled with its alpha as weight, so that what a file holds where alpha is 0 does not
bleed into the edge. Pictures are shrunk by areas; the published bicubic breaks hairs into dots.

Source: nowsyn/DVM, ``data/video_processor.py``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from model.errors import InputError
from training.composing.layout import Sources
from training.composing.layout_frames import Codes, alpha_of, colour_of, open_frames
from training.composing.pair_list import Pair, clip_name
from training.composing.paste_motion import Leg, Pose, draw_legs, poses

# Raise it when the same pair and seed give other pixels: finished clips are composed again then.
COMPOSER = 1
MOST_FRAMES = {"image": 60, "video": 150}
MOST_SIDE = 1920
AROUND = 1.2  # a frame's side at most, in sides of the foreground
_BLUR = (9, 9)
_NOTHING = 1e-6  # weight of a colour where alpha is 0, beside 1/255 for the least alpha

Light = npt.NDArray[np.float32]
Size = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """All that is decided before the first pixel; sizes and places are (across, down) in pixels.

    Attributes:
        frames: of the clip.
        size: of its frames.
        foreground: what the foreground is shrunk to.
        background: what the background is enlarged to.
        crop: where in the background the frame lies.
        legs: the motion; empty for footage.
        bg_blur: a 9×9 Gaussian over the background.
        seed: all that is random comes from it.
    """

    frames: int
    size: Size
    foreground: Size
    background: Size
    crop: tuple[int, int]
    legs: tuple[Leg, ...]
    bg_blur: bool
    seed: int


@dataclass(frozen=True)
class Composite:
    """One frame. v, f and b: H×W×3 RGB, all uint8 or all uint16; a: H×W, uint8 or uint16."""

    v: Codes
    a: Codes
    f: Codes
    b: Codes

    def parts(self) -> Mapping[str, Codes]:
        return {"v": self.v, "a": self.a, "f": self.f, "b": self.b}


def clip_seed(seed: int, name: str) -> int:
    """64 bits from the data set's seed and the clip's name, whoever composes it and when."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big")


def plan_clip(
    kind: str,
    foreground: Size,
    background: Size,
    counts: tuple[int, int],
    seed: int,
    bg_blur: bool = False,
) -> Plan:
    """Decide a clip.

    Args:
        kind: ``image`` or ``video``.
        foreground: size of the source, across and down.
        background: likewise.
        counts: frames of foreground (of no account for an image) and background.
        seed: of this clip, see `clip_seed`.
        bg_blur: whether the background is blurred.
    """
    rng = np.random.default_rng(seed)
    shrink = min(1.0, *(MOST_SIDE / side for side in foreground))
    fg = _scaled(foreground, shrink)
    enlarge = max(1.0, *(f / b for f, b in zip(fg, background, strict=True)))
    bg = _scaled(background, enlarge)
    size = tuple(min(int(f * AROUND), b, MOST_SIDE) for f, b in zip(fg, bg, strict=True))
    crop = tuple(int(rng.integers(0, b - s + 1)) for b, s in zip(bg, size, strict=True))
    frames = min(counts[1], MOST_FRAMES[kind])
    if kind == "video":
        frames = min(frames, counts[0])
    legs = draw_legs(rng, frames) if kind == "image" else ()
    return Plan(
        frames, (size[0], size[1]), fg, bg, (crop[0], crop[1]), legs, bg_blur, seed
    )  # fmt: skip


class Composer:
    """A clip with its sources open: frames by their place from 0, cheapest in order.

    Args:
        pair: which clip.
        sources: its files.
        seed: of the data set.
        bg_blur: whether the background is blurred.

    Raises:
        InputError: a source is missing, damaged or empty; foreground and alpha differ in size or
            in their number of frames.
        SetupError: ``setup.no_movies``.
    """

    def __init__(self, pair: Pair, sources: Sources, seed: int, bg_blur: bool = False):
        self._sources = sources
        self._open = []
        try:
            for path in (sources.colour, sources.alpha, sources.background):
                self._open.append(open_frames(path))
            self._colour, self._alpha, self._background = self._open
            self.plan = plan_clip(
                pair.kind,
                _size(self._colour.read(0)),
                _size(self._background.read(0)),
                (self._colour.count, self._background.count),
                clip_seed(seed, clip_name(pair)),
                bg_blur,
            )
            require_match(sources, self._colour.count, self._alpha.count)
        except BaseException:
            self.close()
            raise
        self.bits = max(self._colour.bits, self._background.bits)
        self.alpha_bits = self._alpha.bits
        self._still = self._foreground(0) if pair.kind == "image" else None
        self._poses = (
            poses(self.plan.legs, *self.plan.size, self.plan.frames) if self._still else ()
        )
        self._weighted = _weighted(*self._still) if self._still else None

    def frame(self, index: int) -> Composite:
        """Compose one frame.

        Raises:
            InputError: a source's frame cannot be decoded or has another size.
        """
        b = self._background_at(index)
        f, a = self._pasted(index)
        return Composite(_over(a, f, b), a, f, b)

    def close(self) -> None:
        for one in self._open:
            one.close()

    def _pasted(self, index: int) -> tuple[Codes, Codes]:
        """Straight colour and alpha over the whole frame; both 0 where no foreground is."""
        width, height = self.plan.size
        if self._still is not None and self._weighted is not None:
            matrix = _placing(self._poses[index], self.plan.foreground)
            alpha = _warped(self._still[1], matrix, self.plan.size)
            weighted = _warped(self._weighted, matrix, self.plan.size)
            return _unweighted(weighted, self._still[0].dtype), alpha
        colour, alpha = self._foreground(index)
        rows, columns = alpha.shape
        top, left = (height - rows) // 2, (width - columns) // 2
        place = slice(top, top + rows), slice(left, left + columns)
        f = np.zeros((height, width, 3), colour.dtype)
        a = np.zeros((height, width), alpha.dtype)
        f[place], a[place] = colour, alpha
        return f, a

    def _foreground(self, index: int) -> tuple[Codes, Codes]:
        """Straight colour, as deep as the clip's, and alpha, at the plan's size."""
        codes = self._alpha.read(index)
        alpha = alpha_of(codes, self._sources.alpha)
        colour = colour_of(self._colour.read(index))
        if colour.shape[:2] != alpha.shape:
            raise unlike_sizes(self._sources, _size(colour), _size(alpha))
        colour = _deepened(colour, self.bits)
        if _size(alpha) == self.plan.foreground:
            return colour, alpha
        size = self.plan.foreground
        weighted = cv2.resize(_weighted(colour, alpha), size, interpolation=cv2.INTER_AREA)
        smaller = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
        return _unweighted(np.asarray(weighted, np.float32), colour.dtype), smaller

    def _background_at(self, index: int) -> Codes:
        codes = _deepened(colour_of(self._background.read(index)), self.bits)
        if _size(codes) != self.plan.background:
            codes = cv2.resize(codes, self.plan.background, interpolation=cv2.INTER_LINEAR)
        (left, top), (width, height) = self.plan.crop, self.plan.size
        cropped: Codes = np.ascontiguousarray(codes[top : top + height, left : left + width])
        return cv2.GaussianBlur(cropped, _BLUR, 0) if self.plan.bg_blur else cropped


def require_match(sources: Sources, colour: int, alpha: int) -> None:
    """See that foreground and alpha have as many frames as each other.

    Raises:
        InputError: ``input.unlike_counts``.
    """
    if colour != alpha:
        raise InputError(
            "input.unlike_counts",
            f"{sources.colour} has {colour} frames and {sources.alpha.name} has {alpha}",
            hint="give foreground and alpha the same frames",
        )


def unlike_sizes(sources: Sources, colour: Size, alpha: Size) -> InputError:
    """``input.unlike_sizes``: foreground and alpha do not lie over each other."""
    return InputError(
        "input.unlike_sizes",
        f"{sources.colour} is {colour[0]}×{colour[1]} and its alpha {alpha[0]}×{alpha[1]}",
        hint="give foreground and alpha one size",
    )


def _over(a: Codes, f: Codes, b: Codes) -> Codes:
    """Composite in whole numbers, rounded half up: exact, and it fits 32 bit at any depth."""
    most = np.uint32(np.iinfo(a.dtype).max)
    alpha = a.astype(np.uint32)[..., None]
    summed = alpha * f + (most - alpha) * b + most // 2
    found: Codes = (summed // most).astype(f.dtype)
    return found


def _weighted(colour: Codes, alpha: Codes) -> Light:
    """H×W×4: colour times weight, and the weight."""
    weight = np.maximum(alpha.astype(np.float32) / np.iinfo(alpha.dtype).max, _NOTHING)
    return np.dstack([colour * weight[..., None], weight])


def _unweighted(weighted: Light, kind: np.dtype[Any]) -> Codes:
    colour = weighted[..., :3] / np.maximum(weighted[..., 3:], _NOTHING / 256)
    found: Codes = np.rint(colour).clip(0, np.iinfo(kind).max).astype(kind)
    return found


def _placing(pose: Pose, size: Size) -> npt.NDArray[np.float64]:
    """2×3: from pixels of the foreground to those of the frame."""
    way = math.radians(pose.angle)
    turned = pose.zoom * np.array([[math.cos(way), -math.sin(way)], [math.sin(way), math.cos(way)]])
    middle = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
    return np.column_stack([turned, np.array([pose.x, pose.y]) - turned @ middle])


def _warped(picture: Any, matrix: npt.NDArray[np.float64], size: Size) -> Any:
    return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderValue=0)


def _deepened(codes: Codes, bits: int) -> Codes:
    if codes.dtype == np.uint8 and bits == 16:
        return codes.astype(np.uint16) * np.uint16(257)
    return codes


def _scaled(size: Size, factor: float) -> Size:
    """Cut to whole pixels; 1e-6 for products that end a little below theirs."""
    return max(1, int(size[0] * factor + 1e-6)), max(1, int(size[1] * factor + 1e-6))


def _size(picture: Codes) -> Size:
    return picture.shape[1], picture.shape[0]
