"""An evaluation as tables for other programs: one line a figure, and one line a frame of it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.conventions.by_name import follows
from training.judging.bootstrap import figure
from training.judging.judgement import Row

_WHOSE = ("data", "item", "light", "person", "method", "trimaps", "convention", "metric")


def figures_csv(rows: Sequence[Row]) -> str:
    """A line an item, method, convention and metric: value and 95 % interval, which is empty where
    there is one unit; how many frames or pairs it is over; notes."""
    lines = []
    for row in rows:
        for metric, units in row.figures.items():
            found = figure(units, row.item.name)
            several = len(units.total) > 1
            lines.append(
                (
                    *_whose(row, metric),
                    _number(found.value),
                    _number(found.low) if several else "",
                    _number(found.high) if several else "",
                    len(row.per_frame.get(metric, units.total)),
                    row.flow if follows(row.convention, metric) else "",
                    row.note,
                    " ".join(map(str, row.missing)),
                )
            )
    head = (*_WHOSE, "value", "low", "high", "units", "flow", "note", "missing frames")
    return _csv(head, lines)


def frames_csv(rows: Sequence[Row]) -> str:
    """A line a frame; what belongs to a pair stands under its later frame."""
    lines = [
        (*_whose(row, metric), frame, _number(value))
        for row in rows
        for metric, values in row.per_frame.items()
        for frame, value in values.items()
    ]
    return _csv((*_WHOSE, "frame", "value"), lines)


def _whose(row: Row, metric: str) -> tuple[object, ...]:
    item = row.item
    person = "yes" if item.person else "no"
    whose = (Path(item.data_set).name, item.name, item.light, person)
    return (*whose, row.method, row.trimaps, row.convention, metric)


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _csv(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(lines)
    return text.getvalue()
