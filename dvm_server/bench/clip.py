"""A clip made up for measuring: a soft, frayed disc that drifts over a textured ground."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from model.plates.image_files import write_image

Pixels = npt.NDArray[np.float32]


# Of a trimap's pixels; about a tenth of the picture is truly mixed.
UNKNOWN = 0.15


def write_clip(folder: Path, width: int, height: int, frames: int) -> dict[int, Path]:
    """Write plates ``plate.0001.exr`` …, scene-linear half, and a trimap for every frame.

    A share of `UNKNOWN` of each trimap is unknown. The same bytes every time.

    Returns:
        The trimaps' files by frame.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ground = _noise(1, width, height)
    coat = _noise(2, width, height) * np.array([0.5, 0.8, 1.0], np.float32)
    trimaps = {}
    for frame in range(1, frames + 1):
        alpha = _disc(width, height, (frame - 1) / max(frames - 1, 1))
        cover = alpha[..., None]
        plate = coat * cover + ground * (1 - cover)
        write_image(folder / f"plate.{frame:04d}.exr", plate, ("R", "G", "B"))
        trimaps[frame] = folder / f"trimap.{frame:04d}.png"
        write_image(trimaps[frame], _trimap(alpha), ("Y",), pixel_type="uint8")
    return trimaps


def _disc(width: int, height: int, time: float) -> Pixels:
    """Alpha, float32 H×W; ``time`` runs from 0 to 1 and moves it by a tenth of the width."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x - width * (0.45 + 0.1 * time), y - height * 0.5
    turn = np.arctan2(y, x)
    fray = np.sin(23 * turn) * np.sin(61 * turn + 1) + 0.5 * np.sin(131 * turn)
    edge = height * (0.30 + 0.03 * fray)
    soft = height * 0.06
    return np.asarray(((edge - np.hypot(x, y)) / soft + 0.5).clip(0, 1), np.float32)


def _noise(seed: int, width: int, height: int) -> Pixels:
    """Three octaves around 0.3, float32 H×W×3."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cells in (8, 32, 128):
        coarse = random.random((max(height // cells, 2), max(width // cells, 2), 3), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 3
    return (0.6 * total).clip(0.01, None)


def _trimap(alpha: Pixels) -> npt.NDArray[np.uint8]:
    certain = ((alpha <= 0) | (alpha >= 1)).astype(np.uint8)
    away = cv2.distanceTransform(certain, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    unknown = away <= np.quantile(away, UNKNOWN, method="lower")
    return np.where(unknown, 128, np.where(alpha >= 1, 255, 0)).astype(np.uint8)
