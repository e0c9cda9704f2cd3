"""An evaluation as JSON and as a page of Markdown tables; every table names its convention."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model.plates.atomic import write_bytes
from training.conventions.by_name import OTHERS, SUMMARY, follows, metrics_of
from training.judging.baselines import ENCODED, LIGHT, PYMATTING, REFUSED, SAYS
from training.judging.baselines import MATTES as BASELINES
from training.judging.bootstrap import ITEM_INTERVAL, MEAN_INTERVAL, Figure, figure, mean, ratio
from training.judging.calibration import AUSE, CONFIDENCE, ECE, Reliability
from training.judging.datasets import Item
from training.judging.evaluation_csv import figures_csv, frames_csv
from training.judging.gates import Gate
from training.judging.judgement import CONVENTIONS, DTSSD, MSE, OURS, TRIMAP_CONVENTIONS, Row
from training.judging.views import View

_LACKS = "†"
_FEW = 12  # more items than these are shown by their means and worst ones
GROUPS: tuple[tuple[str, Callable[[Item], bool]], ...] = (
    ("**mean**", lambda item: True),
    ("mean, person", lambda item: item.person),
    ("mean, no person", lambda item: not item.person),
    ("mean, moving", lambda item: item.moving),
    ("mean, linear", lambda item: item.light == "linear"),
    ("mean, display", lambda item: item.light == "display"),
)


@dataclass(frozen=True)
class Calibration:
    """Of one method over one data set: its table, and the mean of its items' AUSE."""

    data_set: str
    method: str
    table: Reliability
    ause: float


@dataclass(frozen=True)
class Evaluation:
    """All that one run found.

    Attributes:
        judged: of each network: label, checkpoint, sha256, training record.
        pairs: of each matting network: its label and its prior's.
        rows: given trimaps' mattes, carried trimaps, and mattes of carried trimaps.
        calibrations: by data set and method.
        gates: demands that could be computed.
        seconds: wall time of the run.
        options: as asked for.
        views: of each item with a trimap on every frame: what there is to look at.
        left_out: what is not in the figures, a sentence each: missing mattes, baselines.
    """

    judged: Sequence[Mapping[str, Any]]
    pairs: Sequence[tuple[str, str]]
    mattes: Sequence[Row]
    carried: Sequence[Row]
    carried_mattes: Sequence[Row]
    calibrations: Sequence[Calibration]
    gates: Sequence[Gate]
    seconds: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    views: Sequence[View] = ()
    left_out: Sequence[str] = ()

    @property
    def rows(self) -> list[Row]:
        """All of them: of given trimaps, of carried ones, and of mattes of those."""
        return [*self.mattes, *self.carried, *self.carried_mattes]


def write_evaluation(out: Path, found: Evaluation) -> None:
    """Write ``evaluation.json``, ``.md``, ``.csv`` and ``evaluation_frames.csv`` into a folder.

    Raises:
        InputError: ``input.output_unwritable``. CapacityError: ``capacity.disk_full``.
    """
    text = json.dumps(plain(found), indent=1, ensure_ascii=False, allow_nan=False)
    written = {
        "evaluation.json": text + "\n",
        "evaluation.md": markdown(found),
        "evaluation.csv": figures_csv(found.rows),
        "evaluation_frames.csv": frames_csv(found.rows),
    }
    for name, content in written.items():
        write_bytes(out / name, content.encode())


def plain(found: Evaluation) -> dict[str, Any]:
    """Lists, texts and numbers; what is not finite becomes None."""
    made = {
        "options": dict(found.options),
        "seconds": round(found.seconds, 1),
        "networks": [dict(one) for one in found.judged],
        "conventions": {
            **CONVENTIONS,
            **TRIMAP_CONVENTIONS,
            "interval": ITEM_INTERVAL,
            "interval of a mean": MEAN_INTERVAL,
            "confidence": CONFIDENCE,
            "ECE": ECE,
            "AUSE": AUSE,
            "light": LIGHT,
            "refused": REFUSED,
        },
        "metrics by convention": {name: metrics_of(name) for name in _conventions_of(found)},
        "left out": list(found.left_out),
        "mattes": [_plain_row(row) for row in found.mattes],
        "carried trimaps": [_plain_row(row) for row in found.carried],
        "mattes of carried trimaps": [_plain_row(row) for row in found.carried_mattes],
        "means": [*_plain_means(found.mattes), *_plain_means(found.carried)],
        "calibration": [
            {**asdict(one), "ECE": one.table.error, "AUSE": one.ause} for one in found.calibrations
        ],
        "gates": [asdict(gate) for gate in found.gates],
    }
    cleaned: dict[str, Any] = _finite(made)
    return cleaned


