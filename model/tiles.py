"""A matting network over a whole frame or in tiles, with the same result.

Tiles begin at multiples of what the network needs, carry a halo as wide as its reach in pixels, and
take crops of priors that were solved on the whole frame. Only tiles with unknown pixels are run.
A network that tiles itself is given the whole frame, and the side that tiles would have.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from cuda_ops import replay
from model.device_memory import does_not_fit
from model.face import Estimate, Frame, MattingNetwork
from model.plates.plate import Window
from model.precision import PRECISIONS

WHOLE_UP_TO = 2048 * 1280  # pixels
TILE = 1024
# On a CUDA device that has twice the memory for it: a tile's halo is more than the tile itself.
_WHOLE_ON_CARD, _BYTES_A_PIXEL = 4096 * 3112, 1024


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
        features: encodings kept from earlier windows on this canvas, by (frame, tile); new ones
            are added.
        tile: side in pixels; 0 = whole frames up to 2048×1280, on a CUDA device with memory for it
            up to 4096×3112, else 1024.
        precision: ``float32``, ``float16`` or ``bfloat16``.

    Returns:
        The estimate over the canvas (outside of the tiles run: the trimap), and what was done
        differently for want of memory ("" if nothing).

    Raises:
        CapacityError: ``capacity.device_memory`` if smaller tiles do not fit either, naming needed
            and free memory.
    """
    middle = around[centre].frame
    height, width = middle.light.shape[-2:]
    side = tile or (0 if height * width <= _whole_up_to(middle.light.device) else TILE)
    with suppress(torch.cuda.OutOfMemoryError):
        return _estimate(network, around, centre, features, side, precision), ""
    # Here the error is gone, and with it what it held of the attempt.
    features.clear()
    replay.let_go()
    torch.cuda.empty_cache()
    smaller = max((side or max(height, width)) // 2, 128)
    try:
        found = _estimate(network, around, centre, features, smaller, precision)
        return found, f"tile {smaller} for want of memory"
    except torch.cuda.OutOfMemoryError as error:
        features.clear()
        tried = f", not even in tiles of {smaller} pixels"
        raise does_not_fit(middle.number, middle.light.device, error, tried) from error


def _whole_up_to(device: torch.device) -> int:
    """How many pixels a frame may have to be run as one."""
    if device.type != "cuda":
        return WHOLE_UP_TO
    room = torch.cuda.get_device_properties(device).total_memory // 2 // _BYTES_A_PIXEL
    return max(WHOLE_UP_TO, min(room, _WHOLE_ON_CARD))


def _estimate(
    network: MattingNetwork,
    around: Sequence[Seen],
    centre: int,
    features: MutableMapping[tuple[int, Any], Any],
    side: int,
    precision: str,
) -> Estimate:
    middle = around[centre].frame
    trimap = middle.known
    alpha, confidence = trimap.clone(), torch.ones_like(trimap)
    unknown = trimap == 0.5
    dtype = PRECISIONS.get(precision)
    whole = Window.of_size(trimap.shape[-1], trimap.shape[-2])
    for inner, outer in tiles(whole, 0 if network.tiles_itself else side, network):
        rows, columns = inner.inside(whole)
        if not unknown[..., rows, columns].any():
            continue
        with torch.autocast(trimap.device.type, dtype, enabled=dtype is not None):
            for seen in around:
                key = seen.frame.number, outer
                if key not in features:
                    features[key] = network.encode(*_cut(seen, outer, whole, network.multiple))
            found = network.decode([features[s.frame.number, outer] for s in around], centre, side)
        there = inner.inside(outer)
        alpha[..., rows, columns] = found.alpha[..., there[0], there[1]].float()
        confidence[..., rows, columns] = found.confidence[..., there[0], there[1]].float()
    known = ~unknown
    alpha = torch.where(known, trimap, alpha.nan_to_num(0.5).clamp(0, 1))
    confidence = torch.where(known, 1.0, confidence.nan_to_num(0.0).clamp(0, 1))
    return Estimate(alpha, confidence)


def tiles(whole: Window, side: int, network: MattingNetwork) -> Iterator[tuple[Window, Window]]:
    """Inner rectangles that cover the frame once, each with the outer one to run it on.

    Args:
        whole: the frame.
        side: of inner rectangles; rounded up to the network's multiple. 0 = one tile.
        network: its ``halo`` and ``multiple``.
    """
    if side == 0:
        yield whole, whole
        return
    step = -(-side // network.multiple) * network.multiple
    halo = -(-network.halo // network.multiple) * network.multiple
    for y in range(whole.y0, whole.y1 + 1, step):
        for x in range(whole.x0, whole.x1 + 1, step):
            bottom, right = min(y + step - 1, whole.y1), min(x + step - 1, whole.x1)
            yield (
                Window(x, y, right, bottom),
                Window(
                    max(x - halo, whole.x0),
                    max(y - halo, whole.y0),
                    min(right + halo, whole.x1),
                    min(bottom + halo, whole.y1),
                ),
            )


def _cut(seen: Seen, outer: Window, whole: Window, multiple: int) -> tuple[Frame, Estimate]:
    """A tile, of a size that the network takes."""
    rows, columns = outer.inside(whole)
    prior = Estimate(
        seen.prior.alpha[..., rows, columns], seen.prior.confidence[..., rows, columns]
    )
    return padded(seen.frame.crop(rows, columns), prior, multiple)


def padded(frame: Frame, prior: Estimate, multiple: int) -> tuple[Frame, Estimate]:
    """Right and below, the edge repeated, up to a size that ``multiple`` divides."""
    down, right = -frame.light.shape[-2] % multiple, -frame.light.shape[-1] % multiple
    if not down and not right:
        return frame, prior

    def pad(x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, (0, right, 0, down), mode="replicate")

    larger = replace(
        frame, light=pad(frame.light), picture=pad(frame.picture), trimap=pad(frame.known)
    )
    return larger, Estimate(pad(prior.alpha), pad(prior.confidence))
