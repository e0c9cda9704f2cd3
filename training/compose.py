"""`dvm-train compose`: the command; what it does is in `training.composing.run`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import typer

from model.errors import InputError
from training.cli import require_choices, say
from training.composing.layout import PHASES, Layout
from training.composing.pair_list import CLASSES, KINDS, list_text, read_text
from training.composing.run import compose_set
from training.composing.selection import (
    MOST_CLIPS,
    PER_FOREGROUND,
    SEED,
    Request,
    draw_pairs,
    select,
)

PAIRS = "pairs.txt"
_WORKERS = 10


def compose(
    source: Path = typer.Option(..., "--input", "-i", help="Root of the layout: fg and bg."),
    out: Path = typer.Option(
        ..., "--output", "-o", help="Folder of the data set; gone on with if it is there."
    ),
    pairs: Path | None = typer.Option(
        None, help="Pair list, kind+foreground+background a line; one is drawn without it."
    ),
    phase: str = typer.Option("train", help="train or test."),
    seed: int = typer.Option(SEED, min=0, help="Of the motion, the crops and a drawn list."),
    per_foreground: int = typer.Option(
        PER_FOREGROUND, min=1, help="Backgrounds for each foreground of a drawn list."
    ),
    image_only: bool = typer.Option(False, "--image-only", help="Only image foregrounds."),
    video_only: bool = typer.Option(False, "--video-only", help="Only video foregrounds."),
    classes: list[str] = typer.Option(
        [], help="Foregrounds of these classes alone: easy, medium, hard. More than once."
    ),
    classes_file: Path | None = typer.Option(
        None, help="Lines NAME+class; classes are measured where nothing tells them."
    ),
    max_size_from_image: int = typer.Option(
        MOST_CLIPS["image"], min=0, help="Most clips from image foregrounds."
    ),
    max_size_from_video: int = typer.Option(
        MOST_CLIPS["video"], min=0, help="Most clips from video foregrounds."
    ),
    bg_blur: bool = typer.Option(False, "--bg-blur", help="Blur backgrounds, 9×9 pixels."),
    skip_missing: bool = typer.Option(
        False, "--skip-missing", help="Leave out pairs that cannot be composed, and list them."
    ),
    quick: bool = typer.Option(
        False, "--quick", help="Count the files of finished clips instead of hashing them."
    ),
    workers: int = typer.Option(
        min(_WORKERS, os.cpu_count() or 1), min=1, help="Processes. The clips stay the same."
    ),
) -> None:
    """Compose clips from foregrounds and backgrounds of the published layout."""
    chosen = tuple(one for given in classes for one in given.replace(",", " ").split())
    require_choices("--classes", chosen, CLASSES)
    require_choices("--phase", [phase], PHASES)
    if image_only and video_only:
        raise typer.BadParameter("excludes --video-only", param_hint="--image-only")
    kinds = ("image",) if image_only else ("video",) if video_only else KINDS
    request = Request(
        root=source,
        phase=phase,
        pairs=pairs,
        seed=seed,
        per_foreground=per_foreground,
        kinds=kinds,
        classes=chosen,
        classes_file=classes_file,
        most={"image": max_size_from_image, "video": max_size_from_video},
        bg_blur=bg_blur,
    )
    drawn = b"" if pairs else _drawn_list(request, out)
    list_there = pairs or (out / PAIRS if (out / PAIRS).exists() else None)
    selection = select(replace(request, pairs=list_there, numbered=pairs is not None))
    for note in selection.notes:
        say(f"left out: {note}")
    done = compose_set(
        request,
        selection,
        out,
        say,
        workers=workers,
        skip_missing=skip_missing,
        quick=quick,
        listed=(list_there.name, list_there.read_bytes()) if list_there else (PAIRS, drawn),
        write_list=list_there is None,
    )
    for trouble in done.skipped:
        typer.echo(f"skipped {trouble}")
    typer.echo(
        f"{out}: {len(done.made)} clips composed, {len(done.kept)} were there, "
        f"{len(done.skipped)} pairs skipped"
    )


def _drawn_list(request: Request, out: Path) -> bytes:
    """What will lie beside the clips; if it lies there already it must have been drawn alike.

    Raises:
        InputError: ``input.other_settings`` for a list drawn otherwise.
    """
    comment = (
        f"drawn by dvm-train compose --phase {request.phase} --seed {request.seed} "
        f"--per-foreground {request.per_foreground}"
    )
    path = out / PAIRS
    if path.exists():
        before = _first_line(path).strip("# ")
        if before != comment:
            raise InputError(
                "input.other_settings",
                f"{path} was {before}, and now it would be {comment}",
                hint="give the same options, name the list with --pairs, or choose another folder "
                "with --output",
            )
    layout = Layout(request.root, request.phase)
    return list_text(draw_pairs(layout, request.seed, request.per_foreground), comment).encode()


def _first_line(path: Path) -> str:
    try:
        return read_text(path).partition("\n")[0]
    except OSError as error:
        raise InputError(
            "input.pair_list",
            f"{path}, the list this data set was drawn by, cannot be read: {error.strerror}",
            hint="bring it back from a copy, or choose another folder with --output",
        ) from error
