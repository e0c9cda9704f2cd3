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
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from training.sprites import Sprite, extended

Picture = NDArray[np.uint8]
SPLITS = ("train", "held_out")
PARTS = {
    "fg_cutouts": ("*.png",),
    "fg_video": ("*/fgr.mp4", "*/sheet_*.png"),
    "bg_photos": ("*",),
    "clips": ("*",),
}

# What checkpoints are chosen on. By file and by shot, never by frame: neighbours are alike. One of
# each sort: the shortest shot of the person; hair, lashes, smoke, fire, an object, a plant; every
# sixth photograph or so; footage of persons and of one object.
HELD_OUT = frozenset(
    [
        "dancer_shot3",
        *("hair_bob02", "hair_eyelashes02", "hair_eyebrow005", "leaf_photo", "tuxpaint_firetruck"),
        *("kenney_pp_smoke_04", "kenney_pp_smoke_09", "kenney_pp_fire_02"),
        *("kenney_black_smoke_blacksmoke08", "kenney_white_puff_whitepuff10"),
        *("kodak_02", "kodak_09", "kodak_15", "kodak_23", "sk_gravel", "sk_coffee"),
        *("exrj_MultiView_Fog", "exrj_Tiles_Ocean"),
        *("intel_asl_book", "intel_asl_night", "sam2_04_coffee"),
    ]
)
# What no plate shows, or what others show already.
SKIPPED = frozenset(
    [
        # Rays and swirls of a lens: light that is added, not something that covers.
        *("rpicster_effect_1", "rpicster_effect_2", "rpicster_effect_3", "rpicster_effect_4"),
        # One flat cartoon green.
        *(f"kenney_fart_fart0{i}" for i in (0, 2, 4, 6, 8)),
        # A strip cut straight on both sides, 0.87 opaque all over.
        "hair_long01_panel",
        # Two plain arcs without hairs.
        *("hair_eyebrow006", "hair_eyebrow007"),
        # Brows and puffs like their neighbours; the others are enough of them.
        *("hair_eyebrow002", "hair_eyebrow004", "hair_eyebrow008"),
        *(f"kenney_black_smoke_blacksmoke{i:02}" for i in (2, 6, 10, 14, 18, 22)),
        *(f"kenney_white_puff_whitepuff{i:02}" for i in (2, 6, 14, 18, 22)),
    ]
)
_PIECES = 4  # of a sheet of hair, the largest
_MOST_PHOTO = 900  # pixels of a photograph's longer side
_MOST_CUTOUT = 900
_CLIP_SIDE = 360  # pixels of a clip's shorter side
_RUN = 60  # frames read in a row
_RUNS = 3  # from so many places of a long clip
_PERSON_RUN = 100
_SHORTEST_RUN = 8
_THERE = 0.005  # of a frame, covered, is somebody
_SEEN = 8  # alpha's code above which something is there
_MARGIN = 12  # pixels of nothing around a person
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
    files = material_files(folder, split)
    sprites = [piece for path in files["fg_cutouts"] for piece in _cutouts(path)]
    for path in files["fg_video"]:
        sprites += _keyed(path.parent) if path.suffix == ".mp4" else [_sheet(path)]
    photographs = [
        _shrunk(_picture(path, cv2.IMREAD_COLOR)[..., ::-1], _MOST_PHOTO)
        for path in files["bg_photos"]
    ]
    clips = [run for path in files["clips"] for run in _runs(path)]
    if folder is not None and not sprites and not photographs and not clips:
        raise InputError(
            "input.no_material",
            f"{folder} holds none of fg_cutouts, fg_video, bg_photos and clips for {split}",
            hint="training/material.py says how such a folder is laid out",
        )
    return Material(tuple(sprites), tuple(photographs), tuple(clips))


def material_files(folder: Path | None, split: str) -> dict[str, list[Path]]:
    """The files of a split, by the parts of the folder; those of keyed shots stand for both.

    Raises:
        InputError: ``input.no_material`` if the folder is not there.
        ValueError: another split.
    """
    if split not in SPLITS:
        raise ValueError(f"a split is {' or '.join(SPLITS)}, not {split!r}")
    if folder is None:
        return {part: [] for part in PARTS}
    if not folder.is_dir():
        raise InputError(
            "input.no_material", f"there is no folder of material at {folder}",
            hint="check --material, or leave it out: then everything is procedural",
        )  # fmt: skip
    held_out = split == "held_out"
    return {
        part: [
            path
            for pattern in patterns
            for path in sorted(folder.glob(f"{part}/{pattern}"))
            if (_name(path) in HELD_OUT) == held_out and path.stem not in SKIPPED
        ]
        for part, patterns in PARTS.items()
    }


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


