"""The metrics of the code released with the CVPR 2021 network, by what it computes.

Facts from nowsyn/DVM, evaluation/metric.py (OTVM has the same file). It reads alphas as 0…255 and
divides by 255. No program that calls it was released: over what to average, and whether to divide
SSDA, dtSSD and MESSDdt by the number of pixels that comes with them, is left open there.

Its MESSDdt has three faults: flow is looked for on the true alpha, where there is nothing to match
inside of a shape, and rounded; rows and columns change places in the look-up; every pair reads from
the same frame. Without them the metric is what its formula means; with them it stands beside.
"""

from __future__ import annotations

import numpy as np

from training.conventions.clip import (
    CONN,
    CONNECTED,
    GRAD,
    GRADIENT,
    MESSDDT,
    OVER_FRAMES,
    OVER_PAIRS,
    SSDA,
    MatteClip,
    Metric,
    by_frame,
    by_pair,
    root_of_sum,
)
from training.conventions.formulas import (
    connectivity_errors,
    farneback_of_truth,
    followed,
    gradient,
    looked_up_as_published,
)
from training.judging.judgement import DTSSD, MSE, SAD

FAULTY = "MESSDdt, as published"
_OVER = "over trimap = 128"


def _sad(clip: MatteClip, i: int) -> float:
    return float(np.abs(clip.error(i)[clip.painted(i)]).sum()) / 1000


def _mse(clip: MatteClip, i: int) -> float:
    inside = clip.error(i)[clip.painted(i)]
    return float((inside**2).sum()) / (inside.size + 1)


def _grad(clip: MatteClip, i: int) -> float:
    difference = gradient(clip.alphas[i]) - gradient(clip.truths[i])
    return float((difference[clip.painted(i)] ** 2).sum())


def _conn(clip: MatteClip, i: int) -> float:
    return float(connectivity_errors(clip.alphas[i], clip.truths[i])[clip.painted(i)].sum())


def _ssda(clip: MatteClip, i: int) -> float:
    return root_of_sum(clip.error(i)[clip.painted(i)])


def _dtssd(clip: MatteClip, i: int) -> float:
    return root_of_sum((clip.error(i + 1) - clip.error(i))[clip.painted(i)])


def _messddt(clip: MatteClip, i: int) -> float:
    flow = clip.flow_from(i)
    known = np.isfinite(flow).all(-1)
    flow = np.nan_to_num(flow)
    now = clip.error(i) ** 2 * clip.painted(i)
    then = followed(clip.error(i + 1), flow, beyond="border") ** 2
    there = followed(clip.painted(i + 1).astype(np.float64), flow, beyond="border")
    return float(np.abs(now - then * there)[known].sum())


def _faulty_messddt(clip: MatteClip, i: int) -> float:
    flow = farneback_of_truth(clip.truths[i], clip.truths[i + 1])
    # The first frame of the stack that begins with the second: whatever the pair is.
    then, there = (
        looked_up_as_published(plane, flow) for plane in (clip.error(1) ** 2, clip.painted(1))
    )
    return float(np.abs(clip.error(i) ** 2 * clip.painted(i) - then * there).sum())


METRICS = {
    SAD: Metric(f"SAD = Σ|p−g| ÷ 1000 {_OVER}; {OVER_FRAMES}", by_frame(_sad)),
    MSE: Metric(
        f"MSE = Σ(p−g)² ÷ (n + 1) over the n pixels of trimap = 128; {OVER_FRAMES}", by_frame(_mse)
    ),
    GRAD: Metric(
        f"Grad = Σ(‖∇p‖−‖∇g‖)² {_OVER}, not ÷ 1000; {GRADIENT}; {OVER_FRAMES}", by_frame(_grad)
    ),
    CONN: Metric(
        f"Conn = Σ|φp−φg| {_OVER}, not ÷ 1000; {CONNECTED}; {OVER_FRAMES}", by_frame(_conn)
    ),
    SSDA: Metric(
        f"SSDA = √Σ(p−g)² {_OVER}; its code hands n + 1 to a caller that was not released, so it "
        f"is divided by nothing; {OVER_FRAMES}",
        by_frame(_ssda),
    ),
    DTSSD: Metric(
        f"dtSSD = √Σ((p1−p0)−(g1−g0))² {_OVER} of the earlier frame, divided by nothing; "
        f"{OVER_PAIRS}",
        by_pair(_dtssd),
    ),
    MESSDDT: Metric(
        "MESSDdt = Σ|(p0−g0)²·M0 − (p1−g1)²·M1 where flow leads| over the frame where flow is "
        "known, M: trimap = 128, divided by nothing; flow of the plates, read bilinearly, nearest "
        f"pixel beyond the border; {OVER_PAIRS}; not what its code computes, which --as-published "
        "adds",
        by_pair(_messddt),
        follows=True,
    ),
    FAULTY: Metric(
        f"{FAULTY} = the same by its code: Farneback flow on the true alphas in whole pixels, rows "
        "and columns changed over in the look-up, every pair read from the second judged frame; "
        f"{OVER_PAIRS}; only to compare with figures of that code",
        by_pair(_faulty_messddt),
    ),
}
