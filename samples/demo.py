"""What `make demo` runs: start a server, matte the sample through it by value, judge the result.

    python samples/demo.py [--out FOLDER]

The plates travel over ZeroMQ as they would from a host on another machine, and mattes come back.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dvm_server.private_server import private_server
from host_plugins.client.run import Progress, Summary, run_shot
from host_plugins.client.session import Session
from host_plugins.client.shot import Shot, load
from model.plates.ranges import FramePattern
from model.review import ReviewFrame, read_layer, read_review_frame, write_contact_sheet
from training.judging import metrics

STRANDS = Path(__file__).parent / "strands"


@dataclass(frozen=True)
class Scores:
    """Errors against the truth, of the whole frame and of the unknown region; see `metrics`."""

    mad: tuple[float, float]
    mse: tuple[float, float]
    dtssd: tuple[float, float]


def matte_sample(sample: Path, out: Path, state: Path) -> tuple[Shot, Summary]:
    """Start a server, matte the shot in the folder ``sample`` into ``out``, stop the server."""
    shot = load(sample / "shot.json")
    shot = replace(
        shot,
        outputs=replace(shot.outputs, pattern=str(out / "alpha.####.exr")),
        options=replace(shot.options, overwrite=True),
    )
    pattern = FramePattern.parse(shot.plates.pattern)
    plates = {frame: pattern.path(frame) for frame in shot.numbers()}
    trimaps = {one.frame: Path(one.trimap) for one in shot.keyframes}
    with (
        private_server(state) as connection,
        Session(connection, client={"host": "demo", "version": "1"}) as session,
    ):
        summary = run_shot(session, shot, plates=plates, trimaps=trimaps, progress=_tell_progress)
    return shot, summary


def review(shot: Shot, sheet: Path) -> list[ReviewFrame]:
    """Read the mattes back and draw the contact sheet."""
    plates = FramePattern.parse(shot.plates.pattern)
    keys = {one.frame for one in shot.keyframes}
    frames = [
        read_review_frame(
            frame,
            plates.path(frame),
            shot.outputs.pattern,
            shot.outputs.layers,
            note="keyframe" if frame in keys else "propagated",
        )
        for frame in shot.numbers()
    ]
    write_contact_sheet(sheet, frames, title="samples/strands · linear light")
    return frames


def score(frames: Sequence[ReviewFrame], sample: Path) -> Scores:
    """Judge the mattes against the alpha the sample was composited with."""
    alphas = [one.alpha for one in frames]
    truths = [read_layer(sample / f"truth.{one.frame}.exr", "alpha")[..., 0] for one in frames]
    regions = [metrics.unknown_region(one.trimap) for one in frames if one.trimap is not None]
    triples = list(zip(alphas, truths, regions, strict=True))
    return Scores(
        mad=(
            float(np.mean([metrics.mad(a, t) for a, t, _ in triples])),
            float(np.mean([metrics.mad(a, t, r) for a, t, r in triples])),
        ),
        mse=(
            float(np.mean([metrics.mse(a, t) for a, t, _ in triples])),
            float(np.mean([metrics.mse(a, t, r) for a, t, r in triples])),
        ),
        dtssd=(metrics.dtssd(alphas, truths), metrics.dtssd(alphas, truths, regions)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Matte the sample clip through a server.")
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    given = parser.parse_args()
    out = Path(os.path.abspath(given.out))  # noqa: PTH100  resolve() would follow links
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dvm-demo-") as state:
        shot, summary = matte_sample(STRANDS, out, Path(state))
    sheet = out / "contact-sheet.png"
    scores = score(review(shot, sheet), STRANDS)
    print(f"alpha plates   {shot.outputs.pattern}")
    print(f"contact sheet  {sheet}")
    print(
        f"speed          {summary.frames / summary.seconds:.2f} frames/s "
        f"({summary.frames} frames 640×360, {summary.seconds:.1f} s, {summary.network} on "
        f"{summary.device}); {time.monotonic() - began:.0f} s in all"
    )
    print("against the truth, linear light          whole frame  unknown region")
    print(f"  MAD ×10³   {scores.mad[0]:39.2f} {scores.mad[1]:15.2f}")
    print(f"  MSE ×10³   {scores.mse[0]:39.2f} {scores.mse[1]:15.2f}")
    print(f"  dtSSD      {scores.dtssd[0]:39.2f} {scores.dtssd[1]:15.2f}")
    for name in (metrics.MAD_UNKNOWN, metrics.MSE_UNKNOWN, metrics.DTSSD_UNKNOWN):
        print(f"  {name}")


def _tell_progress(progress: Progress) -> None:
    at = "" if progress.frame is None else f" (frame {progress.frame})"
    print(f"{progress.stage} {progress.done} of {progress.total}{at}", flush=True)


if __name__ == "__main__":
    main()
