"""A tiny clip whose truth is known: a soft, textured disc that moves over a textured background."""

from dataclasses import dataclass

import numpy as np
import pytest

from model.plates.plate import Plate, PlateHeader, Trimap, Window


@dataclass(frozen=True)
class Clip:
    plates: dict[int, Plate]
    trimaps: dict[int, Trimap]
    alphas: dict[int, np.ndarray]

    def header(self, frame: int) -> PlateHeader:
        return self.plates[frame].header

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(self.plates)


def make_clip(count=4, height=48, width=64, first=1001, pixels=None, **header) -> Clip:
    """Scene-linear plates; ``pixels`` may change each array, ``header`` overrides fields."""
    rng = np.random.default_rng(5)
    smooth = rng.random((height // 4 + 3, width // 4 + 9, 3)).astype(np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    plates, trimaps, alphas = {}, {}, {}
    for i in range(count):
        number = first + i
        centre = width * 0.4 + 1.5 * i, height * 0.5
        distance = np.hypot(x - centre[0], y - centre[1])
        alpha = np.clip((min(height, width) * 0.3 - distance) / 5 + 0.5, 0, 1)
        rows = (y / 4).astype(int), ((x + i) / 4).astype(int)
        background = 0.05 + 0.3 * smooth[rows]
        foreground = np.stack((1.4 - 0.2 * np.sin(x / 3), 0.6 + 0 * x, 0.2 + 0.1 * y / height), -1)
        mixed = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
        mixed = mixed.astype(np.float32)
        if pixels is not None:
            mixed = pixels(mixed, i)
        window = Window.of_size(width, height)
        fields = {"data_window": window, "display_window": window} | header
        plates[number] = Plate(
            mixed, PlateHeader(("R", "G", "B"), colourspace="lin_rec709", **fields)
        )
        band = np.abs(min(height, width) * 0.3 - distance) < 5
        classes = np.where(band, 128, np.where(alpha > 0.5, 255, 0)).astype(np.uint8)
        trimaps[number] = Trimap(classes, source="given")
        alphas[number] = alpha
    return Clip(plates, trimaps, alphas)


@pytest.fixture
def clip_of():
    return make_clip
