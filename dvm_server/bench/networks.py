"""Seconds a frame and peak memory of every network, its prior apart, cold and warm.

Needs torch and what networks need, nothing else: `tests/benchmarks/gpu_bench.py` calls this too.

A matting network is asked for what a further frame of a clip costs: one prior, one frame encoded,
one window decoded. A propagation network is asked for one step. Pictures are a textured disc over
texture, a share of them unknown; the network gets its real prior. ``cold`` is the first frame in
this process at that size, with all that is allocated, chosen and compiled for it, and ``warm`` the
median of those after it.

Expected before measuring, on two cores at 960×540: `closed_form` about 1 s, `st_fam_s` 2.5 s for
its prior and as much for the network, `trimap_flow` under 1 s, `trimap_memory_s` twice that.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from dvm_server.bench.memory import peak_bytes
from model.face import Estimate, Frame
from model.registry import NETWORKS, NetworkEntry, checkpoint_path, open_network
from model.tiles import Seen, estimate_in_tiles

SIZES = ((960, 540), (1920, 1080), (3840, 2160))
UNKNOWN = 0.15
_WARM = 5
_PATIENCE = 20.0  # seconds for the warm frames of one row, as far as one frame allows

Size = tuple[int, int]


def measure(
    device: torch.device,
    sizes: Sequence[Size],
    tell: Callable[[str], None],
    *,
    checkpoint: str = "",
    precisions: Sequence[str] = ("float32",),
    unknown: float = UNKNOWN,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """A row for each network, size and precision.

    Args:
        device: where to.
        sizes: widths and heights.
        tell: given each row as it is done.
        checkpoint: of a network that has none of its own here.
        precisions: of the network; priors are what they are.
        unknown: share of the picture.
        only: names of networks; none = all.

    Returns:
        ``rows``, and in ``left_out`` a sentence for each network that could not be measured.
    """
    found: dict[str, Any] = {"unknown": unknown, "rows": [], "left_out": []}
    for entry in NETWORKS:
        if only and entry.name not in only:
            continue
        own = "" if entry.available or not checkpoint else checkpoint
        if not entry.available and not own:
            found["left_out"].append(f"{entry.name}: needs --checkpoint")
            continue
        # Trimaps are carried in float32, whatever the matting network works in.
        for precision in precisions if entry.kind == "matting" else ("float32",):
            for size in sizes:
                network = open_network(entry, own, device)
                row = {
                    "network": entry.name,
                    "kind": entry.kind,
                    "size": list(size),
                    "precision": precision,
                    **_row(network, entry, size, precision, unknown, device),
                }
                del network
                found["rows"].append(row)
                tell(line(row))
    return found


def weights() -> list[dict[str, Any]]:
    """How large the shipped weights of every network are that has learned something."""
    from model.checkpoint import load_tensors

    found = []
    for entry in NETWORKS:
        path = checkpoint_path(entry, "") if entry.weights and entry.available else None
        if path is not None:
            tensors = load_tensors(path, torch.device("cpu"))
            count = sum(tensor.numel() for tensor in tensors.values())
            row = {"network": entry.name, "parameters": count, "bytes": path.stat().st_size}
            found.append(row)
    return found


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    width, height = row["size"]
    prior = f" + prior {row['prior_s']:.4f} s" if row["prior_s"] else ""
    peak = "" if row["peak_mb"] is None else f", {row['peak_mb']:.0f} MB"
    return (
        f"{row['network']} {width}×{height} {row['precision']}: {row['network_s']:.4f} s{prior}, "
        f"first {row['cold_s']:.3f} s{peak}"
    )


def picture(size: Size, number: int = 0, unknown: float = UNKNOWN) -> Frame:
    """A textured disc over texture, with a ring of ``unknown`` of the picture around its edge."""
    width, height = size
    g = torch.Generator().manual_seed(number)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    area = unknown * width * height / math.pi
    inner = min(
        0.25 * height, ((0.49 * height) ** 2 - area) ** 0.5 if area < 0.2 * height**2 else 4
    )
    outer = (inner**2 + area) ** 0.5
    distance = torch.hypot(y - height / 2.0, x - width / 2.0 - 2 * number)
    alpha = ((outer - distance) / (outer - inner)).clamp(0, 1)[None, None]
    light = 0.1 + 0.2 * torch.rand(1, 3, height, width, generator=g) + 0.5 * alpha
    trimap = torch.where((alpha > 0) & (alpha < 1), 0.5, alpha)
    return Frame(number, light, light.clamp(0, 1), trimap, "display")


def moved(frame: Frame, device: torch.device) -> Frame:
    """The frame on a device."""
    trimap = None if frame.trimap is None else frame.trimap.to(device)
    light, shown = frame.light.to(device), frame.picture.to(device)
    return Frame(frame.number, light, shown, trimap, frame.composited_in)


def _row(
    network: Any,
    entry: NetworkEntry,
    size: Size,
    precision: str,
    unknown: float,
    device: torch.device,
) -> dict[str, Any]:
    frames = [moved(picture(size, i, unknown), device) for i in range(5)]
    if entry.kind == "propagation":
        return _propagation(network, frames, device)
    return _matting(network, frames, precision, device)


def _matting(
    network: Any, frames: Sequence[Frame], precision: str, device: torch.device
) -> dict[str, Any]:
    solve = partial(network.prior, frames[4])
    cold_prior = _seconds(solve, device)
    prior = _median(solve, device)
    own: Estimate = network.prior(frames[4])
    # Neighbours get a prior that costs nothing: what it says does not change the time.
    seen = [Seen(f, Estimate(f.known, torch.ones_like(f.known))) for f in frames[:4]]
    seen.append(Seen(frames[4], own))
    # The frame in hand comes last, be it the centre or, as a rule, a neighbour after it.
    around = (seen[2:] if network.causal else seen) if network.reach else seen[4:]
    centre = len(around) - 1 if network.causal else len(around) // 2
    kept: dict[Any, Any] = {}

    def further() -> None:
        # The last of the window is new, the others were encoded for windows before.
        for key in [one for one in kept if one[0] == 4]:
            del kept[key]
        estimate_in_tiles(network, around, centre, kept, 0, precision)

    cold_network = _seconds(further, device)
    step = _median(further, device)

    def both() -> None:
        solve()
        further()

    peak = peak_bytes(both, device)
    return {
        "cold_s": cold_prior + cold_network,
        "prior_s": prior,
        "network_s": step,
        "frames_per_second": 1 / (prior + step),
        "unknown": float((frames[4].known == 0.5).float().mean()),
        "peak_mb": None if peak is None else peak / 1e6,
    }


def _propagation(network: Any, frames: Sequence[Frame], device: torch.device) -> dict[str, Any]:
    memory: list[Any] = []

    def start() -> None:
        memory[:] = [network.start(frames[:1], 0)]

    def step() -> None:
        network.step(memory[0], frames[1])

    cold = _seconds(start, device) + _seconds(step, device)
    warm = _median(step, device)
    peak = peak_bytes(step, device)
    return {
        "cold_s": cold,
        "prior_s": 0.0,
        "network_s": warm,
        "frames_per_second": 1 / warm,
        "unknown": float((frames[0].known == 0.5).float().mean()),
        "peak_mb": None if peak is None else peak / 1e6,
    }


def _median(call: Callable[[], Any], device: torch.device) -> float:
    """Of warm calls: as many as patience allows, at least one."""
    taken: list[float] = []
    while not taken or (len(taken) < _WARM and sum(taken) < _PATIENCE):
        taken.append(_seconds(call, device))
    return statistics.median(taken)


def _seconds(call: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin
