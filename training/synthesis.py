"""Clips with exact truth: sprites that move over backgrounds, seen by a camera.

For every clip, before noise and compression, exactly

    light = alpha · foreground + (1 − alpha) · background

in the light it was composited in: scene-linear for most clips, display light for the others. What
passes in front of the foreground is part of the background and takes from alpha. Where it leaves
no alpha, or alpha leaves no background, the hidden layer still has sensible colour.

Run as a module it draws contact sheets.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.exposure import ExposureMap, encode_srgb, to_picture
from training.material import read_material
from training.sprites import Sprite, sprite_library
from training.synthetic.camera import NoiseRow, compressed, decode_srgb, rounded
from training.synthetic.clip_sheet import write_sheet
from training.synthetic.layers import FAINT, Seen, layer_flow, see
from training.synthetic.motion import spline
from training.synthetic.scene import FRAMINGS, Cast, Scene, Shot, SynthesisConfig, rounded_off
from training.synthetic.sending import kept, send
from training.synthetic.trimaps import draw_trimaps, snapped

__all__ = ["HOLD_OUT_SEED", "Clips", "Synthesis", "SynthesisConfig", "hold_out"]

HOLD_OUT_SEED = 1 << 40  # seeds from here on are for judging, never for training
_HOLD_OUT_SPRITES = 64
_HOLD_OUT_KINDS = {
    "strands": 1.6,
    "fur": 1.6,
    "solid": 1.4,
    "curves": 0.6,
    "lace": 0.4,
    "smoke": 0.4,
    "cloth": 0.15,
    "cutout": 1.0,
    "person": 1.2,
    "effect": 0.4,
}
_WHITE = 16.0  # linear light that a codec's code 255 stands for at most


@dataclass(frozen=True)
class Clips:
    """N clips of T frames, float32 on one device.

    Attributes:
        light: N×T×3×H×W, in the light it was composited in: scene-linear, may exceed 1 (and with
            noise fall below 0), or sRGB-encoded, 0…1; with noise and compression.
        picture: N×T×3×H×W, 0…1, what a network looks at: light itself in display light.
        alpha: N×T×1×H×W.
        foreground, background: N×T×3×H×W, straight, in the light of ``light``.
        flow: N×T×2×H×W, x and y in pixels: where the foreground's content lies in the next frame,
            by its motion alone: what filmed footage does by itself is not in it. 0 in the last.
        trimap: N×T×1×H×W: 0 background, 0.5 unknown, 1 foreground.
        linear: bool N: composited in scene-linear light.
        kinds: N, the kind of each clip's sprite.
    """

    light: Tensor
    picture: Tensor
    alpha: Tensor
    foreground: Tensor
    background: Tensor
    flow: Tensor
    trimap: Tensor
    linear: Tensor
    kinds: tuple[str, ...]


class Synthesis:
    """Makes clips from sprites and backgrounds that lie on a device.

    Args:
        sprites: at least one, each with an edge.
        photographs: uint8 H×W×3, sRGB; may be empty, then backgrounds are made.
        background_clips: uint8 T×H×W×3, sRGB; may be empty.
        config: what clips look like.
        device: where sources lie and clips are made.

    Raises:
        ValueError: no sprite, a sprite without an edge, a picture of another shape or type.
    """

    def __init__(
        self,
        sprites: Sequence[Sprite],
        photographs: Sequence[NDArray[np.uint8]],
        background_clips: Sequence[NDArray[np.uint8]],
        config: SynthesisConfig,
        device: torch.device | str,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.exposure = ExposureMap()
        sprites = [rounded_off(sprite) for sprite in sprites]
        self._cast = Cast(sprites, photographs, background_clips, config)
        self._sources = {
            "sprite": [kept(sprite.frames, self.device) for sprite in sprites],
            "photograph": [kept(picture[None], self.device) for picture in photographs],
            "clip": [kept(clip, self.device) for clip in background_clips],
        }
        self._grain = NoiseRow(3 * config.height * config.width, self.device)

    @torch.no_grad()
    def clips(self, seed: int, count: int) -> Clips:
        """Make ``count`` clips; clip i of a seed does not depend on ``count``."""
        if count < 1:
            raise ValueError("at least one clip")
        scenes = [self._cast.scene(np.random.default_rng((seed, i))) for i in range(count)]
        with torch.autocast(self.device.type, enabled=False):  # places need all their digits
            shown = [self._show(scene) for scene in scenes]
            light, picture, alpha, foreground, background, flow = (
                torch.stack(parts) for parts in zip(*shown, strict=True)
            )
            trimap = draw_trimaps(alpha, [scene.brush for scene in scenes])
        return Clips(
            light=light,
            picture=picture,
            alpha=alpha,
            foreground=foreground,
            background=background,
            flow=flow,
            trimap=trimap,
            linear=send(np.array([scene.linear for scene in scenes]), self.device),
            kinds=tuple(scene.kind for scene in scenes),
        )

    def _see(self, shot: Shot) -> Seen:
        source = shot.source
        if source.made is not None:
            pictures = send(source.made, self.device)
        else:
            pictures = self._sources[source.group][source.number]
        texture = None if shot.texture is None else self._sources["photograph"][shot.texture][0]
        return see(pictures, shot.layer, self.config.height, self.config.width, texture=texture)

    def _show(self, scene: Scene) -> tuple[Tensor, ...]:
        """Light, picture, alpha, foreground, background and flow of one scene, each T×C×H×W."""
        size = self.config.height, self.config.width
        top = self._see(scene.foregrounds[0])
        flow = layer_flow(scene.foregrounds[0].layer, *size, self.device)
        colour, weight, alpha = top.colour, top.weight, top.alpha
        for shot in scene.foregrounds[1:]:
            under = self._see(shot)
            hidden = 1 - alpha
            lower = layer_flow(shot.layer, *size, self.device)
            flow = torch.where(alpha >= hidden * under.alpha, flow, lower)
            colour = colour + hidden * under.colour
            weight = weight + hidden * under.weight
            alpha = alpha + hidden * under.alpha
        foreground = colour / weight
        background = self._see(scene.background).colour
        if scene.clutter is not None:
            lies = self._see(scene.clutter)
            over = lies.colour * (lies.alpha / lies.weight)
            background = over + (1 - lies.alpha) * background
        if scene.rolling is not None:
            gains = self._gains(scene.rolling.gains)
            foreground = foreground * gains if scene.rolling.before else foreground
            background = background * gains if scene.rolling.behind else background
        if scene.occluder is not None:
            front = self._see(scene.occluder)
            # The plate less the foreground's light is the background's: occluder and backdrop.
            through = (1 - front.alpha) * (1 - alpha).clamp_min(FAINT)
            background = (front.colour * (front.alpha / front.weight) + through * background) / (
                front.alpha + through
            )
            alpha = alpha * (1 - front.alpha)
        alpha = snapped(alpha)
        light = alpha * foreground + (1 - alpha) * background
        if not scene.linear:
            light = light.clamp(0, 1)  # of what rounding leaves
        light = self._filmed(light, scene)
        picture = to_picture(light, self.exposure) if scene.linear else light
        return light, picture, alpha, foreground, background, flow

    def _gains(self, knots: NDArray[np.float32]) -> Tensor:
        """T×1×H×W."""
        down, across = spline(self.config.height), spline(self.config.width)
        gains = send(down, self.device) @ send(knots, self.device) @ send(across, self.device).T
        return gains[:, None]

    def _filmed(self, light: Tensor, scene: Scene) -> Tensor:
        """What the camera and the codec leave of the light."""
        if scene.noise is not None:
            light = self._grain.add(light, scene.noise, scene.linear)
        if scene.linear:
            if scene.quality is None:
                return light
            # A codec has no codes above white, so white is put above all but the brightest.
            white = light.amax().clamp(1, _WHITE)
            coded = encode_srgb((light / white).clamp(0, 1))
            return decode_srgb(compressed(coded, scene.quality, scene.halved)) * white
        if scene.quality is not None:
            return compressed(light, scene.quality, scene.halved)
        return rounded(light) if scene.codes else light


def hold_out(kind: str, material: Path | None, workers: int = 1) -> Iterator[Clips]:
    """The clips that checkpoints are judged and chosen on; the same ones for ever, on the CPU.

    Real material comes from the held-out files, procedural sprites from reserved seeds.

    Args:
        kind: ``matting``: 48 clips of 6 frames, 256×320, edges close up; ``propagation``: 8 clips
            of 24 frames, 272×480, whole moving objects, no persons.
        material: its folder; without one, everything is procedural.
        workers: processes that grow sprites.

    Yields:
        Single clips (N = 1).

    Raises:
        ValueError: another kind.
    """
    if kind == "matting":
        count = 48
        config = SynthesisConfig(height=256, width=320, kind_shares=_HOLD_OUT_KINDS)
    elif kind == "propagation":
        count = 8
        config = SynthesisConfig(
            height=272,
            width=480,
            frames=24,
            framing="whole",
            still_share=0.0,
            speeds=(1.0, 6.0),
            kind_shares=_HOLD_OUT_KINDS,
        )
    else:
        raise ValueError(f"a hold-out is matting or propagation, not {kind!r}")
    found = read_material(material, "held_out")
    sprites = sprite_library(found, HOLD_OUT_SEED, _HOLD_OUT_SPRITES, workers)
    if kind == "propagation":
        sprites = tuple(sprite for sprite in sprites if sprite.kind != "person")
    synthesis = Synthesis(sprites, found.photographs, found.clips, config, "cpu")
    for number in range(count):
        yield synthesis.clips(HOLD_OUT_SEED + number, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw a contact sheet."""
    parser = argparse.ArgumentParser(prog="python -m training.synthesis", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--material", type=Path, help="folder of real material")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=8, help="clips")
    parser.add_argument("--sprites", type=int, default=40, help="procedural sprites to choose from")
    parser.add_argument("--framing", choices=FRAMINGS, default="close")
    parser.add_argument("--frames", type=int, default=6)
    chosen = parser.parse_args(arguments)
    found = read_material(chosen.material, "train")
    sprites = sprite_library(found, chosen.seed, chosen.sprites, 1)
    config = SynthesisConfig(framing=chosen.framing, frames=chosen.frames)
    synthesis = Synthesis(sprites, found.photographs, found.clips, config, "cpu")
    write_sheet(synthesis.clips(chosen.seed, chosen.count), chosen.out)


if __name__ == "__main__":
    main()
