"""How clips come into their folder: whole, or not at all, wherever a run is interrupted.

A clip is written to ``.composing/NAME/{v,a,f,b}``; when all frames are there, ``entry.json`` is
written, and from then on it counts. Then the four folders get their places, the manifest gets the
entry, and ``.composing/NAME`` goes. `recovered` does what was left to do of that, and removes what
has no entry. Frames are not fsynced one by one: an entry holds their digest, and a clip that a loss
of power damaged is found by it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import cv2

from model.errors import InputError
from model.plates.atomic import write_bytes
from model.plates.file_errors import writing
from training.composing.composer import COMPOSER, Composer
from training.composing.layout import sizes, source_digest
from training.composing.layout_frames import Codes
from training.composing.manifest import PARTS, Entry, clip_digest, clip_folders, parts_of
from training.composing.selection import Clip

STAGING = ".composing"
_ENTRY = "entry.json"
_LOCK = "lock"
# Runs alone are a tenth smaller here than zlib's level 1, and faster.
_PNG = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]


def compose_clip(
    clip: Clip, out: Path, root: Path, seed: int, bg_blur: bool, stop: Callable[[], bool]
) -> Entry | None:
    """Compose a clip into its staging folder.

    Args:
        clip: which.
        out: of the data set.
        root: of the layout, from which sources are named in the entry.
        seed: of the data set.
        bg_blur: whether the background is blurred.
        stop: asked before each frame; if it says so nothing is left, and None is returned.

    Raises:
        InputError: what `Composer` raises, or ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    staged = out / STAGING / clip.name
    folders = {part: staged / part for part in PARTS}
    done = False
    try:
        composer = Composer(clip.pair, clip.sources, seed, bg_blur)
        try:
            with writing(staged):
                shutil.rmtree(staged, ignore_errors=True)
                for folder in folders.values():
                    folder.mkdir(parents=True)
            for index in range(composer.plan.frames):
                if stop():
                    return None
                for part, codes in composer.frame(index).parts().items():
                    write_png(folders[part] / f"{index:05d}.png", codes)
            entry = _entry(clip, composer, root, clip_digest(folders))
        finally:
            composer.close()
        stage_entry(out, clip.name, entry)
        done = True
        return entry
    finally:
        if not done:
            shutil.rmtree(staged, ignore_errors=True)


