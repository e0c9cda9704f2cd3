"""`dvm-train footage`: a studio's plates and finished mattes become training clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import typer

from model.errors import InputError
from model.plates import image_files
from training.cli import say
from training.composing.folder import (
    forget_staged,
    locked,
    publish_clip,
    recovered,
    require_unclaimed,
)
from training.composing.manifest import SCHEMA, Entry, read_manifest, write_manifest
from training.studio.backgrounds import background_files
from training.studio.bringing import bring, is_brought, kind_of
from training.studio.frames import light_of
from training.studio.page import write_quality_page
from training.studio.shots import SPLITS, StudioShot, read_shots

PAGE = "quality"
_EMPTY = {"schema": SCHEMA, "foreground": "straight", "settings": {"kind": "footage"}}


def footage(
    shots: Path = typer.Argument(..., metavar="SHOTS.toml", help="The list of shots."),
    output: Path = typer.Option(
        ..., "--output", "-o", help="Folder that gets train/ and test/, each a data set of clips."
    ),
    backgrounds: Path | None = typer.Option(
        None, help="Folder of pictures and movies that elements without a plate are laid over."
    ),
    test_share: float = typer.Option(
        0.1, min=0.0, max=0.9, help="Of the groups of shots that are told no side, for testing."
    ),
    skip_bad: bool = typer.Option(
        False, "--skip-bad", help="Leave out shots that cannot be brought, instead of none at all."
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Say what is there and how it is understood, and write nothing."
    ),
) -> None:
    """Bring finished shots in as training clips, with a page that shows what they are like."""
    cv2.setNumThreads(1)
    image_files.set_threads(0)
    found, wrong = read_shots(shots, test_share)
    for sentence in wrong:
        say(f"cannot be brought: {sentence}")
    if dry_run:
        for shot in found:
            typer.echo(_described(shot))
    if wrong and not skip_bad:
        raise InputError(
            "input.bad_shots",
            f"{len(wrong)} of {len(found) + len(wrong)} shots of {shots} cannot be brought: "
            f"{wrong[0]}",
            hint="mend them, or leave them out with --skip-bad",
        )
    if dry_run:
        return
    sides: dict[str, tuple[Path, dict[str, Entry]]] = {}
    brought: list[str] = []
    for side in SPLITS:
        own = [shot for shot in found if shot.split == side]
        if own:
            clips, new = _bring_side(own, output / side, backgrounds, skip_bad, wrong)
            sides[side] = output / side, clips
            brought += new
    write_quality_page(output / PAGE, sides, wrong)
    clips = {name: entry for _, entries in sides.values() for name, entry in entries.items()}
    warned = sum(bool(entry["quality"]["warnings"]) for entry in clips.values())
    typer.echo(f"{output / PAGE / 'index.html'}")
    typer.echo(
        f"{len(brought)} shots brought; there are {len(clips)} now, {warned} with warnings, "
        f"and {len(wrong)} were left out"
    )


def _bring_side(
    shots: Sequence[StudioShot],
    out: Path,
    backgrounds: Path | None,
    skip_bad: bool,
    wrong: list[str],
) -> tuple[dict[str, Entry], list[str]]:
    """One side of the split, shot by shot: its clips, and the names of those that are new."""
    files = background_files(backgrounds) if backgrounds else []
    done = []
    with locked(out):
        manifest: dict[str, Any] = read_manifest(out) or dict(_EMPTY, clips={})
        _require_own(manifest, out)
        manifest["clips"].update(recovered(out))
        for shot in shots:
            entry = manifest["clips"].get(shot.name)
            if entry is not None and is_brought(shot, out, entry):
                say(f"{shot.name} is there")
                continue
            try:
                if entry is None:
                    require_unclaimed(out, shot.name)
                entry = bring(shot, out, files)
            except InputError as error:
                if not skip_bad:
                    raise
                wrong.append(f"{shot.name}: {error.message}")
                say(f"cannot be brought: {wrong[-1]}")
                continue
            publish_clip(out, shot.name)
            manifest["clips"][shot.name] = entry
            write_manifest(out, manifest)
            forget_staged(out, shot.name)
            done.append(shot.name)
            say(f"{shot.name}: {len(shot.numbers)} frames, {entry['kind']}")
            for warning in entry["quality"]["warnings"]:
                say(f"  {warning}")
        write_manifest(out, manifest)
    return manifest["clips"], done


def _require_own(manifest: dict[str, Any], out: Path) -> None:
    if manifest.get("settings", {}).get("kind") != "footage":
        raise InputError(
            "input.output_taken",
            f"{out} holds clips that dvm-train footage did not make",
            hint="choose another folder with --output",
        )


def _described(shot: StudioShot) -> str:
    light = light_of(shot)
    kind = kind_of(shot, light)
    return (
        f"{shot.name}: {shot.split}, {len(shot.numbers)} frames {shot.numbers[0]}–"
        f"{shot.numbers[-1]}, {kind}, {light.space}, composited in {light.name}"
    )
