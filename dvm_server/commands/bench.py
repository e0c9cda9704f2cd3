"""`dvm bench`: what this machine does."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dvm_server import allocator
from dvm_server.worker import environment
from model.engine import EngineOptions

_CPU_SIZES, _PIPELINE_SIZE, _SHARES_SIZE = ("960x540",), (960, 540), (480, 270)


class Part(StrEnum):
    """What can be measured by itself."""

    OPS = "ops"
    NETWORKS = "networks"
    PIPELINE = "pipeline"
    SERVER = "server"
    SCALING = "scaling"


def bench(
    parts: Annotated[
        list[Part] | None,
        typer.Argument(metavar="[PART]…", help=f"Of {', '.join(Part)}; default: all."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="Of networks; default: 960x540, and with a GPU 1920x1080 and 3840x2160. "
            "The smallest one named is that of clips, too; default there: 960x540.",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Of networks; default: float32 and what auto is."),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=3, help="Of the clip that a network mattes in pipeline and server.")
    ] = 6,
    length: Annotated[
        list[int] | None, typer.Option(min=3, help="Of the clips in scaling; default: 30 300.")
    ] = None,
    network: Annotated[
        str,
        typer.Option(
            help="Only this one; default: in pipeline, server and scaling the default one."
        ),
    ] = "",
    checkpoint: Annotated[
        str, typer.Option(metavar="FILE", help="Of a network that comes without one.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Of the processor; 0 = one a core.")] = 0,
    to: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")
    ] = None,
) -> None:
    """Measure operators, networks, the pipeline, a server, and what grows with what.

    Each part measures pairs in one run and prints their ratio.
    """
    threads = threads or len(os.sched_getaffinity(0))
    # As in a worker, before torch is imported.
    allocator.keep_freed_memory()
    os.environ.update(environment(threads))
    import torch

    from dvm_server.bench import machine
    from dvm_server.bench.networks import SIZES, weights
    from model.pipeline import choose_device
    from model.precision import resolved

    torch.set_num_threads(threads)
    on = choose_device(device)
    small = on.type == "cpu" and not size
    wanted = [_size(one) for one in size or (_CPU_SIZES if small else ())] or list(SIZES)
    run = _Run(
        device=on,
        options=EngineOptions(network=network, device=str(on), threads=threads),
        sizes=wanted,
        precisions=precision or list(dict.fromkeys(["float32", resolved("auto", on)])),
        frames=frames,
        lengths=length or [],
        checkpoint=checkpoint,
        clip_size=min(map(_size, size), key=_pixels) if size else _PIPELINE_SIZE,
    )
    found: dict[str, Any] = {"machine": machine.describe(on, sys.argv), "weights": weights()}
    for part in parts or list(Part):
        machine.tell(part)
        found[part] = run.part(part)
    found["machine"]["load"] = max(found["machine"]["load"], machine.load())
    if small and Part.NETWORKS in found:
        found[Part.NETWORKS]["left_out"].append(
            "larger sizes, which take a processor minutes a network (`--size 1920x1080`)"
        )
    sys.stdout.write(_tables(found))
    if to is not None:
        to.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


class _Run:
    """One call of the command."""

    def __init__(
        self,
        device: Any,
        options: EngineOptions,
        sizes: Sequence[tuple[int, int]],
        precisions: Sequence[str],
        frames: int,
        lengths: Sequence[int],
        checkpoint: str,
        clip_size: tuple[int, int],
    ):
        self._device = device
        self._options = options
        self._sizes = sizes
        self._precisions = precisions
        self._frames = frames
        self._lengths = lengths
        self._checkpoint = checkpoint
        self._clip_size = clip_size

    def part(self, part: Part) -> dict[str, Any]:
        """The figures of one part."""
        from dvm_server.bench.machine import tell

        measure: Callable[[Callable[[str], None]], dict[str, Any]] = getattr(self, f"_{part}")
        return measure(tell)

    def _ops(self, tell: Callable[[str], None]) -> dict[str, Any]:
        from cuda_ops import bench as ops

        cuda = self._device.type == "cuda"
        return ops.measure(
            self._device,
            ops.SIZES if cuda else ops.SMALL,
            tell,
            **({} if cuda else {"types": ("float32",)}),
        )

    def _networks(self, tell: Callable[[str], None]) -> dict[str, Any]:
        from dvm_server.bench import networks

        return networks.measure(
            self._device,
            self._sizes,
            tell,
            checkpoint=self._checkpoint,
            precisions=self._precisions,
            only=[self._options.network] if self._options.network else [],
        )

    def _pipeline(self, tell: Callable[[str], None]) -> dict[str, Any]:
        from dvm_server.bench import pipeline

        return pipeline.measure(self._options, self._clip_size, (32, self._frames), tell)

    def _server(self, tell: Callable[[str], None]) -> dict[str, Any]:
        from dvm_server.bench import served

        return served.measure(self._options, self._clip_size, (32, self._frames), tell)

    def _scaling(self, tell: Callable[[str], None]) -> dict[str, Any]:
        from dvm_server.bench import scaling
        from model.registry import find

        name = find(self._options.network, "matting").name
        sizes = min(self._sizes), _SHARES_SIZE
        shares = min(sizes, key=_pixels)
        return {
            "memory": scaling.memory(
                self._lengths or scaling.LENGTHS, str(self._device), name, tell
            ),
            "unknown": scaling.unknown(
                self._device, shares, scaling.SHARES, [name, "closed_form"], tell
            ),
        }


def _tables(found: dict[str, Any]) -> str:
    """Plain text, as it may go into a README."""
    from dvm_server.bench import tables

    texts = [tables.machine(found["machine"])]
    for name in (*Part, "weights"):
        if name == Part.OPS and name in found:
            from cuda_ops.bench import table

            texts.append(table(found[name]))
        elif name in found:
            texts.append(getattr(tables, name)(found[name]))
    return "\n".join(text.rstrip("\n") + "\n" for text in texts)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,5})[x×](\d{2,5})", text)
    if not match:
        raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT", param_hint="--size")
    return int(match[1]), int(match[2])
