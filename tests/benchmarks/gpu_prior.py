"""Milliseconds of the prior of the learned networks on a CUDA device, as a whole and by kernel.

    python3 tests/benchmarks/gpu_prior.py [--out FILE] [--size 1920x1080]… [--unknown 15]…

For each size and share of unknown pixels: the whole by CUDA events and by a clock on the wall, the
latter with a wait for the device after each; iterations and what is left of the residual; and the
time of each kernel, torch's own too, means of ten runs. Medians after a warm-up otherwise.
With ``--compare`` also the difference from plain torch on the CPU. Runs from a checkout where torch
with CUDA, numpy and scipy are. Exit code 2: there is nothing to run on.

Expected before measuring, on an H200 at 1920×1080 with 15 %: 3 ms on the wall, of it 0.4 in the
search for neighbours and 0.6 in the descent at 10 µs an iteration.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # from a checkout, without installing it

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from cuda_ops import matting_kernels  # noqa: E402
from dvm_server.bench import machine  # noqa: E402
from model.classical import on_device  # noqa: E402
from model.classical.coarse_to_fine import prior_alpha  # noqa: E402

REPEATS = 30


def frame(width: int, height: int, share: float, linear: bool) -> tuple[torch.Tensor, ...]:
    """Light, trimap and picture: a disc with strands over a soft texture."""
    g = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = torch.hypot(y - height / 2, x - width / 2) / height - 0.3
    angle = torch.atan2(y - height / 2, x - width / 2)
    strands = 0.06 * torch.sin(57 * angle + 40 * away) + 0.04 * torch.sin(131 * angle)
    alpha = ((strands - away) * height / 6 + 0.5).clamp(0, 1)

    def texture(cells: int) -> torch.Tensor:
        noise = torch.rand(1, 3, cells, cells, generator=g)
        return F.interpolate(noise, (height, width), mode="bilinear", align_corners=False)

    grain = 0.02 * torch.randn(1, 3, height, width, generator=g)
    front, behind = 0.3 + 0.6 * texture(7), 0.5 * texture(40)
    picture = (alpha * front + (1 - alpha) * behind + grain).clamp(0, 1)
    limit = away.abs().flatten().kthvalue(int(share * away.numel())).values
    trimap = torch.where(away.abs() <= limit, 0.5, alpha.round())[None, None]
    return picture.pow(2.2) if linear else picture, trimap, picture


def milliseconds(call: Callable[[], Any]) -> tuple[float, float]:
    """By events, by the wall."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    events, wall = [], []
    for _ in range(REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before = time.perf_counter()
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        wall.append(1e3 * (time.perf_counter() - before))
        events.append(begin.elapsed_time(end))
    return statistics.median(events), statistics.median(wall)


def by_kernel(call: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds of each kernel, torch's own too, all its launches together; longest first."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(10):
            call()
        torch.cuda.synchronize()
    sums: dict[str, float] = defaultdict(float)
    for event in profile.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            sums[_short(event.name)] += event.time_range.elapsed_us() / 1e4
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _short(name: str) -> str:
    """A kernel's name without its template's arguments."""
    words = name.removeprefix("void ").replace("(anonymous namespace)::", "")
    return words.partition("<")[0].partition("(")[0].split("::")[-1][:40]


def row(size: tuple[int, int], share: float, light: str, compare: bool) -> dict[str, Any]:
    here = frame(*size, share, light == "linear")
    there = tuple(tensor.cuda() for tensor in here)
    answers = []
    plain = matting_kernels.solve

    def solve(*arguments: Any) -> matting_kernels.Answer:
        answers.append(plain(*arguments))
        return answers[-1]

    matting_kernels.solve = solve
    try:
        alpha = prior_alpha(*there, light)
    finally:
        matting_kernels.solve = plain
    grid = answers[-1].alpha.shape
    iterations, residual = answers[-1].outcome.tolist()
    events, wall = milliseconds(lambda: prior_alpha(*there, light))
    found = {
        "size": list(size), "unknown": share, "light": light, "grid": list(grid),
        "events_ms": events, "wall_ms": wall, "iterations": iterations, "residual": residual,
        "kernels_ms": by_kernel(lambda: prior_alpha(*there, light)),
    }  # fmt: skip
    if compare:
        right = prior_alpha(*here, light)
        error = (alpha.cpu() - right).abs()[here[1] == 0.5]
        found["error_mean"], found["error_max"] = float(error.mean()), float(error.max())
    parts = ", ".join(f"{k} {v:.3f}" for k, v in list(found["kernels_ms"].items())[:24])
    error = f", error {found['error_mean']:.5f}/{found['error_max']:.3f}" if compare else ""
    print(f"{size[0]}×{size[1]} {share:.0%} {light}: {events:.2f} ms by events, {wall:.2f} on the "
          f"wall; {iterations:.0f} iterations, {residual:.1e}{error}; {parts}; sum "
          f"{sum(found['kernels_ms'].values()):.2f}", flush=True)  # fmt: skip
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--size", action="append")
    parser.add_argument("--unknown", action="append", type=float, help="in percent")
    parser.add_argument("--light", action="append", choices=["display", "linear"])
    parser.add_argument("--compare", action="store_true", help="with the CPU, which takes long")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print(f"there is no CUDA device: torch {torch.__version__}")
        return 2
    device = torch.device("cuda", torch.cuda.current_device())
    why = on_device.no_kernels(torch.empty(1, 3, 480, 640, device=device))
    if why:
        print(f"plain torch would run: {why}")
        return 2
    print(torch.cuda.get_device_name(device), "torch", torch.__version__, flush=True)
    rows = []
    for size in options.size or ["640x360", "1920x1080", "3840x2160"]:
        width, height = map(int, size.split("x"))
        for share in options.unknown or [5.0, 15.0, 30.0]:
            for light in options.light or ["display", "linear"]:
                rows.append(row((width, height), share / 100, light, options.compare))
    if options.out:
        found = {"machine": machine.describe(device, sys.argv), "prior": rows}
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