def markdown(found: Evaluation) -> str:
    """The page."""
    parts = ["# Evaluation", _networks(found)]
    if found.left_out:
        parts += ["Left out:", "\n".join(f"* {one}" for one in found.left_out)]
    if found.gates:
        parts += ["## Gates", gates_table(found.gates)]
    for data_set in dict.fromkeys(row.item.data_set for row in found.mattes):
        rows = [row for row in found.mattes if row.item.data_set == data_set]
        judged = [row for row in rows if not row.item.solved]
        parts.append(f"## {Path(data_set).name}: a trimap on every frame")
        if judged:
            for name in _conventions_of(found):
                same = [row for row in judged if row.convention == name]
                parts += _matte_tables(same, found.pairs, name)
        solved = [row for row in rows if row.item.solved]
        if solved:
            parts += ["Truth made by a classical solver, which favours solvers; in no mean:"]
            parts.append(f"{_title(OURS, MSE)}:")
            ours = [row for row in solved if row.convention == OURS]
            parts.append(errors_table(ours, MSE, means=False))
    for data_set in dict.fromkeys(row.item.data_set for row in found.carried):
        rows = [row for row in found.carried if row.item.data_set == data_set]
        parts += [f"## {Path(data_set).name}: trimaps carried from keyframes", trimaps_table(rows)]
    if found.carried_mattes:
        parts.append("## Mattes of carried trimaps, judged where the given trimap is unknown")
        for placement in dict.fromkeys(row.trimaps for row in found.carried_mattes):
            rows = [row for row in found.carried_mattes if row.trimaps == placement]
            text = f"Keyframes: {placement}; the frames between them. {_title(OURS, MSE)}:"
            parts += [text, errors_table(rows, MSE)]
    if found.calibrations:
        parts += ["## Confidence", calibration_table(found.calibrations)]
        parts += [f"{CONFIDENCE}. {ECE}. {AUSE}."]
    parts += ["## Conventions", _conventions(found)]
    return "\n\n".join(parts) + "\n"


def errors_table(rows: Sequence[Row], metric: str, *, means: bool = True) -> str:
    """A line an item, a column a method, means below; with intervals."""
    rows = [row for row in rows if metric in row.figures]
    methods = sorted(dict.fromkeys(row.method for row in rows), key=_place)
    lines = _head(["item", "light", "frames", *methods])
    items = items_of(rows)
    for item in items if len(items) <= _FEW else ():
        cells = [_cell(_found(rows, item, method), metric) for method in methods]
        lines.append([item.name, item.light, str(len(item.frames)), *cells])
    if means:
        for title, belongs in GROUPS:
            group = [item for item in items if belongs(item)]
            if not group or (len(group) == len(items) and title != "**mean**"):
                continue
            cells = [_mean_cell(rows, group, method, metric) for method in methods]
            lines.append([f"{title} ({len(group)})", "", "", *cells])
        group = answered(rows, items)
        if group:
            cells = [_mean_cell(rows, group, method, metric) for method in methods]
            lines.append([f"mean, {PYMATTING} answers ({len(group)})", "", "", *cells])
    return _joined(lines)


def ratios_table(rows: Sequence[Row], pairs: Sequence[tuple[str, str]], metric: str) -> str:
    """A line an item: each network over pymatting and over its own prior, with intervals."""
    there = {row.method for row in rows}
    columns = [(o, t) for o, prior in pairs for t in (PYMATTING, prior) if {o, t} <= there]
    lines = _head(["item", *(f"{ours} ÷ {theirs}" for ours, theirs in columns)])
    items = [item for item in items_of(rows) if metric in _any_figures(rows, item)]
    shown: list[tuple[str, list[Item]]] = [(item.name, [item]) for item in items]
    if len(items) > _FEW and columns:
        first = columns[0]
        shown.sort(key=lambda one: -_ratio(rows, one[1], *first, metric).value)
        shown = shown[:3]
    shown.append((f"**mean** ({len(items)})", items))
    group = answered(rows, items)
    if group:
        shown.append((f"mean, {PYMATTING} answers ({len(group)})", group))
    for title, group in shown:
        cells = [_text(_ratio(rows, group, *column, metric), 2) for column in columns]
        lines.append([title, *cells])
    return _joined(lines) if columns and items else ""


