"""A source of clips that lies nowhere: soft discs that move over a ramp, exact in their layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model.errors import InputError
from training.sources import ClipFrames

KIND = "tests.train.disc_clips:open_discs"
# Tables of a recipe: its clips, and what teaches a tiny st_fam_s by them in the stage matting.
CLIPS = """
[source]
kind = "discs"
folder = "discs/3"

[validation]
kind = "discs"
folder = "discs/2"
"""
OF_DISCS = f"""
[network_config]
channels = [4, 6, 8, 8, 8]
narrow = [4, 4]
guide = 4
{CLIPS}
[synthesis]
height = 48
width = 48

[library]
workers = 1
"""


@dataclass(frozen=True)
class Discs:
    """``spoil`` names what is wrong with one clip's frames, for tests of refusals. ``alike``: both
    layers have the same colours, in stripes, so that a prior of colours knows little."""

    names: tuple[str, ...]
    frames: int = 7
    height: int = 48
    width: int = 64
    linear: bool = False
    layers: bool = True
    trimaps: bool = False
    alike: bool = False
    spoil: str = ""
    revision: int = 0

    @property
    def described(self) -> Mapping[str, Any]:
        return {"folder": "discs", "revision": self.revision}

    def length(self, name: str) -> int:
        return self.frames

    def read(self, name: str, frames: Sequence[int]) -> ClipFrames:
        if self.spoil == "alpha":
            raise InputError(
                "input.no_alpha", f"the clip {name} has no alpha for frame {frames[0]}",
                hint="render it, or leave the clip out",
            )  # fmt: skip
        number = self.names.index(name)
        y = torch.arange(self.height)[:, None] + 0.5
        x = torch.arange(self.width)[None] + 0.5
        alphas = []
        for frame in frames:
            across = (x - self.width * (0.3 + 0.05 * frame + 0.02 * number)).square()
            reach = (across + (y - self.height * 0.5).square()).sqrt()
            alphas.append(((self.height * 0.25 - reach) / 4 + 0.5).clamp(0, 1))
        alpha = torch.stack(alphas)[:, None]
        ripple = 0.5 + 0.3 * torch.sin(x * 0.7 + number) * torch.cos(y * 0.5)
        foreground = torch.stack([0.2 + 0.6 * ripple, 0.7 * ripple, 0.4 + 0 * ripple])
        ramp = (x / self.width).expand(self.height, self.width)
        background = torch.stack([0.6 * ramp, 0.5 + 0 * ramp, 0.8 - 0.5 * ramp])
        if self.alike:
            background = foreground.flip(1).roll(3, 2)
        foreground, background = (
            one.expand(len(frames), 3, self.height, self.width).contiguous()
            for one in (foreground, background)
        )
        light = alpha * foreground + (1 - alpha) * background
        trimap = torch.where((alpha > 0) & (alpha < 1), 0.5, alpha)
        found = ClipFrames(light, alpha, foreground, background, None, self.linear)
        if not self.layers:
            found = replace(found, foreground=None, background=None)
        if self.trimaps:
            found = replace(found, trimap=trimap)
        if self.spoil == "length":
            found = replace(found, foreground=foreground[:-1])
        if self.spoil == "size":
            found = replace(found, background=background[..., 1:])
        return found


def open_discs(folder: Path, table: Mapping[str, Any]) -> Discs:
    """The folder's name says how many clips there are, e.g. ``discs/5``."""
    count = int(folder.name)
    return Discs(tuple(f"disc{i}" for i in range(count)), **table)
