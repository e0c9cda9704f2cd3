"""Frames of a source cropped around what is unknown and resized, with trimaps drawn where there are
none. Everything random comes from the generator that is given, in one order whatever the frames.

Not as published, where that is a slip: a crop is placed in the pixels of the frame itself, so that
the pixel that was chosen is in it; the foreground is resized as light and not as straight colour,
so that what lies under alpha 0 does not bleed into it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.errors import SetupError
from model.exposure import ExposureMap, to_picture
from training.loop.recipe_values import SHARE, kinds_of_fields, one_of, row, whole
from training.sources import ClipFrames
from training.synthetic.trimaps import Brush, draw_trimaps, drawn_margin, snapped

_FAINT = 1e-3  # alpha below which a foreground's colour is not looked for in its light
_SHARE = 0.31  # of truly partial alpha in the band, see training.synthetic.trimaps
_WHOLE = 1 - 1e-4  # share of a pixel that is certain when it is resized


@dataclass(frozen=True)
class Crop:
    """How frames are cropped; keys of the recipe's ``[clips]``.

    Attributes:
        height, width: of what comes out, in pixels.
        sides: lengths of the shorter side in the frame's pixels, one of which is drawn and resized.
            A frame that is smaller is taken whole and enlarged.
        flip: how often it is mirrored, 0…1.
    """

    height: int
    width: int
    sides: tuple[int, ...]
    flip: float = 0.5


@dataclass(frozen=True)
class Drawing:
    """How trimaps are drawn; keys of the recipe's ``[trimap]``.

    Attributes:
        kind: ``brush``, ours: one margin for a clip, so wide that the share of partial alpha is
            near what real trimaps have; ``published``: morphology of alpha with an ellipse.
        kernel: the published ellipse's sizes, one of which is drawn.
        iterations: least and most of the published erosion and dilation.
        per_frame: published: both are drawn anew for each frame, so that widths jump. An oddity.
        redraw: draw even where the source has trimaps.
        first_only: published ``--use_less_trimaps``: the first asked frame's stands for all.
    """

    kind: str = "brush"
    kernel: tuple[int, ...] = (2, 3, 4)
    iterations: tuple[int, int] = (5, 14)
    per_frame: bool = False
    redraw: bool = False
    first_only: bool = False


JUDGED = Drawing("published", (3,), (5, 5))  # the published validation's


def crop_of(table: Mapping[str, Any], height: int, width: int, sides: Sequence[int]) -> Crop:
    """The recipe's ``[clips]`` as a `Crop`; the other arguments are used where it says nothing."""
    size = int(table["load_size"]) if "load_size" in table else None
    return Crop(
        size or height,
        size or width,
        tuple(int(side) for side in table.get("crop_sizes", sides)),
        float(table.get("flip", 0.5)),
    )


def drawing_of(table: Mapping[str, Any], kind: str) -> Drawing:
    """The recipe's ``[trimap]``; ``kind`` is used if it names none.

    Raises:
        SetupError: ``setup.bad_recipe``.
    """
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    found = Drawing(**{"kind": kind, **given})
    low, high = found.iterations
    if found.kind not in ("brush", "published") or not 0 < low <= high or not found.kernel:
        raise SetupError(
            "setup.bad_recipe", f"the recipe's [trimap] {dict(table)} cannot be drawn",
            hint='kind is "brush" or "published"; iterations are [least, most]',
        )  # fmt: skip
    return found


TRIMAP_KINDS = kinds_of_fields(
    Drawing, kernel=row(whole(1)), iterations=row(whole(1), 2), kind=one_of("brush", "published")
)
CROP_KINDS = {"load_size": whole(1), "crop_sizes": row(whole(1)), "flip": SHARE}


