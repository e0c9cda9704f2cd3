"""Mattes of single frames with a given trimap: no learning, ours and others.

    python tests/benchmarks/still_baselines.py --data DIR [--out FILE] [--repeats N] [--threads N]

Prints a Markdown table of MSE and SAD over the unknown region for "unknown = 0.5", a guided filter
of the trimap, our `closed_form` and pymatting's closed form (its default preconditioner), and the
seconds of the last two, which run in turn, ``--repeats`` times after one run to warm up; the median
counts. One thread by default: pymatting's solver has no more, and where cores are shared two
threads measure what else the machine does (then set OMP_WAIT_POLICY=PASSIVE at least).

Expected before measuring: same Laplacian, same constant, so in display light ours within 1 % of
pymatting's MSE on every frame, in about half its time in the mean; slower than it on frames with
few unknown pixels, where fixed costs count; in linear light, with ε by exposure, a few per cent
better. Guided filter between 0.5 and closed form everywhere.

Found: as expected in display light, and on small frames the two are equally fast rather than ours
slower. In linear light 14 % better in the mean, but not everywhere: one of two fur frames is 5 %
worse, and SAD is worse on the dancer. ε was chosen on frames of these two clips: this is no proof.

pymatting wants light in 0…1, so in linear light it is given the plate clipped. Frames whose trimap
knows no foreground (smoke) are left out: pymatting refuses them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pymatting.alpha.estimate_alpha_cf import estimate_alpha_cf

from model.classical.closed_form import solve_alpha
from model.plates.image_files import read_plate, rgb
from training.judging.baselines import guided_filter, half
from training.judging.metrics import MSE_UNKNOWN, SAD_UNKNOWN, mse, sad, unknown_region

Image = npt.NDArray[np.float32]
METHODS = ("0.5", "guided filter", "closed_form", "pymatting")


@dataclass(frozen=True)
class Still:
    """A frame with its truth: light H×W×3, trimap uint8 H×W, true alpha H×W."""

    name: str
    light_name: str
    light: Image
    trimap: npt.NDArray[np.uint8]
    truth: Image


@dataclass(frozen=True)
class Row:
    """Errors by method, seconds by method."""

    frame: str
    light: str
    unknown: int
    mse: dict[str, float]
    sad: dict[str, float]
    seconds: dict[str, float]

    @property
    def ratio(self) -> float:
        return self.seconds["closed_form"] / self.seconds["pymatting"]


def stills(data: Path) -> list[Still]:
    """The frames of the table; those whose folder is absent are left out."""
    found = []
    for name in ("still_rose", "still_grass_gras02", "still_hair_short01"):
        folder = data / name
        if folder.is_dir():
            found.append(_display(name, *(folder / f"{one}.png" for one in _PARTS)))
    for name in ("clip_dancer_A_pan_stream", "clip_dancer_B_video_bg"):
        for frame in ("0010", "0025"):
            files = [next(iter((data / name / one).glob(f"{frame}.*")), None) for one in _PARTS]
            if None not in files:
                found.append(_display(f"{name} {frame}", *files))
    for name, frames in (("cg_fur_linear", (1003, 1008)), ("exr_linear_dancer", (1001, 1004))):
        for frame in frames:
            if (data / name).is_dir():
                found.append(_linear(data / name, frame))
    return found


_PARTS = ("comp", "trimap", "alpha")


def _display(name: str, comp: Path, trimap: Path, alpha: Path) -> Still:
    truth = _grey(alpha).astype(np.float32) / 255
    return Still(name, "display", rgb(read_plate(comp)), _grey(trimap), truth)


def _linear(folder: Path, frame: int) -> Still:
    foreground = read_plate(folder / f"fg_premult.{frame}.exr")
    canvas = foreground.header.display_window
    truth = np.zeros((canvas.height, canvas.width), np.float32)
    alpha = foreground.pixels[:, :, foreground.header.channels.index("A")]
    truth[foreground.header.data_window.inside(canvas)] = alpha
    light = rgb(read_plate(folder / f"comp.{frame}.exr"))
    trimap = _grey(folder / f"trimap.{frame}.png")
    return Still(f"{folder.name} {frame}", "linear", light, trimap, truth)


def _grey(path: Path) -> npt.NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise SystemExit(f"{path} cannot be read")
    return image.astype(np.uint8)


def closed_form(still: Still) -> Image:
    """Ours."""
    light = torch.from_numpy(np.ascontiguousarray(still.light.transpose(2, 0, 1)))[None]
    trimap = torch.from_numpy(half(still.trimap))[None, None]
    return solve_alpha(light, trimap, composited_in=still.light_name)[0, 0].numpy()


def pymatting(still: Still) -> Image:
    """Theirs."""
    light = still.light.clip(0, 1).astype(np.float64)
    return estimate_alpha_cf(light, half(still.trimap).astype(np.float64)).astype(np.float32)


def measure(still: Still, repeats: int) -> Row:
    """Errors of all methods; seconds of ours and pymatting's, run in turn."""
    timed = {"closed_form": closed_form, "pymatting": pymatting}
    alphas = {"0.5": half(still.trimap), "guided filter": guided_filter(still.light, still.trimap)}
    alphas |= {name: solve(still) for name, solve in timed.items()}
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats):
        for name, solve in timed.items():
            seconds[name].append(_seconds(solve, still))
    region = unknown_region(still.trimap)
    return Row(
        still.name,
        still.light_name,
        int(region.sum()),
        {name: mse(alphas[name], still.truth, region) for name in METHODS},
        {name: sad(alphas[name], still.truth, region) for name in METHODS},
        {name: statistics.median(several) for name, several in seconds.items()},
    )


