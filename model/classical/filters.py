"""The few OpenCV filters that trimap propagation is made of, with our types and borders.

Images are float32 H×W or H×W×C, masks bool H×W, radii whole pixels.

numpy takes ten times as long along an axis of two or three items as along a row of pixels. So what
is done with channels is done here, whole planes at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def box(image: Image, radius: int) -> Image:
    """Mean over a square; beyond the border the nearest pixel counts."""
    side = (2 * radius + 1, 2 * radius + 1)
    return _float(cv2.boxFilter(image, -1, side, borderType=cv2.BORDER_REPLICATE))


def blur(image: Image) -> Image:
    """Gaussian of one pixel's standard deviation."""
    return _float(cv2.GaussianBlur(image, (0, 0), 1.0))


def highest(image: Image, radius: int) -> Image:
    """Maximum over a square."""
    return _float(cv2.dilate(image, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)))


def grown(mask: Mask, radius: int) -> Mask:
    """The mask grown by a disc; nothing grows in from beyond the border."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc), np.uint8) > 0


def shrunk(mask: Mask, radius: int) -> Mask:
    """The mask eroded by a disc; the border does not eat into it."""
    return ~grown(~mask, radius)


def closed(mask: Mask, radius: int) -> Mask:
    """The mask, and gaps in it that are no wider than the disc."""
    return shrunk(grown(mask, radius), radius)


def resized(image: Image, rows: int, columns: int, *, by_area: bool) -> Image:
    """The image at another size: by area (to reduce) or bilinear; axes stay what they are."""
    mode = cv2.INTER_AREA if by_area else cv2.INTER_LINEAR
    found = _float(cv2.resize(image, (columns, rows), interpolation=mode))
    return found.reshape(rows, columns, *image.shape[2:])


def sampled(image: Image, places: Image) -> Image:
    """The image read at H×W×2 places (x, y): bilinear; beyond the border the nearest pixel."""
    found = cv2.remap(  # type: ignore[call-overload]  # the stub does not know that None is allowed
        image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return _float(found)


@lru_cache(maxsize=1)  # wanted many times a frame, and always for the same working size
def pixel_places(rows: int, columns: int) -> Image:
    """rows×columns×2: where each pixel is, x then y. Read-only."""
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


def channels_first(image: Image) -> Image:
    """H×W×C → C×H×W, contiguous."""
    rows, columns, channels = image.shape
    found = np.empty((channels, rows, columns), np.float32)
    cv2.split(_float(image), list(found))
    return found


def merged(planes: Sequence[Image]) -> Image:
    """C planes H×W → H×W×C."""
    return _float(cv2.merge(planes))


def chosen(mask: Mask, image: Image, other: Image) -> Image:
    """H×W×C: ``image`` where the mask is set, ``other`` elsewhere."""
    return _float(cv2.copyTo(_float(image), mask.view(np.uint8), np.array(other, np.float32)))


def _float(image: npt.ArrayLike) -> Image:
    return np.asarray(image, np.float32)
