"""How well trimaps are carried: `trimap_flow` against plain optical flow chained frame to frame.

    python tests/benchmarks/propagation.py [--out FILE] [--clips NAME …]

Two clips of 36 frames with true alpha, each with the true trimap given at the first frame only and
at both ends; the frames between are judged, by the conventions of `training.judging.metrics`. The
chained baseline warps the trimap with DIS flow and calls unknown what the warp has mixed; with two
keyframes it takes the direction whose keyframe is nearer.

Expected before measuring: chained flow keeps 0.7 of the mixed band in a band 5–8 times too wide
with 1–2 % of the picture certainly wrong where arms move fast (clip A), and is much better where
little moves (clip B). `trimap_flow` was to keep more than 0.9 in less than 4 times the width with
less than 0.6 % wrong, and to be better in all three in each of the four rows. A fresh trimap was
thought 2.2 times as wide as the band.

The person in both clips is the one of the training material, in other shots; the truth is exact for
the composite. Clips are looked for in the folder ``shared/data/eval`` beside the repository.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from model.blend import blend
from model.classical.trimap_flow import TrimapFlow
from model.face import Frame
from model.trimap_classes import Classes
from training.judging.chained_flow import chained as chained_flow
from training.judging.metrics import BAND_WIDTH, CERTAINLY_WRONG, MIXED_RECALL, trimap_quality

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "eval"
CLIPS = ("clip_dancer_A_pan_stream", "clip_dancer_B_video_bg")

Picture = npt.NDArray[np.uint8]
Carried = dict[int, Picture]


@dataclass(frozen=True)
class Clip:
    """Pictures (RGB), true alphas (0…1) and true trimaps, one of each a frame."""

    name: str
    pictures: Sequence[Picture]
    alphas: Sequence[npt.NDArray[np.float64]]
    trimaps: Sequence[Picture]


@dataclass(frozen=True)
class Row:
    """One line of the table: means over the frames between the keyframes."""

    clip: str
    keyframes: str
    method: str
    recall: float
    width: float
    wrong: float
    seconds: float


def read_clip(folder: Path, count: int | None = None) -> Clip:
    """The first ``count`` frames of a clip; all if None."""
    names = sorted(p.stem for p in (folder / "alpha").iterdir())[:count]
    grey = cv2.IMREAD_GRAYSCALE
    return Clip(
        folder.name,
        [_read(folder / "comp" / f"{n}.jpg", cv2.IMREAD_COLOR)[..., ::-1] for n in names],
        [_read(folder / "alpha" / f"{n}.png", grey) / 255 for n in names],
        [_read(folder / "trimap" / f"{n}.png", grey) for n in names],
    )


def trimap_flow(clip: Clip, keys: Sequence[int]) -> Carried:
    """Both directions of `TrimapFlow`, blended as the pipeline does it."""
    last = len(clip.pictures) - 1
    keyframes = [_frame(clip, i, painted=True) for i in keys]
    network = TrimapFlow()
    ways: list[dict[int, Classes] | None] = [None, None]
    for way, order in enumerate(_orders(last)):
        if order[0] in keys:
            found: dict[int, Classes] = {}
            memory = network.start(keyframes, order[0])
            for i in order[1:]:
                memory, found[i] = network.step(memory, _frame(clip, i))
            ways[way] = found
    carried = {}
    for i in _between(last, keys):
        forward, backward = (None if way is None else way[i] for way in ways)
        carried[i] = blend(forward, backward, i / last)[0].numpy()
    return carried


def chained(clip: Clip, keys: Sequence[int]) -> Carried:
    """DIS flow from frame to frame, nothing else; the nearer keyframe's direction counts."""
    grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in clip.pictures]
    return chained_flow(grey, {key: clip.trimaps[key] for key in keys})


def fresh(clip: Clip, keys: Sequence[int]) -> Carried:
    """The true trimap of every frame: what a perfect propagation would hand on."""
    return {i: clip.trimaps[i] for i in _between(len(clip.pictures) - 1, keys)}


METHODS: dict[str, Callable[[Clip, Sequence[int]], Carried]] = {
    "fresh trimap": fresh,
    "chained DIS flow": chained,
    "trimap_flow": trimap_flow,
}


def measure(clip: Clip) -> list[Row]:
    """All methods with a keyframe at the first frame only, and at both ends."""
    last = len(clip.pictures) - 1
    rows = []
    for title, keys in (("first", (0,)), ("both ends", (0, last))):
        for method, carry in METHODS.items():
            begin = time.perf_counter()
            carried = carry(clip, keys)
            seconds = (time.perf_counter() - begin) / len(carried) / len(keys)
            judged = [trimap_quality(t, clip.alphas[i]) for i, t in carried.items()]
            recall = float(np.mean([q.mixed_recall for q in judged]))
            width = float(np.mean([q.band_width for q in judged]))
            wrong = float(np.mean([q.certainly_wrong for q in judged]))
            rows.append(Row(clip.name, title, method, recall, width, wrong, seconds))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| clip | keyframes | method | recall | width | certainly wrong % | s a frame and way |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = f"{row.recall:.4f} | {row.width:.2f} | {row.wrong:.4f} | {row.seconds:.2f}"
        lines.append(f"| {row.clip} | {row.keyframes} | {row.method} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    parser.add_argument("--clips", nargs="+", default=CLIPS, help="folders of shared/data/eval")
    parser.add_argument("--threads", type=int, default=1, help="of torch and OpenCV")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    rows = []
    for name in options.clips:
        if not (SHARED / name / "alpha").is_dir():
            raise SystemExit(f"there is no clip with true alpha at {SHARED / name}")
        rows += measure(read_clip(SHARED / name))
    print(table(rows))
    conventions = (MIXED_RECALL, BAND_WIDTH, CERTAINLY_WRONG)
    print("\n" + "\n".join(conventions))
    if options.out:
        record = {"conventions": conventions, "rows": [asdict(row) for row in rows]}
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _read(path: Path, mode: int) -> Picture:
    picture = cv2.imread(str(path), mode)
    if picture is None:
        raise SystemExit(f"{path} cannot be read as a picture")
    return np.asarray(picture, np.uint8)


def _orders(last: int) -> tuple[range, range]:
    return range(last + 1), range(last, -1, -1)


def _between(last: int, keys: Sequence[int]) -> list[int]:
    return [i for i in range(last + 1) if i not in keys]


def _frame(clip: Clip, i: int, *, painted: bool = False) -> Frame:
    picture = np.ascontiguousarray(clip.pictures[i].transpose(2, 0, 1), np.float32) / 255
    planes = torch.from_numpy(picture)[None]
    levels = clip.trimaps[i]
    classes = np.where(levels == 0, 0, np.where(levels == 255, 1, 0.5)).astype(np.float32)
    trimap = torch.from_numpy(classes)[None, None] if painted else None
    return Frame(i, planes, planes, trimap, "display")


if __name__ == "__main__":
    main()
