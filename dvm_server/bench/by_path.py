"""A clip by path, matted in three ways: stage by stage, in this process, and by a server."""

from __future__ import annotations

import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from dvm_server import units
from dvm_server.bench.clip import write_clip
from dvm_server.decoders import Decoders
from dvm_server.jobs import PlateSource, TrimapSource
from dvm_server.private_server import private_server
from dvm_server.reader import KEPT
from host_plugins.client.events import Accepted
from host_plugins.client.files import digest
from host_plugins.client.run import run_shot
from host_plugins.client.session import Session
from host_plugins.client.shot import Keyframe, Options, Outputs, Plates, Shot, Trimaps
from model.engine import EngineOptions
from model.passes import Block, blocks
from model.pipeline import ShotMatte
from model.plates.image_files import read_plate
from model.plates.mattes import matte_paths, write_matte
from model.plates.plate import Plate, Trimap
from model.plates.trimap import read_trimap

REAL, FREE = "model.pipeline:open_engine", "dvm_server.bench.free_engine:open_engine"
# What overlaps, and which of a matte's seconds each is made of; writing is timed apart.
STAGES = {
    "decode": ("read",),
    "view": ("view",),
    "solve": ("prior", "network", "foreground"),
    "deliver": ("deliver",),
    "write": (),
}
# How often a clip is matted each way; the best counts.
_ROUNDS = {FREE: 5, REAL: 2}
_DECODER_BYTES, _DECODE_SECONDS = 6 << 30, 60.0


