"""One layer of a synthetic clip, seen by a camera whose shutter stays open for a while.

What is averaged over the exposure, over halved sources and between pixels is colour times a
*weight* that differs from the coverage only by a grain of `FAINT`, and the weight itself. So alpha
is the mean coverage, colour is the mean of premultiplied colour over alpha wherever there is
coverage, and where there is none it is still the colour of the source, not a division by nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.synthetic.motion import Array, Bending, Path, Warp, flow_of, mapped
from training.synthetic.sending import send

FAINT = 1 / 512  # the weight of a pixel without coverage
_GHOST = 1.2  # pixels between sub-frames: further apart they are seen as several edges
_HALVE = 0.7  # frame pixels per source pixel below which a source is halved first


@dataclass(frozen=True)
class Layer:
    """What one layer of a clip shows; everything about it is drawn.

    Attributes:
        frames: T, which frame of the source each frame of the clip shows.
        path, bending: how it moves.
        colours: 3×256, the light of each code of the source's red, green and blue.
        shutter: how long it is exposed, in frames.
        most: never more sub-frames than this.
        defocus: radius of the blur in pixels; 0 for none.
        disc: blurred by a disc, not by a bell.
    """

    frames: tuple[int, ...]
    path: Path
    bending: Bending | None
    colours: NDArray[np.float32]
    shutter: float = 0.0
    most: int = 8
    defocus: float = 0.0
    disc: bool = False

    def times(self) -> Array:
        return np.arange(len(self.frames), dtype=np.float64)

    def exposures(self, height: int, width: int) -> int:
        """As many sub-frames as the longest smear needs, at most ``most``."""
        if self.shutter == 0:
            return 1
        middle = self.times()
        corners = np.array([[x, y] for x in (0.0, width) for y in (0.0, height)])
        opens = self.path.to_source(middle - self.shutter / 2)
        closes = self.path.to_frame(middle + self.shutter / 2)
        seen = np.einsum("kij,kpj->kpi", closes[:, :, :2], mapped(opens, corners))
        smear = float(np.abs(seen + closes[:, None, :, 2] - corners).max())
        if self.bending is not None:
            size = float(np.exp(self.path.zoom.at(middle)).max())
            speed = np.hypot(*self.bending.shifts.T) * np.abs(self.bending.rates)
            smear += self.shutter * size * float(speed.sum())
        return int(np.clip(math.ceil(smear / _GHOST), 1, self.most))


@dataclass(frozen=True)
class Seen:
    """A layer as the camera sees it.

    Attributes:
        colour: T×3×H×W, light times weight.
        weight: T×1×H×W, `FAINT` … 1.
        alpha: T×1×H×W, mean coverage.
    """

    colour: Tensor
    weight: Tensor
    alpha: Tensor


def see(
    source: Tensor,
    layer: Layer,
    height: int,
    width: int,
    *,
    texture: Tensor | None = None,
) -> Seen:
    """Look at a source through its path, bending, shutter and defocus.

    A source with coverage ends where it ends: beyond its border its outermost pixels go on. One
    without coverage is mirrored there.

    Args:
        source: uint8 S×h×w×C on the device, C = 4 with coverage or 3 without.
        layer: what to show of it.
        height, width: of the frame.
        texture: uint8 h'×w'×3, colour to lay over the source's own shading instead of its colour.
    """
    count = layer.exposures(height, width)
    offsets = layer.shutter * ((np.arange(count) + 0.5) / count - 0.5)
    times = (layer.times()[:, None] + offsets).ravel()
    warp = Warp(layer.path, layer.bending, times, height, width, source.device)
    box = warp.box(source.shape[1], source.shape[2])
    level = _level(layer)
    box = (_even(box[0], level, source.shape[1]), _even(box[1], level, source.shape[2]))
    part = _frames(source, layer.frames)[:, box[0], box[1]]
    content = _content(part, layer, texture, box, source.shape)
    for _ in range(level):
        content = functional.avg_pool2d(content, 2)
    grid = warp.grid(box, level, content.shape[2], content.shape[3])
    covered = source.shape[3] == 4
    sampled = functional.grid_sample(
        content,
        grid.reshape(len(content), -1, width, 2),
        padding_mode="border" if covered else "reflection",
        align_corners=False,
    )
    # F×C×(T/F·E·H)×W, F = T for a source that moves by itself and 1 for one that does not.
    channels = sampled.shape[1]
    sampled = sampled.reshape(len(content), channels, -1, count, height, width).mean(3)
    sampled = sampled.transpose(1, 2).reshape(-1, channels, height, width)
    if layer.defocus > 0:
        sampled = blurred(sampled, layer.defocus, layer.disc)
    if not covered:
        weight = torch.ones_like(sampled[:, :1])
        return Seen(sampled, weight, weight)
    weight = sampled[:, 3:]
    return Seen(sampled[:, :3], weight, ((weight - FAINT) / (1 - FAINT)).clamp(0, 1))


def layer_flow(layer: Layer, height: int, width: int, device: torch.device) -> Tensor:
    """T×2×H×W: where the layer's content lies in the next frame, by its warps alone.

    What a filmed source does by itself is not in it.
    """
    warp = Warp(layer.path, layer.bending, layer.times(), height, width, device)
    return flow_of(warp)


def _level(layer: Layer) -> int:
    size = float(np.exp(layer.path.zoom.at(layer.times())).mean())
    level = 0
    while size < _HALVE and level < 4:
        size, level = size * 2, level + 1
    return level


def _even(span: slice, level: int, size: int) -> slice:
    """A span that can be halved ``level`` times, if the source is large enough for it."""
    step = 2**level
    first = span.start // step * step
    end = min(-(-span.stop // step) * step, size // step * step)
    if end - first < step:
        first = max(size // step * step - step, 0)
        end = first + step
    return slice(first, end)


def _frames(source: Tensor, frames: tuple[int, ...]) -> Tensor:
    if len(set(frames)) == 1:
        return source[frames[0] : frames[0] + 1]
    step = frames[1] - frames[0]
    if step > 0 and frames == tuple(range(frames[0], frames[-1] + 1, step)):
        return source[frames[0] : frames[-1] + 1 : step]
    return (
        source[torch.as_tensor(frames)]
        if source.device.type == "cpu"
        else torch.stack([source[i] for i in frames])
    )


def _content(
    part: Tensor,
    layer: Layer,
    texture: Tensor | None,
    box: tuple[slice, slice],
    size: torch.Size,
) -> Tensor:
    """F×C×h×w: light times weight, and the weight if there is coverage."""
    codes = part[..., :3].permute(0, 3, 1, 2)
    if texture is not None:
        codes = _textured(codes, texture, box, size)
    table = send(layer.colours.reshape(-1), part.device)
    first = torch.arange(0, 768, 256, device=part.device)[:, None, None]
    light = table[codes.long() + first]
    if part.shape[3] == 3:
        return light
    weight = part[..., 3].to(torch.float32)[:, None] * ((1 - FAINT) / 255) + FAINT
    return torch.cat((light * weight, weight), 1)


def _textured(codes: Tensor, texture: Tensor, box: tuple[slice, slice], size: torch.Size) -> Tensor:
    """Colour of the texture, stretched over the whole source, with the source's own shading."""
    rows, columns = (
        slice(span.start * n // whole, max(span.stop * n // whole, span.start * n // whole + 1))
        for span, n, whole in zip(box, texture.shape, size[1:3], strict=False)
    )
    patch = texture[rows, columns].permute(2, 0, 1)[None].to(torch.float32)
    patch = functional.interpolate(patch, codes.shape[2:], mode="bilinear", align_corners=False)
    shade = codes.to(torch.float32).mean(1, keepdim=True)
    shade = (shade / shade.mean((2, 3), keepdim=True).clamp_min(1)).clamp(0.5, 1.6)
    return (patch * shade).round().clamp(0, 255).to(torch.uint8)


def blurred(pictures: Tensor, radius: float, disc: bool) -> Tensor:
    """K×C×H×W out of focus: by a disc of ``radius`` pixels, or a bell of the same spread."""
    reach = math.ceil(radius) if disc else math.ceil(1.5 * radius)
    reach = min(reach, min(pictures.shape[2:]) - 1)
    if reach < 1:
        return pictures
    place = np.arange(-reach, reach + 1, dtype=np.float32)
    padded = functional.pad(pictures, (reach,) * 4, mode="replicate")
    flat = padded.reshape(-1, 1, *padded.shape[2:])
    if disc:
        kernel = np.clip(radius + 0.5 - np.hypot(place[:, None], place[None]), 0, 1)
        kernel = (kernel / kernel.sum()).astype(np.float32)
        result = functional.conv2d(flat, send(kernel, pictures.device)[None, None])
    else:
        bell = np.exp(-2 * (place / radius) ** 2)  # a disc of radius r spreads by r/2 each way
        bell = (bell / bell.sum()).astype(np.float32)
        weights = send(bell, pictures.device)
        result = functional.conv2d(flat, weights[None, None, :, None])
        result = functional.conv2d(result, weights[None, None, None, :])
    return result.reshape(pictures.shape)