def trimaps_table(rows: Sequence[Row]) -> str:
    """A line an item, placement of keyframes and method; then means."""
    lines = _head(["item", "keyframes", "method", *TRIMAP_CONVENTIONS])
    items = items_of(rows)
    groups = [(item.name, [item]) for item in items]
    if len(items) > 1:
        groups.append((f"**mean** ({len(items)})", list(items)))
    for title, group in groups:
        for placement in dict.fromkeys(row.trimaps for row in rows):
            placed = [row for row in rows if row.trimaps == placement and row.item in group]
            for method in dict.fromkeys(row.method for row in placed):
                chosen = [row for row in placed if row.method == method]
                cells = [
                    _text(mean({row.item.name: row.figures[m] for row in chosen}), 3)
                    for m in TRIMAP_CONVENTIONS
                ]
                lines.append([title, placement, method, *cells])
    return _joined(lines)


def gates_table(gates: Sequence[Gate]) -> str:
    lines = _head(["network", "demand", "limit", "found", "where", ""])
    for gate in gates:
        lines.append(
            [
                gate.method,
                gate.demand,
                _number(gate.limit, 3),
                _number(gate.value, 3),
                gate.where,
                "pass" if gate.passed else "**fail**",
            ]
        )
    return _joined(lines)


def calibration_table(calibrations: Sequence[Calibration]) -> str:
    """ECE and AUSE by data set and method, then what came true in each bin."""
    bins = len(calibrations[0].table.true)
    edges = [f"{i / bins:.1f}–{(i + 1) / bins:.1f}" for i in range(bins)]
    lines = _head(["data", "method", "ECE", "AUSE", *edges])
    for one in calibrations:
        cells = [
            f"{true:.2f} ({share:.0%})" if share > 0 else "–"
            for share, true in zip(one.table.share, one.table.true, strict=True)
        ]
        figures = [f"{one.table.error:.3f}", f"{one.ause:.3f}"]
        lines.append([Path(one.data_set).name, one.method, *figures, *cells])
    return (
        _joined(lines)
        + "\n\nColumns of bins: share that was within 0.1 of the truth (share of all pixels)."
    )


def _matte_tables(
    rows: Sequence[Row], pairs: Sequence[tuple[str, str]], convention: str
) -> list[str]:
    parts = []
    for metric in metrics_of(convention):
        held = [row for row in rows if metric in row.figures]
        if not held:
            continue
        parts += [f"### {_title(convention, metric)}", errors_table(held, metric)]
        flows = dict.fromkeys(row.flow for row in held if row.flow and follows(convention, metric))
        for flow in flows:
            items = items_of([row for row in held if row.flow == flow])
            whose = f" of {', '.join(item.name for item in items)}" if len(flows) > 1 else ""
            parts.append(f"Flow{whose}: {flow}.")
        if convention == OURS and metric in (MSE, DTSSD):
            parts.append(ratios_table(held, pairs, metric))
    return [part for part in parts if part]


def _title(convention: str, metric: str) -> str:
    return f"{metric}, convention {convention}"


def _conventions_of(found: Evaluation) -> list[str]:
    return list(dict.fromkeys(row.convention for row in found.mattes))


def _networks(found: Evaluation) -> str:
    lines = _head(["network", "checkpoint", "sha256", "steps"])
    for one in found.judged:
        steps = one.get("training", {}).get("steps", "")
        lines.append(
            [one["label"], one["checkpoint"] or "none", str(one["sha256"])[:12], str(steps)]
        )
    return _joined(lines)


def _conventions(found: Evaluation) -> str:
    lines = []
    for name in _conventions_of(found):
        there = {m for row in found.mattes if row.convention == name for m in row.figures}
        lines.append(f"**{name}**: {SUMMARY[name]}")
        lines += [text for metric, text in metrics_of(name).items() if metric in there]
    there = {metric for row in found.carried for metric in row.figures}
    lines += [text for metric, text in TRIMAP_CONVENTIONS.items() if metric in there]
    if len(_conventions_of(found)) > 1:
        lines.append(OTHERS)
    methods = {row.method for row in (*found.mattes, *found.carried)}
    lines += [f"{name} = {text}" for name, text in SAYS.items() if name in methods]
    if PYMATTING in methods:
        lines += [LIGHT if ENCODED in methods else LIGHT.partition(";")[0], REFUSED]
    if any(row.missing for row in found.mattes):
        lines.append(f"{_LACKS} frames are missing, and the figure is over the others")
    lines += [ITEM_INTERVAL, f"{MEAN_INTERVAL}; of a ratio: both are drawn alike"]
    return "\n".join(f"* {line}" for line in lines)


