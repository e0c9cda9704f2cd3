"""Frames whose layers are known, for the benchmarks of foregrounds and clean plates.

``footage`` and ``synthetic`` are the held-out clips of `training.judging.datasets`, on which
constants are chosen; ``eval`` is looked at only.

    footage    frames 4 and 9 of four clips: a keyed person over pictures and clips
    synthetic  frame 3 of 48 clips
    eval       frames at one and two thirds of its clips; its stills

Clean plates of made clips are their backgrounds with the grain and compression that the plate has
two frames later, and every other one is exposed 2 % higher. What passes in front of a made
foreground belongs to its background, so it is on the clean plate too. On ``eval`` they are the
JPEG files that lie beside the plates.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.classical import clean_plate
from model.exposure import ExposureMap
from model.face import Estimate, Frame, MattingNetwork
from model.plates.image_files import read_plate, rgb
from model.plates.plate import Plate
from model.tiles import Seen, estimate_in_tiles
from model.view import LightView
from training.composing.composed_pixels import placed
from training.judging.datasets import Item, find_items, held_out_footage
from training.synthesis import Clips, hold_out

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
SETS = ("footage", "synthetic", "eval")
_OVEREXPOSED = 1.02
_REACH = 2


@dataclass(frozen=True)
class Layered:
    """A window of frames and the truth of the one in its middle.

    Attributes:
        name: of the clip, with the frame's number.
        data_set: one of `SETS`.
        window: with clean plates where there are any.
        alpha: float32 1×1×H×W.
        premultiplied: float32 1×3×H×W, the foreground in the light of the frame; None if it is not
            known.
    """

    name: str
    data_set: str
    window: tuple[Frame, ...]
    alpha: Tensor
    premultiplied: Tensor | None

    @property
    def frame(self) -> Frame:
        return self.window[len(self.window) // 2]

    @property
    def unknown(self) -> Tensor:
        return self.frame.known == 0.5

    @property
    def bare(self) -> Layered:
        """Without clean plates."""
        return replace(self, window=tuple(map(_bare, self.window)))

    def error(self, alpha: Tensor) -> float:
        """MSE ×10³ of an alpha in the unknown region."""
        return 1e3 * float((alpha - self.alpha)[self.unknown].square().mean())


@torch.no_grad()
def solved(network: MattingNetwork, one: Layered) -> Estimate:
    """As the engine does it: priors, the network, and the clean plate once more if there is one."""
    seen = [Seen(frame, network.prior(frame)) for frame in one.window]
    found, _ = estimate_in_tiles(network, seen, len(seen) // 2, {}, 0, "float32")
    return clean_plate.refined(one.frame, found)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which frames, and where figures go."""
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with train and eval")
    parser.add_argument("--every", type=int, default=1, help="of the synthetic clips")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    parser.add_argument("--threads", type=int, default=1)


def write_figures(out: Path | None, figures: Mapping[str, Any]) -> None:
    """As JSON, if a file is asked for."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def frames_of(chosen: argparse.Namespace) -> Iterator[Layered]:
    """All that the command line asks for."""
    material = chosen.data / "train"
    if "footage" in chosen.sets:
        for number, clips in enumerate(held_out_footage(material)):
            for at in (3, 8):
                yield _of_clips("footage", number, clips, at)
    if "synthetic" in chosen.sets:
        for number, clips in enumerate(hold_out("matting", material)):
            if number % chosen.every == 0:
                yield _of_clips("synthetic", number, clips, 2)
    if "eval" in chosen.sets:
        for item in find_items(str(chosen.data / "eval")):
            yield from _of_item(item, chosen.data / "eval" / item.name)


def _of_clips(data_set: str, number: int, clips: Clips, at: int) -> Layered:
    light, alpha, linear = clips.light[0], clips.alpha[0], bool(clips.linear[0])
    premultiplied = alpha * clips.foreground[0]
    filmed = light - premultiplied - (1 - alpha) * clips.background[0]  # grain and compression
    exposure = _OVEREXPOSED if at % 2 == 0 else 1.0
    window = []
    for i in range(at - _REACH, at + _REACH + 1):
        one = slice(i, i + 1)
        clean = exposure * (clips.background[0, one] + filmed[(i + 2) % len(light)])
        window.append(
            Frame(
                number=i + 1,
                light=light[one],
                picture=clips.picture[0, one],
                trimap=clips.trimap[0, one],
                composited_in="linear" if linear else "display",
                background=clean if linear else clean.clamp(0, 1),
                background_known=torch.ones_like(alpha[one], dtype=torch.bool),
            )
        )
    name = f"{number:02} {clips.kinds[0]}, {window[0].composited_in}, {at + 1}"
    one = slice(at, at + 1)
    return Layered(name, data_set, tuple(window), alpha[one], premultiplied[one])


def _of_item(item: Item, folder: Path) -> Iterator[Layered]:
    count = len(item.frames)
    view = LightView("", item.light, ExposureMap(), torch.device("cpu"))

    def frame(number: int) -> Frame:
        judged = item.read(number)
        clean = _file(folder, "bg", number)
        plate, canvas = judged.plate, judged.plate.header.data_window
        behind = None if clean is None else read_plate(clean)
        return view.frame(number, plate, canvas, judged.trimap, clean=behind)

    for place in sorted({count // 3, 2 * count // 3} if count > 1 else {0}):
        number = item.frames[place]
        places = range(place - _REACH, place + _REACH + 1) if count > 1 else (place,)
        window = tuple(frame(item.frames[min(max(i, 0), count - 1)]) for i in places)
        judged = item.read(number)
        alpha = torch.from_numpy(judged.truth)[None, None]
        front = _premultiplied(view, folder, number, judged.plate, alpha)
        yield Layered(f"{item.name}, {number}", "eval", window, alpha, front)


def _premultiplied(
    view: LightView, folder: Path, number: int, plate: Plate, alpha: Tensor
) -> Tensor | None:
    """The true foreground of an item, from whichever file has it; stored straight except as EXR."""
    path = _file(folder, "fg", number) or _file(folder, "fg_rgba", number)
    canvas = plate.header.data_window
    if path is not None:
        return alpha * view.frame(number, read_plate(path), canvas).light
    path = folder / f"fg_premult.{number}.exr"
    if not path.is_file():
        return None
    front = read_plate(path)
    over = placed(rgb(front), front.header.data_window, canvas)
    return torch.from_numpy(over).permute(2, 0, 1)[None]


def _file(folder: Path, stem: str, number: int) -> Path | None:
    """``stem/0001.jpg`` of a clip, ``stem.jpg`` or ``.png`` of a still."""
    places = [folder / stem / f"{number:04}.jpg"]
    places += [folder / f"{stem}{ending}" for ending in (".jpg", ".png")]
    return next((path for path in places if path.is_file()), None)


def _bare(frame: Frame) -> Frame:
    return replace(frame, background=None, background_known=None)
