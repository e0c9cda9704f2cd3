"""The metrics of Robust Video Matting's evaluation, by what it computes: whole frames, no trimap.

Facts from PeterL1n/RobustVideoMatting, evaluation/evaluate_lr.py; FTP-VM and MatAnyone have their
alpha metrics from there. The first frame of a clip has no pair and counts 0 in dtSSD.
"""

from __future__ import annotations

import numpy as np

from training.conventions.clip import (
    CONN,
    CONNECTED,
    GRAD,
    GRADIENT,
    OVER_FRAMES,
    PAIRS_OVER_FRAMES,
    MatteClip,
    Metric,
    by_frame,
    by_pair,
    mean,
)
from training.conventions.formulas import connectivity_errors, gradient, stretched
from training.judging.judgement import DTSSD, MAD, MSE

_OVER = "over the frame"


def _mad(clip: MatteClip, i: int) -> float:
    return 1e3 * mean(np.abs(clip.error(i)))


def _mse(clip: MatteClip, i: int) -> float:
    return 1e3 * mean(clip.error(i) ** 2)


def _grad(clip: MatteClip, i: int) -> float:
    ours, theirs = (gradient(stretched(plane)) for plane in (clip.alphas[i], clip.truths[i]))
    return float(((ours - theirs) ** 2).sum()) / 1000


def _conn(clip: MatteClip, i: int) -> float:
    return float(connectivity_errors(clip.alphas[i], clip.truths[i]).sum()) / 1000


def _dtssd(clip: MatteClip, i: int) -> float:
    return 100 * float(np.sqrt(mean((clip.error(i + 1) - clip.error(i)) ** 2)))


METRICS = {
    MAD: Metric(f"MAD ×10³ = mean of |p−g| {_OVER}; {OVER_FRAMES}", by_frame(_mad)),
    MSE: Metric(f"MSE ×10³ = mean of (p−g)² {_OVER}; {OVER_FRAMES}", by_frame(_mse)),
    GRAD: Metric(
        f"Grad = Σ(‖∇p‖−‖∇g‖)² ÷ 1000 {_OVER}, p and g each stretched to 0…1 first; {GRADIENT}; "
        f"{OVER_FRAMES}",
        by_frame(_grad),
    ),
    CONN: Metric(f"Conn = Σ|φp−φg| ÷ 1000 {_OVER}; {CONNECTED}; {OVER_FRAMES}", by_frame(_conn)),
    DTSSD: Metric(
        f"dtSSD ×10² = √mean of ((p1−p0)−(g1−g0))² {_OVER}; {PAIRS_OVER_FRAMES.format('first')}",
        by_pair(_dtssd),
        over_frames=True,
    ),
}