def _place(method: str) -> int:
    """The classics first; not every item has all of them, so rows alone do not tell the order."""
    return BASELINES.index(method) if method in BASELINES else len(BASELINES)


def items_of(rows: Sequence[Row]) -> list[Item]:
    """Each once, in the order of the rows."""
    return list({row.item.name: row.item for row in rows}.values())


def answered(rows: Sequence[Row], items: Sequence[Item]) -> list[Item]:
    """The items that no method refused, where any refused some; else none."""
    refused = {row.item.name for row in rows if row.note}
    return [item for item in items if item.name not in refused] if refused else []


def _found(rows: Sequence[Row], item: Item, method: str) -> Row | None:
    return next((r for r in rows if r.item.name == item.name and r.method == method), None)


def _any_figures(rows: Sequence[Row], item: Item) -> Mapping[str, Any]:
    return next(row.figures for row in rows if row.item.name == item.name)


def _cell(row: Row | None, metric: str) -> str:
    if row is None or metric not in row.figures:
        return "–"
    units = row.figures[metric]
    found = figure(units, row.item.name)
    digits = None if row.convention == OURS else _digits(found.value)
    # A single unit, a still's under most conventions, has no interval.
    text = _text(found, digits) if len(units.total) > 1 else _number(found.value, digits)
    return text + ("*" if row.note else "") + (_LACKS if row.missing else "")


def _mean_cell(rows: Sequence[Row], items: Sequence[Item], method: str, metric: str) -> str:
    found = [_found(rows, item, method) for item in items]
    there = [row for row in found if row is not None and metric in row.figures]
    if len(there) < len(items):
        return "–"
    noted = "*" if any(row.note for row in there) else ""
    noted += _LACKS if any(row.missing for row in there) else ""
    value = mean({row.item.name: row.figures[metric] for row in there})
    same = there[0].convention == OURS
    return _text(value, None if same else _digits(value.value)) + noted


def _ratio(
    rows: Sequence[Row], items: Sequence[Item], ours: str, theirs: str, metric: str
) -> Figure:
    sides = []
    for method in (ours, theirs):
        found = [(item.name, _found(rows, item, method)) for item in items]
        sides.append({name: row.figures[metric] for name, row in found if row is not None})
    return ratio(sides[0], sides[1])


def _text(found: Figure, digits: int | None = None) -> str:
    low, high = _number(found.low, digits), _number(found.high, digits)
    return f"{_number(found.value, digits)} [{low}, {high}]"


def _number(value: float, digits: int | None = None) -> str:
    if not math.isfinite(value):
        return "∞"
    if digits is None:
        digits = 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def _digits(value: float) -> int:
    """Three that tell something: scales differ widely between conventions."""
    if not math.isfinite(value) or value <= 0:
        return 2
    return min(max(2 - math.floor(math.log10(value)), 0), 6)


def _head(names: Sequence[str]) -> list[list[str]]:
    return [list(names), ["---"] * len(names)]


def _joined(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain_row(row: Row) -> dict[str, Any]:
    item = row.item
    return {
        "item": item.name,
        "data": Path(item.data_set).name,
        "person": item.person,
        "moving": item.moving,
        "light": item.light,
        "solved": item.solved,
        "frames": len(item.frames),
        "method": row.method,
        "trimaps": row.trimaps,
        "convention": row.convention,
        "note": row.note,
        "flow": row.flow,
        "missing": list(row.missing),
        "figures": {m: asdict(figure(units, item.name)) for m, units in row.figures.items()},
    }


def _plain_means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    made = []
    counted = [row for row in rows if not row.item.solved]
    by_kind: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in counted:
        kind = (row.item.data_set, row.method, row.trimaps, row.convention)
        by_kind.setdefault(kind, []).append(row)
    for (data_set, method, trimaps, convention), same in by_kind.items():
        for title, belongs in GROUPS:
            group = [row for row in same if belongs(row.item)]
            for metric in dict.fromkeys(m for row in group for m in row.figures):
                values = {r.item.name: r.figures[metric] for r in group if metric in r.figures}
                made.append(
                    {
                        "data": Path(data_set).name,
                        "group": title.strip("*"),
                        "items": len(values),
                        "method": method,
                        "trimaps": trimaps,
                        "convention": convention,
                        "metric": metric,
                        **asdict(mean(values)),
                    }
                )
    return made


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
