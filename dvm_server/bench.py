"""Measurements of this machine: seconds per frame of each stage, and memory against clip length.

And what does not depend on the machine: how large the shipped networks are.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dvm_server.bench_clip import UNKNOWN, write_clip
from dvm_server.private_server import private_server
from host_plugins.client.run import run_shot
from host_plugins.client.session import Session
from host_plugins.client.shot import Keyframe, Outputs, Plates, Shot
from model.engine import EngineOptions
from model.passes import blocks, spans
from model.plates.image_files import read_plate
from model.plates.mattes import matte_paths, write_matte
from model.plates.plate import Trimap
from model.plates.trimap import read_trimap
from model.registry import NETWORKS, checkpoint_path

__all__ = [
    "MEMORY_SIZE",
    "STAGES",
    "UNKNOWN",
    "Size",
    "Timing",
    "resident_bytes",
    "seconds_per_frame",
    "sizes",
]

STAGES = ("decode", "propagate", "view", "prior", "network", "foreground", "write")
MEMORY_SIZE = (160, 90)
_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Timing:
    """How long a frame takes.

    Attributes:
        seconds: for each of `STAGES`, per frame that went through it.
        network: the one that matted; its prior is a stage of its own.
        propagation: the one that carried trimaps.
    """

    seconds: dict[str, float]
    network: str
    propagation: str


@dataclass(frozen=True)
class Size:
    """How large a learned network's shipped weights are.

    Attributes:
        network: its name.
        parameters: numbers in the checkpoint; 0 if it is not there.
        bytes: of the file.
    """

    network: str
    parameters: int
    bytes: int


def sizes() -> list[Size]:
    """Of every registered network that has learned something."""
    import torch

    from model.checkpoint import load_tensors

    found = []
    for entry in NETWORKS:
        path = checkpoint_path(entry, "") if entry.weights and entry.available else None
        if path is not None:
            tensors = load_tensors(path, torch.device("cpu"))
            count = sum(tensor.numel() for tensor in tensors.values())
            found.append(Size(entry.name, count, path.stat().st_size))
        elif entry.weights:
            found.append(Size(entry.name, 0, 0))
    return found


def seconds_per_frame(
    width: int, height: int, frames: int, device: str, tell: Callable[[str], None]
) -> Timing:
    """Run the engine with its default networks in this process over a made-up clip.

    Trimaps are carried from both ends. What is matted has the clip's own trimaps instead, so that a
    share of `UNKNOWN` of every frame is unknown, whatever the propagation makes of it.

    Args:
        width: of the plates.
        height: of the plates.
        frames: at least 3: both ends are keyframes, and between them there is propagation.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        tell: given a word about what is under way.
    """
    from model.pipeline import open_engine

    layers = ("alpha", "foreground")
    with tempfile.TemporaryDirectory(prefix="dvm-bench-") as name:
        folder = Path(name)
        files = write_clip(folder, width, height, frames)
        numbers = tuple(range(1, frames + 1))
        began = time.perf_counter()
        plates = {f: read_plate(folder / f"plate.{f:04d}.exr", frame=f) for f in numbers}
        found = dict.fromkeys(STAGES, 0.0)
        found["decode"] = (time.perf_counter() - began) / frames

        engine = open_engine(EngineOptions(device=device, layers=layers))
        trimaps: dict[int, Trimap] = {f: read_trimap(path) for f, path in files.items()}
        (span,) = spans(numbers, (1, frames))
        scratch = folder / "scratch"
        scratch.mkdir()
        tell(f"{width}×{height}: propagating")
        began = time.perf_counter()
        for _ in engine.propagate(
            span, plates.__getitem__, lambda f: plates[f].header, trimaps, scratch, _never
        ):
            pass
        found["propagate"] = (time.perf_counter() - began) / len(span.wanted)

        for block in blocks(numbers):
            tell(f"{width}×{height}: matting")
            for matte in engine.matte(
                block, numbers, block.frames, plates.__getitem__, trimaps.__getitem__, _never
            ):
                for stage, seconds in matte.seconds.items():
                    if stage in found:
                        found[stage] += seconds / frames
                began = time.perf_counter()
                paths = matte_paths(folder / "alpha.####.exr", matte.frame, layers, False)
                write_matte(paths, matte, layers=layers, split=False)
                found["write"] += (time.perf_counter() - began) / frames
        said = engine.describe()
    return Timing(found, str(said["network"]), str(said["propagation"]))


def resident_bytes(frames: int, device: str, tell: Callable[[str], None]) -> int:
    """The most memory that a private server and its children hold while they matte a clip.

    Args:
        frames: length of the clip, `MEMORY_SIZE` pixels each; keyframes at both ends, so that the
            span is as long as the clip.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        tell: given a word about what is under way.

    Returns:
        Bytes, the sum over processes at its highest.

    Raises:
        OSError: there is no /proc to read it from.
    """
    with tempfile.TemporaryDirectory(prefix="dvm-bench-") as name:
        folder = Path(name)
        files = write_clip(folder, *MEMORY_SIZE, frames)
        (folder / "out").mkdir()
        shot = Shot(
            name="bench",
            frames=((1, frames, 1),),
            plates=Plates(str(folder / "plate.####.exr")),
            keyframes=tuple(Keyframe(f, str(files[f])) for f in (1, frames)),
            outputs=Outputs(str(folder / "out" / "alpha.####.exr")),
        )
        with (
            private_server(folder / "state", ["--device", device]) as connection,
            _Watch(connection.pid) as watch,
            Session(connection, client={"host": "dvm bench", "version": ""}) as session,
        ):
            run_shot(
                session,
                shot,
                progress=lambda p: tell(f"{frames} frames: {p.stage} {p.done} of {p.total}"),
            )
        return watch.most


class _Watch:
    """Samples the resident memory of a process and all that descend from it."""

    def __init__(self, pid: int):
        self.most = 0
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        _resident(pid)  # raises here, and not in the thread, where there is no /proc

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(_SAMPLE_SECONDS):
            self.most = max(self.most, sum(_resident(pid) for pid in _family(self._pid)))


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # it ended since
                continue
    return found


def _resident(pid: int) -> int:
    """Resident bytes; 0 for a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        if not Path("/proc/self/status").exists():
            raise
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def _never() -> bool:
    return False
