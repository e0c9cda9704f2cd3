"""The metrics of VideoMatting108's reference program, by what it computes.

Facts from yunkezhang/TCVOM, calc_metric.py. It leaves out clips of which a matte is missing, and
always the last one; here every clip counts. A frame without unknown pixels makes its means NaN;
here it counts 0. The last frame of a clip has no next one and counts 0 in the figures of pairs.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from training.conventions.clip import (
    MESSDDT,
    OVER_FRAMES,
    PAIRS_OVER_FRAMES,
    SSDA,
    MatteClip,
    Metric,
    by_frame,
    by_pair,
    mean,
    root_of_sum,
)
from training.conventions.formulas import followed
from training.judging.judgement import DTSSD, MSE

MSAD, MESSDDT_L1 = "mSAD", "MESSDdt_fix"
_OVER = "over 0 < trimap < 255"
_MEAN = PAIRS_OVER_FRAMES.format("last")


def _msad(clip: MatteClip, i: int) -> float:
    return 1e3 * mean(np.abs(clip.error(i)[clip.unknown(i)]))


def _mse(clip: MatteClip, i: int) -> float:
    return 1e3 * mean(clip.error(i)[clip.unknown(i)] ** 2)


def _ssda(clip: MatteClip, i: int) -> float:
    return root_of_sum(clip.error(i)[clip.unknown(i)])


def _dtssd(clip: MatteClip, i: int) -> float:
    return root_of_sum((clip.error(i) - clip.error(i + 1))[clip.unknown(i)])


def _messddt(clip: MatteClip, i: int, power: int) -> float:
    flow = clip.flow_from(i)
    where = np.isfinite(flow).all(-1) & clip.unknown(i)
    then = followed(clip.error(i + 1), np.nan_to_num(flow), beyond="zeros")
    return float(np.abs(clip.error(i) ** power - then**power)[where].sum())


METRICS = {
    MSAD: Metric(f"mSAD ×10³ = mean of |p−g| {_OVER}; {OVER_FRAMES}", by_frame(_msad)),
    MSE: Metric(f"MSE ×10³ = mean of (p−g)² {_OVER}; {OVER_FRAMES}", by_frame(_mse)),
    SSDA: Metric(f"SSDA = √Σ(p−g)² {_OVER}, divided by nothing; {OVER_FRAMES}", by_frame(_ssda)),
    DTSSD: Metric(
        f"dtSSD = √Σ((p0−p1)−(g0−g1))² {_OVER} of the earlier frame, divided by nothing; {_MEAN}",
        by_pair(_dtssd),
        over_frames=True,
    ),
    MESSDDT: Metric(
        f"MESSDdt = Σ|(p0−g0)² − (p1−g1)² where flow leads| {_OVER} of the earlier frame where "
        f"flow is known, read bilinearly, 0 beyond the border; {_MEAN}",
        by_pair(partial(_messddt, power=2)),
        over_frames=True,
        follows=True,
    ),
    MESSDDT_L1: Metric(
        f"MESSDdt_fix = as {MESSDDT}, of p−g itself and not its square",
        by_pair(partial(_messddt, power=1)),
        over_frames=True,
        follows=True,
    ),
}