def _cutouts(path: Path) -> list[Sprite]:
    """A cut-out, or the largest pieces of a sheet of hair."""
    found = _picture(path, cv2.IMREAD_UNCHANGED)
    if found.ndim != 3 or found.shape[2] != 4 or found.dtype != np.uint8:
        raise _bad(path, "is no 8-bit picture with alpha")
    alpha = found[..., 3]
    if alpha.max() <= _SEEN:
        raise _bad(path, "is transparent everywhere")
    kind = "cutout" if path.stem.startswith(_OBJECTS) else "effect"
    masks = _pieces(alpha) if path.stem.startswith("hair_") else [alpha > _SEEN]
    made = []
    for number, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        where = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        piece = found[where].copy()
        piece[..., 3] *= mask[where]
        piece = np.pad(piece, ((2, 2), (2, 2), (0, 0)))
        colour = extended(np.ascontiguousarray(piece[..., 2::-1]), piece[..., 3])
        whole = _shrunk(np.dstack([colour, piece[..., 3]]), _MOST_CUTOUT)
        name = f"cutout {path.stem}" + (f" {number}" if len(masks) > 1 else "")
        made.append(Sprite(name, kind, whole[None], "still"))
    return made


def _pieces(alpha: Picture) -> list[NDArray[np.bool_]]:
    """The largest pieces of a sheet that lie apart, hairs and all; of equal ones the first."""
    joined = cv2.dilate((alpha > 100).astype(np.uint8), np.ones((3, 3)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    order = sorted(range(1, count), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA]))
    kept: list[int] = []
    for i in order[:_PIECES]:
        alike = [np.abs(stats[i, 2:4] - stats[k, 2:4]).max() < 4 for k in kept]
        if stats[i, cv2.CC_STAT_AREA] > 0.15 * stats[order[0], cv2.CC_STAT_AREA] and not any(alike):
            kept.append(i)
    wide = np.ones((15, 15))
    masks = [cv2.dilate((labels == i).astype(np.uint8), wide) > 0 for i in kept]
    others = [np.isin(labels, [k for k in range(1, count) if k != i]) for i in kept]
    own = [m & ~o & (alpha > _SEEN) for m, o in zip(masks, others, strict=True)]
    return own or [alpha > _SEEN]


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
    """The runs of a keyed shot in which somebody is there, each cut to where he is.

    A keyer leaves the screen's green in what it lets through. Every other run is cleaned of it, so
    that a network meets edges that took on colour from behind, as in many plates, and clean ones,
    and cannot take green for the sign of an edge.
    """
    colours, alphas = (list(_frames(folder / name)) for name in ("fgr.mp4", "pha.mp4"))
    if len(colours) != len(alphas):
        raise _bad(folder, f"has {len(colours)} frames of colour and {len(alphas)} of alpha")
    if colours[0].shape != alphas[0].shape:
        raise _bad(folder, "has colour and alpha of different sizes")
    runs: list[list[int]] = [[]]
    for number, alpha in enumerate(alphas):
        there = float((alpha[..., 0] > 128).mean()) >= _THERE
        if not there or len(runs[-1]) >= _PERSON_RUN:
            runs.append([])
        if there:
            runs[-1].append(number)
    made: list[Sprite] = []
    for run in runs:
        if len(run) < _SHORTEST_RUN:
            continue
        keyed = _cut_to_size([colours[n] for n in run], [alphas[n][..., 0] for n in run])
        clean = len(made) % 2 == 1
        frames = np.empty((len(run), *keyed[0][0].shape[:2], 4), np.uint8)
        for frame, (colour, alpha) in zip(frames, keyed, strict=True):
            frame[..., :3] = _despilled(colour, alpha) if clean else extended(colour, alpha)
            frame[..., 3] = alpha
        made.append(Sprite(f"person {folder.name} {len(made)}", "person", frames, "filmed"))
    return made


def _cut_to_size(colours: list[Picture], alphas: list[Picture]) -> list[tuple[Picture, Picture]]:
    """Frames without the borders that stay empty all along."""
    seen = np.max(alphas, axis=0) > _SEEN
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    top, left = max(rows[0] - _MARGIN, 0), max(columns[0] - _MARGIN, 0)
    where = slice(top, rows[-1] + 1 + _MARGIN), slice(left, columns[-1] + 1 + _MARGIN)
    return [
        (np.ascontiguousarray(c[where]), np.ascontiguousarray(a[where]))
        for c, a in zip(colours, alphas, strict=True)
    ]


def _despilled(colour: Picture, alpha: Picture) -> Picture:
    """Colour of what is certain, carried on over the edge, with no more green than red or blue."""
    certain = np.where(cv2.erode(alpha, np.ones((3, 3))) > 245, alpha, 0).astype(np.uint8)
    if not certain.any():
        certain = alpha
    clean = extended(colour, certain)
    clean[..., 1] = np.minimum(clean[..., 1], np.maximum(clean[..., 0], clean[..., 2]))
    return clean


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
