"""Flow that lies beside an item: where what a frame shows lies in the next one.

flow_png/flow_0001_0002.png    16 bit, as VideoMatting108 has them: 100·x and 100·y as signed
                               numbers, then 0 where nothing is known
flow/flow_0001_0002.png        the same
flow/flow_0001_0002.flo        Middlebury's format, 1e9 or more where nothing is known
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.plates.file_errors import entries

Flow = npt.NDArray[np.float32]

FOLDERS = ("flow_png", "flow")
_NAME = re.compile(r"flow_(\d+)_(\d+)\.(png|flo)")
_SCALE = 100
_NOTHING = 1e9  # Middlebury's sign of an unknown vector


def find_flow(place: Path) -> Mapping[tuple[int, int], Path]:
    """Flow files of an item's folder, by the numbers of the two frames; empty if it has none."""
    found = {}
    for folder in (place / name for name in FOLDERS):
        for path in entries(folder) if folder.is_dir() else ():
            parts = _NAME.fullmatch(path.name)
            if parts:
                found[int(parts[1]), int(parts[2])] = path
    return found


def read_flow(path: Path) -> Flow:
    """H×W×2, x and y in pixels, NaN where nothing is known.

    Raises:
        InputError: ``input.unreadable`` if it is no such file.
    """
    flow = _flo(path) if path.suffix == ".flo" else _png(path)
    if flow is None:
        raise InputError(
            "input.unreadable",
            f"{path} cannot be read as optical flow",
            hint="give a .flo file, or a PNG of 16 bit with three channels: 100·x, 100·y, known",
        )
    return flow


def _png(path: Path) -> Flow | None:
    # OpenCV's order of channels, which is the one the format is described in.
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.shape[2:] != (3,):
        return None
    flow = np.ascontiguousarray(values[:, :, :2]).view(np.int16).astype(np.float32) / _SCALE
    flow[values[:, :, 2] == 0] = np.nan
    return np.asarray(flow, np.float32)


def _flo(path: Path) -> Flow | None:
    data = path.read_bytes()
    if len(data) < 12 or data[:4] != b"PIEH":
        return None
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, 4))
    if min(width, height) < 1 or len(data) != 12 + 8 * width * height:
        return None
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    flow[~(np.abs(flow) < _NOTHING).all(-1)] = np.nan
    return flow
