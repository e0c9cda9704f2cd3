"""A matting network over a whole frame or in tiles, with the same result.

Tiles begin at multiples of what the network needs, carry a halo as wide as its reach in pixels, and
take crops of priors that were solved on the whole frame. Only tiles with unknown pixels are run.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from model.errors import CapacityError
from model.face import Estimate, Frame, MattingNetwork

WHOLE_UP_TO = 2048 * 1280
TILE = 1024
PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Seen:
    """A frame with the prior that was solved on all of it."""

    frame: Frame
    prior: Estimate


def estimate_in_tiles(
    network: MattingNetwork,
    around: Sequence[Seen],
    centre: int,
    features: MutableMapping[tuple[int, Any], Any],
    tile: int,
    precision: str,
) -> tuple[Estimate, str]:
    """Run the network on a window of frames that share a canvas.

    Args:
        network: encodes each tile of each frame once, then decodes the window.
        around: the window's frames in order, each with its prior.
        centre: which of them is estimated.
        features: encodings kept from earlier windows, by (frame, tile); new ones are added.
        tile: side in pixels; 0 = whole frames up to 2048×1280, else 1024.
        precision: ``float32``, ``float16`` or ``bfloat16``.

    Returns:
        The estimate over the canvas (outside of the tiles run: the trimap), and what was done
        differently for want of memory ("" if nothing).

    Raises:
        CapacityError: ``capacity.device_memory`` if smaller tiles do not fit either.
    """
    height, width = around[centre].frame.light.shape[-2:]
    side = tile or (0 if height * width <= WHOLE_UP_TO else TILE)
    try:
        return _estimate(network, around, centre, features, side, precision), ""
    except torch.cuda.OutOfMemoryError:
        features.clear()
        torch.cuda.empty_cache()
    smaller = max((side or max(height, width)) // 2, 128)
    try:
        found = _estimate(network, around, centre, features, smaller, precision)
        return found, f"tile {smaller} for want of memory"
    except torch.cuda.OutOfMemoryError as error:
        features.clear()
        raise CapacityError(
            "capacity.device_memory",
            f"frame {around[centre].frame.number} does not fit into the device's memory, "
            f"not even in tiles of {smaller} pixels",
            frame=around[centre].frame.number,
            hint="close other programs on the device, or choose a smaller tile or --device cpu",
        ) from error


def _estimate(
    network: MattingNetwork,
    around: Sequence[Seen],
    centre: int,
    features: MutableMapping[tuple[int, Any], Any],
    side: int,
    precision: str,
) -> Estimate:
    middle = around[centre].frame
    trimap = _trimap(middle)
    alpha, confidence = trimap.clone(), torch.ones_like(trimap)
    unknown = trimap == 0.5
    dtype = PRECISIONS.get(precision)
    for inner, outer in tiles(trimap.shape[-2], trimap.shape[-1], side, network):
        if not unknown[..., inner[0], inner[1]].any():
            continue
        with torch.autocast(trimap.device.type, dtype, enabled=dtype is not None):
            for seen in around:
                key = seen.frame.number, (outer, trimap.shape[-2:])
                if key not in features:
                    features[key] = network.encode(*_cut(seen, outer, network.multiple))
            window = [features[s.frame.number, (outer, trimap.shape[-2:])] for s in around]
            found = network.decode(window, centre)
        rows = slice(inner[0].start - outer[0].start, inner[0].stop - outer[0].start)
        columns = slice(inner[1].start - outer[1].start, inner[1].stop - outer[1].start)
        alpha[..., inner[0], inner[1]] = found.alpha[..., rows, columns].float()
        confidence[..., inner[0], inner[1]] = found.confidence[..., rows, columns].float()
    known = ~unknown
    alpha = torch.where(known, trimap, alpha.nan_to_num(0.5).clamp(0, 1))
    confidence = torch.where(known, 1.0, confidence.nan_to_num(0.0).clamp(0, 1))
    return Estimate(alpha, confidence)


Rectangle = tuple[slice, slice]


def tiles(
    height: int, width: int, side: int, network: MattingNetwork
) -> Iterator[tuple[Rectangle, Rectangle]]:
    """Inner rectangles that cover the frame once, each with the outer one to run it on.

    Args:
        height, width: of the frame.
        side: of inner rectangles; rounded up to the network's multiple. 0 = one tile.
        network: its ``halo`` and ``multiple``.
    """
    if side == 0:
        whole = slice(0, height), slice(0, width)
        yield whole, whole
        return
    step = -(-side // network.multiple) * network.multiple
    halo = -(-network.halo // network.multiple) * network.multiple
    for y in range(0, height, step):
        for x in range(0, width, step):
            bottom, right = min(y + step, height), min(x + step, width)
            inner = slice(y, bottom), slice(x, right)
            outer = (
                slice(max(y - halo, 0), min(bottom + halo, height)),
                slice(max(x - halo, 0), min(right + halo, width)),
            )
            yield inner, outer


def _cut(seen: Seen, outer: Rectangle, multiple: int) -> tuple[Frame, Estimate]:
    """Crop, then pad right and bottom (repeating the edge) to what the network needs."""
    frame = seen.frame.crop(*outer)
    alpha = seen.prior.alpha[..., outer[0], outer[1]]
    confidence = seen.prior.confidence[..., outer[0], outer[1]]
    down, right = -frame.light.shape[-2] % multiple, -frame.light.shape[-1] % multiple
    if not down and not right:
        return frame, Estimate(alpha, confidence)

    def pad(x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, (0, right, 0, down), mode="replicate")

    padded = replace(
        frame, light=pad(frame.light), picture=pad(frame.picture), trimap=pad(_trimap(frame))
    )
    return padded, Estimate(pad(alpha), pad(confidence))


def _trimap(frame: Frame) -> torch.Tensor:
    if frame.trimap is None:
        raise ValueError(f"frame {frame.number} has no trimap")
    return frame.trimap
