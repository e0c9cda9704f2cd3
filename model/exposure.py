"""The map from scene-linear light into the range a network sees, the same in use and in training.

A fixed gain, identity up to a knee, then an exponential shoulder that never clips, then the sRGB
curve. It is stored with each checkpoint. Torch only: training runs where there is no OpenImageIO.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True)
class ExposureMap:
    """Parameters of the map.

    Attributes:
        stops: gain before the shoulder, in stops (factor 2**stops).
        knee: linear value up to which the map is the identity; above it, highlights bend towards 1.
    """

    stops: float = 0.0
    knee: float = 0.8

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def encode_srgb(linear: torch.Tensor) -> torch.Tensor:
    """The sRGB transfer curve (IEC 61966-2-1) for values in 0…1."""
    low = linear * 12.92
    high = 1.055 * linear.clamp_min(0.0031308).pow(1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, low, high)


def to_picture(linear: torch.Tensor, exposure: ExposureMap) -> torch.Tensor:
    """Scene-linear Rec.709 to what a network sees.

    Args:
        linear: float32, any shape, finite; may be negative or far above 1.
        exposure: the map's parameters.

    Returns:
        The same shape, 0…1; negative light becomes 0, infinitely much light becomes 1.
    """
    light = (linear * 2.0**exposure.stops).clamp_min(0)
    room = 1.0 - exposure.knee
    bent = exposure.knee + room * (1.0 - torch.exp(-(light - exposure.knee).clamp_min(0) / room))
    return encode_srgb(torch.where(light > exposure.knee, bent, light)).clamp(0, 1)
