"""The part of an evaluation that has a trimap on every frame: mattes against the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.errors import CapacityError, InputError
from training.conventions.flow import flows_of
from training.judging.baselines import (
    AVERAGED,
    ENCODED,
    GUIDED,
    HALF,
    KNN,
    PYMATTING,
    closed_form_of_pymatting,
    flow_averaged,
    guided,
    half,
    knn_of_pymatting,
)
from training.judging.datasets import SYNTHETIC, Alpha, Item
from training.judging.evaluation_rows import matte_rows
from training.judging.evaluation_run import Errors, Frames, Run, wanted
from training.judging.given_mattes import GivenMattes, files_of, read_given, safe_name
from training.judging.judgement import MSE
from training.judging.metrics import mse, unknown_region
from training.judging.sheets import SheetFrame, chosen_frames, write_sheet
from training.judging.subjects import Matte, Subject, alphas_of, run_matting
from training.judging.views import put_down, shown

_REFUSED = "refused by pymatting"


@dataclass(frozen=True)
class _Answer:
    """A method's alphas by frame number, and what is to be said about them."""

    alphas: Mapping[int, Alpha]
    note: str = ""
    missing: Sequence[int] = ()


def judge_item(run: Run, item: Item, frames: Frames) -> None:
    """Judge all methods on one item; rows, views and confidences go into ``run.found``.

    Raises:
        InputError: its flow, or given mattes of it. SetupError: pymatting is missing.
    """
    numbers = wanted(item, run.request.every)
    answers = _baselines(run, item, frames, numbers)
    drawn: dict[str, Mapping[int, Alpha]] = {}
    trimaps = {n: frame.trimap for n, frame in frames.items()}
    for subject in run.matting:
        begin = time.perf_counter()
        mattes = run_matting(subject, item, frames, trimaps, numbers, run.device, run.kept)
        by_method = alphas_of(subject, mattes)
        answers |= {method: _Answer(alphas) for method, alphas in by_method.items()}
        drawn |= by_method
        if not item.solved:
            _gather(run.found.errors, item, subject, frames, mattes)
        run.say(f"{item.name}: {subject.label} {time.perf_counter() - begin:.1f} s")
    for given in run.given:
        answer = _given(run, given, item, frames, numbers)
        if answer is not None:
            answers[given.label] = answer
            if not answer.missing:
                drawn[given.label] = answer.alphas
    flows = flows_of(item, frames, run.kept) if item.moving else None
    for method, answer in answers.items():
        run.found.mattes += matte_rows(
            item,
            method,
            frames,
            answer.alphas,
            conventions=run.request.judged_conventions,
            flows=flows,
            as_published=run.request.as_published,
            note=answer.note,
            missing=answer.missing,
        )
    whole = {m: list(a.alphas.values()) for m, a in answers.items() if not a.missing}
    run.found.views.append(put_down(item, numbers, whole, run.kept))
    if run.request.sheets and drawn:
        _draw(run.request.out / "sheets", item, frames, numbers, drawn)


def _baselines(run: Run, item: Item, frames: Frames, numbers: Sequence[int]) -> dict[str, _Answer]:
    asked = run.request.judged_baselines
    kept = run.kept
    answers = {HALF: _Answer({n: half(frames[n].classes) for n in numbers})}

    def both(solve: Callable[[int], tuple[Alpha, bool]], name: str) -> None:
        begin = time.perf_counter()
        solved = {n: solve(n) for n in numbers}
        refused = any(no for _, no in solved.values())
        answers[name] = _Answer(
            {n: alpha for n, (alpha, _) in solved.items()}, _REFUSED if refused else ""
        )
        run.say(f"{item.name}: {name} {time.perf_counter() - begin:.1f} s")

    if "guided-filter" in asked:
        answers[GUIDED] = _Answer({n: guided(item, frames, n) for n in numbers})
    if "closed-form" in asked:
        both(lambda n: closed_form_of_pymatting(item, frames, n, kept, encoded=False), PYMATTING)
        if item.light == "linear" and item.data_set not in SYNTHETIC:
            both(lambda n: closed_form_of_pymatting(item, frames, n, kept, encoded=True), ENCODED)
    if "knn" in asked:
        pixels = frames[numbers[0]].truth.size
        if pixels > run.request.knn_pixels:
            run.leave_out(
                f"{item.name}: no {KNN}, its {pixels} pixels are more than --knn-pixels "
                f"{run.request.knn_pixels}"
            )
        else:
            try:
                both(lambda n: knn_of_pymatting(item, frames, n, kept), KNN)
            except CapacityError as error:
                if error.code != "capacity.knn":
                    raise
                run.leave_out(f"{item.name}: no {KNN}, {error.message}")
    if "flow-averaged" in asked and item.moving:
        both(lambda n: flow_averaged(item, frames, n, kept), AVERAGED)
    return answers


def _given(
    run: Run, given: GivenMattes, item: Item, frames: Frames, numbers: Sequence[int]
) -> _Answer | None:
    files = files_of(given, item, alone=run.alone)
    present = {n: files[n] for n in numbers if n in files}
    missing = [n for n in numbers if n not in files]
    if not present:
        run.leave_out(f"{item.name}: {given.label} holds no matte of it")
        return None
    if missing:
        listed = ", ".join(map(str, missing[:20])) + (" …" if len(missing) > 20 else "")
        run.leave_out(
            f"{item.name}: {given.label} lacks {len(missing)} of {len(numbers)} frames: {listed}"
        )
    return _Answer(read_given(present, frames), missing=missing)


def check_given(run: Run) -> None:
    """Raises InputError, ``input.no_mattes``, if a folder had no matte of any item."""
    methods = {row.method for row in run.found.mattes}
    for given in run.given:
        if given.label not in methods:
            raise InputError(
                "input.no_mattes",
                f"{given.folder} holds no matte of any item that is judged",
                hint="lay them out as FOLDER/ITEM/NAME.0001.png, an item's folder being called "
                "like it",
            )


def _gather(
    errors: Errors, item: Item, subject: Subject, frames: Frames, mattes: Mapping[int, Matte]
) -> None:
    """Confidences and errors of the unknown pixels of the item, by method."""
    regions = {n: unknown_region(frames[n].classes) for n in mattes}
    planes = (
        (subject.label, {n: (m.alpha, m.confidence) for n, m in mattes.items()}),
        (subject.prior_label, {n: (m.prior, m.prior_confidence) for n, m in mattes.items()}),
    )
    for method, both in planes:
        confidence = [sure[regions[n]] for n, (_, sure) in both.items()]
        error = [np.abs(a - frames[n].truth)[regions[n]] for n, (a, _) in both.items()]
        held = errors.setdefault((item.data_set, method), {})
        held[item.name] = np.concatenate(confidence), np.concatenate(error)


def _draw(
    folder: Path,
    item: Item,
    frames: Frames,
    numbers: Sequence[int],
    methods: Mapping[str, Mapping[int, Alpha]],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in chosen_frames(numbers):
        judged = frames[number]
        alphas = {name: several[number] for name, several in methods.items()}
        region = unknown_region(judged.classes)
        note = f"{MSE} " + ", ".join(
            f"{name} {mse(alpha, judged.truth, region):.1f}" for name, alpha in alphas.items()
        )
        picture = shown(item, judged)
        rows.append(SheetFrame(number, picture, judged.classes, judged.truth, alphas, note))
    write_sheet(folder / f"{safe_name(item.name)}.png", f"{item.name} ({item.light} light)", rows)