def stage_entry(out: Path, name: str, entry: Entry) -> None:
    """All files of a staged clip are there; from here on it counts.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    write_bytes(out / STAGING / name / _ENTRY, json.dumps(entry).encode())


def publish_clip(out: Path, name: str, entry: Entry) -> None:
    """Give a staged clip's folders their places; what was there under its name goes, parts that
    the clip lacks too. Parts that are not staged any more have their places already.

    Raises:
        InputError: ``input.output_unwritable``.
    """
    parts = parts_of(entry)
    for part, target in clip_folders(out, name).items():
        staged = out / STAGING / name / part
        with writing(target.parent):
            if target.exists() and (part not in parts or staged.is_dir()):
                shutil.rmtree(target)
            if staged.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                staged.rename(target)


def remove_clip(out: Path, name: str) -> None:
    """Take a finished clip's folders away; of one that is partly gone, the rest.

    Raises:
        InputError: ``input.output_unwritable``.
    """
    for place in clip_folders(out, name).values():
        with writing(place.parent):
            if place.exists():
                shutil.rmtree(place)


def forget_staged(out: Path, name: str) -> None:
    """What is left of staging, once the manifest has the clip."""
    shutil.rmtree(out / STAGING / name, ignore_errors=True)


def recovered(out: Path) -> dict[str, Entry]:
    """Finish or remove what an interrupted run left; the entries of clips that are whole.

    Raises:
        InputError: ``input.output_unwritable``.
    """
    found: dict[str, Entry] = {}
    staging = out / STAGING
    for staged in sorted(staging.iterdir()) if staging.is_dir() else []:
        if not staged.is_dir():
            continue
        name = staged.name
        try:
            entry = json.loads((staged / _ENTRY).read_bytes())
            parts = parts_of(entry)
            places = {
                part: place if part in parts and not (staged / part).is_dir() else staged / part
                for part, place in clip_folders(out, name).items()
            }
            whole = clip_digest(places) == entry["sha256"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            whole, entry = False, {}
        if whole:
            publish_clip(out, name, entry)
            found[name] = entry
        else:
            if entry or (staged / _ENTRY).exists():  # some of its folders may be in place
                for place in clip_folders(out, name).values():
                    shutil.rmtree(place, ignore_errors=True)
            forget_staged(out, name)
    return found


def is_finished(out: Path, clip: Clip, entry: Entry, root: Path, quick: bool) -> bool:
    """Whether a clip of the manifest is there as it was written, from the sources of today.

    Args:
        out: of the data set.
        clip: which.
        entry: of the manifest.
        root: of the layout.
        quick: count the clip's files and do not read them.
    """
    folders = clip_folders(out, clip.name)
    try:
        if entry["composer"] != COMPOSER or not _same_sources(entry["sources"], clip, root):
            return False
        if quick:
            return all(
                sum(1 for _ in folder.iterdir()) == entry["frames"] for folder in folders.values()
            )
        return bool(clip_digest(folders) == entry["sha256"])
    except (OSError, KeyError, ValueError, TypeError):
        return False  # whatever the reason, it is composed again


def require_unclaimed(out: Path, name: str) -> None:
    """See that no files of somebody else lie where a new clip will.

    Raises:
        InputError: ``input.output_taken``.
    """
    for place in clip_folders(out, name).values():
        if place.exists():
            raise InputError(
                "input.output_taken",
                f"{place} is there, and the manifest does not know it",
                hint="move it away, or choose another folder with --output",
            )


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The folder, made if need be, for one run alone.

    Raises:
        InputError: ``input.output_taken`` while another run writes there,
            ``input.output_unwritable``.
    """
    with writing(out):
        (out / STAGING).mkdir(parents=True, exist_ok=True)
        lock = (out / STAGING / _LOCK).open("w")
    with lock:
        try:
            _lock(lock)
        except BlockingIOError:
            raise InputError(
                "input.output_taken",
                f"another dvm-train compose is writing to {out}",
                hint="wait for it, or choose another folder with --output",
            ) from None
        yield


def _lock(file: IO[str]) -> None:
    """Gone with the process that has it. Windows has no such lock; there nobody is kept out."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_png(path: Path, codes: Codes) -> None:
    """A lossless PNG of H×W grey or H×W×3 RGB codes, 8 or 16 bit.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    shown = codes if codes.ndim == 2 else codes[..., ::-1]
    made, data = cv2.imencode(".png", shown, _PNG)
    if not made:
        raise RuntimeError(f"OpenCV made no PNG of {codes.shape} {codes.dtype}")
    with writing(path.parent):
        path.write_bytes(data.tobytes())


def _entry(clip: Clip, composer: Composer, root: Path, digest: str) -> Entry:
    plan = composer.plan
    entry: dict[str, Any] = {
        "pair": list(clip.pair.key),
        "composer": COMPOSER,
        "frames": plan.frames,
        "size": list(plan.size),
        "light": "display",
        "foreground": "straight",
        "bits": {"colour": composer.bits, "alpha": composer.alpha_bits},
        "seed": f"{plan.seed:016x}",
        "motion": [asdict(leg) for leg in plan.legs],
        "foreground_size": list(plan.foreground),
        "background_size": list(plan.background),
        "crop": list(plan.crop),
        "bg_blur": plan.bg_blur,
        "sources": _sources(clip, root),
        "sha256": digest,
    }
    if clip.level:
        entry["class"] = clip.level
    if clip.measured is not None:
        entry["partial_share"] = round(clip.measured, 4)
    return entry


def _sources(clip: Clip, root: Path) -> dict[str, list[Any]]:
    """What a clip is made from. Times are left out: a manifest is the same wherever it is made."""
    return {
        part: [path.relative_to(root).as_posix(), *sizes(path), source_digest(path)]
        for part, path in clip.sources.parts().items()
    }


def _same_sources(before: Mapping[str, Any], clip: Clip, root: Path) -> bool:
    """Whether these are the sources of an entry. One of a version before has no digests: there
    sizes have to do."""
    for part, path in clip.sources.parts().items():
        name, files, size, *digest = before[part]
        if [name, files, size] != [path.relative_to(root).as_posix(), *sizes(path)]:
            return False
        if digest and digest != [source_digest(path)]:
            return False
    return True
