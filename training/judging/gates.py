"""What a checkpoint has to reach before it ships, computed from the rows of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from training.judging.baselines import AVERAGED, PYMATTING
from training.judging.bootstrap import ratio
from training.judging.datasets import SYNTHETIC
from training.judging.judgement import DTSSD, MSE, ON, OURS, RECALL, TRUE, WIDTH, WRONG, Row
from training.judging.subjects import FLOW

MEAN_OF_PYMATTING = 0.8
ITEM_OF_PYMATTING = 1.2
ITEM_OF_PRIOR = 1.1
DTSSD_OF_PYMATTING = 0.85
SYNTHETIC_OF_PYMATTING = 0.5
LEAST_RECALL, MOST_WIDTH, MOST_WRONG = 0.95, 3.5, 0.2
CARRIED_OF_TRUE = 1.5
# Both dancers, and what is no person.
CARRIED_ITEMS = ("clip_dancer_A_pan_stream", "clip_dancer_B_video_bg", "cg_fur_linear")
MADE = ("synthetic:", "footage:")  # what checkpoints are chosen on is no proof


@dataclass(frozen=True)
class Gate:
    """One demand: ``value`` at most (``at_least``: at least) ``limit``. ``where``: the item that
    decided."""

    method: str
    demand: str
    limit: float
    value: float
    passed: bool
    where: str = ""
    at_least: bool = False


def matting_gates(rows: Sequence[Row], method: str, prior: str) -> list[Gate]:
    """The demands on a network that has a trimap on every frame; those that can be computed."""
    real = [r for r in rows if _counts(r) and not r.item.data_set.startswith(MADE)]
    made = [r for r in rows if _counts(r) and r.item.data_set == SYNTHETIC[0]]
    ours, theirs, before = (_of(real, name) for name in (method, PYMATTING, prior))
    gates = []
    if ours and len(theirs) == len(ours):
        gates += _means(f"MSE, mean over items ÷ {PYMATTING}", MSE, ours, theirs, MEAN_OF_PYMATTING)
        gates.append(_worst(f"MSE, worst item ÷ {PYMATTING}", MSE, ours, theirs, ITEM_OF_PYMATTING))
    if ours and len(before) == len(ours):
        gates.append(_worst("MSE, worst item ÷ own prior", MSE, ours, before, ITEM_OF_PRIOR))
    moving = [row for row in ours if DTSSD in row.figures]
    rivals = [row for row in theirs if DTSSD in row.figures]
    if moving and len(moving) == len(rivals):
        text = f"dtSSD, mean over moving items ÷ {PYMATTING}"
        gates += _means(text, DTSSD, moving, rivals, DTSSD_OF_PYMATTING)
        text = f"dtSSD, worst moving item ÷ {PYMATTING}"
        gates.append(_worst(text, DTSSD, moving, rivals, DTSSD_OF_PYMATTING))
    averaged = _of(real, AVERAGED)
    if moving and len(moving) == len(averaged):
        text = f"dtSSD, mean over moving items ÷ {AVERAGED}, below"
        gates += _means(text, DTSSD, moving, averaged, 1.0, below=True)
    ours, theirs = _of(made, method), _of(made, PYMATTING)
    if ours and len(theirs) == len(ours):
        text = f"MSE, mean over {SYNTHETIC[0]} ÷ {PYMATTING}"
        gates += _means(text, MSE, ours, theirs, SYNTHETIC_OF_PYMATTING)
    return [replace(gate, method=method) for gate in gates]


def carried_matte_gates(rows: Sequence[Row], method: str) -> list[Gate]:
    """The demand on mattes of carried trimaps, for each way of carrying them.

    Args:
        rows: methods called ``NETWORK on CARRIER``, and ``NETWORK on true trimaps``.
        method: the network.
    """
    before = f"{method}{ON}"
    gates = []
    for by in dict.fromkeys(r.method for r in rows if r.method.startswith(before)):
        for placement in dict.fromkeys(row.trimaps for row in rows):
            for made in (False, True):
                group = [
                    row
                    for row in rows
                    if row.trimaps == placement
                    and not row.item.solved
                    and row.item.data_set.startswith(MADE) == made
                ]
                ours, theirs = _of(group, by), _of(group, f"{before}{TRUE}")
                if by != f"{before}{TRUE}" and ours and len(ours) == len(theirs):
                    text = f"MSE, mean over {'made ' if made else ''}items ÷ on {TRUE}, {placement}"
                    gate = _mean(text, MSE, list(zip(ours, theirs, strict=True)), CARRIED_OF_TRUE)
                    gates.append(replace(gate, method=by))
    return gates


def propagation_gates(rows: Sequence[Row], method: str) -> list[Gate]:
    """The demands on carried trimaps; rows of both placements of keyframes may be among them."""
    gates = []
    for name, group in _groups(rows):
        first = _of([r for r in group if r.trimaps == "first"], method)
        flow = _of([r for r in group if r.trimaps == "first"], FLOW)
        both = _of([r for r in group if r.trimaps == "both-ends"], method)
        if not first:
            continue
        recall, width, wrong = (_average(first, metric) for metric in (RECALL, WIDTH, WRONG))
        gates += [
            _at_least("recall, first keyframe", LEAST_RECALL, recall, name),
            _at_most("band width, first keyframe", MOST_WIDTH, width, name),
            _at_most("certainly wrong, first keyframe", MOST_WRONG, wrong, name),
        ]
        if flow and method != FLOW:
            gates.append(_at_least(f"recall, {FLOW}'s", _average(flow, RECALL), recall, name))
            gates.append(_at_most(f"certainly wrong, {FLOW}'s", _average(flow, WRONG), wrong, name))
        if both:
            better, fewer = _average(both, RECALL), _average(both, WRONG)
            gates.append(_at_least("recall, both ends: first's", recall, better, name))
            gates.append(_at_most("certainly wrong, both ends: first's", wrong, fewer, name))
    return [replace(gate, method=method) for gate in gates]


def _at_least(demand: str, limit: float, value: float, where: str) -> Gate:
    return Gate("", f"{demand} or more", limit, value, value >= limit, where, at_least=True)


def _at_most(demand: str, limit: float, value: float, where: str) -> Gate:
    return Gate("", f"{demand} or less", limit, value, value <= limit, where)


def _groups(rows: Sequence[Row]) -> Iterable[tuple[str, list[Row]]]:
    for name in CARRIED_ITEMS:
        found = [r for r in rows if r.item.name == name]
        if found:
            yield name, found
    made = [r for r in rows if r.item.data_set == SYNTHETIC[1]]
    if made:
        yield f"{SYNTHETIC[1]}, mean", made


def _counts(row: Row) -> bool:
    return not row.item.solved and row.trimaps == "every" and row.convention == OURS


def _of(rows: Sequence[Row], method: str) -> list[Row]:
    return [row for row in rows if row.method == method]


def _average(rows: Sequence[Row], metric: str) -> float:
    return sum(row.figures[metric].value for row in rows) / len(rows)


def _means(
    demand: str,
    metric: str,
    ours: Sequence[Row],
    theirs: Sequence[Row],
    limit: float,
    *,
    below: bool = False,
) -> list[Gate]:
    """The ratio of the means over all items; and, where they refused any, over the others: one item
    for which something else stands in can outweigh all the rest."""
    pairs = list(zip(ours, theirs, strict=True))
    answered = [pair for pair in pairs if not pair[1].note]
    gates = [_mean(demand, metric, pairs, limit, below=below)]
    if 0 < len(answered) < len(pairs):
        text = f"{demand}, where that answers"
        gates.append(_mean(text, metric, answered, limit, below=below))
    return gates


def _mean(
    demand: str,
    metric: str,
    pairs: Sequence[tuple[Row, Row]],
    limit: float,
    *,
    below: bool = False,
) -> Gate:
    ours, theirs = ({pair[i].item.name: pair[i].figures[metric] for pair in pairs} for i in (0, 1))
    value = ratio(ours, theirs).value
    return Gate("", demand, limit, value, value < limit if below else value <= limit)


def _worst(
    demand: str, metric: str, ours: Sequence[Row], theirs: Sequence[Row], limit: float
) -> Gate:
    ratios = {
        o.item.name: ratio({o.item.name: o.figures[metric]}, {o.item.name: t.figures[metric]}).value
        for o, t in zip(ours, theirs, strict=True)
    }
    name = max(ratios, key=lambda one: (math.isnan(ratios[one]), ratios[one]))
    return Gate("", demand, limit, ratios[name], ratios[name] <= limit, name)
