"""What elements without a plate are laid over: one picture or movie of a folder for each shot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.plates import colour
from training.composing.layout_frames import Frames, colour_of, open_frames, unit
from training.studio.frames import SPACES

Values = npt.NDArray[np.float32]
_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".mp4", ".mov", ".mkv")


@dataclass(frozen=True)
class Background:
    """Frames behind one shot, forwards and backwards in turn if there are fewer of them."""

    name: str
    frames: Frames

    def read(self, index: int, height: int, width: int, light: str) -> Values:
        """float32 H×W×3 in the light, cut to the format from its middle after covering it."""
        last = self.frames.count - 1
        place = last - abs(last - index % (2 * last)) if last else 0
        values = unit(colour_of(self.frames.read(place)))
        scale = max(height / values.shape[0], width / values.shape[1])
        size = (
            max(width, round(values.shape[1] * scale)),
            max(height, round(values.shape[0] * scale)),
        )
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        large = cv2.resize(values, size, interpolation=way)
        top, left = (size[1] - height) // 2, (size[0] - width) // 2
        cut = np.asarray(large[top : top + height, left : left + width], np.float32)
        return colour.to_linear_rec709(cut, SPACES["display"]) if light == "linear" else cut


def background_files(folder: Path | None) -> list[Path]:
    """Pictures and movies of a folder.

    Raises:
        InputError: ``input.no_backgrounds`` if there is none.
    """
    if folder is None:
        raise InputError(
            "input.no_backgrounds",
            "there are elements without a plate, and no backgrounds to lay them over",
            hint="name a folder of pictures or movies with --backgrounds",
        )
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _ENDINGS)
    if not found:
        raise InputError(
            "input.no_backgrounds",
            f"{folder} holds no pictures or movies",
            hint=f"they end in {', '.join(_ENDINGS)}",
        )
    return found


def background_of(shot: str, files: list[Path]) -> Background:
    """The same file for the same shot and folder.

    Raises:
        InputError: reading.
    """
    number = int.from_bytes(hashlib.sha256(shot.encode()).digest()[:8]) % len(files)
    return Background(files[number].name, open_frames(files[number]))
