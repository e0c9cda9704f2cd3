"""Tables of an evaluation's report: figures with intervals, the best of a row, ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from training.conventions.by_name import SUMMARY, metrics_of
from training.judging.baselines import HALF, PYMATTING
from training.judging.bootstrap import Figure, Samples, figure, mean, ratio
from training.judging.datasets import Item
from training.judging.judgement import OURS, RECALL, TRIMAP_CONVENTIONS, Row
from training.judging.tables import GROUPS, answered, items_of

HIGHER_IS_BETTER = (RECALL,)
_BASELINES = 4  # that ratios are taken to


@dataclass(frozen=True)
class Ratio:
    """A figure over a baseline's. ``kind``: better, worse, or even if 1 is in the interval."""

    text: str
    kind: str


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    Attributes:
        value: what is sorted by.
        text, interval: what is shown.
        best: of its row.
        noted: something stands in for a method that refused.
        ratios: by baseline.
    """

    value: float
    text: str
    interval: str
    best: bool = False
    noted: bool = False
    ratios: Mapping[str, Ratio] | None = None


@dataclass(frozen=True)
class TableRow:
    """``heads``: the texts before the figures. ``clip``: the item's name, to link to; or empty."""

    heads: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    clip: str = ""


@dataclass(frozen=True)
class Table:
    """Attributes: ``title`` e.g. MSE; ``convention`` in words; rows are sorted, means are not."""

    title: str
    convention: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    means: tuple[TableRow, ...]


def baselines(rows: Sequence[Row], priors: Sequence[str], networks: Sequence[str]) -> list[str]:
    """What ratios are taken to, of what there is: pymatting, priors, other classics."""
    methods = list(dict.fromkeys(row.method for row in rows))
    ordered = [PYMATTING, *priors, *(m for m in methods if m != HALF and m not in networks)]
    return [one for one in dict.fromkeys(ordered) if one in methods][:_BASELINES]


def error_tables(rows: Sequence[Row], against: Sequence[str], *, means: bool = True) -> list[Table]:
    """A table a convention and metric: a line an item, a column a method.

    Args:
        rows: of one data set.
        against: the methods that ratios are taken to.
        means: whether they follow.
    """
    kinds = dict.fromkeys((row.convention, metric) for row in rows for metric in row.figures)
    return [
        _error_table([r for r in rows if r.convention == kind], kind, metric, against, means=means)
        for kind, metric in kinds
    ]


def trimap_table(rows: Sequence[Row]) -> Table:
    """Carried trimaps: a line an item, placement of keyframes and method."""
    metrics = tuple(TRIMAP_CONVENTIONS)
    items = items_of(rows)
    lines = [_trimap_rows(rows, item.name, [item], metrics, clip=item.name) for item in items]
    means = _trimap_rows(rows, f"mean ({len(items)})", items, metrics) if len(items) > 1 else []
    return Table(
        "carried trimaps",
        "; ".join(TRIMAP_CONVENTIONS.values()),
        ("item", "keyframes", "method"),
        metrics,
        tuple(row for several in lines for row in several),
        tuple(means),
    )


def number(value: float) -> str:
    """Three figures that count."""
    if not math.isfinite(value):
        return "∞"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f}"


def convention_of(kind: str, metric: str) -> str:
    """What a metric means, in words."""
    texts = {**metrics_of(kind), **(TRIMAP_CONVENTIONS if kind == OURS else {})}
    whose = "" if kind == OURS else f"{kind}: {SUMMARY[kind]}. "
    better = "higher" if metric in HIGHER_IS_BETTER else "lower"
    return f"{whose}{texts[metric]}; {better} is better"


