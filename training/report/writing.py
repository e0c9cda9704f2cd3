"""The HTML report of an evaluation: `dvm-train evaluate` writes it into ``OUT/report``.

Evaluation ─┬─ gates ── in plain words, on top
            ├─ rows ── tables (report_tables)
            ├─ rows, frame by frame ── plots (clips, parts)
            ├─ views ── pictures (report_clips, report_pictures)
            └─ calibrations ── diagrams (calibration)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.judging.baselines import REFUSED
from training.judging.bootstrap import ITEM_INTERVAL, MEAN_INTERVAL
from training.judging.calibration import AUSE, CONFIDENCE, ECE, diagram
from training.judging.gates import Gate
from training.judging.tables import Evaluation
from training.report.clips import clips_of
from training.report.page import INDEX, page_folder, write_page
from training.report.pictures import LEGEND
from training.report.tables import baselines, error_tables, number, trimap_table

FOLDER = "report"
FRAMES = 3  # that pictures of a clip are kept of
CLIPS = 24  # that pictures are kept of: a made data set has dozens


def write_report(out: Path, found: Evaluation, *, frames: int = FRAMES, clips: int = CLIPS) -> Path:
    """Write the report; an earlier one is replaced when the new one is complete.

    Args:
        out: the folder that ``report`` is made in; it exists.
        found: what a run found.
        frames: how many frames of each item pictures are kept of, the worst ones; 0 = all.
        clips: how many items pictures are kept of, those that networks are worst on; 0 = all.

    Returns:
        The page's path.

    Raises:
        InputError: ``input.not_a_report``, ``input.output_unwritable``, or an item's file is gone.
        CapacityError: ``capacity.disk_full``.
    """
    place = out / FOLDER
    with page_folder(place) as folder:
        write_page(folder, "evaluation.html", _context(folder, found, frames, clips))
    return place / INDEX


def verdict(gate: Gate) -> str:
    """One demand in plain words."""
    asked = "at least" if gate.at_least else "at most"
    where = f" on {gate.where}" if gate.where else ""
    return f"{gate.demand}: {number(gate.value)}{where}; {asked} {number(gate.limit)} is asked"


def _context(folder: Path, found: Evaluation, frames: int, clips: int) -> dict[str, Any]:
    networks = [str(one["label"]) for one in found.judged]
    priors = [prior for _, prior in found.pairs]
    against = baselines([*found.mattes], priors, networks)
    shown = clips_of(folder, found, networks, frames, clips)
    anchors = {clip["name"]: clip["id"] for clip in shown}
    return {
        "title": "Evaluation",
        "options": _options(found.options),
        "seconds": found.seconds,
        "left_out": found.left_out,
        "networks": found.judged,
        "verdicts": _verdicts(found.gates),
        "baselines": against,
        "sections": _sections(found, against),
        "anchors": anchors,
        "clips": shown,
        "without_pictures": [clip["name"] for clip in shown if clip["limited"]],
        "legend": LEGEND,
        "diagrams": [
            {
                "data": Path(one.data_set).name,
                "method": one.method,
                "ece": one.table.error,
                "ause": one.ause,
                "drawing": diagram(one.method, one.table),
            }
            for one in found.calibrations
        ],
        "conventions": [CONFIDENCE, ECE, AUSE] if found.calibrations else [],
        "interval": f"{ITEM_INTERVAL}; {MEAN_INTERVAL}; of a ratio: both are drawn alike",
        "refused": REFUSED if any(row.note for row in found.mattes) else "",
    }


def _options(options: Mapping[str, Any]) -> dict[str, str]:
    """As texts; which items were judged stands in the tables."""
    made = {}
    for name, value in options.items():
        if name == "items":
            continue
        several = isinstance(value, list | tuple)
        made[name] = ", ".join(map(str, value)) if several else str(value)
    return made


def _verdicts(gates: Sequence[Gate]) -> list[dict[str, Any]]:
    """By network: how many demands it reaches, and each of them, those that are missed first."""
    made = []
    for method in dict.fromkeys(gate.method for gate in gates):
        own = sorted((g for g in gates if g.method == method), key=lambda gate: gate.passed)
        reached = sum(gate.passed for gate in own)
        lines = [{"passed": gate.passed, "words": verdict(gate)} for gate in own]
        made.append({"method": method, "reached": reached, "of": len(own), "lines": lines})
    return made


def _sections(found: Evaluation, against: Sequence[str]) -> list[dict[str, Any]]:
    """Headings with their tables."""
    made: list[dict[str, Any]] = []
    for data_set in dict.fromkeys(row.item.data_set for row in found.mattes):
        rows = [row for row in found.mattes if row.item.data_set == data_set]
        judged = [row for row in rows if not row.item.solved]
        name = f"{Path(data_set).name}: a trimap on every frame"
        if judged:
            made.append({"name": name, "note": "", "tables": error_tables(judged, against)})
        solved = [row for row in rows if row.item.solved]
        if solved:
            note = "Truth made by a classical solver, which favours solvers; in no mean."
            tables = error_tables(solved, against, means=False)
            made.append({"name": f"{name}, solved", "note": note, "tables": tables})
    for data_set in dict.fromkeys(row.item.data_set for row in found.carried):
        rows = [row for row in found.carried if row.item.data_set == data_set]
        name = f"{Path(data_set).name}: trimaps carried from keyframes"
        made.append({"name": name, "note": "", "tables": [trimap_table(rows)]})
    for placement in dict.fromkeys(row.trimaps for row in found.carried_mattes):
        rows = [row for row in found.carried_mattes if row.trimaps == placement]
        name = f"Mattes of carried trimaps, keyframes: {placement}"
        note = "Judged where the given trimap is unknown, whatever the carried one said there."
        made.append({"name": name, "note": note, "tables": error_tables(rows, ())})
    return made
