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
from model.errors import InputError
from model.plates.atomic import write_bytes
from model.registry import NETWORKS, checkpoint_path, find

_PRECISIONS = ("float32", "auto")
_CPU_SIZES, _PIPELINE_SIZE, _SHARES_SIZE = ("960x540",), (960, 540), (480, 270)


class Part(StrEnum):
    """What can be measured by itself."""

    OPS = "ops"
    NETWORKS = "networks"
    PIPELINE = "pipeline"
    SERVER = "server"
    SCALING = "scaling"


class Precision(StrEnum):
    """As in ``shot.json``."""

    AUTO = "auto"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


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
        list[Precision] | None,
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
    parts = parts or list(Part)
    _check_networks(parts, network, checkpoint)
    if to is not None:
        _check_writable(to)
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
        precisions=list(dict.fromkeys(resolved(one, on) for one in precision or _PRECISIONS)),
        frames=frames,
        lengths=length or [],
        checkpoint=checkpoint,
        clip_size=min(map(_size, size), key=_pixels) if size else _PIPELINE_SIZE,
    )
    found: dict[str, Any] = {"machine": machine.describe(on, sys.argv), "weights": weights()}
    for part in parts:
        machine.tell(part)
        found[part] = run.part(part)
    found["machine"]["load"] = max(found["machine"]["load"], machine.load())
    if small and Part.NETWORKS in found:
        found[Part.NETWORKS]["left_out"].append(
            "larger sizes, which take a processor minutes a network (`--size 1920x1080`)"
        )
    sys.stdout.write(_tables(found))
    if to is not None:
        write_bytes(to, (json.dumps(found, indent=1) + "\n").encode())


def _check_networks(parts: Sequence[Part], network: str, checkpoint: str) -> None:
    """Refuse a network that cannot be measured before another is.

    Raises:
        SetupError: ``setup.unknown_network``, ``setup.no_checkpoint``.
    """
    named = [one for one in NETWORKS if one.name == network]
    if network and (not named or not {*parts} <= {Part.OPS, Part.NETWORKS}):
        named = [find(network, "matting")]  # trimaps are carried by what goes with it
    given = [one for one in NETWORKS if checkpoint and not one.available]
    for one in named or given:
        checkpoint_path(one, "" if one.available else checkpoint)


def _check_writable(path: Path) -> None:
    """Refuse a file that the figures could not be written to, before they are measured.

    Raises:
        InputError: ``input.output_unwritable``.
    """
    why = ""
    if path.is_dir():
        why = "it is a folder"
    elif not path.parent.is_dir():
        why = f"there is no folder {path.parent}"
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        why = f"the folder {path.parent} is closed to you"
    if why:
        raise InputError(
            "input.output_unwritable",
            f"{path} cannot be written: {why}",
            hint="choose another file with --json",
        )


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