def cropped(
    frames: ClipFrames, about: int, crop: Crop, drawing: Drawing, rng: np.random.Generator
) -> ClipFrames:
    """A crop around a pixel of frame ``about`` that is unknown, or partial; with its trimap.

    Where there is none, anywhere.
    """
    alpha = snapped(frames.alpha)
    height, width = alpha.shape[-2:]
    side, draw = int(rng.choice(crop.sides)), rng.random(4)
    factor = min(side / min(crop.height, crop.width), height / crop.height, width / crop.width)
    size = max(1, round(crop.height * factor)), max(1, round(crop.width * factor))
    if frames.trimap is None or drawing.redraw:
        open_ = (alpha[about, 0] > 0) & (alpha[about, 0] < 1)
    else:
        open_ = frames.trimap[about, 0] == 0.5
    places = open_.flatten().nonzero()
    if len(places):
        place = int(places[int(draw[0] * len(places))])
        y, x = place // width, place % width
    else:
        y, x = int(draw[0] * height), int(draw[1] * width)
    top = min(max(y - size[0] // 2, 0), height - size[0])
    left = min(max(x - size[1] // 2, 0), width - size[1])

    def cut(planes: Tensor) -> Tensor:
        found = planes[..., top : top + size[0], left : left + size[1]]
        return found.flip(3) if draw[2] < crop.flip else found

    window = each(replace(frames, alpha=alpha), cut)
    resized = _resized(window, crop.height, crop.width)
    return with_trimap(resized, about, drawing, rng)


def with_trimap(
    frames: ClipFrames, about: int, drawing: Drawing, rng: np.random.Generator
) -> ClipFrames:
    """With the trimap it has, or one that is drawn; that of frame ``about`` alone, if it is to
    stand for all."""
    alpha, trimap = frames.alpha, frames.trimap
    if trimap is None or drawing.redraw:
        alpha = snapped(alpha)
        if drawing.kind == "published":
            trimap = morphology(alpha, drawing, rng)
        else:
            trimap = draw_trimaps(alpha[None], [_brush(rng, min(alpha.shape[-2:]))])[0]
    if drawing.first_only:
        trimap = trimap[about : about + 1].expand_as(trimap).contiguous()
    return replace(frames, alpha=alpha, trimap=trimap)


def morphology(alpha: Tensor, drawing: Drawing, rng: np.random.Generator) -> Tensor:
    """The published trimap of T×1×H×W: foreground where all around is 1, background where all
    around is 0, around being an ellipse applied several times."""
    low, high = drawing.iterations
    drawn = [
        (int(rng.choice(drawing.kernel)), int(rng.integers(low, high + 1)))
        for _ in range(len(alpha))
    ]
    found = []
    for frame, own in zip(alpha[:, 0].numpy(), drawn, strict=True):
        size, times = own if drawing.per_frame else drawn[0]
        ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        inside = cv2.erode((frame >= 1).astype(np.uint8), ellipse, iterations=times)
        touched = cv2.dilate((frame > 0).astype(np.uint8), ellipse, iterations=times)
        found.append(np.where(inside > 0, 1.0, np.where(touched > 0, 0.5, 0.0)))
    return torch.from_numpy(np.stack(found)[:, None].astype(np.float32))


def picture_of(frames: ClipFrames) -> Tensor:
    """What a network looks at, T×3×H×W in 0…1."""
    if frames.linear:
        return to_picture(frames.light, ExposureMap())
    return frames.light.clamp(0, 1)


def each(frames: ClipFrames, change: Callable[[Tensor], Tensor]) -> ClipFrames:
    """All planes that are there, changed alike."""
    changed: dict[str, Any] = {
        field.name: change(planes)
        for field in fields(ClipFrames)
        if isinstance(planes := getattr(frames, field.name), Tensor)
    }
    return replace(frames, **changed)


def _brush(rng: np.random.Generator, side: int) -> Brush:
    """As `training.synthetic.scene` draws them, with an even margin."""
    share, inside, outside = drawn_margin(rng, _SHARE)
    stroke = float(rng.uniform(1, 8)) * side / 320
    return Brush(float(np.clip(share, 0.08, 0.7)), inside, outside, None, stroke)


def _resized(frames: ClipFrames, height: int, width: int) -> ClipFrames:
    """Bicubic, as published, with a wider kernel where it shrinks. A pixel is certain if all that
    it covers is."""
    if frames.alpha.shape[-2:] == (height, width):
        return frames

    def bicubic(planes: Tensor) -> Tensor:
        found = F.interpolate(
            planes, (height, width), mode="bicubic", antialias=True, align_corners=False
        )
        return found.clamp(float(planes.amin()), float(planes.amax()))

    alpha = bicubic(frames.alpha).clamp(0, 1)
    foreground = frames.foreground
    if foreground is not None:
        light = bicubic(foreground * frames.alpha) / alpha.clamp_min(_FAINT)
        light = light.clamp(float(foreground.amin()), float(foreground.amax()))
        foreground = torch.where(alpha > _FAINT, light, bicubic(foreground))
    trimap = frames.trimap
    if trimap is not None:
        shares = torch.cat([trimap == 0, trimap == 1], 1).float()
        background, inside = F.interpolate(shares, (height, width), mode="area").chunk(2, 1)
        certain = torch.where(inside >= _WHOLE, 1.0, 0.5)
        trimap = torch.where(background >= _WHOLE, 0.0, certain)
    return ClipFrames(
        light=bicubic(frames.light),
        alpha=snapped(alpha),
        foreground=foreground,
        background=None if frames.background is None else bicubic(frames.background),
        trimap=trimap,
        linear=frames.linear,
    )
