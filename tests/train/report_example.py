"""A tiny evaluation to make reports of: a clip whose name is no harmless text, and a still."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from training.judging.datasets import drawn_trimap
from training.judging.evaluation import Request, judge
from training.judging.tables import Evaluation

NAME = "disc <b>&\"'{{ 7 * 7 }}"
STILL = "disc_still"
HEIGHT, WIDTH, FRAMES = 48, 64, 5


def disc(shift: float) -> np.ndarray:
    """The alpha of a soft disc, exact in 8 bit."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(x - 26 - shift, y - 24)
    return np.rint(np.clip((12 - distance) / 6 + 0.5, 0, 1) * 255) / 255


def composite(alpha: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    foreground = np.stack([0.9 - 0.1 * np.sin(x / 3), 0.7 + 0 * x, 0.2 + 0.002 * y], -1)
    background = np.stack([0.4 + 0.4 * np.sin(x * y / 9), 0.2 + 0.1 * np.cos(y), 0.5 + 0 * x], -1)
    return alpha[..., None] * foreground + (1 - alpha[..., None]) * background


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = values if values.dtype == np.uint8 else np.rint(values * 255).astype(np.uint8)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def make_data(folder: Path) -> Path:
    for i in range(FRAMES):
        alpha = disc(3.0 * i)
        write(folder / NAME / f"comp/{i:04}.png", composite(alpha))
        write(folder / NAME / f"alpha/{i:04}.png", alpha)
        write(folder / NAME / f"trimap/{i:04}.png", drawn_trimap(alpha.astype(np.float32)))
    write(folder / STILL / "comp.png", composite(disc(0)))
    write(folder / STILL / "alpha.png", disc(0))
    return folder


def judged(folder: Path, trimaps: str = "both") -> Evaluation:
    """Its data lie in ``folder/data``, what is kept in ``folder/cache``."""
    data = make_data(folder / "data")
    request = Request(
        (str(data),),
        folder,
        networks=("closed_form",),
        trimaps=trimaps,
        keyframes=("first",),
        pymatting=False,
        sheets=False,
    )
    return judge(request)
