"""Foreground colours: ours against pymatting's `estimate_foreground_ml`, fed with the same alpha.

    python tests/benchmarks/foreground.py [--sets footage synthetic eval] [--out FILE]

Once with the true alpha, once with that of `st_fam_s` (ours is told its confidence then, as the
engine does). Errors are those of the premultiplied foreground, and of it over new backgrounds of
5 % and 50 % grey. pymatting clips colours to 0…1: it is given the plate divided by its maximum,
where that is above 1, and negative values as 0.

Expected before measuring: 0.9 of its error with either alpha in the mean of each set. Most is won
where alpha is wrong, for then pymatting's colours have to explain it; little over frames whose
alpha is right and whose layers are smooth.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pymatting.foreground.estimate_foreground_ml import estimate_foreground_ml
from torch import Tensor

from model.classical.foreground import estimate_foreground
from model.registry import find, open_network

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.layered import SETS, Layered, add_arguments, frames_of, solved, write_figures

GREYS = (0.05, 0.5)
MEASURES = ("squared", "absolute", "over new backgrounds")
CONVENTION = (
    "error of alpha · foreground in the unknown region, all channels: mean square ×10³, mean of "
    "absolute values ×10³, and mean square ×10³ over backgrounds of 5 % and 50 % grey"
)


@dataclass(frozen=True)
class Row:
    """Errors by `MEASURES`, and wall seconds of the estimate alone."""

    data_set: str
    frame: str
    alpha: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    seconds: tuple[float, float]

    @property
    def ratios(self) -> tuple[float, ...]:
        return tuple(a / max(b, 1e-12) for a, b in zip(self.ours, self.theirs, strict=True))


def pymatting(light: Tensor, alpha: Tensor) -> Tensor:
    """Theirs, straight, 1×3×H×W."""
    picture = light[0].permute(1, 2, 0).clamp_min(0).double().numpy()
    top = max(1.0, float(picture.max()))
    found = estimate_foreground_ml(picture / top, alpha[0, 0].double().numpy()) * top
    return torch.from_numpy(np.asarray(found, np.float32)).permute(2, 0, 1)[None]


def errors(one: Layered, alpha: Tensor, straight: Tensor) -> tuple[float, ...]:
    """By `MEASURES`."""
    if one.premultiplied is None:
        raise ValueError(f"the foreground of {one.name} is not known")
    region = one.unknown.expand_as(straight)
    left = (alpha * straight - one.premultiplied)[region]
    spare = (one.alpha - alpha).expand_as(straight)[region]
    over = [float((left + grey * spare).square().mean()) for grey in GREYS]
    found = float(left.square().mean()), float(left.abs().mean()), statistics.fmean(over)
    return tuple(1e3 * error for error in found)


def measured(one: Layered, kind: str, alpha: Tensor, confidence: Tensor | None) -> Row:
    """Both, in turn."""
    light = one.frame.light
    start = time.perf_counter()
    ours, _ = estimate_foreground(light, alpha, confidence)
    between = time.perf_counter()
    theirs = pymatting(light, alpha)
    end = time.perf_counter()
    found = errors(one, alpha, ours), errors(one, alpha, theirs)
    return Row(one.data_set, one.name, kind, *found, (between - start, end - between))


def means(rows: list[Row], data_set: str, kind: str) -> dict[str, Any]:
    """For each measure the mean errors and the ratio of them; means of ratios (of logarithms)."""
    some = [row for row in rows if (row.data_set, row.alpha) == (data_set, kind)]
    found: dict[str, Any] = {"frames": len(some)}
    for i, name in enumerate(MEASURES):
        ours = statistics.fmean(row.ours[i] for row in some)
        theirs = statistics.fmean(row.theirs[i] for row in some)
        ratios = [max(row.ratios[i], 1e-3) for row in some]
        found[name] = {
            "ours": ours,
            "pymatting": theirs,
            "ratio": ours / theirs,
            "geometric mean of ratios": statistics.geometric_mean(ratios),
            "worst ratio": max(ratios),
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    network = open_network(find("st_fam_s", "matting"), "", torch.device("cpu"))
    rows: list[Row] = []
    head = ["set", "frame", "alpha", "ours", "pymatting", *(f"ratio, {name}" for name in MEASURES)]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for one in frames_of(chosen):
        if one.premultiplied is None or not one.unknown.any():
            continue
        estimate = solved(network, one.bare)
        for row in (
            measured(one, "true", one.alpha, None),
            measured(one, "st_fam_s", estimate.alpha, estimate.confidence),
        ):
            rows.append(row)
            cells = [row.data_set, row.frame, row.alpha]
            cells += [f"{row.ours[0]:.3f}", f"{row.theirs[0]:.3f}"]
            print(f"| {' | '.join([*cells, *(f'{ratio:.2f}' for ratio in row.ratios)])} |")
    summary = {}
    for name in SETS:
        for kind in ("true", "st_fam_s"):
            if any((row.data_set, row.alpha) == (name, kind) for row in rows):
                found = summary[f"{name}, {kind}"] = means(rows, name, kind)
                cells = [f"**{name}**", "mean", kind]
                cells += [f"{found['squared'][who]:.3f}" for who in ("ours", "pymatting")]
                cells += [f"**{found[measure]['ratio']:.2f}**" for measure in MEASURES]
                print(f"| {' | '.join(cells)} |")
    print(f"\n{CONVENTION}.")
    figures = {
        "convention": CONVENTION,
        "threads": chosen.threads,
        "rows": [asdict(row) | {"ratios": row.ratios} for row in rows],
        "summary": summary,
    }
    write_figures(chosen.out, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
