"""One run of an evaluation: networks against truth, their priors and the classics.

    data sets ── items ── frames with truth ─┬─ a trimap on every frame ─── mattes ─── errors
    (datasets)                               └─ keyframes ── carried trimaps ── recall, width, wrong
                                                    networks run by the engine (subjects)
    rows ── tables, gates, reliability, contact sheets

Checkpoints are chosen on ``synthetic:…`` and ``footage:heldout``, never on a folder of captured or
composited truth: that one is looked at when the choice is made.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.checkpoint import read_record
from model.errors import InputError
from model.pipeline import choose_device
from training.baselines import (
    ENCODED,
    HALF,
    PYMATTING,
    closed_form_of_pymatting,
    half,
    pymatting_version,
)
from training.calibration import ause, reliability
from training.datasets import SYNTHETIC, Alpha, Item, Judged, find_items, first_frames
from training.gates import Gate, matting_gates, propagation_gates
from training.judgement import Row, figures_of_frames, judge_mattes, judge_trimaps
from training.kept import Kept
from training.metrics import mse, unknown_region
from training.sheets import SheetFrame, chosen_frames, write_sheet
from training.subjects import (
    FLOW,
    Matte,
    Subject,
    brought_by,
    open_subjects,
    run_matting,
    run_propagation,
)
from training.tables import Calibration, Evaluation
from training.views import View, put_down, shown

PLACEMENTS = ("first", "both-ends")
MODES = ("whole", "tiled", "resized")
_REFUSED = "refused by pymatting"
Say = Callable[[str], None]
# By data set and method, then by item: confidences and absolute errors of its unknown pixels.
Errors = dict[tuple[str, str], dict[str, tuple[Alpha, Alpha]]]


@dataclass(frozen=True)
class Request:
    """What is asked for; see the command's options."""

    data: tuple[str, ...]
    out: Path
    networks: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    windows: tuple[int, ...] = (5,)
    trimaps: str = "every"
    keyframes: tuple[str, ...] = PLACEMENTS
    items: tuple[str, ...] = ()
    material: Path | None = None
    cache: Path | None = None
    first: int = 0
    every: int = 1
    device: str = "cpu"
    workers: int = 1
    pymatting: bool = True
    carried_mattes: bool = False
    sheets: bool = True
    mode: str = "whole"
    tile: int = 512
    max_side: int = 1600
    published_resize: bool = False


@dataclass
class _Found:
    """What a run gathers, item after item."""

    mattes: list[Row] = field(default_factory=list)
    carried: list[Row] = field(default_factory=list)
    carried_mattes: list[Row] = field(default_factory=list)
    errors: Errors = field(default_factory=dict)
    views: list[View] = field(default_factory=list)


def judge(request: Request, say: Say = lambda line: None) -> Evaluation:
    """Run an evaluation; writes contact sheets into ``request.out``, but no tables.

    Raises:
        InputError: a data set, an item's files, or an item's name.
        SetupError: a network, a checkpoint, the device, or pymatting is missing.
    """
    begin = time.perf_counter()
    device = choose_device(request.device)
    if request.pymatting and request.trimaps != "keyframes":
        pymatting_version()
    opened = open_subjects(request.networks, request.checkpoints, request.windows, device)
    subjects = [
        brought_by(
            one,
            request.mode,
            tile=request.tile,
            most=request.max_side,
            published_resize=request.published_resize,
        )
        for one in opened
    ]
    items = _items(request)
    kept = Kept(request.cache or request.out / "cache")
    found = _Found()
    for item in items:
        frames = _read(item)
        if request.trimaps in ("every", "both"):
            _judge_mattes(request, item, frames, subjects, device, kept, found, say)
        if request.trimaps in ("keyframes", "both") and item.moving:
            _judge_carried(request, item, frames, subjects, device, kept, found, say)
    pairs = [(s.label, s.prior_label) for s in subjects if s.entry.kind == "matting"]
    return Evaluation(
        judged=[_described(subject) for subject in subjects],
        pairs=pairs,
        mattes=found.mattes,
        carried=found.carried,
        carried_mattes=found.carried_mattes,
        calibrations=_calibrations(found.errors),
        gates=_gates(found, pairs),
        seconds=time.perf_counter() - begin,
        views=found.views,
        options={
            "data": [Path(data).name for data in request.data],
            "frames": f"first {request.first}" if request.first else "all",
            "every": request.every,
            "mode": "published resize" if request.published_resize else request.mode,
            "keyframes": list(request.keyframes),
            "device": str(device),
            "items": [item.name for item in items],
        },
    )


