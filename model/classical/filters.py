"""The few filters that trimap propagation is made of, with our types and borders.

Images are float32 H×W or H×W×C, masks bool H×W, radii whole pixels. They are numpy's on a CPU,
where OpenCV filters them, and torch's on a CUDA device (`filters_on_card`): what is made of these
filters, of operators and of what `arrays` has runs on either. To mypy all of them are numpy's.

numpy takes ten times as long along an axis of two or three items as along a row of pixels. So what
is done with channels is done here, whole planes at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch

from model.classical import filters_on_card

card: Any = filters_on_card  # whose images are tensors
Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Given = ParamSpec("Given")
Found = TypeVar("Found")


def arrays(image: object) -> Any:
    """The library of an image, `numpy` or `torch`: for ``where``, ``exp``, ``clip`` and what else
    both have by the same name, with the same arguments."""
    return torch if is_on_card(image) else np


def is_on_card(image: object) -> bool:
    """Whether an image is torch's."""
    return isinstance(image, torch.Tensor)


def also_on_card(
    same: Callable[..., Any],
) -> Callable[[Callable[Given, Found]], Callable[Given, Found]]:
    """Makes a function of numpy's arrays call ``same`` if its first one is a tensor."""

    def either(function: Callable[Given, Found]) -> Callable[Given, Found]:
        @wraps(function)
        def called(*given: Given.args, **named: Given.kwargs) -> Found:
            first = given[0]
            if isinstance(first, list | tuple):
                first = first[0]
            return same(*given, **named) if is_on_card(first) else function(*given, **named)

        return called

    return either


def placed(image: npt.NDArray[Any], like: Any) -> Any:
    """A numpy array where another image is: on its device, or as it is."""
    if is_on_card(like):
        return torch.from_numpy(np.ascontiguousarray(image)).to(like.device)
    return image


def fetched(image: Any) -> npt.NDArray[Any]:
    """An image as numpy's, wherever it is."""
    return image.cpu().numpy() if is_on_card(image) else np.asarray(image)


@also_on_card(card.floats)
def floats(image: npt.ArrayLike) -> Image:
    """float32 of numbers or of a mask."""
    return np.asarray(image, np.float32)


@also_on_card(card.precise)
def precise(image: Image) -> Image:
    """For sums whose terms cancel: OpenCV adds up in doubles what it is given in floats, and torch
    must be given doubles."""
    return image


@also_on_card(card.box)
def box(image: Image, radius: int) -> Image:
    """Mean over a square; beyond the border the nearest pixel counts."""
    side = (2 * radius + 1, 2 * radius + 1)
    return floats(cv2.boxFilter(image, -1, side, borderType=cv2.BORDER_REPLICATE))


@also_on_card(card.blur)
def blur(image: Image) -> Image:
    """Gaussian of one pixel's standard deviation."""
    return floats(cv2.GaussianBlur(image, (0, 0), 1.0))


@also_on_card(card.highest)
def highest(image: Image, radius: int) -> Image:
    """Maximum over a square."""
    return floats(cv2.dilate(image, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)))


def grown(mask: Mask, radius: int) -> Mask:
    """The mask grown by a disc; nothing grows in from beyond the border."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    if is_on_card(mask):
        found: Mask = card.grown(mask, [int(row.sum()) // 2 for row in disc])
        return found
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc), np.uint8) > 0


def shrunk(mask: Mask, radius: int) -> Mask:
    """The mask eroded by a disc; the border does not eat into it."""
    return ~grown(~mask, radius)


def closed(mask: Mask, radius: int) -> Mask:
    """The mask, and gaps in it that are no wider than the disc."""
    return shrunk(grown(mask, radius), radius)


@also_on_card(card.resized)
def resized(image: Image, rows: int, columns: int, *, by_area: bool) -> Image:
    """The image at another size: by area (to reduce) or bilinear; axes stay what they are."""
    mode = cv2.INTER_AREA if by_area else cv2.INTER_LINEAR
    found = floats(cv2.resize(image, (columns, rows), interpolation=mode))
    return found.reshape(rows, columns, *image.shape[2:])


@also_on_card(card.sampled)
def sampled(image: Image, places: Image) -> Image:
    """The image read at H×W×2 places (x, y): bilinear; beyond the border the nearest pixel."""
    found = cv2.remap(  # type: ignore[call-overload]  # the stub does not know that None is allowed
        image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return floats(found)


@also_on_card(card.pixel_places)
def pixel_places(image: Image) -> Image:
    """H×W×2: where each pixel of an image is, x then y. Read-only."""
    return _pixel_places(*image.shape[:2])


@lru_cache(maxsize=1)  # wanted many times a frame, and always for the same working size
def _pixel_places(rows: int, columns: int) -> Image:
    y, x = np.indices((rows, columns), np.float32)
    places = np.stack([x, y], 2)
    places.setflags(write=False)
    return places


def channel_sum(image: Image) -> Image:
    """H×W×C → H×W, added up from the first channel to the last."""
    total = image[..., 0] + image[..., 1]
    for channel in range(2, image.shape[2]):
        total += image[..., channel]
    return total


@also_on_card(card.channels_first)
def channels_first(image: Image) -> Image:
    """H×W×C → C×H×W, contiguous."""
    rows, columns, channels = image.shape
    found = np.empty((channels, rows, columns), np.float32)
    cv2.split(floats(image), list(found))
    return found


def planes_of(image: Image) -> torch.Tensor:
    """H×W or H×W×C → float32 1×C×H×W, where the image is."""
    planes = image[None] if image.ndim == 2 else channels_first(image)
    return torch.as_tensor(floats(planes))[None]


@also_on_card(card.merged)
def merged(planes: Sequence[Image]) -> Image:
    """C planes H×W → H×W×C."""
    return floats(cv2.merge(planes))


@also_on_card(card.chosen)
def chosen(mask: Mask, image: Image, other: Image) -> Image:
    """H×W×C: ``image`` where the mask is set, ``other`` elsewhere."""
    return floats(cv2.copyTo(floats(image), mask.view(np.uint8), np.array(other, np.float32)))


@also_on_card(card.percentile_where)
def percentile_where(mask: Mask, values: Image, share: float) -> Image:
    """Of the values where a mask is set, linear between them; 0 of none. A single number."""
    chosen = values[mask]
    return np.asarray(np.percentile(chosen, share) if chosen.size else 0.0)


def holding(mask: Mask, seeds: Mask) -> Mask:
    """The connected regions of a mask, corners included, that hold any of the seeds in it."""
    if is_on_card(mask):  # regions are told apart on the CPU
        found: Mask = placed(holding(*fetched(arrays(mask).stack([mask, seeds]))), mask)
        return found
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    held = np.bincount(labels[seeds], minlength=count) > 0
    return np.asarray(held[labels] & mask, np.bool_)