def _error_table(
    rows: Sequence[Row], kind: str, metric: str, against: Sequence[str], *, means: bool
) -> Table:
    held = [row for row in rows if metric in row.figures]
    methods = tuple(dict.fromkeys(row.method for row in held))
    by = {(row.item.name, row.method): row for row in held}
    items = items_of(held)
    lines = [
        TableRow(
            (item.name, item.light, str(len(item.frames))),
            _cells(by, [item], methods, metric, against),
            clip=item.name,
        )
        for item in items
    ]
    groups = [
        (f"{title.strip('*')} ({len(group)})", group)
        for title, belongs in GROUPS
        if (group := [item for item in items if belongs(item)])
        and (title == GROUPS[0][0] or 1 < len(group) < len(items))
    ]
    rest = answered(held, items)
    if rest:
        groups.append((f"mean where {PYMATTING} answers ({len(rest)})", rest))
    below = [
        TableRow((title, "", ""), _cells(by, group, methods, metric, against))
        for title, group in (groups if means and len(items) > 1 else ())
    ]
    name = metric if kind == OURS else f"{metric} ({kind})"
    return Table(
        name, convention_of(kind, metric), ("item", "light", "frames"), methods, tuple(lines),
        tuple(below),
    )  # fmt: skip


def _cells(
    by: Mapping[tuple[str, str], Row],
    items: Sequence[Item],
    methods: Sequence[str],
    metric: str,
    against: Sequence[str],
) -> tuple[Cell | None, ...]:
    """One a method; None where it has no figure for one of the items."""
    sides: dict[str, dict[str, Samples]] = {}
    for method in methods:
        judged = [by.get((item.name, method)) for item in items]
        there = {row.item.name: row.figures[metric] for row in judged if row is not None}
        if len(there) == len(items):
            sides[method] = there
    cells = {}
    for method, side in sides.items():
        found = figure(*_only(side)) if len(side) == 1 else mean(side)
        ratios = {
            one: _ratio(ratio(side, sides[one]), metric)
            for one in against
            if one in sides and one != method and method != HALF
        }
        noted = any(by[item.name, method].note for item in items)
        cells[method] = _cell(found, noted=noted, ratios=ratios)
    return _best_marked([cells.get(method) for method in methods], methods, metric)


def _trimap_rows(
    rows: Sequence[Row],
    title: str,
    items: Sequence[Item],
    metrics: Sequence[str],
    clip: str = "",
) -> list[TableRow]:
    made = []
    names = {item.name for item in items}
    for placement in dict.fromkeys(row.trimaps for row in rows):
        placed = [r for r in rows if r.trimaps == placement and r.item.name in names]
        methods = list(dict.fromkeys(row.method for row in placed))
        columns = []
        for metric in metrics:
            cells: list[Cell | None] = [
                _cell(mean({r.item.name: r.figures[metric] for r in placed if r.method == method}))
                for method in methods
            ]
            columns.append(_best_marked(cells, methods, metric))
        for place, method in enumerate(methods):
            cells_of_row = tuple(column[place] for column in columns)
            made.append(TableRow((title, placement, method), cells_of_row, clip=clip))
    return made


def _cell(found: Figure, *, noted: bool = False, ratios: Mapping[str, Ratio] | None = None) -> Cell:
    interval = f"{number(found.low)} – {number(found.high)}"
    return Cell(found.value, number(found.value), interval, noted=noted, ratios=ratios)


def _best_marked(
    cells: Sequence[Cell | None], methods: Sequence[str], metric: str
) -> tuple[Cell | None, ...]:
    """The best of a row, if there are two to choose from; 0.5 everywhere is no method."""
    sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
    running = [
        sign * cell.value
        for cell, method in zip(cells, methods, strict=True)
        if cell is not None and method != HALF
    ]
    if len(running) < 2:
        return tuple(cells)
    best = min(running)
    return tuple(
        cell and replace(cell, best=sign * cell.value == best and method != HALF)
        for cell, method in zip(cells, methods, strict=True)
    )


def _ratio(found: Figure, metric: str) -> Ratio:
    text = f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"
    if found.low <= 1 <= found.high:
        return Ratio(text, "even")
    smaller = found.high < 1
    return Ratio(text, "better" if smaller != (metric in HIGHER_IS_BETTER) else "worse")


def _only(side: Mapping[str, Samples]) -> tuple[Samples, str]:
    ((name, units),) = side.items()
    return units, name
