"""What a shot gives to adapt to: finished mattes with their plates, trimaps and neighbours.

A finished frame is brought before the network as in use: a window of t−2 … t+2, each frame with its
trimap and prior. A neighbour without a trimap of its own gets one carried from the finished frame.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.canvas import canvas_of
from model.checkpoint import sha256_of_file
from model.engine import EngineOptions
from model.errors import InputError
from model.face import Frame
from model.passes import spans, window
from model.pipeline import ShotMatte
from model.plates.image_files import read_plate
from model.plates.plate import Plate, Trimap, Window
from model.plates.ranges import FramePattern
from model.plates.trimap import place_trimap, read_trimap
from model.registry import find, open_network
from model.tiles import Seen
from model.view import LightView
from training.composing.composed_pixels import placed
from training.judging.datasets import read_alpha

UNKNOWN = 128


@dataclass(frozen=True)
class ShotFiles:
    """Where a shot's files are.

    Attributes:
        plates: pattern; neighbours are looked for in it too.
        trimaps: pattern.
        mattes: pattern; None if no matte is finished.
        frames: those to adapt to: with a finished matte, or with a trimap if there is no pattern
            of mattes.
    """

    plates: FramePattern
    trimaps: FramePattern
    mattes: FramePattern | None
    frames: tuple[int, ...]

    @property
    def shot_frames(self) -> tuple[int, ...]:
        """Of all plates that are there."""
        return _on_disk(self.plates) or self.frames

    def digests(self) -> dict[str, dict[str, str]]:
        """Sha256 of all files that are looked at, by kind and frame."""
        order = self.shot_frames
        read = {f for t in self.frames for f in window(order, t)}
        if len(self.frames) > 1:
            read |= {f for f in order if self.frames[0] <= f <= self.frames[-1]}
        found = {"plates": {str(f): sha256_of_file(self.plates.path(f)) for f in sorted(read)}}
        with_trimaps = [f for f in sorted(read) if self.trimaps.path(f).is_file()]
        found["trimaps"] = {str(f): sha256_of_file(self.trimaps.path(f)) for f in with_trimaps}
        if self.mattes is not None:
            found["mattes"] = {str(f): sha256_of_file(self.mattes.path(f)) for f in self.frames}
        return found


@dataclass(frozen=True)
class Finished:
    """A finished frame with its window; all frames cover one canvas.

    Attributes:
        number: of the frame.
        window: t−2 … t+2 with priors, repeated at the shot's ends.
        truth: float32 1×1×H×W, the finished matte on the canvas.
        counts: bool 1×1×H×W, the unknown pixels that are learned from, or judged by.
    """

    number: int
    window: tuple[Seen, ...]
    truth: Tensor
    counts: Tensor


def find_shot(plates: str, mattes: str, trimaps: str) -> ShotFiles:
    """See which frames there are.

    Args:
        plates: pattern with a frame number, or one image.
        mattes: the same of finished mattes; "" if there are none.
        trimaps: the same of trimaps: at least one for each finished matte.

    Raises:
        InputError: ``input.no_mattes``, ``input.missing_plate``, ``input.missing_trimap``,
            ``input.pattern``.
    """
    own = FramePattern.parse(mattes) if mattes else None
    files = ShotFiles(FramePattern.parse(plates), FramePattern.parse(trimaps), own, ())
    leading = files.trimaps if own is None else own
    frames = _on_disk(leading)
    if leading.is_single and Path(leading.before).is_file():
        frames = (1,)
    if not frames:
        what = "trimap" if own is None else "finished matte"
        raise InputError(
            "input.no_mattes",
            f"no {what} matches {leading}",
            hint="check folder, name and the number of digits: #### stands for four or more",
        )
    for frame in frames:
        if not files.plates.path(frame).is_file():
            raise InputError(
                "input.missing_plate",
                f"frame {frame} has no plate: {files.plates.path(frame)} is not there",
                frame=frame,
                hint=f"copy it, or take the frame out of {leading}",
            )
        if not files.trimaps.path(frame).is_file():
            raise InputError(
                "input.missing_trimap",
                f"the finished matte of frame {frame} has no trimap: "
                f"{files.trimaps.path(frame)} is not there",
                frame=frame,
                hint="give the trimap that the matte was made from; dvm matte writes them with "
                "--outputs alpha,trimap --split",
            )
    return replace(files, frames=frames)


def finished_frames(
    files: ShotFiles, view: LightView, prior: Callable[[Frame], Seen]
) -> tuple[Finished, ...]:
    """All finished frames of a shot with mattes, read and with their priors solved.

    Args:
        files: of the shot.
        view: how its plates are looked at.
        prior: solves a frame's.

    Raises:
        InputError: what reading raises; ``input.truth_size``, ``input.trimap_size``,
            ``input.plate_size``, ``input.no_unknown``.
    """
    plate = lru_cache(maxsize=6)(lambda number: read_plate(files.plates.path(number), frame=number))
    engine = cache(lambda: _carrying(view))  # opened for the first neighbour without a trimap
    return tuple(_finished(files, number, view, plate, prior, engine) for number in files.frames)


def _finished(
    files: ShotFiles,
    number: int,
    view: LightView,
    plate: Callable[[int], Plate],
    prior: Callable[[Frame], Seen],
    engine: Callable[[], ShotMatte],
) -> Finished:
    assert files.mattes is not None
    around = window(files.shot_frames, number)
    canvas = canvas_of((f, plate(f).header) for f in around)
    own = unknown_trimap(files, number, plate(number))
    given = {f: _trimap_of(files, f) for f in dict.fromkeys(around) if f != number}
    trimaps = {number: own} | {f: t for f, t in given.items() if t is not None}
    trimaps |= _carried(around, number, trimaps, plate, engine)
    seen = {f: prior(view.frame(f, plate(f), canvas, trimaps[f])) for f in dict.fromkeys(around)}
    known = seen[number].frame.known
    truth = matte_on(canvas, files.mattes.path(number), plate(number), number).to(known.device)
    return Finished(number, tuple(seen[f] for f in around), truth, known == 0.5)


def matte_on(canvas: Window, path: Path, plate: Plate, number: int) -> Tensor:
    """A finished matte, float32 1×1×H×W on the canvas; 0 outside of its plate.

    Raises:
        InputError: as `read_alpha`.
    """
    alpha = read_alpha(path, plate.header, number)[..., None]
    whole = placed(alpha, plate.header.data_window, canvas)
    return torch.from_numpy(np.ascontiguousarray(whole[..., 0]))[None, None]


def unknown_trimap(files: ShotFiles, number: int, plate: Plate) -> Trimap:
    """A frame's trimap, which must have unknown pixels over the plate.

    Raises:
        InputError: ``input.no_unknown``, and what reading raises.
    """
    trimap = read_trimap(files.trimaps.path(number), frame=number)
    if not (place_trimap(trimap, plate.header, frame=number) == UNKNOWN).any():
        raise InputError(
            "input.no_unknown",
            f"{files.trimaps.path(number)} has no unknown pixels: there is nothing to learn from "
            f"frame {number}",
            frame=number,
            hint="give the trimap that its matte was made from, or leave this frame out",
        )
    return trimap


def _trimap_of(files: ShotFiles, number: int) -> Trimap | None:
    path = files.trimaps.path(number)
    there = path.is_file() and not files.trimaps.is_single
    return read_trimap(path, frame=number, source="given") if there else None


def _carrying(view: LightView) -> ShotMatte:
    """What carries trimaps as in use, by the shipped weights."""
    carries = open_network(find("trimap_memory_s", "propagation"), "", view.device)
    matting = open_network(find("closed_form", "matting"), "", view.device)
    return ShotMatte(matting, carries, view, EngineOptions(), {})


def _carried(
    around: tuple[int, ...],
    number: int,
    trimaps: Mapping[int, Trimap],
    plate: Callable[[int], Plate],
    engine: Callable[[], ShotMatte],
) -> dict[int, Trimap]:
    """Trimaps of the neighbours that have none, carried from the finished frame as in use."""
    order = tuple(sorted(set(around)))
    found: dict[int, Trimap] = {}
    for span in spans(order, [number], trimaps):
        with tempfile.TemporaryDirectory() as scratch:
            found |= engine().propagate(
                span, plate, lambda f: plate(f).header, {number: trimaps[number]}, Path(scratch),
                lambda: False,
            )  # fmt: skip
    return found


def parted(
    finished: tuple[Finished, ...], hold_out: int | None
) -> tuple[tuple[Finished, ...], Finished]:
    """What is learned from, and what is judged by.

    One frame is held out: the one that is asked for, else the middle one. Where there is one alone,
    the half of its unknown pixels on one side is.

    Args:
        finished: at least one.
        hold_out: frame number, or None.

    Raises:
        InputError: ``input.hold_out`` if that is no finished frame.
    """
    numbers = [one.number for one in finished]
    if hold_out is not None and (hold_out not in numbers or len(numbers) == 1):
        raise InputError(
            "input.hold_out",
            f"frame {hold_out} cannot be held out: finished are {', '.join(map(str, numbers))}",
            hint="name one of several finished frames, or leave --hold-out out",
        )
    if len(finished) == 1:
        return _halves(finished[0])
    place = len(numbers) // 2 if hold_out is None else numbers.index(hold_out)
    return finished[:place] + finished[place + 1 :], finished[place]


def _halves(only: Finished) -> tuple[tuple[Finished, ...], Finished]:
    """Split at the median of the unknown pixels along the axis in which they spread further."""
    rows, columns = (x.double() for x in only.counts[0, 0].nonzero(as_tuple=True))
    along_rows = bool(rows.std() > columns.std()) if len(rows) > 1 else False
    places = rows if along_rows else columns
    axis = torch.arange(only.counts.shape[2 if along_rows else 3], device=places.device)
    shape = (1, 1, -1, 1) if along_rows else (1, 1, 1, -1)
    first = (axis <= places.median()).view(shape)
    taught, judged = only.counts & first, only.counts & ~first
    if not bool(judged.any()):
        raise InputError(
            "input.no_unknown",
            f"frame {only.number} has too few unknown pixels to learn from one half of them and "
            "judge by the other",
            frame=only.number,
            hint="give a second finished matte",
        )
    return (replace(only, counts=taught),), replace(only, counts=judged)


def digest_of(content: object) -> str:
    """Hex sha256 of plain values, for telling whether two runs are one."""
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _on_disk(pattern: FramePattern) -> tuple[int, ...]:
    return pattern.frames_on_disk().frames
