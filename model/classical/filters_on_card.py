"""`filters` for images on a CUDA device, in plain torch: the same borders, no OpenCV.

Images are tensors float32 H×W or H×W×C, in memory C planes one after the other. Where OpenCV rounds
(it places samples to a 32nd of a pixel) nothing is rounded here: results are close, not equal.
Nothing is added up in an order that could differ between runs. None of it looks at what an image
holds, so that it can be recorded (`cuda_ops.recorded`); what is kept here is kept for good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

_SIGMA, _REACH = 1.0, 4  # of `blur`
_PIXELS_AT_ONCE = 2**24  # of all rows of a disc, when a mask grows
_WHITE = (0.950456, 1.0, 1.088754)  # of CIE Lab: D65
_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)


def floats(image: Tensor) -> Tensor:
    return image.float()


def precise(image: Tensor) -> Tensor:
    return image.double()


def box(image: Tensor, radius: int) -> Tensor:
    planes = F.pad(_planes(image), (radius, radius, radius, radius), mode="replicate")
    return _image(F.avg_pool2d(planes, 2 * radius + 1, 1), image)


def blur(image: Tensor) -> Tensor:
    weights = [math.exp(-0.5 * (d / _SIGMA) ** 2) for d in range(_REACH + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    planes = _planes(image)
    for axis in (2, 3):
        mirrored = planes.index_select(axis, _mirrored(planes.shape[axis], _REACH, planes.device))
        parts = [
            mirrored.narrow(axis, _REACH + d, planes.shape[axis])
            for d in range(-_REACH, _REACH + 1)
        ]
        planes = parts[_REACH] * (weights[0] / total)
        for d in range(1, _REACH + 1):
            both = parts[_REACH - d] + parts[_REACH + d]
            planes = planes.add(both, alpha=weights[d] / total)
    return _image(planes, image)


def highest(image: Tensor, radius: int) -> Tensor:
    return _image(F.max_pool2d(_planes(image), 2 * radius + 1, 1, radius), image)


def grown(mask: Tensor, reach: Sequence[int]) -> Tensor:
    """``reach``: by how many pixels to either side a row of the disc goes, from its first row to
    its last."""
    rows, columns = mask.shape
    radius = len(reach) // 2
    # How many pixels of the mask a row has before each column; rows beyond the border have none.
    before = F.pad(mask.to(torch.int32).cumsum(1, dtype=torch.int32), (1, 0, radius, radius))
    wide = _constant(tuple(reach), mask.device)[:, None]
    x = torch.arange(columns, device=mask.device)
    first, last = (x - wide).clamp(0, columns), (x + wide + 1).clamp(0, columns)
    offset = torch.arange(len(reach), device=mask.device)
    row = (offset[:, None] + torch.arange(rows, device=mask.device))[:, :, None]
    at_once = max(_PIXELS_AT_ONCE // mask.numel(), 1)  # rows of the disc
    found = torch.zeros_like(mask)
    for part in (slice(i, i + at_once) for i in range(0, len(reach), at_once)):
        here = before[row[part], last[part, None]] > before[row[part], first[part, None]]
        found |= here.any(0)
    return found


def resized(image: Tensor, rows: int, columns: int, *, by_area: bool) -> Tensor:
    planes = _planes(image)
    if not by_area:
        size = (rows, columns)
        return _image(F.interpolate(planes, size, mode="bilinear", align_corners=False), image)
    down = _by_area(image.shape[0], rows, image.device)
    across = _by_area(image.shape[1], columns, image.device)
    return _image(down @ planes @ across.T, image)


def sampled(image: Tensor, places: Tensor) -> Tensor:
    rows, columns = image.shape[:2]
    scale = _constant((2 / max(columns - 1, 1), 2 / max(rows - 1, 1)), image.device)
    found = F.grid_sample(
        _planes(image),
        (places * scale - 1)[None],
        padding_mode="border",
        align_corners=True,
    )
    return _image(found, image)


def pixel_places(image: Tensor) -> Tensor:
    return _pixel_places(*image.shape[:2], image.device)


def channels_first(image: Tensor) -> Tensor:
    return image.permute(2, 0, 1).contiguous()


def merged(planes: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(planes)).float().permute(1, 2, 0)


def chosen(mask: Tensor, image: Tensor, other: Tensor) -> Tensor:
    return torch.where(mask[..., None], image, other)


def percentile_where(mask: Tensor, values: Tensor, share: float) -> Tensor:
    # Sorted with what is not asked for behind them: so nobody waits for how many there are.
    ordered = torch.where(mask, values, torch.inf).flatten().sort().values
    last = (mask.sum() - 1).clamp_min(0)
    place = last * (share / 100)
    below = place.floor().long()
    pair = ordered[torch.stack([below, torch.minimum(below + 1, last)])]
    found = torch.lerp(pair[0], pair[1], (place - below).to(values.dtype))
    return torch.where(mask.any(), found, 0.0)


def scaled_lab(picture: Tensor) -> Tensor:
    """sRGB-encoded H×W×3 in 0…1 → CIE Lab, scaled as `colour_classifier.lab` does it."""
    encoded = picture.permute(2, 0, 1)
    linear = torch.where(
        encoded <= 0.04045, encoded / 12.92, ((encoded.clamp_min(0) + 0.055) / 1.055) ** 2.4
    )
    xyz = []
    for weights, white in zip(_TO_XYZ, _WHITE, strict=True):
        one = sum(w * plane for w, plane in zip(weights, linear, strict=True)) / white
        root = one.clamp_min(0.008856) ** (1 / 3)
        xyz.append(torch.where(one > 0.008856, root, 7.787 * one + 16 / 116))
    x, y, z = xyz
    scaled = [(116 * y - 16) / 100, (500 * (x - y) + 64) / 128, (200 * (y - z) + 64) / 128]
    return torch.stack(scaled).permute(1, 2, 0)


def weighted_counts(which: Tensor, weight: Tensor, count: int) -> Tensor:
    """float32: how much weight (0…1) each of ``count`` numbers has. As whole numbers, whose sum is
    the same in any order."""
    unit = 2.0**20
    whole = (weight * unit).round().long().flatten()
    sums = whole.new_zeros(count).index_add_(0, which.flatten(), whole)
    return (sums.double() / unit).float()


def smoothed(values: Tensor, along: Sequence[tuple[float, float, float]]) -> Tensor:
    """Each value and its neighbours along each axis, by three weights; beyond the ends is 0."""
    for axis, (before, own, after) in enumerate(along):
        rest = values.shape[axis] - 1
        found = values * own
        found.narrow(axis, 1, rest).add_(values.narrow(axis, 0, rest), alpha=before)
        found.narrow(axis, 0, rest).add_(values.narrow(axis, 1, rest), alpha=after)
        values = found
    return values


@cache
def _pixel_places(rows: int, columns: int, device: torch.device) -> Tensor:
    y = torch.arange(rows, dtype=torch.float32, device=device)
    x = torch.arange(columns, dtype=torch.float32, device=device)
    return torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)]).permute(1, 2, 0)


@cache
def _constant(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(numbers, device=device)


def _planes(image: Tensor) -> Tensor:
    """H×W or H×W×C → 1×C×H×W."""
    return image[None, None] if image.ndim == 2 else image.permute(2, 0, 1)[None]


def _image(planes: Tensor, like: Tensor) -> Tensor:
    """1×C×H×W → H×W, or H×W×C if ``like`` has channels."""
    return planes[0, 0] if like.ndim == 2 else planes[0].permute(1, 2, 0)


def _mirrored(length: int, beyond: int, device: torch.device) -> Tensor:
    """The places read by an image that goes on beyond its ends, as mirrored by its last pixels."""
    places = torch.arange(-beyond, length + beyond, device=device)
    if length == 1:
        return torch.zeros_like(places)
    period = 2 * (length - 1)
    places = places.remainder(period)
    return torch.minimum(places, period - places)


@cache
def _by_area(length: int, wanted: int, device: torch.device) -> Tensor:
    """wanted×length: how much each pixel counts in the mean over a longer one."""
    step = length / wanted
    begin = torch.arange(wanted, dtype=torch.float64, device=device)[:, None] * step
    pixel = torch.arange(length, dtype=torch.float64, device=device)
    shared = torch.minimum(begin + step, pixel + 1) - torch.maximum(begin, pixel)
    return (shared.clamp_min(0) / step).float()
