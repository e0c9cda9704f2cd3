"""What a camera and a codec do to the light that reaches them: noise, and blocks of cosines.

Neither touches alpha. Random numbers lie ready in one long row, drawn once on the CPU, and each
frame reads it from a place of its own: a GPU makes the very scene a CPU makes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.exposure import encode_srgb
from training.synthetic.sending import kept, send

# The example tables of ITU-T T.81, annex K, for luma and chroma.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


@dataclass(frozen=True)
class Noise:
    """Noise of one clip, in scene-linear light.

    Attributes:
        shot: variance per unit of light.
        read: standard deviation in the dark.
        soft: neighbours share noise, as after demosaicing.
        starts: T places in the row of random numbers, each 0…1.
    """

    shot: float
    read: float
    soft: bool
    starts: tuple[float, ...]


def decode_srgb(encoded: Tensor) -> Tensor:
    """The inverse of the sRGB curve for values in 0…1."""
    high = ((encoded.clamp_min(0.04045) + 0.055) / 1.055).pow(2.4)
    return torch.where(encoded <= 0.04045, encoded / 12.92, high)


class NoiseRow:
    """Normal random numbers on a device, enough for frames of a size."""

    def __init__(self, pixels: int, device: torch.device) -> None:
        length = max(1 << 22, 12 * pixels)
        drawn = np.random.default_rng(20_240_611).standard_normal(length, dtype=np.float32)
        self.row = kept(drawn, device)

    def add(self, light: Tensor, noise: Noise, linear: bool) -> Tensor:
        """T×3×H×W with noise added; in display light it is added before the encoding."""
        frame = light[0].numel()
        starts = [int(start * (len(self.row) - frame)) for start in noise.starts]
        grain = torch.stack([self.row[i : i + frame] for i in starts]).reshape(light.shape)
        if noise.soft:
            grain = (grain + grain.roll(1, -1) + grain.roll((1, 1), (-2, -1))) / math.sqrt(3)
        scene = light if linear else decode_srgb(light)
        spread = (scene.clamp_min(0) * noise.shot + noise.read**2).sqrt()
        scene = scene + spread * grain
        return scene if linear else encode_srgb(scene.clamp(0, 1))


def rounded(encoded: Tensor) -> Tensor:
    """Codes of eight bits."""
    return (encoded * 255).round() / 255


def _cosines() -> NDArray[np.float32]:
    k, n = np.mgrid[:8, :8]
    basis = np.cos((2 * n + 1) * k * math.pi / 16) * math.sqrt(2 / 8)
    basis[0] /= math.sqrt(2)
    cosines: NDArray[np.float32] = basis.astype(np.float32)
    return cosines


def _quantised(plane: Tensor, table: NDArray[np.float32], cosines: Tensor) -> Tensor:
    """K×H×W in codes, H and W multiples of 8."""
    count, height, width = plane.shape
    blocks = plane.reshape(count, height // 8, 8, width // 8, 8).transpose(2, 3)
    steps = send(table, plane.device)
    waves = cosines @ (blocks - 128) @ cosines.T
    waves = (waves / steps).round() * steps
    blocks = cosines.T @ waves @ cosines + 128
    return blocks.transpose(2, 3).reshape(count, height, width)


def compressed(encoded: Tensor, quality: float, halved: bool) -> Tensor:
    """What is left after a codec of 8×8 cosine blocks.

    Args:
        encoded: K×3×H×W, 0…1.
        quality: 1 … 100, in the sense of the usual JPEG scale.
        halved: chroma at half the size (4:2:0).
    """
    height, width = encoded.shape[2:]
    padded = functional.pad(encoded, (0, -width % 16, 0, -height % 16), mode="replicate") * 255
    red, green, blue = padded.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = torch.stack(((blue - luma) * 0.564 + 128, (red - luma) * 0.713 + 128), 1)
    if halved:
        chroma = functional.avg_pool2d(chroma, 2)
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    tables = [
        np.clip(np.round(np.array(table, np.float32) * scale), 1, 255).astype(np.float32)
        for table in (_LUMA, _CHROMA)
    ]
    cosines = send(_cosines(), encoded.device)
    luma = _quantised(luma, tables[0], cosines)
    chroma = _quantised(chroma.flatten(0, 1), tables[1], cosines).reshape(chroma.shape)
    if halved:
        chroma = functional.interpolate(
            chroma, scale_factor=2.0, mode="bilinear", align_corners=False
        )
    first, second = (chroma - 128).unbind(1)
    red, blue = luma + second / 0.713, luma + first / 0.564
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    result = torch.stack((red, green, blue), 1)[:, :, :height, :width]
    return (result.round() / 255).clamp(0, 1)
