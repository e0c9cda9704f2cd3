"""What a stage found, for people and for programs: `<stage>.log`, a table, and `<stage>.jsonl`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from model.plates.atomic import write_bytes
from training.tfrecords.check import ClipReport

SHOWN = 3  # faults of a clip on the screen; the log has all


def summary(reports: Sequence[ClipReport]) -> str:
    """``12 clips, 700 frames: 10 good, 2 bad``."""
    counts = Counter(report.state for report in reports)
    frames = sum(report.frames for report in reports)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{len(reports)} clips, {frames} frames: {told}"


def line(report: ClipReport, most: int = SHOWN) -> str:
    """One clip in one line, with some of its faults."""
    told = "; ".join(map(str, report.faults[:most]))
    more = f"; and {len(report.faults) - most} more" if len(report.faults) > most else ""
    return f"{report.clip}: {report.state}" + (f": {told}{more}" if told else "")


def table(reports: Sequence[ClipReport]) -> str:
    """All clips with all of their faults, a fault a line."""
    wide = max([4, *(len(report.clip) for report in reports)])
    head = f"{'clip':<{wide}}  {'state':<8}  {'frames':>6}  {'MB':>9}  {'compared':<8}  faults"
    lines = [head, "-" * len(head)]
    for report in reports:
        first = (
            f"{report.clip:<{wide}}  {report.state:<8}  {report.frames:>6}  "
            f"{report.bytes / 1e6:>9.3f}  {'yes' if report.compared else 'no':<8}"
        )
        faults = [str(fault) for fault in report.faults] or [""]
        lines.append(f"{first}  {faults[0]}".rstrip())
        lines += (f"{'':<{len(first)}}  {fault}" for fault in faults[1:])
    return "\n".join([*lines, "", summary(reports), ""])


def write_logs(folder: Path, stage: str, reports: Sequence[ClipReport]) -> Path:
    """Write both files; the path of the table comes back.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    told = (json.dumps(asdict(report), ensure_ascii=False) for report in reports)
    write_bytes(folder / f"{stage}.jsonl", "".join(f"{one}\n" for one in told).encode())
    path = folder / f"{stage}.log"
    write_bytes(path, table(reports).encode())
    return path
