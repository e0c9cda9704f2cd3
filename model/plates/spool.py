"""Propagated trimaps between the two passes: one lossless file a frame."""

from __future__ import annotations

import io
import zipfile
from dataclasses import astuple
from pathlib import Path

import numpy as np

from model.plates.atomic import write_bytes
from model.plates.plate import Trimap, Window


def write_trimap_spool(path: str | Path, trimap: Trimap) -> None:
    """Write a trimap with its window, confidence and source, in one step.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    arrays: dict[str, np.ndarray] = {
        "pixels": trimap.pixels,
        "source": np.array(trimap.source),
    }
    if trimap.window is not None:
        arrays["window"] = np.array(astuple(trimap.window), np.int64)
    if trimap.confidence is not None:
        arrays["confidence"] = trimap.confidence
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    write_bytes(Path(path), packed.getvalue())


def read_trimap_spool(path: str | Path) -> Trimap:
    """Read what `write_trimap_spool` wrote, to the bit.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is cut short or not ours; it is to be computed again.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            window = tuple(int(one) for one in arrays["window"]) if "window" in arrays else None
            return Trimap(
                pixels=arrays["pixels"],
                window=None if window is None else Window(*window),
                source=str(arrays["source"]),
                confidence=arrays.get("confidence"),
            )
    except (zipfile.BadZipFile, KeyError, EOFError, TypeError) as error:
        raise ValueError(f"{path} is not a spooled trimap: {error}") from error
