"""The clips of an evaluation's report: plots over time, and pictures of the worst frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.judging.baselines import HALF, PYMATTING
from training.judging.datasets import Item
from training.judging.judgement import DTSSD, MSE, OURS, SAD, Row
from training.judging.tables import Evaluation
from training.judging.views import View
from training.report.parts import Line, legend, line_plot
from training.report.pictures import ClipPictures, worst_frames, write_pictures
from training.report.tables import convention_of, number

_PLOTTED = (MSE, SAD, DTSSD)  # at once; what else there is can be opened


@dataclass(frozen=True)
class _Series:
    """One metric of several methods, frame by frame.

    Attributes:
        title: of the plot.
        convention: in words.
        figures: by method, then by frame.
    """

    title: str
    convention: str
    figures: Mapping[str, Mapping[int, float]]


def clips_of(
    folder: Path, found: Evaluation, networks: Sequence[str], frames: int, clips: int
) -> list[dict[str, Any]]:
    """What the page tells of each item; pictures are written.

    Args:
        folder: of the report.
        found: what a run found.
        networks: labels of those that are judged.
        frames: that pictures are kept of, an item; 0 = all.
        clips: items that pictures are kept of; 0 = all.

    Raises:
        InputError, CapacityError: as `write_pictures`.
    """
    views = {view.item.name: view for view in found.views}
    items = {row.item.name: row.item for row in (*found.mattes, *found.carried)}
    mattes = {name: [r for r in found.mattes if r.item.name == name] for name in items}
    carried = {name: [r for r in found.carried if r.item.name == name] for name in items}
    worst = sorted(views, key=lambda name: -_badness(mattes[name], networks))
    pictured = set(worst if clips == 0 else worst[:clips])
    made = []
    for place, (name, item) in enumerate(items.items()):
        pictures = None
        if name in pictured:
            chosen = worst_frames(_orders(mattes[name], networks), frames)
            main = _main(views[name], networks)
            if chosen and main:
                pictures = write_pictures(folder, f"clip_{place:03}", views[name], main, chosen)
        rows = mattes[name], carried[name]
        told = _clip(f"clip_{place:03}", item, *rows, pictures, networks)
        made.append({**told, "limited": name in views and name not in pictured})
    return made


def _badness(rows: Sequence[Row], networks: Sequence[str]) -> float:
    """MSE of the networks over that of pymatting, or of nothing, where it is not judged."""
    by = {r.method: r.figures[MSE].value for r in rows if r.convention == OURS and MSE in r.figures}
    ours = [by[network] for network in networks if network in by] or list(by.values())
    return max(ours, default=0.0) / max(by.get(PYMATTING, 1.0), 1e-9)


def _orders(rows: Sequence[Row], networks: Sequence[str]) -> list[tuple[str, Mapping[int, float]]]:
    """By what the worst frames are looked for: of each network MSE and dtSSD; without a network, of
    the last method."""
    own = [row for row in rows if row.convention == OURS]
    judged = [row for row in own if row.method in networks] or own[-1:]
    return [
        (f"{metric} of {row.method}", row.per_frame[metric])
        for row in judged
        for metric in (MSE, DTSSD)
        if metric in row.per_frame
    ]


def _main(view: View, networks: Sequence[str]) -> str:
    """The last network; without one, the last method that there is; "" if there is none."""
    methods = [method for method in view.methods if method != HALF]
    return next((m for m in reversed(methods) if m in networks), methods[-1] if methods else "")


def _clip(
    name: str,
    item: Item,
    mattes: Sequence[Row],
    carried: Sequence[Row],
    pictures: ClipPictures | None,
    networks: Sequence[str],
) -> dict[str, Any]:
    series = _series(mattes)
    first = [one for one in series if one.title in _PLOTTED]
    first.sort(key=lambda one: _PLOTTED.index(one.title))
    rest = [one for one in series if one.title not in _PLOTTED]
    groups = [("", first), ("Other metrics over time", rest)]
    for placement in dict.fromkeys(row.trimaps for row in carried):
        rows = [row for row in carried if row.trimaps == placement]
        groups.append((f"Trimaps carried from keyframes: {placement}", _series(rows)))
    groups = [(title, several) for title, several in groups if several]
    kept = [] if pictures is None else [frame.number for frame in pictures.frames]
    return {
        "id": name,
        "name": item.name,
        "facts": _facts(item, mattes),
        "groups": [
            _group(title, item, several, kept, networks) for title, several in groups if item.moving
        ],
        "pictures": pictures,
        "viewer": None if pictures is None else _viewer(name, pictures, first or series),
        "numbers": [_numbers(one) for _, several in groups for one in several],
    }


def _facts(item: Item, rows: Sequence[Row]) -> list[str]:
    facts = [
        Path(item.data_set).name,
        f"composited in {item.light} light",
        f"{len(item.frames)} frames" if item.moving else "a still",
        "a person in it" if item.person else "no person in it",
    ]
    for row in rows:
        if row.convention != OURS:
            continue
        if row.note:
            facts.append(f"{row.method}: {row.note}")
        if row.missing:
            facts.append(f"{row.method}: no matte of {len(row.missing)} frames, so no pictures")
    return facts


def _series(rows: Sequence[Row]) -> list[_Series]:
    kinds = dict.fromkeys((row.convention, metric) for row in rows for metric in row.per_frame)
    return [
        _Series(
            metric if kind == OURS else f"{metric} ({kind})",
            convention_of(kind, metric),
            {
                row.method: row.per_frame[metric]
                for row in rows
                if row.convention == kind and metric in row.per_frame
            },
        )
        for kind, metric in kinds
    ]


def _group(
    title: str,
    item: Item,
    series: Sequence[_Series],
    kept: Sequence[int],
    networks: Sequence[str],
) -> dict[str, Any]:
    """Plots with one legend; what is judged is drawn stronger than what it is held against."""
    methods = list(dict.fromkeys(method for one in series for method in one.figures))
    ordered = [m for m in methods if m in networks] + [m for m in methods if m not in networks]

    def line(method: str, values: Sequence[float | None] = ()) -> Line:
        style = ordered.index(method)
        return Line(method, values, style, shown=method != HALF, strong=method in networks)

    plots = [
        line_plot(
            one.title,
            item.frames,
            [
                line(method, [figures.get(frame) for frame in item.frames])
                for method, figures in one.figures.items()
            ],
            marked=kept,
        )
        for one in series
    ]
    return {"title": title, "legend": legend([line(method) for method in methods]), "plots": plots}


def _numbers(series: _Series) -> dict[str, Any]:
    """A plot as a table: a line a frame, a column a method."""
    frames = sorted({frame for figures in series.figures.values() for frame in figures})
    lines = [
        (
            frame,
            [
                "–" if frame not in figures else number(figures[frame])
                for figures in series.figures.values()
            ],
        )
        for frame in frames
    ]
    words = f"{series.title}. {series.convention}"
    return {"convention": words, "methods": list(series.figures), "lines": lines}


def _viewer(name: str, pictures: ClipPictures, series: Sequence[_Series]) -> dict[str, Any]:
    """What `pages/viewer.js` is told."""
    strips = pictures.strips
    return {
        "id": name,
        "size": [pictures.box.width, pictures.box.height],
        "planes": pictures.planes,
        "start": pictures.start.number,
        "zoom": _zoom(pictures),
        "metrics": [one.title for one in series],
        "frames": [
            {
                "number": frame.number,
                "pictures": dict(frame.pictures),
                "values": frame.values,
                "origin": frame.origin,
                "figures": _figures(series, frame.number),
            }
            for frame in pictures.frames
        ],
        "strips": None
        if strips is None
        else {"across": strips.across, "place": strips.place, "frames": strips.frames},
    }


def _figures(series: Sequence[_Series], frame: int) -> list[tuple[str, list[str]]]:
    """Of one frame: each method's figures, a text a metric."""
    methods = dict.fromkeys(method for one in series for method in one.figures)
    return [
        (
            method,
            [
                number(figures[frame]) if frame in (figures := one.figures.get(method, {})) else "–"
                for one in series
            ],
        )
        for method in methods
    ]


def _zoom(pictures: ClipPictures) -> int:
    """The largest that still fits beside the figures."""
    fits = (z for z in (4, 2) if pictures.box.width * z <= 1000 and pictures.box.height * z <= 720)
    return next(fits, 1)
