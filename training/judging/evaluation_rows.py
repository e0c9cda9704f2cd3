"""Rows of an evaluation: one method on one item, under each convention that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from model.plates.plate import Trimap
from training.conventions.by_name import follows_flow, judge_by
from training.conventions.clip import MatteClip
from training.conventions.flow import Flows
from training.judging.bootstrap import Samples
from training.judging.datasets import Alpha, Item, Judged
from training.judging.flow_files import Flow
from training.judging.judgement import OURS, PerFrame, Row, judge_mattes, judge_trimaps
from training.judging.metrics import unknown_region


def places(item: Item, numbers: Sequence[int]) -> list[int]:
    """Frames may be numbered by twos: neighbours are neighbours in the clip."""
    order = {number: place for place, number in enumerate(item.frames)}
    return [order[number] for number in numbers]


def matte_rows(
    item: Item,
    method: str,
    frames: Mapping[int, Judged],
    alphas: Mapping[int, Alpha],
    *,
    trimaps: str = "every",
    conventions: Sequence[str] = (OURS,),
    flows: Flows | None = None,
    as_published: bool = False,
    note: str = "",
    missing: Sequence[int] = (),
) -> list[Row]:
    """One row a convention.

    Args:
        item: what was judged.
        method: how it is called in tables.
        frames: the item's; the given trimaps say where errors count.
        alphas: by frame number, in the item's order, float H×W; at least one.
        trimaps: see `Row`.
        conventions: see `training.conventions.by_name`.
        flows: what moves, for conventions that follow it.
        as_published: see `training.conventions.by_name.judge_by`.
        note, missing: see `Row`.

    Raises:
        InputError: the item's own flow lacks a pair.
    """
    numbers = list(alphas)
    where = places(item, numbers)
    planes = list(alphas.values())
    truths = [frames[n].truth for n in numbers]
    classes = [frames[n].classes for n in numbers]
    rows = []
    figures: Mapping[str, Samples]
    for convention in conventions:
        source = ""
        if convention == OURS:
            regions = [unknown_region(one) for one in classes]
            figures, by_index = judge_mattes(where, planes, truths, regions)
        else:
            follow = None
            if flows is not None and follows_flow(convention):
                follow, source = _follower(flows, numbers), flows.source
            clip = MatteClip(where, planes, truths, classes, len(item.frames), follow)
            figures, by_index = judge_by(convention, clip, as_published=as_published)
        rows.append(
            Row(
                item,
                method,
                trimaps,
                figures,
                note,
                convention,
                _by_number(by_index, numbers),
                tuple(missing),
                source,
            )
        )
    return rows


def _follower(flows: Flows, numbers: Sequence[int]) -> Callable[[int], Flow]:
    return lambda i: flows.between(numbers[i], numbers[i + 1])


def trimap_row(
    item: Item,
    method: str,
    keyframes: str,
    frames: Mapping[int, Judged],
    carried: Mapping[int, Trimap],
) -> Row:
    """Carried trimaps against the truth. ``keyframes``: where they were."""
    figures, by_index = judge_trimaps(
        [one.pixels for one in carried.values()], [frames[n].truth for n in carried]
    )
    return Row(item, method, keyframes, figures, per_frame=_by_number(by_index, list(carried)))


def _by_number(by_index: PerFrame, numbers: Sequence[int]) -> PerFrame:
    return {
        metric: {numbers[i]: value for i, value in values.items()}
        for metric, values in by_index.items()
    }
