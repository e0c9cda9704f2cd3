"""`dvm-train records`: the command; what its stages do is in `training.tfrecords.stages`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from model.errors import CapacityError, InputError
from model.plates.file_errors import writing
from training.cli import require_choices, say
from training.tfrecords.check import ClipReport
from training.tfrecords.layout import MODES, read_names
from training.tfrecords.manifest import FOREGROUNDS, LIGHTS
from training.tfrecords.report import SHOWN, line, summary, write_logs
from training.tfrecords.stages import Request, check, verify, write

STAGES = {"write": write, "check": check, "verify": verify}
_QUIET = ("good", "kept")


def records(
    output: Path = typer.Option(
        ..., "-o", "--output", help="Folder of the records: CLIP.tfrecord and CLIP.index."
    ),
    input: Path | None = typer.Option(
        None,
        "-i",
        "--input",
        help="Folder of the clips: KEY/CLIP/00000.jpg or .png. With check, records are compared "
        "with it if it is given.",
    ),
    mode: str = typer.Option(
        "", "-m", "--mode", help="vfba, va, vt, vat: the keys. Else records.json's, else vfba."
    ),
    stage: str = typer.Option(
        "write", "-s", "--stage", help="write; check what is there; verify: check and repair."
    ),
    only: Path | None = typer.Option(
        None, help="A file with the names of the clips that are meant, one a line."
    ),
    human_only: bool = typer.Option(
        False, "--human-only", "--human_only", help="Cannot be done: use --only.", hidden=True
    ),
    foreground: str = typer.Option(
        "", help="What f holds: premultiplied, as published, or straight. Goes to records.json."
    ),
    light: str = typer.Option(
        "", help="What the clips are composited in: display, as published, or linear."
    ),
    workers: int = typer.Option(
        min(os.cpu_count() or 1, 24), min=1, max=256, help="Clips at a time."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Write good records anew, too."),
    log: Path | None = typer.Option(
        None, help="Folder for STAGE.log and STAGE.jsonl; the folder of the records if not given."
    ),
) -> None:
    """Write clips as tfrecords, as the published tools lay them out; check and repair those."""
    require_choices("--mode", [mode], ("", *MODES))
    require_choices("--stage", [stage], tuple(STAGES))
    require_choices("--foreground", [foreground], ("", *FOREGROUNDS))
    require_choices("--light", [light], ("", *LIGHTS))
    if human_only:
        raise typer.BadParameter(
            "nothing in the layout says which clips show people, and the published flag never "
            "worked; list the clips in a file and give --only FILE",
            param_hint="--human-only",
        )
    if input is None and stage != "check":
        raise typer.BadParameter(f"{stage} reads the clips", param_hint="--input")
    with writing(output):
        taken = output.exists() and not output.is_dir()
    if taken:
        raise InputError(
            "input.output_unwritable",
            f"{output} is no folder, and records lie in one",
            hint="name another with --output",
        )
    names = read_names(only) if only is not None else None
    request = Request(input, output, mode, names, foreground, light, workers, overwrite)
    try:
        found = STAGES[stage](request, _say)
    except CapacityError as error:
        error.hint = "free some space and run it again; records that are whole are kept"
        raise
    told = ""
    folder = log or output
    if log is not None or output.is_dir():
        try:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            told = str(write_logs(folder, stage, found))
        except InputError as error:
            error.hint = "choose a folder that can be written to with --log"
            raise
    typer.echo(summary(found))
    bad = [report for report in found if report.bad]
    if bad:
        raise _bad_clips(bad, len(found), stage, told, output)


def _bad_clips(bad: list[ClipReport], of: int, stage: str, log: str, output: Path) -> InputError:
    names = ", ".join(report.clip for report in bad[:5]) + (", …" if len(bad) > 5 else "")
    if stage == "write" and all(_misfit(report) for report in bad):
        return InputError(
            "input.misfits",
            f"nothing was written, for the files of {len(bad)} clips do not fit together: {names}",
            hint="complete them, or name the others in a file and give --only",
        )
    hints = {
        "write": f"{log} tells what is wrong with their pictures",
        "check": f"{log} tells what; `dvm-train records -s verify -i CLIPS` repairs them",
        "verify": f"{log} tells why they could not be repaired",
    }
    return InputError(
        "input.bad_records", f"{len(bad)} of {of} clips in {output} are bad: {names}",
        hint=hints[stage],
    )  # fmt: skip


def _misfit(report: ClipReport) -> bool:
    return all(fault.kind == "layout" for fault in report.faults)


def _say(report: ClipReport) -> None:
    if report.state in _QUIET:
        return
    most = len(report.faults) if _misfit(report) else SHOWN  # nothing else tells of those
    say(line(report, most))
