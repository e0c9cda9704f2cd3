"""`dvm bench`: what this machine does."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dvm_server.bench import (
    MEMORY_SIZE,
    STAGES,
    UNKNOWN,
    resident_bytes,
    seconds_per_frame,
    sizes,
)
from dvm_server.worker import environment


def bench(
    size: Annotated[
        list[str] | None, typer.Option(metavar="WIDTHxHEIGHT", help="Default: 640x360 1920x1080.")
    ] = None,
    frames: Annotated[int, typer.Option(min=3, help="Length of the clip that is timed.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "auto",
    memory: Annotated[
        bool, typer.Option(help="Compare the memory of a 30-frame and a 300-frame clip.")
    ] = True,
    to: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")
    ] = None,
) -> None:
    """Measure seconds per frame of each stage, memory, and the size of the networks."""
    os.environ.update(environment(os.cpu_count() or 1))  # as in a worker, before torch is imported
    wanted = [_size(one) for one in size or ("640x360", "1920x1080")]
    found: dict[str, Any] = {"device": device, "frames": frames, "unknown": UNKNOWN}
    found["seconds_per_frame"] = {}
    for width, height in wanted:
        timing = seconds_per_frame(width, height, frames, device, _tell)
        found["network"], found["propagation"] = timing.network, timing.propagation
        found["seconds_per_frame"][f"{width}x{height}"] = timing.seconds
    found["networks"] = [asdict(one) for one in sizes()]
    if memory:
        short, long = (resident_bytes(count, device, _tell) for count in (30, 300))
        found["memory"] = {
            "size": "{}x{}".format(*MEMORY_SIZE),
            "bytes_30_frames": short,
            "bytes_300_frames": long,
            "ratio": long / short,
        }
    sys.stdout.write(_table(found))
    if to is not None:
        to.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,5})[x×](\d{2,5})", text)
    if not match:
        raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT", param_hint="--size")
    return int(match[1]), int(match[2])


def _table(found: Mapping[str, Any]) -> str:
    """Plain text, as it may go into a README."""
    timed = found["seconds_per_frame"]
    lines = ["| seconds per frame | " + " | ".join(timed) + " |", "|---|" + "--:|" * len(timed)]
    for stage in STAGES:
        lines.append(
            f"| {stage} | " + " | ".join(f"{one[stage]:.3f}" for one in timed.values()) + " |"
        )
    lines += ["", f"With {found['network']} and {found['propagation']}, "]
    lines[-1] += f"{found['unknown']:.0%} of each frame unknown."
    if found["networks"]:
        lines += ["", "| learned network | parameters, millions | MB |", "|---|--:|--:|"]
    for one in found["networks"]:
        figures = f"{one['parameters'] / 1e6:.2f} | {one['bytes'] / 1e6:.1f}"
        lines.append(f"| {one['network']} | {figures if one['bytes'] else 'not there | –'} |")
    if "memory" in found:
        told = found["memory"]
        lines += ["", f"| resident memory at {told['size']} | MB |", "|---|--:|"]
        lines += [f"| {n} frames | {told[f'bytes_{n}_frames'] / 1e6:.0f} |" for n in (30, 300)]
        lines.append(f"| ratio | {told['ratio']:.3f} |")
    return "\n".join(lines) + "\n"


def _tell(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
