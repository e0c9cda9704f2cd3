"""The deformable convolution timed beside what it is to be compared with, in one run.

At the layers of `st_fam_s` (four neighbours at once) and of the CVPR 2021 network (one neighbour):

* ours, on a picture that lies channel by channel, as torchvision wants it, with the turning round
  that costs, and on one that lies channels last;
* the plain torch that runs where no kernel does;
* torchvision's operator, which takes no bfloat16 and wants offsets in the type of the rest;
* the floor: what must be read and written once at the speed of a copy, or what must be multiplied
  at the speed of one large product of matrices, whichever takes longer; both measured first. For
  forward alone.

Times are the card's, medians of CUDA events after a warm-up, the host running ahead, over several
sets of inputs, so that the card's cache does not hold them. Offsets are smooth with noise, as
networks make them, in the type of the rest, or float32 for bfloat16. Needs torch and torchvision
alone.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cuda_ops.deform_conv import CHOICE, implementation, modulated_deform_conv2d

__all__ = ["LAYERS", "SIZES", "SMALL", "measure", "table"]

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
SIZES = {"HD": (1920, 1088), "4K": (3840, 2176)}
SMALL = {"small": (64, 48)}  # for trying this without a GPU
TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
COLUMNS = ("ours", "ours_last", "plain", "torchvision")
_LEARNING_AT = ("HD", "small")
_MORE_THAN_CACHE = 200e6  # bytes of inputs that are gone round
_BUDGET = 0.06  # seconds for one figure, as far as three repeats allow
_REPEATS = (3, 20)
_CYCLES = 2e9  # of a card in a second, about

Convolution = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def measure(
    device: torch.device,
    sizes: Mapping[str, tuple[int, int]],
    tell: Callable[[str], None],
    types: Sequence[str] = tuple(TYPES),
) -> dict[str, Any]:
    """All figures, as JSON could hold them: see `table` for what they mean.

    Args:
        device: where to.
        sizes: widths and heights of frames, by name.
        tell: given each row as it is done.
        types: of the picture.
    """
    with torch.no_grad():
        ceilings = _ceilings(device, types)
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "implementation": implementation(device),
        "ceilings": ceilings,
        "rows": [],
    }
    for size, (width, height) in sizes.items():
        for layer in LAYERS:
            for kind in types:
                for row in _rows(layer, width, height, kind, ceilings, device, size):
                    found["rows"].append(row)
                    tell(_line(row))
    return found


def table(found: Mapping[str, Any]) -> str:
    """The figures as text: milliseconds, and ours against torchvision's and against the floor."""
    ceilings = found["ceilings"]
    rates = ", ".join(
        f"{kind} {rate / 1e12:.0f} TFLOP/s" for kind, rate in ceilings["matmul"].items()
    )
    lines = [
        f"{found['device']}, torch {found['torch']}, {found['implementation']}",
        f"measured: copy {ceilings['copy'] / 1e12:.2f} TB/s, {rates}",
        _HEAD,
    ]
    return "\n".join([*lines, *(_line(row) for row in found["rows"])]) + "\n"


_HEAD = (
    f"{'layer':16}{'size':6}{'type':9}{'':9}{'ours':>9}{'ch. last':>9}{'plain':>9}{'tv':>9}"
    f"{'floor':>9}{'tv/ours':>9}{'ours/fl.':>9}{'last/fl.':>9}{'error':>10}"
)


def _line(row: Mapping[str, Any]) -> str:
    def number(value: float | None, digits: int = 3) -> str:
        return f"{'–' if value is None else f'{value:.{digits}f}':>9}"

    ours, last, plain, theirs = (row[f"{column}_ms"] for column in COLUMNS)
    floor = row["floor_ms"]
    return "".join(
        [
            f"{row['layer']:16}{row['size']:6}{row['type']:9}{row['direction']:9}",
            *(number(one) for one in (ours, last, plain, theirs, floor)),
            number(theirs and theirs / ours, 2),
            number(floor and ours / floor, 2),
            number(floor and last / floor, 2),
            f"{row['error']:10.1e}",
        ]
    )


def _ceilings(device: torch.device, types: Sequence[str]) -> dict[str, Any]:
    """Bytes per second of a copy, read and written; operations per second of a product."""
    large = device.type == "cuda"
    plane = torch.rand(2**28 if large else 2**20, device=device)
    to = torch.empty_like(plane)
    moved = 2 * plane.numel() * plane.element_size()
    copy = moved / _milliseconds([partial(to.copy_, plane)], device) * 1e3
    side = 8192 if large else 256
    rates = {}
    for kind in types:
        a, b = (torch.randn(side, side, device=device).to(TYPES[kind]) for _ in range(2))
        rates[kind] = 2 * side**3 / _milliseconds([partial(torch.mm, a, b)], device) * 1e3
    return {"copy": copy, "matmul": rates}


