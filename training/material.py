"""Real material to teach and to judge with: cut-outs, keyed footage, photographs, clips.

A folder holds any of these:

    fg_cutouts/*.png          straight colour and alpha
    fg_video/SHOT/fgr.mp4     straight colour of a keyed shot, and pha.mp4, its alpha in grey
    fg_video/*/sheet_CxR_*.png   C×R frames of one effect, grey and alpha
    bg_photos/*               photographs and textures
    clips/*                   footage without alpha, for backgrounds

Read with OpenCV alone, so that it works on a bare machine with a GPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from training.sprites import Sprite, extended

Picture = NDArray[np.uint8]
SPLITS = ("train", "held_out")

# What checkpoints are chosen on. By file and by shot, never by frame: neighbours are alike. One of
# each sort: the shortest shot of the person; hair, lashes, smoke, fire, an object, a plant; every
# sixth photograph or so; footage of one person and one object.
HELD_OUT = frozenset(
    [
        "dancer_shot3",
        *("hair_bob02", "hair_eyelashes02", "hair_eyebrow005", "leaf_photo", "tuxpaint_firetruck"),
        *("kenney_pp_smoke_04", "kenney_pp_smoke_09", "kenney_pp_fire_02", "rpicster_effect_3"),
        *("kenney_black_smoke_blacksmoke08", "kenney_white_puff_whitepuff10"),
        *("kodak_02", "kodak_09", "kodak_15", "kodak_23", "sk_gravel", "sk_coffee"),
        *("exrj_MultiView_Fog", "exrj_Tiles_Ocean"),
        *("intel_asl_book", "intel_asl_night", "sam2_04_coffee"),
    ]
)
_MOST_PHOTO = 900  # pixels of a photograph's longer side
_MOST_CUTOUT = 900
_CLIP_SIDE = 360  # pixels of a clip's shorter side
_RUN = 60  # frames read in a row
_RUNS = 3  # from so many places of a long clip
_PERSON_RUN = 100
_OBJECTS = ("hair_", "grass_", "leaf_", "tuxpaint_")  # other cut-outs are effects


@dataclass(frozen=True)
class Material:
    """What a folder gave.

    Attributes:
        sprites: cut-outs, keyed footage, effects.
        photographs: uint8 H×W×3, sRGB.
        clips: uint8 T×H×W×3, sRGB.
    """

    sprites: tuple[Sprite, ...] = ()
    photographs: tuple[Picture, ...] = ()
    clips: tuple[Picture, ...] = ()


def read_material(folder: Path | None, split: str) -> Material:
    """Read one split of a folder; with None, nothing.

    Args:
        folder: see the module.
        split: ``train`` or ``held_out``; they share no file and no shot.

    Raises:
        InputError: ``input.no_material`` if the folder is not there or holds nothing of the split,
            ``input.bad_material`` if a file cannot be read.
        ValueError: another split.
    """
    if split not in SPLITS:
        raise ValueError(f"a split is {' or '.join(SPLITS)}, not {split!r}")
    if folder is None:
        return Material()
    if not folder.is_dir():
        raise InputError(
            "input.no_material", f"there is no folder of material at {folder}",
            hint="check --material, or leave it out: then everything is procedural",
        )  # fmt: skip

    def mine(pattern: str, part: str = "stem") -> list[Path]:
        found = sorted(folder.glob(pattern))
        return [p for p in found if (_name(p) in HELD_OUT) == (split == "held_out")]

    sprites = [_cutout(path) for path in mine("fg_cutouts/*.png")]
    for path in mine("fg_video/*/fgr.mp4"):
        sprites += _keyed(path.parent)
    sprites += [_sheet(path) for path in mine("fg_video/*/sheet_*.png")]
    photographs = [
        _shrunk(_picture(path, cv2.IMREAD_COLOR)[..., ::-1], _MOST_PHOTO)
        for path in mine("bg_photos/*")
    ]
    clips = [run for path in mine("clips/*") for run in _runs(path)]
    if not sprites and not photographs and not clips:
        raise InputError(
            "input.no_material",
            f"{folder} holds none of fg_cutouts, fg_video, bg_photos and clips for {split}",
            hint="see training/README.md for how material is laid out",
        )
    return Material(tuple(sprites), tuple(photographs), tuple(clips))


def _name(path: Path) -> str:
    """What a file is known by: its own name, or its shot's."""
    return path.parent.name if path.parent.parent.name == "fg_video" else path.stem


