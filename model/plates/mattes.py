"""Mattes as files: one EXR with layers, or one EXR a layer.

Every matte is stored in channels called ``A``: DWAA and DWAB leave these as they are, and damage
R, G, B and Y.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.engine import FrameMatte
from model.errors import InputError
from model.plates.atomic import discard, publish
from model.plates.colour import interop_id, plate_colourspace
from model.plates.compression import check_compression
from model.plates.image_files import stage_image
from model.plates.ranges import FramePattern
from model.plates.spool import read_trimap_spool, write_trimap_spool

__all__ = [
    "LAYERS",
    "check_outputs",
    "matte_paths",
    "read_trimap_spool",
    "write_matte",
    "write_trimap_spool",
]

LAYERS = ("alpha", "trimap", "confidence", "foreground")


def matte_paths(
    pattern: str | Path, frame: int, layers: Collection[str], split: bool
) -> dict[str, Path]:
    """The files of one frame's matte.

    Args:
        pattern: as `FramePattern.parse` takes it, ending in .exr.
        frame: its number.
        layers: those wanted, of `LAYERS`.
        split: a file for each layer.

    Returns:
        With ``split`` a path for each layer: the pattern's own for alpha, ``NAME.trimap.####.exr``
        and so on for the rest. Without, the one file under ``alpha``, whatever is in it.

    Raises:
        InputError: ``input.pattern``, or ``input.output_unwritable`` if it is not an EXR.
    """
    plain = FramePattern.parse(pattern)
    if plain.path(frame).suffix.lower() != ".exr":
        raise InputError(
            "input.output_unwritable",
            f"{pattern} is not the name of an EXR, and mattes are EXRs",
            hint="end it in .exr, e.g. alpha.####.exr",
        )
    if not split:
        return {"alpha": plain.path(frame)}
    return {
        layer: plain.path(frame) if layer == "alpha" else _with_layer(plain, layer).path(frame)
        for layer in LAYERS
        if layer in layers
    }


def check_outputs(layers: Collection[str], split: bool, compression: str) -> None:
    """Refuse what `write_matte` would refuse of these options, before a frame is computed.

    Raises:
        InputError: ``input.unknown_compression`` or ``input.lossy_compression``.
    """
    for part in _files(layers, split).values():
        check_compression(compression, [name for layer in part for name in _names(layer, split)])


def write_matte(
    paths: Mapping[str, Path],
    matte: FrameMatte,
    *,
    layers: Collection[str],
    split: bool,
    compression: str = "zip",
    attributes: Mapping[str, object] | None = None,
    made_before: Mapping[Path, str] | None = None,
) -> dict[Path, str]:
    """Write one frame's matte: half EXRs with the plate's windows, pixel aspect and metadata.

    Alpha and confidence lie in 0…1, the trimap is 0, 0.5 and 1; all are exact in half where the
    trimap is certain. Without ``split`` there is always an alpha. If one of several files cannot
    be written, none is.

    Args:
        paths: from `matte_paths`.
        matte: arrays over the plate's data window.
        layers: those wanted, of `LAYERS`.
        split: a file for each layer.
        compression: of EXR; must leave mattes exact.
        attributes: provenance, ``dvm:engine`` and so on. ``dvm:colourspace``, if among them,
            overrides what the plate says of the foreground's colours.
        made_before: sha256 of files of an earlier run, which may be replaced, by path. Any other
            file that is there stays, unless it has the very bytes that would be written: a process
            that died left it. None = whatever is there is replaced.

    Returns:
        sha256 (hex) of each file's bytes.

    Raises:
        InputError: ``input.output_unwritable``, ``input.unknown_compression``,
            ``input.lossy_compression``; ``input.output_exists`` with ``made_before``.
        CapacityError: ``capacity.disk_full``.
        ValueError: a layer is wanted that the matte lacks.
    """
    ours = dict(attributes or {})
    staged: dict[Path, Path] = {}
    digests: dict[Path, str] = {}
    try:
        for name, part in _files(layers, split).items():
            path = paths[name]
            channels = [channel for layer in part for channel in _names(layer, split)]
            colour = _colour_of_foreground(matte, ours) if "foreground" in part else {}
            staged[path] = stage_image(
                path,
                np.concatenate([_pixels(matte, layer) for layer in part], axis=2),
                channels,
                header=matte.header,
                compression=compression,
                attributes={**colour, **ours},
            )
            digests[path] = hashlib.sha256(staged[path].read_bytes()).hexdigest()
    except BaseException:
        discard(*staged.values())
        raise
    known = None
    if made_before is not None:
        known = {path: {one, made_before.get(path, "")} for path, one in digests.items()}
    publish(staged, ours=known, frame=matte.frame)
    return digests


def _files(layers: Collection[str], split: bool) -> dict[str, tuple[str, ...]]:
    """Which layers go into which file."""
    wanted = tuple(layer for layer in LAYERS if layer in layers)
    if split:
        return {layer: (layer,) for layer in wanted}
    return {"alpha": ("alpha", *(layer for layer in wanted if layer != "alpha"))}


def _names(layer: str, split: bool) -> tuple[str, ...]:
    names = ("R", "G", "B") if layer == "foreground" else ("A",)
    return names if split or layer == "alpha" else tuple(f"{layer}.{name}" for name in names)


def _with_layer(plain: FramePattern, layer: str) -> FramePattern:
    """``alpha.####.exr`` to ``alpha.trimap.####.exr``, ``####.exr`` to ``trimap.####.exr``."""
    if plain.is_single:
        path = Path(plain.before)
        return FramePattern(str(path.with_name(f"{path.stem}.{layer}{path.suffix}")))
    stem = plain.before.rstrip("._-")
    between = plain.before[len(stem) :] or "."
    if not stem or stem.endswith(("/", "\\")):
        return FramePattern(f"{stem}{layer}.", plain.after, plain.digits)
    return FramePattern(f"{stem}.{layer}{between}", plain.after, plain.digits)


def _pixels(matte: FrameMatte, layer: str) -> npt.NDArray[np.float32]:
    """H×W×1, or H×W×3 for the foreground."""
    if layer == "trimap":
        lookup = np.zeros(256, np.float32)
        lookup[128], lookup[255] = 0.5, 1.0
        return lookup[matte.trimap][:, :, None]
    found = {
        "alpha": matte.alpha,
        "confidence": matte.confidence,
        "foreground": matte.foreground,
    }[layer]
    if found is None:
        raise ValueError(f"the matte of frame {matte.frame} has no {layer}")
    pixels = found.astype(np.float32, copy=False)
    return pixels if layer == "foreground" else pixels[:, :, None].clip(0.0, 1.0)


def _colour_of_foreground(matte: FrameMatte, ours: Mapping[str, object]) -> dict[str, object]:
    """Say in the file which colours these are: an EXR without a word is taken for linear."""
    override = str(ours.get("dvm:colourspace", ""))
    named = interop_id(plate_colourspace(matte.header, override))
    said: dict[str, object] = {"colorInteropID": named or None}
    if override:
        said["chromaticities"] = None  # of what the plate was thought to be
    return said