def _items(request: Request) -> list[Item]:
    """All that are wanted, of all data sets.

    Raises:
        InputError: ``input.unknown_item`` if a name is in none of them.
    """
    found: list[Item] = []
    for data in request.data:
        found += find_items(data, request.material, request.items, request.workers)
    missing = set(request.items) - {item.name for item in found}
    if missing:
        raise InputError(
            "input.unknown_item",
            f"there is no item called {', '.join(sorted(missing))} in {', '.join(request.data)}",
            hint="an item is called like its folder; leave --items out to judge all",
        )
    double = {one.name for one in found if sum(one.name == other.name for other in found) > 1}
    if double:
        raise InputError(
            "input.item_twice",
            f"{', '.join(sorted(double))} is in two data sets",
            hint="judge them one after the other",
        )
    return [first_frames(item, request.first) for item in found]


def _read(item: Item) -> dict[int, Judged]:
    frames = {number: item.read(number) for number in item.frames}
    windows = {(f.plate.header.data_window, f.plate.header.display_window) for f in frames.values()}
    if len(windows) > 1:
        raise InputError(
            "input.plate_size",
            f"the plates of {item.name} differ in their windows",
            hint="render them with one format and one data window",
        )
    return frames


def _wanted(item: Item, every: int) -> list[int]:
    """All frames, or the first two of every few: errors between neighbours need both."""
    if every <= 1 or not item.moving:
        return list(item.frames)
    return [number for place, number in enumerate(item.frames) if place % every < 2]


def _judge_mattes(
    request: Request,
    item: Item,
    frames: Mapping[int, Judged],
    subjects: Sequence[Subject],
    device: torch.device,
    kept: Kept,
    found: _Found,
    say: Say,
) -> None:
    wanted = _wanted(item, request.every)
    truths = [frames[n].truth for n in wanted]
    classes = {n: frames[n].classes for n in wanted}
    regions = [unknown_region(classes[n]) for n in wanted]
    alphas: dict[str, list[Alpha]] = {HALF: [half(classes[n]) for n in wanted]}
    notes: dict[str, str] = {}
    if request.pymatting:
        ways = [(PYMATTING, False)]
        if item.light == "linear" and item.data_set not in SYNTHETIC:
            ways.append((ENCODED, True))
        for name, encoded in ways:
            begin = time.perf_counter()
            solved = [
                closed_form_of_pymatting(item, frames, n, kept, encoded=encoded) for n in wanted
            ]
            alphas[name] = [alpha for alpha, _ in solved]
            notes[name] = _REFUSED if any(refused for _, refused in solved) else ""
            say(f"{item.name}: {name} {time.perf_counter() - begin:.1f} s")
    trimaps = {n: frame.trimap for n, frame in frames.items()}
    drawn: dict[str, list[Alpha]] = {}
    for subject in (one for one in subjects if one.entry.kind == "matting"):
        begin = time.perf_counter()
        mattes = run_matting(subject, item, frames, trimaps, wanted, device, kept)
        ours = [mattes[n] for n in wanted]
        alphas[subject.prior_label] = [matte.prior for matte in ours]
        alphas[subject.label] = [matte.alpha for matte in ours]
        drawn.setdefault(subject.prior_label, alphas[subject.prior_label])
        drawn[subject.label] = alphas[subject.label]
        if not item.solved:
            _gather(found.errors, item, subject, ours, truths, regions)
        say(f"{item.name}: {subject.label} {time.perf_counter() - begin:.1f} s")
    for method, several in alphas.items():
        judged = _places(item, wanted), wanted, several, truths, regions
        found.mattes.append(
            Row(
                item,
                method,
                "every",
                judge_mattes(judged[0], several, truths, regions),
                notes.get(method, ""),
                per_frame=figures_of_frames(*judged),
            )
        )
    found.views.append(put_down(item, wanted, alphas, kept))
    if request.sheets and drawn:
        _draw(request.out / "sheets", item, frames, wanted, drawn)


def _places(item: Item, wanted: Sequence[int]) -> list[int]:
    """Frames may be numbered by twos: neighbours are neighbours in the clip."""
    order = {number: place for place, number in enumerate(item.frames)}
    return [order[number] for number in wanted]


