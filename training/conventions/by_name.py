"""Conventions of matting metrics by name: which metrics each has, and exactly what they are.

"MSE", "SAD" and "dtSSD" name at least five different quantities in the field. Here each convention
is what its own evaluation code computes, and a metric that it has not is not made up.

    ours            the unknown region, per pixel             `training.judging.judgement`
    published-dvm   released with the CVPR 2021 network       `training.conventions.published_dvm`
    tcvom           VideoMatting108's reference               `training.conventions.tcvom`
    rvm             the whole frame, without a trimap         `training.conventions.rvm`

Alphas are judged in float, as a method gave them; those programs read files of 8 bit.
"""

from __future__ import annotations

from collections.abc import Mapping

from training.conventions import published_dvm, rvm, tcvom
from training.conventions.clip import MatteClip, Metric
from training.conventions.published_dvm import FAULTY
from training.judging.bootstrap import Samples, samples
from training.judging.judgement import CONVENTIONS as OUR_METRICS
from training.judging.judgement import OURS, PerFrame

PUBLISHED, TCVOM, RVM = "published-dvm", "tcvom", "rvm"
_METRICS: dict[str, Mapping[str, Metric]] = {
    PUBLISHED: published_dvm.METRICS,
    TCVOM: tcvom.METRICS,
    RVM: rvm.METRICS,
}
CONVENTIONS = (OURS, *_METRICS)
SUMMARY = {
    OURS: "errors of the unknown region, per pixel",
    PUBLISHED: "what the code released with the CVPR 2021 network computes",
    TCVOM: "what VideoMatting108's reference program computes",
    RVM: "what Robust Video Matting's evaluation computes, on whole frames, without a trimap",
}

OTHERS = (
    "Alphas and truths are judged in float; the programs of other conventions read files of 8 bit. "
    "Under those a still is one unit and has no interval"
)

Figures = Mapping[str, Samples]


def judge_by(
    convention: str, clip: MatteClip, *, as_published: bool = False
) -> tuple[Figures, PerFrame]:
    """The figures of a clip or a still under a convention other than `OURS`.

    Args:
        convention: `PUBLISHED`, `TCVOM` or `RVM`.
        clip: what is judged. Without flow, metrics that follow it are absent; so are those of pairs
            if no two judged frames are neighbours.
        as_published: add what the published MESSDdt computes, faults and all.

    Returns:
        By metric: the units of its figure, frames or pairs; and each unit's figure by the index of
        its frame, of a pair's later frame.

    Raises:
        KeyError: no such convention.
        ValueError: an alpha and its truth differ in shape.
    """
    figures: dict[str, Samples] = {}
    per_frame: dict[str, Mapping[int, float]] = {}
    for name, metric in _METRICS[convention].items():
        if (name == FAULTY and not as_published) or (metric.follows and clip.flow is None):
            continue
        values = metric.of(clip)
        if values:
            # Where frames were left out, what the mean over all pairs would be is estimated.
            share = (clip.length - 1) / clip.length if metric.over_frames else 1.0
            figures[name] = samples([share * value for value in values.values()])
            per_frame[name] = values
    return figures, per_frame


def metrics_of(convention: str) -> dict[str, str]:
    """What each metric of a convention is, by its name. Raises KeyError for another one."""
    if convention == OURS:
        return dict(OUR_METRICS)
    return {name: metric.text for name, metric in _METRICS[convention].items()}


def follows(convention: str, metric: str) -> bool:
    """Whether a metric follows what moves."""
    found = _METRICS.get(convention, {}).get(metric)
    return found is not None and found.follows


def follows_flow(convention: str) -> bool:
    """Whether any of its metrics follows what moves."""
    return any(follows(convention, metric) for metric in _METRICS.get(convention, {}))
