"""An engine whose network costs nothing: what is left is reading, colour, copies and writing.

Everything else is the real one, `model.pipeline.ShotMatte`. Alpha is the trimap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from model.engine import EngineOptions
from model.exposure import ExposureMap
from model.face import Estimate, Frame
from model.pipeline import ShotMatte, choose_device
from model.view import LightView


def open_engine(options: EngineOptions) -> ShotMatte:
    """The engine; options of networks are ignored."""
    device = choose_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    view = LightView(options.colourspace, options.composited_in, ExposureMap(), device)
    said = {"engine": "free", "network": "free", "propagation": "free", "device": str(device)}
    return ShotMatte(Free(), Free(), view, options, said)


class Free:
    """A matting network that answers with the trimap, and carries nothing."""

    needs_both = False
    causal = False
    tiles_itself = False
    reach = 2
    halo = 0
    multiple = 1

    def prior(self, frame: Frame) -> Estimate:
        return Estimate(frame.known, torch.ones_like(frame.known))

    def encode(self, frame: Frame, prior: Estimate) -> Estimate:
        return prior

    def decode(self, window: Sequence[Estimate], centre: int, side: int = 0) -> Estimate:
        return window[centre]

    def starts(self, keyframes: Sequence[Frame], origins: Sequence[int]) -> Any:
        raise NotImplementedError("give a trimap for every frame")

    def step(self, memory: Any, frame: Frame) -> Any:
        raise NotImplementedError("give a trimap for every frame")