def _gather(
    errors: Errors,
    item: Item,
    subject: Subject,
    mattes: Sequence[Matte],
    truths: Sequence[Alpha],
    regions: Sequence[Any],
) -> None:
    """Confidences and errors of the unknown pixels of the item, by method."""
    planes = (
        (subject.label, [(m.alpha, m.confidence) for m in mattes]),
        (subject.prior_label, [(m.prior, m.prior_confidence) for m in mattes]),
    )
    for method, both in planes:
        confidence = [c[r] for (_, c), r in zip(both, regions, strict=True)]
        error = [np.abs(a - t)[r] for (a, _), t, r in zip(both, truths, regions, strict=True)]
        held = errors.setdefault((item.data_set, method), {})
        held[item.name] = np.concatenate(confidence), np.concatenate(error)


def _calibrations(errors: Errors) -> list[Calibration]:
    return [
        Calibration(
            data_set,
            method,
            reliability(list(items.values())),
            float(np.mean([ause(confidence, error) for confidence, error in items.values()])),
        )
        for (data_set, method), items in errors.items()
    ]


def _judge_carried(
    request: Request,
    item: Item,
    frames: Mapping[int, Judged],
    subjects: Sequence[Subject],
    device: torch.device,
    kept: Kept,
    found: _Found,
    say: Say,
) -> None:
    carriers = [one for one in subjects if one.entry.kind == "propagation"]
    if not any(one.entry.name == FLOW for one in carriers):
        carriers.append(open_subjects((FLOW,), (), (5,), device)[0])
    for placement in request.keyframes:
        ends = (item.frames[0],) if placement == "first" else (item.frames[0], item.frames[-1])
        for carrier in carriers:
            begin = time.perf_counter()
            carried = run_propagation(carrier, item, frames, ends, device, kept)
            if not carried:
                continue
            truths = [frames[n].truth for n in carried]
            figures = judge_trimaps([one.pixels for one in carried.values()], truths)
            found.carried.append(Row(item, carrier.label, placement, figures))
            say(f"{item.name}: {carrier.label}, {placement} {time.perf_counter() - begin:.1f} s")
            if request.carried_mattes:
                trimaps = {n: frames[n].trimap for n in ends} | carried
                alphas: dict[str, list[Alpha]] = {}
                for subject in (one for one in subjects if one.entry.kind == "matting"):
                    ordered = {n: trimaps[n] for n in item.frames}
                    mattes = run_matting(
                        subject, item, frames, ordered, item.frames, device, kept
                    ).values()
                    alphas[subject.prior_label] = [matte.prior for matte in mattes]
                    alphas[subject.label] = [matte.alpha for matte in mattes]
                found.carried_mattes += _rows_of_carried(
                    item, frames, alphas, carrier.label, placement
                )


def _rows_of_carried(
    item: Item,
    frames: Mapping[int, Judged],
    alphas: Mapping[str, Sequence[Alpha]],
    carrier: str,
    placement: str,
) -> list[Row]:
    """Errors where the given trimap is unknown, whatever the carried one said there."""
    truths = [frame.truth for frame in frames.values()]
    regions = [unknown_region(frame.classes) for frame in frames.values()]
    places = _places(item, item.frames)
    return [
        Row(
            item, f"{label} on {carrier}", placement, judge_mattes(places, several, truths, regions)
        )
        for label, several in alphas.items()
    ]


def _draw(
    folder: Path,
    item: Item,
    frames: Mapping[int, Judged],
    wanted: Sequence[int],
    methods: Mapping[str, Sequence[Alpha]],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in chosen_frames(wanted):
        judged, place = frames[number], list(wanted).index(number)
        alphas = {name: several[place] for name, several in methods.items()}
        region = unknown_region(judged.classes)
        note = "MSE " + ", ".join(
            f"{name} {mse(alpha, judged.truth, region):.1f}" for name, alpha in alphas.items()
        )
        rows.append(
            SheetFrame(
                number,
                shown(item, judged, number),
                judged.classes,
                judged.truth,
                alphas,
                note,
            )
        )
    name = re.sub(r"[^\w.-]+", "_", item.name)
    write_sheet(folder / f"{name}.png", f"{item.name} ({item.light} light)", rows)


def _described(subject: Subject) -> dict[str, Any]:
    record = read_record(Path(subject.checkpoint)) if subject.checkpoint else None
    return {
        "label": subject.label,
        "network": subject.entry.name,
        "checkpoint": Path(subject.checkpoint).name,
        "sha256": subject.digest,
        "window": subject.window,
        "way": subject.way or "whole",
        "training": {} if record is None else dict(record.training),
    }


def _gates(found: _Found, pairs: Sequence[tuple[str, str]]) -> list[Gate]:
    gates: list[Gate] = []
    for label, prior in pairs:
        gates += matting_gates(found.mattes, label, prior)
    for label in dict.fromkeys(row.method for row in found.carried):
        gates += propagation_gates(found.carried, label)
    return gates
