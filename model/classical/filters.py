"""The few OpenCV filters that trimap propagation is made of, with our types and borders.

Images are float32 H×W or H×W×C, masks bool H×W, radii whole pixels.
"""

from __future__ import annotations

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
    x, y = (np.ascontiguousarray(places[..., axis]) for axis in (0, 1))
    return _float(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def pixel_places(rows: int, columns: int) -> Image:
    """rows×columns×2: where each pixel is, x then y."""
    y, x = np.indices((rows, columns), np.float32)
    return np.stack([x, y], 2)


def _float(image: npt.ArrayLike) -> Image:
    return np.asarray(image, np.float32)
