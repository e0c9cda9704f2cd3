"""Pictures of an evaluation's report: the worst frames by every method, and pixels over time.

    View (all frames, on disk) ── chosen frames ── cut to where the trimap is unknown ── PNG files
                               └─ one row or column of pixels, over time ── strips

Pictures are cut, never resampled: a pixel of a file is a pixel of the plate. What is 0…1 is rounded
to 8 bit.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.plates.atomic import write_bytes
from model.plates.file_errors import writing
from training.judging.baselines import HALF
from training.judging.metrics import unknown_region
from training.judging.views import View, shown
from training.report.pixels import (
    ERROR_WHITE,
    Pixels,
    error8,
    grey8,
    png,
    thumbnail,
    worst_window,
)

MOST = 800  # the longer side of a picture, pixels
MARGIN = 16  # around what is unknown
FLICKER_WHITE = 0.25  # a change that the truth does not have, drawn white
PICTURE, TRIMAP, TRUTH = "picture", "trimap", "truth"
_SHORTEST = 3  # frames in a row that are worth a strip


@dataclass(frozen=True)
class Box:
    """A part of the data window: where it begins, and its size; pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


@dataclass(frozen=True)
class KeptFrame:
    """One frame that there are pictures of; paths are relative to the report's folder.

    Attributes:
        number: of the frame.
        why: what it is the worst in.
        pictures: by what they show, in the order they are offered in.
        values: a script that hands the planes of `ClipPictures.planes` over to the page.
        small: the picture, made small.
        origin: of the pictures' first pixel, in the plate's coordinates: x, y.
    """

    number: int
    why: str
    pictures: Mapping[str, str]
    values: str
    small: str
    origin: tuple[int, int]


@dataclass(frozen=True)
class Strips:
    """One row or column of pixels over time: time runs downwards.

    Attributes:
        line: e.g. ``row y = 212``, in the plate's coordinates.
        across: whether it is a row; else a column, its top on the left.
        place: of the row or column in the pictures, from their edge.
        frames: one a row of pixels.
        size: of the files: width, height.
        pictures: paths by what they show.
    """

    line: str
    across: bool
    place: int
    frames: tuple[int, ...]
    size: tuple[int, int]
    pictures: Mapping[str, str]


@dataclass(frozen=True)
class ClipPictures:
    """All pictures of one item.

    Attributes:
        box: what they show of the data window.
        frames: in the order of their numbers.
        planes: what the values under the pointer are of.
        strips: None for stills and for frames that do not follow one another.
        main: the method that decided which frames, which part, and which row.
    """

    box: Box
    frames: tuple[KeptFrame, ...]
    planes: tuple[str, ...]
    strips: Strips | None
    main: str

    @property
    def start(self) -> KeptFrame:
        """What is shown first: the first one that is the worst in something."""
        return next((frame for frame in self.frames if frame.why), self.frames[0])


def worst_frames(
    figures: Sequence[tuple[str, Mapping[int, float]]], count: int
) -> dict[int, tuple[str, ...]]:
    """The worst frames of several orders, taken by turns, until there are enough.

    Args:
        figures: what an order is by, and its figure of each frame; higher is worse.
        count: of frames; 0 = all.

    Returns:
        By number, rising: what the frame is the worst in, if it is the very worst.
    """
    orders = [(name, sorted(of, key=lambda n: -of[n])) for name, of in figures if of]
    chosen: dict[int, list[str]] = {}
    limit = count or max((len(order) for _, order in orders), default=0)
    for place in range(max((len(order) for _, order in orders), default=0)):
        for name, order in orders:
            if place >= len(order):
                continue
            number = order[place]
            if number not in chosen and len(chosen) < limit:
                chosen[number] = []
            if place == 0 and number in chosen:
                chosen[number].append(name)
    return {number: tuple(chosen[number]) for number in sorted(chosen)}