@dataclass(frozen=True)
class Clip:
    """Plates and a trimap for every frame, so that all of the time is pass B's.

    Attributes:
        folder: of the files.
        size: width and height.
        frames: numbered from 1.
        engine: ``module:factory``.
        options: of the engine.
    """

    folder: Path
    size: tuple[int, int]
    frames: int
    engine: str
    options: EngineOptions

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(range(1, self.frames + 1))

    def write(self) -> None:
        write_clip(self.folder, *self.size, self.frames)

    def plate(self, frame: int) -> Path:
        return self.folder / f"plate.{frame:04d}.exr"

    def trimap(self, frame: int) -> Path:
        return self.folder / f"trimap.{frame:04d}.png"

    def out(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder / "alpha.####.exr"

    def open_engine(self) -> ShotMatte:
        module, _, function = self.engine.partition(":")
        found: ShotMatte = getattr(import_module(module), function)(self.options)
        return found


def of_each_engine(
    options: EngineOptions,
    size: tuple[int, int],
    frames: tuple[int, int],
    tell: Callable[[str], None],
    engines: Sequence[str],
    row: Callable[[Clip, int], dict[str, Any]],
    line: Callable[[dict[str, Any]], str],
) -> dict[str, Any]:
    """A row for each engine.

    Args:
        options: device, threads and network.
        size: of the plates.
        frames: of the clip with the free engine, and with a network.
        tell: given a word about what is under way.
        engines: `FREE` and `REAL`, or one of them.
        row: measures a clip, which is not written yet, in so many rounds.
        line: a row for people.

    Returns:
        ``size`` and ``rows``.
    """
    rows = []
    for engine, count in zip((FREE, REAL), frames, strict=True):
        if engine in engines:
            with tempfile.TemporaryDirectory(prefix="dvm-bench-") as folder:
                clip = Clip(Path(folder), size, count, engine, options)
                rows.append(row(clip, _ROUNDS[engine]))
            tell(line(rows[-1]))
    return {"size": list(size), "rows": rows}


@contextmanager
def decoders() -> Iterator[Decoders]:
    """As a worker has them, started."""
    some = Decoders(0, memory_bytes=_DECODER_BYTES, seconds=_DECODE_SECONDS)
    try:
        yield some
    finally:
        some.close()


def one_by_one(clip: Clip, engine: ShotMatte, some: Decoders) -> dict[str, float]:
    """Seconds of each of `STAGES` for the clip, one after the other: nothing overlaps."""
    engine.overlaps = False
    seconds = dict.fromkeys(STAGES, 0.0)
    try:
        for block in blocks(clip.numbers):
            plate = _kept(
                KEPT, lambda f: some.plate(str(clip.plate(f)), f, digest(clip.plate(f))).result()
            )
            trimap = _kept(
                clip.frames, lambda f: some.trimap(str(clip.trimap(f)), f, "given").result()
            )
            for matte in engine.matte(block, clip.numbers, block.frames, plate, trimap, _never):
                for stage, parts in STAGES.items():
                    seconds[stage] += sum(matte.seconds.get(part, 0.0) for part in parts)
                began = time.perf_counter()
                units.write(_order(clip, block, "one_by_one"), some, matte, _hear)
                seconds["write"] += time.perf_counter() - began
    finally:
        engine.overlaps = True
    return seconds


def together(clip: Clip, engine: ShotMatte, some: Decoders) -> float:
    """Seconds of the clip's units as a worker does them: every stage beside the others."""
    orders = [_order(clip, block, "together") for block in blocks(clip.numbers)]
    began = time.perf_counter()
    for order in orders:
        units.do_block(engine, order, some, _hear, _never)
    return time.perf_counter() - began


def in_process(clip: Clip, engine: ShotMatte) -> float:
    """Seconds of the clip in a plain loop around the engine, as a program of one's own would."""
    began = time.perf_counter()
    for block in blocks(clip.numbers):
        plate: Callable[[int], Plate] = _kept(KEPT, lambda f: read_plate(clip.plate(f), frame=f))
        trimap: Callable[[int], Trimap] = _kept(
            clip.frames, lambda f: read_trimap(clip.trimap(f), frame=f, source="given")
        )
        for matte in engine.matte(block, clip.numbers, block.frames, plate, trimap, _never):
            paths = matte_paths(clip.out("in_process"), matte.frame, clip.options.layers, False)
            write_matte(paths, matte, layers=clip.options.layers, split=False)
    return time.perf_counter() - began


@dataclass(frozen=True)
class Served:
    """How long a server took.

    Attributes:
        accept: from submitting to `accepted`: the worker's imports and the engine, if it has not
            got them yet, and the survey with the digest of every plate.
        matte: from there to the end: the first plate read to the last matte told of.
    """

    accept: float
    matte: float


@contextmanager
def server(clip: Clip) -> Iterator[Session]:
    """A private server with the clip's engine and threads."""
    config = clip.folder / "server.toml"
    config.write_text(f'engine = "{clip.engine}"\nthreads = {clip.options.threads}\n')
    arguments = ["--config", str(config), "--device", clip.options.device]
    with (
        private_server(clip.folder / "state", arguments) as connection,
        _Timed(connection, client={"host": "dvm bench", "version": ""}) as session,
    ):
        yield session


def served(clip: Clip, session: Session, name: str, *, carried: bool = False) -> Served:
    """Seconds of the clip through a server; each ``name`` is another shot.

    Args:
        carried: trimaps are given for its first and its last frame only, as keyframes.
    """
    ends = [Keyframe(f, str(clip.trimap(f))) for f in (1, clip.frames)]
    shot = Shot(
        name=name,
        frames=((1, clip.frames, 1),),
        plates=Plates(str(clip.folder / "plate.####.exr")),
        keyframes=tuple(ends) if carried else (),
        trimaps=None if carried else Trimaps(str(clip.folder / "trimap.####.png")),
        outputs=Outputs(str(clip.out(name)), layers=clip.options.layers),
        options=Options(network=clip.options.network),
    )
    assert isinstance(session, _Timed)
    began = time.perf_counter()
    run_shot(session, shot)
    end = time.perf_counter()
    return Served(session.accepted - began, end - session.accepted)


class _Timed(Session):
    """Takes the time when a shot is accepted."""

    accepted = 0.0

    def submit(self, *positional: Any, **named: Any) -> Accepted:
        found = super().submit(*positional, **named)
        self.accepted = time.perf_counter()
        return found


def _order(clip: Clip, block: Block, name: str) -> dict[str, Any]:
    """What `jobs.block_order` makes of a shot like this."""
    layers = clip.options.layers
    return {
        "type": "block",
        "engine": asdict(clip.options),
        "index": block.index,
        "frames": block.frames,
        "reads": block.reads,
        "shot_frames": clip.numbers,
        "wanted": block.frames,
        "plates": {
            f: asdict(PlateSource(f, str(path), sha256=digest(path), digest=""))
            for f in block.reads
            for path in [clip.plate(f)]
        },
        "trimaps": {
            f: asdict(TrimapSource(str(path), "given", digest(path)))
            for f in block.reads
            for path in [clip.trimap(f)]
        },
        "guides": {},
        "into": {f: matte_paths(clip.out(name), f, layers, False) for f in block.frames},
        "ours": None,
        "layers": layers,
        "split": False,
        "compression": "zip",
        "attributes": {f: {} for f in block.frames},
    }


def _kept(count: int, read: Callable[[int], Any]) -> Callable[[int], Any]:
    """Reads each frame once, as long as no more than ``count`` others were read since."""
    kept: OrderedDict[int, Any] = OrderedDict()

    def get(frame: int) -> Any:
        if frame not in kept:
            kept[frame] = read(frame)
        kept.move_to_end(frame)
        while len(kept) > count:
            kept.popitem(last=False)
        return kept[frame]

    return get


def _never() -> bool:
    return False


def _hear(message: Any) -> None:
    pass