def _seconds(solve: Callable[[Still], Image], still: Still) -> float:
    start = time.perf_counter()
    solve(still)
    return time.perf_counter() - start


def table(rows: list[Row]) -> str:
    """Markdown: a line a frame, then the mean of each light (seconds: the sum)."""
    errors = [f"{metric} {name}" for metric in ("MSE", "SAD") for name in METHODS]
    head = ["frame", "light", "unknown", *errors, "s closed_form", "s pymatting", "ratio"]
    lines = [head, ["---"] * len(head)]
    for row in rows + [summary(rows, light) for light in ("display", "linear", "all")]:
        values = [f"{row.mse[name]:.1f}" for name in METHODS]
        values += [f"{row.sad[name]:.2f}" for name in METHODS]
        times = [f"{row.seconds[name]:.2f}" for name in ("closed_form", "pymatting")]
        lines.append([row.frame, row.light, str(row.unknown), *values, *times, f"{row.ratio:.2f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(rows: list[Row], light: str) -> Row:
    """Mean errors and summed seconds of the frames in one light, or in all."""
    some = [row for row in rows if light in (row.light, "all")]
    return Row(
        "**mean**, seconds summed",
        light,
        sum(row.unknown for row in some),
        {name: statistics.fmean(row.mse[name] for row in some) for name in METHODS},
        {name: statistics.fmean(row.sad[name] for row in some) for name in METHODS},
        {name: sum(row.seconds[name] for row in some) for name in ("closed_form", "pymatting")},
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of evaluation frames")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    found = stills(options.data)
    if not found:
        print(f"no evaluation frames under {options.data}", file=sys.stderr)
        return 1
    rows = [measure(still, options.repeats) for still in found]
    print(table(rows))
    print(f"\n{MSE_UNKNOWN}; {SAD_UNKNOWN}.")
    print(f"Seconds: medians of {options.repeats} runs in turn, {options.threads} thread(s).")
    if options.out:
        figures = {
            "conventions": [MSE_UNKNOWN, SAD_UNKNOWN],
            "repeats": options.repeats,
            "threads": options.threads,
            "rows": [asdict(row) | {"ratio": row.ratio} for row in rows],
            "summary": {
                light: asdict(summary(rows, light)) | {"ratio": summary(rows, light).ratio}
                for light in ("display", "linear", "all")
            },
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
