"""A server against the engine in this process, on the same clip in one run.

Two figures, which answer two questions:

* ``steady``: what the server costs a frame. From `accepted` to the end of the job, with an engine
  that is open and decoders that run (a shot of three frames went before), against a plain loop
  around the engine in this process (`read_plate`, `ShotMatte.matte`, `write_matte`), after three
  frames of warming up, too. They take turns, and the best of each counts.
* ``whole``: what a user of `dvm matte` waits for, from nothing to the end: a private server, its
  worker, torch, the engine, the survey, the clip. Against the same loop, its first time, and what a
  program of one's own must do before it, importing torch and opening the engine, which is measured
  in a fresh interpreter.

And ``carried_s``: what the same takes a server if only its first and last frame have a trimap.

Expected before measuring, on two cores: ``steady`` 0.95 to 1.02 with a network, since reading and
writing overlap there; with the free engine 0.8 to 1.1. ``whole`` 1.2 or less for eight frames.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from dvm_server.bench.by_path import (
    FREE,
    REAL,
    Clip,
    in_process,
    of_each_engine,
    served,
    server,
)
from dvm_server.worker import environment
from model.engine import EngineOptions

_OPENING = """
import json, sys, time
began = time.perf_counter()
from importlib import import_module
from model.engine import EngineOptions
engine, options = json.loads(sys.argv[1])
module, _, function = engine.partition(":")
options["layers"] = tuple(options["layers"])
getattr(import_module(module), function)(EngineOptions(**options))
print(time.perf_counter() - began)
"""


def measure(
    options: EngineOptions,
    size: tuple[int, int],
    frames: tuple[int, int],
    tell: Callable[[str], None],
    engines: Sequence[str] = (FREE, REAL),
) -> dict[str, Any]:
    """A row for each engine; see `by_path.of_each_engine`."""
    return of_each_engine(options, size, frames, tell, engines, partial(row, tell=tell), line)


def row(clip: Clip, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Seconds of both, and their ratios."""
    clip.write()
    began = time.perf_counter()
    with server(clip) as session:
        start = time.perf_counter() - began
        first = served(clip, session, "first")
        whole_there = time.perf_counter() - began
        opening = _opening(clip)
        engine = clip.open_engine()
        whole_here = opening + in_process(clip, engine)
        here, there = [], []
        for number in range(rounds):
            there.append(served(clip, session, f"served{number}"))
            here.append(in_process(clip, engine))
            tell(f"round {number + 1}: server {there[-1].matte:.2f} s, here {here[-1]:.2f} s")
        carried = None
        if clip.engine != FREE:  # which carries nothing
            carried = served(clip, session, "carried", carried=True).matte
            tell(f"from two keyframes: server {carried:.2f} s")
    steady_here, steady_there = min(here), min(one.matte for one in there)
    return {
        "network": engine.describe()["network"],
        "frames": clip.frames,
        "in_process_s": steady_here,
        "server_s": steady_there,
        "carried_s": carried,
        "steady": steady_there / steady_here,
        "start_s": start,
        "first_accept_s": first.accept,
        "survey_s": min(one.accept for one in there),
        "open_engine_s": opening,
        "whole_in_process_s": whole_here,
        "whole_server_s": whole_there,
        "whole": whole_there / whole_here,
    }


def line(found: dict[str, Any]) -> str:
    """A row for people."""
    frames = found["frames"]
    return (
        f"{found['network']}: {1e3 * found['server_s'] / frames:.1f} ms a frame by a server, "
        f"{1e3 * found['in_process_s'] / frames:.1f} in process: {found['steady']:.3f}; "
        f"with starting up {found['whole']:.2f}"
    )


def _opening(clip: Clip) -> float:
    """Seconds that a fresh interpreter takes to import and open the engine."""
    done = subprocess.run(
        [sys.executable, "-c", _OPENING, json.dumps([clip.engine, asdict(clip.options)])],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(clip.options.threads),
    )
    return float(done.stdout)


def _environment(threads: int) -> dict[str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, **environment(threads), "PYTHONPATH": path}