def _rows(
    layer: tuple[str, int, int, int, int], width: int, height: int, kind: str,
    ceilings: Mapping[str, Any], device: torch.device, size: str,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    from torchvision.ops import deform_conv2d

    def theirs(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
        found: Tensor = deform_conv2d(x, offset, weight, padding=1, mask=mask)
        return found

    name, count, channels, groups, scale = layer
    shape = (count, channels, -(-height // scale), -(-width // scale))
    dtype = TYPES[kind]
    sets = _inputs(shape, groups, dtype, device)
    last = [(x.contiguous(memory_format=torch.channels_last), *rest) for x, *rest in sets]
    halves_on_cpu = device.type != "cuda" and dtype == torch.float16
    torchvision_takes = dtype != torch.bfloat16 and not halves_on_cpu
    floor = _floor(sets[0], ceilings["copy"], ceilings["matmul"][kind])
    with torch.no_grad():
        right = theirs(*(t.float() for t in sets[0]))
        error = float((_ours(*last[0]).float() - right).norm() / right.norm())
        del right
    for direction in ("forward", "learning") if size in _LEARNING_AT else ("forward",):
        run = _forward if direction == "forward" else _learning
        row: dict[str, Any] = {
            "layer": name, "size": size, "shape": list(shape), "groups": groups, "type": kind,
            "offsets": str(sets[0][1].dtype).removeprefix("torch."), "direction": direction,
        }  # fmt: skip
        row["ours_ms"] = _milliseconds(run(_ours, sets), device)
        row["ours_last_ms"] = _milliseconds(run(_ours, last), device)
        with _plain_torch():
            row["plain_ms"] = _milliseconds(run(_ours, sets), device)
        row["torchvision_ms"] = (
            _milliseconds(run(theirs, sets), device) if torchvision_takes else None
        )
        row["floor_ms"] = 1e3 * floor if direction == "forward" else None
        yield row | {"error": error}


def _inputs(
    shape: tuple[int, int, int, int], groups: int, dtype: torch.dtype, device: torch.device
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    count, channels, h, w = shape
    g = torch.Generator(device).manual_seed(0)
    where = torch.float32 if dtype == torch.bfloat16 else dtype

    def one() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        coarse = torch.randn(count, 18 * groups, h // 8 + 2, w // 8 + 2, generator=g, device=device)
        offset = 3 * F.interpolate(coarse, (h, w), mode="bilinear")
        offset += 0.25 * torch.randn(offset.shape, generator=g, device=device)
        weight = torch.randn(channels, channels, 3, 3, generator=g, device=device)
        return (
            torch.randn(shape, generator=g, device=device).to(dtype),
            offset.to(where),
            torch.rand(count, 9 * groups, h, w, generator=g, device=device).to(dtype),
            (weight / (9 * channels) ** 0.5).to(dtype),
        )

    sets = [one()]
    more = _MORE_THAN_CACHE / sum(t.numel() * t.element_size() for t in sets[0])
    if device.type == "cuda":
        sets += [one() for _ in range(min(7, int(more)))]
    return sets


def _floor(inputs: Sequence[Tensor], copy: float, matmul: float) -> float:
    """Seconds that nothing can be faster than."""
    x, offset, _, weight = inputs
    pixels = offset.shape[0] * offset.shape[2] * offset.shape[3]
    moved = sum(t.numel() * t.element_size() for t in inputs)
    moved += pixels * weight.shape[0] * x.element_size()
    return max(moved / copy, 2 * pixels * weight.numel() / matmul)


def _ours(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    return modulated_deform_conv2d(x, offset, mask, weight, padding=1)


@contextmanager
def _plain_torch() -> Iterator[None]:
    before = os.environ.get(CHOICE)
    os.environ[CHOICE] = "torch"
    try:
        yield
    finally:
        if before is None:
            del os.environ[CHOICE]
        else:
            os.environ[CHOICE] = before


def _forward(
    convolve: Convolution, sets: Sequence[tuple[Tensor, ...]]
) -> list[Callable[[], object]]:
    def once(inputs: Sequence[Tensor]) -> object:
        with torch.no_grad():
            return convolve(*inputs)

    return [partial(once, inputs) for inputs in sets]


def _learning(
    convolve: Convolution, sets: Sequence[tuple[Tensor, ...]]
) -> list[Callable[[], object]]:
    """Forward, and gradients of all inputs."""

    def once(inputs: Sequence[Tensor]) -> object:
        mine = [t.detach().requires_grad_() for t in inputs]
        out = convolve(*mine)
        return torch.autograd.grad(out, mine, out.detach())

    return [partial(once, inputs) for inputs in sets]


def _milliseconds(calls: Sequence[Callable[[], object]], device: torch.device) -> float:
    """Median time of a call, gone round."""
    calls[0]()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    calls[-1]()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    taken = time.perf_counter() - begin
    if device.type != "cuda":
        return 1e3 * taken
    repeats = int(min(max(_BUDGET / taken, _REPEATS[0]), _REPEATS[1]))
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]  # type: ignore[no-untyped-call]
    # The card waits until the host is ahead: what is measured is the card, not the launching.
    pause = int(_CYCLES * min(0.1, repeats * min(taken, 5e-4)))
    torch.cuda._sleep(pause)  # type: ignore[no-untyped-call]
    marks[0].record()
    for i, mark in enumerate(marks[1:]):
        calls[i % len(calls)]()
        mark.record()
    torch.cuda.synchronize(device)
    return statistics.median(float(first.elapsed_time(second)) for first, second in pairwise(marks))
