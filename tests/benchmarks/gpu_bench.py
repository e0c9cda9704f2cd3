"""Times on a CUDA device, each beside what it is to be compared with in the same run.

    python3 tests/benchmarks/gpu_bench.py [--out FILE] [--size 1920x1080]… [--checkpoint FILE]

* The deformable convolution, ours against plain torch, torchvision's operator and the floor: see
  `cuda_ops.bench`. At HD and 4K.
* The closed-form prior, exact, on the CPU and on the device, 640×360 with 15 % unknown.
* Every network that has learned something and has its weights, its prior apart, as `dvm bench
  networks` does it: see `dvm_server.bench.networks`.
* `st_fam_r50` with random weights, its plain form beside what runs: see `st_fam_r50.py`.

The file has the form that `dvm bench --json` writes; the README's figures are made of it by
`performance_table.py`. Medians of CUDA events after a warm-up. Runs from a checkout where torch
with CUDA, torchvision, numpy, scipy, opencv and safetensors are; ``--device cpu`` tries the script.
Exit code 2: there is nothing to run on.

Expected before measuring: ours at least 3× faster than torchvision forward in float16 at 64
channels on 1/2 and 256 on 1/4, where its rows go through memory twice. The exact prior no faster on
a GPU than on one core, because it is many small factorisations in a row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # from a checkout, without installing it

try:
    import torch
    import torchvision  # noqa: F401  the convolution is compared with its
except ImportError as error:
    print(f"{error.name} is not installed for {sys.executable}: set GPU_PYTHON to one with it")
    raise SystemExit(2) from None

from cuda_ops import bench  # noqa: E402
from dvm_server.bench import machine, networks  # noqa: E402
from model.classical.closed_form import ClosedForm  # noqa: E402
from model.registry import NETWORKS  # noqa: E402
from tests.benchmarks import st_fam_r50  # noqa: E402

PRIOR_SIZE = (640, 360)
R50_SIZE, R50_REPEATS = "1920x1080", 3


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


def prior_row(device: torch.device) -> dict[str, Any]:
    """Seconds of the exact prior on one CPU thread and on the device."""
    here = networks.picture(PRIOR_SIZE)
    there = networks.moved(here, device)
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


def r50_rows(device: torch.device) -> list[dict[str, Any]]:
    """Seconds of `st_fam_r50`'s plain form and of what runs, in halves and in float32."""
    rows = []
    for half in (True, False):
        options = argparse.Namespace(
            size=R50_SIZE, unknown=networks.UNKNOWN, half=half, repeats=R50_REPEATS
        )
        with torch.inference_mode():
            row = st_fam_r50.measure(options, device)
        rows.append({"size": R50_SIZE, "type": "float16" if half else "float32", **row})
        print("st_fam_r50 {size} {type}: plain {seconds_plain:.4f} s, fast {seconds_fast:.4f} s"
              .format(**rows[-1]), flush=True)  # fmt: skip
    return rows


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--size", action="append", help="of networks, e.g. 960x540")
    parser.add_argument("--checkpoint", default="", help="of a network that comes without one")
    parser.add_argument(
        "--network", action="append", help="default: all that have learned something"
    )
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print(f"there is no CUDA device: torch {torch.__version__} of {sys.executable} sees none")
        return 2
    torch.set_num_threads(1)  # the prior on one core is what the device is compared with
    device = torch.device(options.device)
    cuda = device.type == "cuda"
    found: dict[str, Any] = {"machine": machine.describe(device, sys.argv)}
    print(", ".join(f"{name} {value}" for name, value in found["machine"].items()), flush=True)
    found["ops"] = bench.measure(device, bench.SIZES if cuda else bench.SMALL, lambda line: None)
    print(bench.table(found["ops"]), flush=True)
    _write(options.out, found)
    found["closed_form"] = prior_row(device)
    sizes = [tuple(map(int, one.split("x"))) for one in options.size or []]
    found["networks"] = networks.measure(
        device,
        sizes or networks.SIZES,
        lambda line: print(line, flush=True),
        checkpoint=options.checkpoint,
        precisions=["float32", "float16"] if cuda else ["float32"],
        only=options.network
        or [entry.name for entry in NETWORKS if entry.weights or entry.brought],
    )
    _write(options.out, found)
    if cuda and not options.network:
        found["st_fam_r50"] = r50_rows(device)
        _write(options.out, found)
    return 0


def _write(path: Path | None, found: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
