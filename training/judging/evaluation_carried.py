"""The part of an evaluation that has trimaps at keyframes alone: carried ones, and their mattes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from model.plates.plate import Trimap
from training.judging.baselines import CHAINED, chained_trimaps
from training.judging.datasets import Item
from training.judging.evaluation_rows import matte_rows, trimap_row
from training.judging.evaluation_run import Frames, Run, wanted
from training.judging.judgement import ON, TRUE, Row
from training.judging.subjects import FLOW, alphas_of, open_subjects, run_matting, run_propagation


def judge_carried(run: Run, item: Item, frames: Frames) -> None:
    """Carry trimaps over one item, and matte with them if that is asked for; into ``run.found``."""
    carriers = [one for one in run.subjects if one.entry.kind == "propagation"]
    if not any(one.entry.name == FLOW for one in carriers):
        carriers.append(open_subjects((FLOW,), (), (5,), run.device)[0])
    for placement in run.request.keyframes:
        ends = (item.frames[0],) if placement == "first" else (item.frames[0], item.frames[-1])
        between = [n for n in item.frames if n not in ends]
        if not between:
            continue
        if "chained-flow" in run.request.judged_baselines:
            carried = chained_trimaps(item, frames, ends)
            run.found.carried.append(trimap_row(item, CHAINED, placement, frames, carried))
        true = {n: frame.trimap for n, frame in frames.items()}
        trimaps = {TRUE: true}
        for carrier in carriers:
            begin = time.perf_counter()
            carried = run_propagation(carrier, item, frames, ends, run.device, run.kept)
            run.found.carried.append(trimap_row(item, carrier.label, placement, frames, carried))
            trimaps[carrier.label] = true | carried
            run.say(
                f"{item.name}: {carrier.label}, {placement} {time.perf_counter() - begin:.1f} s"
            )
        if run.request.carried_mattes:
            numbers = [n for n in wanted(item, run.request.every) if n in between] or between[:1]
            for by, several in trimaps.items():
                run.found.carried_mattes += _mattes(
                    run, item, frames, numbers, several, placement, by
                )


def _mattes(
    run: Run,
    item: Item,
    frames: Frames,
    numbers: Sequence[int],
    trimaps: Mapping[int, Trimap],
    placement: str,
    by: str,
) -> list[Row]:
    """Errors of the frames ``numbers``, where the given trimap is unknown, whatever the carried one
    said there."""
    ordered = {n: trimaps[n] for n in item.frames}
    rows = []
    for subject in run.matting:
        mattes = run_matting(subject, item, frames, ordered, numbers, run.device, run.kept)
        for label, alphas in alphas_of(subject, mattes).items():
            rows += matte_rows(item, f"{label}{ON}{by}", frames, alphas, trimaps=placement)
    return rows
