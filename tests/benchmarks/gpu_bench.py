"""Times on a CUDA device, each beside what it is to be compared with in the same run.

    python3 tests/benchmarks/gpu_bench.py [--out FILE] [--width 1920 --height 1080]

* The deformable convolution, ours against torchvision's operator, at the shapes of `st_fam_s` (four
  neighbours at once) and of the CVPR 2021 network (one neighbour), forward, and forward with
  backward; with the memory that each holds at its peak. torchvision takes no bfloat16, and wants
  offsets in the type of the rest; ours are float32 always.
* The closed-form prior, exact, on the CPU and on the device, 640×360 with 15 % unknown.
* The learned networks that are registered and have their weights, without their priors.

Medians of CUDA events after a warm-up. Runs from a checkout where torch with CUDA, torchvision,
numpy, scipy, opencv and safetensors are; ``--device cpu`` tries the script. Exit code 2: there is
nothing to run on.

Expected before measuring: ours 1.5–3× faster than torchvision forward in float32, about equal in
float16, because the gather stays in float32; 1–2× with backward. The exact prior no faster on a GPU
than on one core, because it is many small factorisations in a row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # from a checkout, without installing it

try:
    import torch
    from torchvision.ops import deform_conv2d
except ImportError as error:
    print(f"{error.name} is not installed for {sys.executable}: set GPU_PYTHON to one with it")
    raise SystemExit(2) from None

from cuda_ops.deform_conv import modulated_deform_conv2d  # noqa: E402
from model.classical.closed_form import ClosedForm  # noqa: E402
from model.face import Estimate, Frame  # noqa: E402
from model.registry import NETWORKS, open_network  # noqa: E402

# name, pictures at once, channels, groups, side is 1/… of the frame's
LAYERS = (
    ("st_fam_s 1/4", 4, 32, 4, 4),
    ("st_fam_s 1/8", 4, 48, 4, 8),
    ("st_fam_s 1/16", 4, 64, 4, 16),
    ("st_fam_r50 1/2", 1, 64, 8, 2),
    ("st_fam_r50 1/4", 1, 256, 8, 4),
    ("st_fam_r50 1/8", 1, 512, 8, 8),
    ("st_fam_r50 1/16", 1, 1024, 8, 16),
)
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
PRIOR_SIZE = (640, 360)
UNKNOWN = 0.15


def milliseconds(call: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median time of a call."""
    for _ in range(3 if device.type == "cuda" else 1):
        call()
    if device.type != "cuda":
        return 1e3 * statistics.median(_seconds(call) for _ in range(repeats))
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for begin, end in marks:
        begin.record()
        call()
        end.record()
    torch.cuda.synchronize(device)
    return statistics.median(begin.elapsed_time(end) for begin, end in marks)


