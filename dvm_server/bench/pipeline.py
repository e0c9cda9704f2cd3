"""How much of a clip's wall time its slowest stage takes, and which one that is.

A clip by path is matted twice in one run: stage by stage with nothing overlapping, and as a worker
does it (`units.do_block`). The ratio is the wall time of the second over the time of the slowest
stage of the first; below it is only what two cores cannot do at once. Blocks of 16 frames are read
and filled into the stages anew, in both. On a machine where others are at work wall times are
theirs too; processor time, of this process without its decoders, is not, and shows whether
overlapping costs anything. Engines: the default network, and one that costs nothing, which shows
what reading, colour, copies and writing take by themselves.

Expected before measuring, on two cores at 960×540: 1.0 to 1.05 with a network, which is 99 % of the
time; 1.3 to 1.6 with the free one, since three stages of 5 to 30 ms share two cores and each block
of 16 begins by reading three plates before anything else has work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from dvm_server.bench.by_path import (
    FREE,
    REAL,
    STAGES,
    Clip,
    decoders,
    of_each_engine,
    one_by_one,
    together,
)
from model.engine import EngineOptions

Found = TypeVar("Found")


def measure(
    options: EngineOptions,
    size: tuple[int, int],
    frames: tuple[int, int],
    tell: Callable[[str], None],
    engines: Sequence[str] = (FREE, REAL),
) -> dict[str, Any]:
    """A row for each engine; see `by_path.of_each_engine`.

    Returns:
        ``rows``: seconds of each stage by itself (``alone``), ``slowest``, ``wall``, ``ratio``, and
        the processor seconds of both ways.
    """
    return of_each_engine(options, size, frames, tell, engines, row, line)


def row(clip: Clip, rounds: int) -> dict[str, Any]:
    """The best of some rounds for each figure: what else runs on a machine only adds to them."""
    clip.write()
    engine = clip.open_engine()
    with decoders() as some:
        # What is only done once: children started, libraries loaded, memory touched.
        short = replace(clip, frames=3)
        one_by_one(short, engine, some)
        together(short, engine, some)
        apart, beside = [], []
        for _ in range(rounds):  # they take turns
            apart.append(_with_processor_time(partial(one_by_one, clip, engine, some)))
            beside.append(_with_processor_time(partial(together, clip, engine, some)))
    alone = {stage: min(one[stage] for one, _ in apart) for stage in STAGES}
    wall = min(one for one, _ in beside)
    slowest = max(alone, key=lambda stage: alone[stage])
    return {
        "network": engine.describe()["network"],
        "frames": clip.frames,
        "alone": alone,
        "slowest": slowest,
        "wall": wall,
        "ratio": wall / alone[slowest],
        "processor_alone": min(one for _, one in apart),
        "processor": min(one for _, one in beside),
    }


def _with_processor_time(call: Callable[[], Found]) -> tuple[Found, float]:
    began = time.process_time()
    found = call()
    return found, time.process_time() - began


def line(found: dict[str, Any]) -> str:
    """A row for people."""
    frames = found["frames"]
    stages = ", ".join(f"{name} {1e3 * s / frames:.1f}" for name, s in found["alone"].items())
    wall = 1e3 * found["wall"] / frames
    return (
        f"{found['network']}: {stages} ms a frame alone; together {wall:.1f} ms, "
        f"{found['ratio']:.2f} of {found['slowest']}, processor time "
        f"{found['processor'] / found['processor_alone']:.2f}"
    )