def write_pictures(
    folder: Path, name: str, view: View, main: str, chosen: Mapping[int, Sequence[str]]
) -> ClipPictures:
    """Write the pictures of one item.

    Args:
        folder: of the report.
        name: of a new folder in it.
        view: of the item.
        main: the method that decides what is looked at.
        chosen: frames, with what each is the worst in.

    Raises:
        InputError: what reading the item raises, or ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    with writing(folder):
        (folder / name).mkdir(parents=True, exist_ok=True)
    methods = [one for one in view.methods if one != HALF]
    alphas = {one: view.alphas(one) for one in methods}
    box = _box(view, alphas[main], list(chosen))
    cuts = {one: several[(slice(None), *box.slices)] for one, several in alphas.items()}
    kept = tuple(
        _write_frame(folder, name, view, box, cuts, number, why) for number, why in chosen.items()
    )
    planes = (TRIMAP, TRUTH, *methods)
    return ClipPictures(box, kept, planes, _write_strips(folder, name, view, box, cuts, main), main)


def _box(view: View, alphas: Pixels, numbers: Sequence[int]) -> Box:
    """Around all that is unknown in these frames; where the main method, T×H×W, is worst, if that
    is too large."""
    height, width = alphas.shape[1:]
    unknown = np.zeros((height, width), bool)
    error = np.zeros((height, width))
    for number in numbers:
        judged = view.item.read(number)
        unknown |= unknown_region(judged.classes)
        alpha = alphas[view.frames.index(number)] / 255
        error += np.square(alpha - judged.truth)
    if not unknown.any():
        unknown[:] = True
    rows, columns = (np.flatnonzero(unknown.any(axis)) for axis in (1, 0))
    top, bottom = max(rows[0] - MARGIN, 0), min(rows[-1] + MARGIN + 1, height)
    left, right = max(columns[0] - MARGIN, 0), min(columns[-1] + MARGIN + 1, width)
    down, across = min(bottom - top, MOST), min(right - left, MOST)
    part = np.where(unknown, error, 0.0)[top:bottom, left:right]
    y, x = worst_window(part, across, down)
    return Box(int(left) + x.start, int(top) + y.start, int(across), int(down))


def _write_frame(
    folder: Path,
    name: str,
    view: View,
    box: Box,
    cuts: Mapping[str, Pixels],
    number: int,
    why: Sequence[str],
) -> KeptFrame:
    judged, place = view.item.read(number), view.frames.index(number)
    truth = grey8(judged.truth[box.slices])
    planes: dict[str, Pixels] = {TRIMAP: judged.classes[box.slices], TRUTH: truth}
    planes |= {method: cut[place] for method, cut in cuts.items()}
    picture = shown(view.item, judged)[box.slices]
    offered: dict[str, Pixels] = {PICTURE: grey8(picture), **planes}
    for method, cut in cuts.items():
        # Of the exact truth: its own rounding is no error of a method.
        offered[f"error of {method}"] = error8(cut[place] / 255, judged.truth[box.slices])
    paths = {}
    for order, (what, pixels) in enumerate(offered.items()):
        paths[what] = f"{name}/{number:04}_{order:02}_{_plain(what)}.png"
        write_bytes(folder / paths[what], png(pixels))
    small = f"{name}/{number:04}_small.png"
    write_bytes(folder / small, png(thumbnail(offered[PICTURE], 96)))
    values = f"{name}/{number:04}_values.js"
    # A page from a file may not read the pixels of its pictures, but it may run its scripts.
    stacked = base64.b64encode(png(np.concatenate(list(planes.values())))).decode()
    write_bytes(
        folder / values,
        f'window.dvmValues("{name}/{number}", "data:image/png;base64,{stacked}");\n'.encode(),
    )
    window = judged.plate.header.data_window
    origin = window.x0 + box.x, window.y0 + box.y
    return KeptFrame(number, ", ".join(why), paths, values, small, origin)


def _write_strips(
    folder: Path, name: str, view: View, box: Box, cuts: Mapping[str, Pixels], main: str
) -> Strips | None:
    run = _longest_run(view.frames, view.item.frames)
    if len(run) < _SHORTEST:
        return None
    places = [view.frames.index(number) for number in run]
    seen, true = [], []  # cut and in 8 bit: which line it will be, all frames tell together
    for number in run:
        judged = view.item.read(number)
        seen.append(grey8(shown(view.item, judged)[box.slices]))
        true.append(grey8(judged.truth[box.slices]))
    truths = np.stack(true)
    across, line = _most_flicker(cuts[main][places], truths)
    pick = (slice(None), line) if across else (slice(None), slice(None), line)
    strips: dict[str, Pixels] = {
        PICTURE: np.stack([picture[pick[1:]] for picture in seen]),
        TRUTH: truths[pick],
    }
    for method, cut in cuts.items():
        strips[method] = cut[places][pick]
        strips[f"flicker of {method}"] = _flicker8(strips[method], strips[TRUTH])
    paths = {}
    for order, (what, pixels) in enumerate(strips.items()):
        paths[what] = f"{name}/strip_{order:02}_{_plain(what)}.png"
        write_bytes(folder / paths[what], png(pixels))
    window = judged.plate.header.data_window
    told = (
        f"row y = {window.y0 + box.y + line}"
        if across
        else f"column x = {window.x0 + box.x + line}"
    )
    size = strips[TRUTH].shape[1], len(run)
    return Strips(told, across, line, tuple(run), size, paths)


def _longest_run(judged: Sequence[int], numbered: Sequence[int]) -> list[int]:
    """The longest run of judged frames that are neighbours in the clip."""
    place = {number: i for i, number in enumerate(numbered)}
    best: list[int] = []
    run: list[int] = []
    for number in judged:
        follows = bool(run) and place[number] == place[run[-1]] + 1
        run = [*run, number] if follows else [number]
        best = max(best, run, key=len)
    return best


def _most_flicker(alphas: Pixels, truths: Pixels) -> tuple[bool, int]:
    """Whether it is a row, and which: where changes differ most from those of the truth.

    Args:
        alphas, truths: T×H×W.
    """
    error = alphas.astype(np.int16) - truths
    change = np.square(np.diff(error, axis=0).astype(np.float64)).sum(0)
    rows, columns = change.sum(1), change.sum(0)
    if rows.max() / change.shape[1] >= columns.max() / change.shape[0]:
        return True, int(rows.argmax())
    return False, int(columns.argmax())


def _flicker8(alphas: Pixels, truths: Pixels) -> Pixels:
    """T×N: |change of the alpha − change of the truth|, white at `FLICKER_WHITE`; first row 0."""
    error: npt.NDArray[np.float64] = alphas / 255 - truths / 255
    change = np.abs(np.diff(error, axis=0, prepend=error[:1]))
    return grey8(change / FLICKER_WHITE)


def _plain(words: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_")[:40] or "method"


LEGEND = (
    f"Errors: black is none, white is {ERROR_WHITE:g} or more. Flicker: the change from one frame "
    f"to the next that the truth does not have, white is {FLICKER_WHITE:g} or more"
)
