"""What a clean plate is worth: errors of alpha with one and without, through the engine's steps.

    python tests/benchmarks/clean_plate.py [--sets footage synthetic eval] [--out FILE]

Expected before measuring: at most half of the error in the mean of each set. Least on frames whose
foreground has the colours of what is behind it; and possibly worse than without where the
foreground has two very different colours side by side, as black and white fur has, for one mean and
one covariance describe it there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import torch

from model.registry import find, open_network

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.layered import SETS, add_arguments, frames_of, solved, write_figures

CONVENTION = "MSE ×10³ of alpha in the unknown region"


@dataclass(frozen=True)
class Row:
    """MSE ×10³ in the unknown region, and wall seconds."""

    data_set: str
    frame: str
    without: float
    with_one: float
    seconds_without: float
    seconds_with: float

    @property
    def ratio(self) -> float:
        return self.with_one / max(self.without, 1e-9)


def means(rows: list[Row], data_set: str) -> dict[str, float]:
    """Mean errors, the ratio of them, the mean of the rows' ratios (of logarithms), the worst."""
    some = [row for row in rows if row.data_set == data_set]
    without = statistics.fmean(row.without for row in some)
    with_one = statistics.fmean(row.with_one for row in some)
    return {
        "frames": len(some),
        "without": without,
        "with": with_one,
        "ratio": with_one / without,
        "geometric mean of ratios": statistics.geometric_mean(row.ratio for row in some),
        "frames above half": sum(row.ratio > 0.5 for row in some),
        "worst ratio": max(row.ratio for row in some),
        "seconds, ratio": sum(row.seconds_with for row in some)
        / sum(row.seconds_without for row in some),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--network", default="st_fam_s")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    network = open_network(find(chosen.network, "matting"), "", torch.device("cpu"))
    rows: list[Row] = []
    print("| set | frame | without | with | ratio |\n|---|---|---|---|---|")
    for one in frames_of(chosen):
        if one.frame.background is None or not one.unknown.any():
            continue
        start = time.perf_counter()
        without = one.error(solved(network, one.bare).alpha)
        between = time.perf_counter()
        with_one = one.error(solved(network, one).alpha)
        end = time.perf_counter()
        row = Row(one.data_set, one.name, without, with_one, between - start, end - between)
        rows.append(row)
        print(
            f"| {row.data_set} | {row.frame} | {without:.2f} | {with_one:.2f} | {row.ratio:.2f} |"
        )
    summary = {name: means(rows, name) for name in SETS if any(r.data_set == name for r in rows)}
    for name, found in summary.items():
        print(
            f"| **{name}** | mean | {found['without']:.2f} | {found['with']:.2f} | "
            f"**{found['ratio']:.2f}** |"
        )
    print(f"\n{CONVENTION}; {chosen.network}.")
    figures = {
        "convention": CONVENTION,
        "network": chosen.network,
        "threads": chosen.threads,
        "rows": [asdict(row) | {"ratio": row.ratio} for row in rows],
        "summary": summary,
    }
    write_figures(chosen.out, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