def _bad(path: Path, what: str) -> InputError:
    return InputError(
        "input.bad_material", f"{path} {what}", hint="replace the file or take it out of the folder"
    )


def _picture(path: Path, mode: int) -> Picture:
    picture = cv2.imread(str(path), mode)
    if picture is None:
        raise _bad(path, "cannot be read as a picture")
    return np.asarray(picture, np.uint8)


def _shrunk(picture: Picture, most: int) -> Picture:
    scale = most / max(picture.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(picture)
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _cutout(path: Path) -> Sprite:
    found = _picture(path, cv2.IMREAD_UNCHANGED)
    if found.ndim != 3 or found.shape[2] != 4:
        raise _bad(path, "has no alpha")
    alpha = found[..., 3]
    rows, columns = np.flatnonzero(alpha.max(1) > 8), np.flatnonzero(alpha.max(0) > 8)
    if not len(rows):
        raise _bad(path, "is transparent everywhere")
    found = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    found = np.pad(found, ((2, 2), (2, 2), (0, 0)))
    alpha = found[..., 3]
    whole = extended(np.ascontiguousarray(found[..., 2::-1]), alpha)
    whole = _shrunk(np.dstack([whole, alpha]), _MOST_CUTOUT)
    kind = "cutout" if path.stem.startswith(_OBJECTS) else "effect"
    return Sprite(f"cutout {path.stem}", kind, whole[None], "still")


def _sheet(path: Path) -> Sprite:
    """Grey and alpha come as colour and alpha from OpenCV."""
    match = re.match(r"sheet_(\d+)x(\d+)_", path.name)
    found = _picture(path, cv2.IMREAD_UNCHANGED)
    if match is None or found.ndim != 3 or found.shape[2] != 4:
        raise _bad(path, "is no sheet_COLUMNSxROWS_*.png with alpha")
    columns, rows = int(match[1]), int(match[2])
    height, width = found.shape[0] // rows, found.shape[1] // columns
    frames = [
        found[y * height : (y + 1) * height, x * width : (x + 1) * width]
        for y in range(rows)
        for x in range(columns)
    ]
    whole = [np.dstack([extended(f[..., 2::-1].copy(), f[..., 3]), f[..., 3]]) for f in frames]
    kept = [f for f in whole if (f[..., 3] > 16).mean() > 0.01]
    return Sprite(f"sheet {path.parent.name}", "smoke", np.stack(kept), "filmed")


def _keyed(folder: Path) -> list[Sprite]:
    """The runs of a keyed shot in which somebody is there."""
    colours, alphas = (list(_frames(folder / name)) for name in ("fgr.mp4", "pha.mp4"))
    if len(colours) != len(alphas):
        raise _bad(folder, f"has {len(colours)} frames of colour and {len(alphas)} of alpha")
    with ThreadPoolExecutor() as threads:
        carried = list(threads.map(lambda c, a: extended(c, a[..., 0]), colours, alphas))
    runs: list[list[Picture]] = [[]]
    for colour, grey in zip(carried, alphas, strict=True):
        alpha = grey[..., 0]
        if (alpha > 128).mean() < 0.005 or len(runs[-1]) >= _PERSON_RUN:
            runs.append([])
        if (alpha > 128).mean() >= 0.005:
            runs[-1].append(np.dstack([colour, alpha]))
    return [
        Sprite(f"person {folder.name} {i}", "person", np.stack(run), "filmed")
        for i, run in enumerate(runs)
        if len(run) >= 8
    ]


def _runs(path: Path) -> Iterator[Picture]:
    """A few runs of frames from over the clip."""
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()
    places = min(_RUNS, max(1, count // (2 * _RUN)))
    for place in range(places):
        first = place * count // places
        run = list(_frames(path, first, _RUN))
        scale = min(1.0, _CLIP_SIDE / min(run[0].shape[:2]))
        size = round(run[0].shape[1] * scale), round(run[0].shape[0] * scale)
        yield np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in run])


def _frames(path: Path, first: int = 0, count: int | None = None) -> Iterator[Picture]:
    """Frames as RGB. They are read in order: seeking is not exact in every format."""
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise _bad(path, "cannot be read as a movie")
    number = 0
    try:
        while count is None or number < first + count:
            if number < first:
                if not video.grab():
                    break
            else:
                good, frame = video.read()
                if not good:
                    break
                yield np.ascontiguousarray(frame[..., ::-1])
            number += 1
    finally:
        video.release()
    if number <= first:
        raise _bad(path, "holds no frames")