def peak_megabytes(call: Callable[[], Any], device: torch.device) -> float | None:
    """What a call allocates on top of what there is, at its highest; None off CUDA."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 1e6


def deform_rows(
    width: int, height: int, device: torch.device, repeats: int
) -> list[dict[str, Any]]:
    """One row for each layer, type, implementation and direction."""
    rows = []
    for name, count, channels, groups, scale in LAYERS:
        h, w = -(-height // scale), -(-width // scale)
        g = torch.Generator().manual_seed(0)
        planes = [
            torch.randn(count, channels, h, w, generator=g),
            torch.randn(count, 18 * groups, h, w, generator=g) * 2,
            torch.rand(count, 9 * groups, h, w, generator=g),
            torch.randn(channels, channels, 3, 3, generator=g) / (9 * channels) ** 0.5,
        ]
        for kind, dtype in TYPES.items():
            tensors = [t.to(device, dtype) for t in planes]
            row: dict[str, Any] = {"layer": name, "size": [count, channels, h, w], "type": kind}
            row["ours"] = _both_ways(
                _ours, [t.float() if t is tensors[1] else t for t in tensors], device, repeats
            )
            if dtype == torch.float32 or (dtype == torch.float16 and device.type == "cuda"):
                row["torchvision"] = _both_ways(_torchvisions, tensors, device, repeats)
            rows.append(row)
            print(_deform_line(row), flush=True)
    return rows


def _ours(
    x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    return modulated_deform_conv2d(x, offset, mask, weight, padding=1)


def _torchvisions(
    x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    return deform_conv2d(x, offset, weight, padding=1, mask=mask)


def _both_ways(
    convolve: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor],
    device: torch.device,
    repeats: int,
) -> dict[str, float | None]:
    """Forward alone, and forward with backward: milliseconds, and megabytes at the peak."""

    def call() -> torch.Tensor:
        return convolve(*inputs)

    with torch.no_grad():
        found = {
            "forward_ms": milliseconds(call, device, repeats),
            "forward_mb": peak_megabytes(call, device),
        }
    for tensor in inputs:
        tensor.requires_grad_()

    def learn() -> None:
        torch.autograd.grad(call().sum(), inputs)

    found["learning_ms"] = milliseconds(learn, device, repeats)
    found["learning_mb"] = peak_megabytes(learn, device)
    for tensor in inputs:
        tensor.requires_grad_(False)
    return found


def _deform_line(row: dict[str, Any]) -> str:
    words = [f"{row['layer']:16} {row['type']:9}"]
    for direction in ("forward", "learning"):
        ours = row["ours"][f"{direction}_ms"]
        words.append(f"{direction} {ours:8.2f} ms")
        if "torchvision" in row:
            theirs = row["torchvision"][f"{direction}_ms"]
            words.append(f"torchvision {theirs:8.2f} ms  {theirs / ours:5.2f}×")
    return "  ".join(words)


def picture(width: int, height: int, number: int = 0) -> Frame:
    """A textured disc over texture, with a ring of `UNKNOWN` of the picture around its edge."""
    g = torch.Generator().manual_seed(number)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inner = 0.25 * height
    outer = (inner**2 + UNKNOWN * width * height / torch.pi) ** 0.5
    distance = torch.hypot(y - height / 2.0, x - width / 2.0 - 2 * number)
    alpha = ((outer - distance) / (outer - inner)).clamp(0, 1)[None, None]
    light = 0.1 + 0.2 * torch.rand(1, 3, height, width, generator=g) + 0.5 * alpha
    trimap = torch.where((alpha > 0) & (alpha < 1), 0.5, alpha)
    return Frame(number, light, light.clamp(0, 1), trimap, "display")


def moved(frame: Frame, device: torch.device) -> Frame:
    return Frame(
        frame.number,
        frame.light.to(device),
        frame.picture.to(device),
        frame.trimap.to(device),
        frame.composited_in,
    )


def prior_row(device: torch.device) -> dict[str, Any]:
    """Seconds of the exact prior on one CPU thread and on the device."""
    here = picture(*PRIOR_SIZE)
    there = moved(here, device)
    network = ClosedForm()
    row = {
        "size": list(PRIOR_SIZE),
        "unknown": float((here.trimap == 0.5).float().mean()),
        "cpu_s": min(_seconds(lambda: network.prior(here)) for _ in range(2)),
        "device_s": milliseconds(lambda: network.prior(there), device, 3) / 1e3,
    }
    print("closed form {}×{}, {unknown:.1%} unknown: CPU {cpu_s:.2f} s, device {device_s:.2f} s"
          .format(*PRIOR_SIZE, **row), flush=True)  # fmt: skip
    return row


def network_rows(width: int, height: int, device: torch.device) -> list[dict[str, Any]]:
    """Seconds a frame of each learned network, its prior (or `trimap_flow`'s part) left out."""
    rows: list[dict[str, Any]] = []
    for entry in NETWORKS:
        if not entry.weights:
            continue
        if not entry.available:
            print(f"{entry.name}: its weights are not there, left out")
            continue
        network = open_network(entry, "", device)
        for w, h in dict.fromkeys([PRIOR_SIZE, (width, height)]):
            for kind, dtype in TYPES.items():
                frames = [moved(picture(w, h, i), device) for i in range(5)]
                call = (
                    _matting(network, frames) if entry.kind == "matting" else _step(network, frames)
                )
                precision = None if dtype == torch.float32 else dtype
                with (
                    torch.autocast(device.type, precision, enabled=precision is not None),
                    torch.no_grad(),
                ):
                    found = milliseconds(call, device, 10) / 1e3
                row = {"network": entry.name, "size": [w, h], "type": kind, "seconds": found}
                rows.append(row)
                print(f"{entry.name} {w}×{h} {kind}: {found:.4f} s a frame", flush=True)
    return rows


def _matting(network: Any, frames: list[Frame]) -> Callable[[], Any]:
    """One frame is encoded and one window decoded, as for each further frame of a shot."""
    made_up = [Estimate(f.trimap, torch.ones_like(f.trimap)) for f in frames]
    seen = [network.encode(f, p) for f, p in zip(frames, made_up, strict=True)]

    def call() -> Any:
        return network.decode([*seen[:4], network.encode(frames[4], made_up[4])], 2)

    return call


def _step(network: Any, frames: list[Frame]) -> Callable[[], Any]:
    """A whole step, `trimap_flow`'s on the CPU with it."""
    memory = network.start(frames[:1], 0)
    return lambda: network.step(memory, frames[1])


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print(f"there is no CUDA device: torch {torch.__version__} of {sys.executable} sees none")
        return 2
    torch.set_num_threads(1)  # the prior on one core is what the device is compared with
    device = torch.device(options.device)
    found = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread",
        "torch": torch.__version__,
        "size": [options.width, options.height],
    }
    print(f"{found['device']}, torch {found['torch']}, {options.width}×{options.height}")
    found["deform_conv"] = deform_rows(options.width, options.height, device, options.repeats)
    found["closed_form"] = prior_row(device)
    found["networks"] = network_rows(options.width, options.height, device)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
