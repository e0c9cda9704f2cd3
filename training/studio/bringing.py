"""Bring shots into a data set of clips, `{v,a[,f,b]}/NAME/NNNNN.exr`, inspected on the way.

    plate           v is the plate, a the matte
    premultiplied   v = colours + (1 − α) · background, f = colours ÷ α
    straight        v = α · colours + (1 − α) · background, f = colours

A clip gets its place when all of its frames are there (`training.composing.folder`); one whose
sources have not changed is left as it is. What its mattes are like stands in its entry.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.checkpoint import sha256_of_file
from model.errors import InputError
from model.plates.file_errors import writing
from model.plates.image_files import write_image
from training.composing.folder import STAGING, stage_entry
from training.composing.manifest import PARTS, Entry, clip_digest, clip_folders
from training.studio.backgrounds import Background, background_of
from training.studio.frames import SPACES, Light, StudioFrame, light_of, read_frame
from training.studio.kinds import look, tell
from training.studio.quality import Inspector
from training.studio.shots import StudioShot

Values = npt.NDArray[np.float32]

# By kind; raised when the same footage becomes other clips.
BROUGHT = {"plate": 1, "premultiplied": 2, "straight": 1}
_LOOKED_AT = 8  # frames by which a kind is told


def kind_of(shot: StudioShot, light: Light) -> str:
    """As the list says, or as a few frames from all over the shot tell.

    Raises:
        InputError: ``input.unclear_kind`` or reading.
    """
    if shot.kind != "auto":
        return shot.kind
    step = max(1, len(shot.numbers) // _LOOKED_AT)
    frames = [read_frame(shot, number, light) for number in shot.numbers[::step]]
    return tell([look(one.colours, one.alpha.clip(0, 1)) for one in frames], shot.name)


def require_background(shot: StudioShot, kind: str, backgrounds: list[Path]) -> None:
    """See that there is something to lay an element over.

    Raises:
        InputError: ``input.no_backgrounds``.
    """
    if kind != "plate" and not backgrounds:
        raise InputError(
            "input.no_backgrounds",
            f"{shot.name} is {kind}, which lacks its background, and --backgrounds names none",
            hint="name a folder of pictures or movies with --backgrounds, or say "
            'kind = "plate" if the colours are the plate',
        )


def bring(shot: StudioShot, out: Path, backgrounds: list[Path]) -> Entry:
    """Write a shot's clip into the staging folder of ``out``.

    Args:
        backgrounds: for elements; may be empty if the shot is none.

    Returns:
        Its entry for the manifest.

    Raises:
        InputError: ``input.unclear_kind``, ``input.no_backgrounds``, ``input.plate_size``, reading,
            ``input.output_unwritable``; nothing is left of the clip.
        CapacityError: ``capacity.disk_full``; the same.
    """
    staged = out / STAGING / shot.name
    try:
        with writing(out):
            shutil.rmtree(staged, ignore_errors=True)
        return _bring(shot, staged, out, backgrounds)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def sources_of(shot: StudioShot, kind: str) -> dict[str, Any]:
    """What a clip is made from: how the list says it is understood, and each file's size, time and
    sha256, by its name with ``plate`` or ``matte`` before it."""
    return {
        "said": _said(shot, kind),
        "files": {
            name: [*_look(path), sha256_of_file(path)] for name, path in _files(shot).items()
        },
    }


def is_brought(shot: StudioShot, out: Path, entry: Entry) -> bool:
    """Whether a clip of the manifest is there as it was written, from footage as it is now. Files
    of the same size and time are taken to be the same."""
    try:
        before, files = entry["sources"]["files"], _files(shot)
        if _said(shot, entry["kind"]) != entry["sources"]["said"] or set(files) != set(before):
            return False
        for name, path in files.items():
            *look, digest = before[name]
            if _look(path) != look and sha256_of_file(path) != digest:
                return False
        return clip_digest(clip_folders(out, shot.name)) == str(entry["sha256"])
    except (OSError, KeyError, ValueError):
        return False  # whatever the reason, it is brought anew


def _said(shot: StudioShot, kind: str) -> list[Any]:
    return [shot.kind, shot.colourspace, shot.composited_in, BROUGHT[kind]]


def _files(shot: StudioShot) -> dict[str, Path]:
    files = [shot.files(number) for number in shot.numbers]
    plates = {f"plate/{plate.name}": plate for plate, _ in files}
    return plates | {f"matte/{matte.name}": matte for plate, matte in files if matte != plate}


def _look(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _bring(shot: StudioShot, staged: Path, out: Path, backgrounds: list[Path]) -> Entry:
    light = light_of(shot)
    kind = kind_of(shot, light)
    behind = None
    if kind != "plate":
        require_background(shot, kind, backgrounds)
        behind = background_of(shot.name, backgrounds)
    inspector = Inspector(light)
    size = (0, 0)
    for place, number in enumerate(shot.numbers):
        frame = read_frame(shot, number, light, kind)
        height, width = frame.alpha.shape
        if place and (width, height) != size:
            raise InputError(
                "input.plate_size",
                f"frame {number} of {shot.name} is {width}×{height}, the others "
                f"{size[0]}×{size[1]}",
                frame=number,
                hint="render the shot in one format",
            )
        size = width, height
        planes = _planes(frame, kind, behind, place, light)
        inspector.see(replace(frame, colours=planes["v"]))
        for part, values in planes.items():
            _write(staged / part, place, values, light)
    entry = {
        "frames": len(shot.numbers),
        "first": shot.numbers[0],
        "last": shot.numbers[-1],
        "size": list(size),
        "kind": kind,
        "told": shot.kind == "auto",
        "colourspace": light.space,
        "light": light.name,
        "foreground": "straight",
        "group": shot.group,
        "background": behind.name if behind else "",
        "quality": asdict(inspector.finish()),
        "sources": sources_of(shot, kind),
        "sha256": clip_digest({part: staged / part for part in PARTS}),
    }
    stage_entry(out, shot.name, entry)
    return entry


def _planes(
    frame: StudioFrame, kind: str, behind: Background | None, place: int, light: Light
) -> dict[str, Values]:
    """The parts of one frame; an element is laid over its background."""
    alpha = frame.alpha.clip(0, 1)
    if kind == "plate" or behind is None:
        return {"v": frame.colours, "a": alpha}
    share = alpha[..., None]
    background = behind.read(place, alpha.shape[0], alpha.shape[1], light.name)
    if kind == "premultiplied":
        front = frame.colours
        straight = np.where(share > 0, front / np.maximum(share, 1e-4), 0).astype(np.float32)
    else:
        front, straight = frame.colours * share, frame.colours
    return {"v": front + (1 - share) * background, "a": alpha, "f": straight, "b": background}


def _write(folder: Path, place: int, values: Values, light: Light) -> None:
    with writing(folder.parent):
        folder.mkdir(parents=True, exist_ok=True)
    channels = "A" if values.ndim == 2 else "RGB"
    attributes = {} if values.ndim == 2 else {"colorInteropID": SPACES[light.name]}
    write_image(
        folder / f"{place:05d}.exr",
        values,
        tuple(channels),
        pixel_type="float" if values.ndim == 2 else "half",
        attributes=attributes,
    )
