"""One run of an evaluation: networks against truth, their priors and the classics.

    data sets ── items ── frames with truth ─┬─ a trimap on every frame ─── mattes ─── errors
    (datasets)                               │                         (evaluation_mattes)
                                             └─ keyframes ── carried trimaps ── recall, width, wrong
                                                (evaluation_carried)
    networks run by the engine (subjects), files of mattes (given_mattes), classics (baselines)
    rows (evaluation_rows, by conventions) ── tables, gates, reliability, contact sheets, report

Checkpoints are chosen on ``synthetic:…`` and ``footage:heldout``, never on a folder of captured or
composited truth: that one is looked at when the choice is made.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.checkpoint import read_record
from model.errors import InputError
from model.pipeline import choose_device
from training.judging.baselines import CHAINED, OF_PYMATTING, pymatting_version
from training.judging.calibration import ause, reliability
from training.judging.datasets import Item, Judged, find_items, first_frames
from training.judging.evaluation_carried import judge_carried
from training.judging.evaluation_mattes import check_given, judge_item
from training.judging.evaluation_run import MODES, PLACEMENTS, Errors, Found, Request, Run, Say
from training.judging.gates import Gate, carried_matte_gates, matting_gates, propagation_gates
from training.judging.given_mattes import open_given
from training.judging.kept import Kept
from training.judging.subjects import Subject, brought_by, open_subjects
from training.judging.tables import Calibration, Evaluation

__all__ = ["MODES", "PLACEMENTS", "Request", "judge"]


def judge(request: Request, say: Say = lambda line: None) -> Evaluation:
    """Run an evaluation; writes contact sheets into ``request.out``, but no tables.

    Raises:
        InputError: a data set, an item's files, an item's name, or given mattes.
        SetupError: a network, a checkpoint, the device, or pymatting is missing.
    """
    begin = time.perf_counter()
    device = choose_device(request.device)
    if set(request.judged_baselines) & set(OF_PYMATTING) and request.trimaps != "keyframes":
        pymatting_version()
    given = open_given(request.mattes)
    items = _items(request)
    run = Run(
        request,
        _subjects(request, device),
        given,
        device,
        Kept(request.cache or request.out / "cache"),
        say,
        len(items) == 1,
        Found(),
    )
    for item in items:
        frames = _read(item)
        if request.trimaps in ("every", "both"):
            judge_item(run, item, frames)
        if request.trimaps in ("keyframes", "both") and item.moving:
            judge_carried(run, item, frames)
    if request.trimaps in ("every", "both"):
        check_given(run)
    found = run.found
    pairs = [(s.label, s.prior_label) for s in run.matting]
    return Evaluation(
        judged=[
            *(_described(subject) for subject in run.subjects),
            *({"label": one.label, "checkpoint": "", "sha256": ""} for one in given),
        ],
        pairs=pairs,
        mattes=found.mattes,
        carried=found.carried,
        carried_mattes=found.carried_mattes,
        calibrations=_calibrations(found.errors),
        gates=_gates(found, pairs),
        seconds=time.perf_counter() - begin,
        views=found.views,
        left_out=found.left_out,
        options={
            "data": [Path(data).name for data in request.data],
            "frames": f"first {request.first}" if request.first else "all",
            "every": request.every,
            "mode": "published resize" if request.published_resize else request.mode,
            "keyframes": list(request.keyframes),
            "device": str(device),
            "conventions": list(request.judged_conventions),
            "baselines": list(request.judged_baselines),
            "items": [item.name for item in items],
        },
    )


def _subjects(request: Request, device: torch.device) -> list[Subject]:
    """None at all where files of mattes are judged and no network is asked for."""
    if request.mattes and not request.networks and not request.checkpoints:
        return []
    opened = open_subjects(request.networks, request.checkpoints, request.windows, device)
    return [
        brought_by(
            one,
            request.mode,
            tile=request.tile,
            most=request.max_side,
            published_resize=request.published_resize,
        )
        for one in opened
    ]


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


def _gates(found: Found, pairs: Sequence[tuple[str, str]]) -> list[Gate]:
    gates: list[Gate] = []
    for label, prior in pairs:
        gates += matting_gates(found.mattes, label, prior)
        gates += carried_matte_gates(found.carried_mattes, label)
    for label in dict.fromkeys(row.method for row in found.carried if row.method != CHAINED):
        gates += propagation_gates(found.carried, label)
    return gates
