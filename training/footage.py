"""`dvm-train footage`: a studio's plates and finished mattes become training clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    remove_clip,
    require_unclaimed,
)
from training.composing.manifest import MANIFEST, SCHEMA, Entry, read_manifest, write_manifest
from training.studio.backgrounds import background_files
from training.studio.bringing import bring, is_brought, kind_of, require_background
from training.studio.frames import Light, light_of
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
    total = len(found) + len(wrong)
    for sentence in wrong:
        say(f"cannot be brought: {sentence}")
    files = background_files(backgrounds) if backgrounds else []
    fit = []
    for shot in found:
        try:
            light = light_of(shot)
            kind = kind_of(shot, light)
            if dry_run:
                typer.echo(_described(shot, light, kind))
            require_background(shot, kind, files)
        except InputError as error:
            wrong.append(f"{shot.name}: {error.message}")
            say(f"cannot be brought: {wrong[-1]}")
            continue
        fit.append(shot)
    if wrong and not (skip_bad and fit):
        raise _bad_shots(shots, wrong, total)
    for side in SPLITS:
        gone = {shot.name for shot in fit if shot.split != side}
        _take_out(output / side, gone, dry_run)
    if dry_run:
        return
    sides: dict[str, tuple[Path, dict[str, Entry]]] = {}
    brought: list[str] = []
    for side in SPLITS:
        own = [shot for shot in fit if shot.split == side]
        if own:
            clips, new = _bring_side(own, output / side, files, skip_bad, wrong)
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
    if len(wrong) == total:
        raise _bad_shots(shots, wrong, total)


def _bad_shots(shots: Path, wrong: list[str], total: int) -> InputError:
    return InputError(
        "input.bad_shots",
        f"{len(wrong)} of {total} shots of {shots} cannot be brought: {wrong[0]}",
        hint="mend them: without them there is nothing to bring"
        if len(wrong) == total
        else "mend them, or leave them out with --skip-bad",
    )


def _take_out(out: Path, names: set[str], dry_run: bool) -> None:
    """Clips that the list has on the other side by now: none may be on both, to be tested on what
    it was taught."""
    manifest = read_manifest(out, by_name=True)
    if not _is_own(manifest or {}) or not names:
        return  # of somebody else, who is told when clips are to be brought there
    if dry_run:
        for name in sorted(names & {*(manifest or {})["clips"]}):
            say(f"{name} changes sides: its clip in {out} would be taken out")
        return
    with locked(out):
        manifest = _manifest(out)
        for name in sorted(names & {*manifest["clips"]}):
            remove_clip(out, name)
            del manifest["clips"][name]
            write_manifest(out, manifest)
            say(f"{name} changes sides: its clip in {out} is taken out")


def _bring_side(
    shots: Sequence[StudioShot],
    out: Path,
    backgrounds: list[Path],
    skip_bad: bool,
    wrong: list[str],
) -> tuple[dict[str, Entry], list[str]]:
    """One side of the split, shot by shot: its clips, and the names of those that are new."""
    done = []
    with locked(out):
        manifest = _manifest(out)
        for shot in shots:
            entry = manifest["clips"].get(shot.name)
            if entry is not None and is_brought(shot, out, entry):
                say(f"{shot.name} is there")
                continue
            try:
                if entry is None:
                    require_unclaimed(out, shot.name)
                entry = bring(shot, out, backgrounds)
            except InputError as error:
                if not skip_bad:
                    raise
                wrong.append(f"{shot.name}: {error.message}")
                say(f"cannot be brought: {wrong[-1]}")
                continue
            publish_clip(out, shot.name, entry)
            manifest["clips"][shot.name] = entry
            write_manifest(out, manifest)
            forget_staged(out, shot.name)
            done.append(shot.name)
            say(f"{shot.name}: {len(shot.numbers)} frames, {entry['kind']}")
            for warning in entry["quality"]["warnings"]:
                say(f"  {warning}")
        write_manifest(out, manifest)
    return manifest["clips"], done


def _manifest(out: Path) -> dict[str, Any]:
    """That of a side in a locked folder, with what an interrupted run left to do done."""
    manifest = read_manifest(out, by_name=True) or dict(_EMPTY, clips={})
    if not _is_own(manifest):
        raise InputError(
            "input.output_taken",
            f"{out} holds clips that dvm-train footage did not make",
            hint="choose another folder with --output",
        )
    for name, entry in manifest["clips"].items():
        if not isinstance(entry.get("quality"), dict):
            raise InputError(
                "input.manifest",
                f"{out / MANIFEST} does not tell what {name} is like, as dvm-train footage does",
                hint="bring it back from a copy, or choose another folder with --output",
            )
    manifest["clips"].update(recovered(out))
    return manifest


def _is_own(manifest: Mapping[str, Any]) -> bool:
    return bool(manifest.get("settings", {}).get("kind") == "footage")


def _described(shot: StudioShot, light: Light, kind: str) -> str:
    return (
        f"{shot.name}: {shot.split}, {len(shot.numbers)} frames {shot.numbers[0]}–"
        f"{shot.numbers[-1]}, {kind}, {light.space}, composited in {light.name}"
    )
