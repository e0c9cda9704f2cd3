"""Dense optical flow between two frames, both ways, and what is done with it.

Source: T. Kroeger, R. Timofte, D. Dai, L. Van Gool, "Fast Optical Flow using Dense Inverse Search",
ECCV 2016 (OpenCV's DISOpticalFlow, preset MEDIUM). It does not depend on the number of threads: a
test holds it to that.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model.classical.filters import (
    Image,
    Mask,
    arrays,
    channel_sum,
    fetched,
    floats,
    merged,
    pixel_places,
    resized,
    sampled,
)

Grey = npt.NDArray[np.uint8]

_AGREE = 1.5  # pixels
_LEAST_SIDE = 48  # DIS refuses, or crashes on, pictures smaller than its patches


@dataclass(frozen=True)
class Motion:
    """Motion between the frame before and this one, in pixels, x then y.

    Attributes:
        back: H×W×2 over this frame: pixel p was at p + back.
        forth: H×W×2 over the frame before: pixel q went to q + forth.
        error: H×W over this frame: how far from p the way back and forth again ends.
    """

    back: Image
    forth: Image
    error: Image

    @property
    def consistent(self) -> Mask:
        """Where both ways agree well enough to say whose motion it is."""
        agree: Mask = self.error < _AGREE
        return agree


def luminance(picture: Image) -> Grey:
    """Luminance of an sRGB-encoded H×W×3 picture in 0…1, as the 8 bits that DIS wants, on the
    CPU."""
    red, green, blue = (picture[..., channel] for channel in range(3))
    grey = red * 0.299 + green * 0.587 + blue * 0.114
    return fetched(arrays(grey).clip(grey * 255 + 0.5, 0, 255)).astype(np.uint8)


def motion(before: Grey, now: Grey) -> Motion:
    """Match two frames both ways."""
    return motion_of(*optical_flow(before, now))


def optical_flow(before: Grey, now: Grey) -> tuple[Image, Image]:
    """Back and forth, as `Motion` has them; on the CPU."""
    # One search for both: to allocate its buffers again costs a tenth of its time.
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _dis(search, now, before), _dis(search, before, now)


def motion_of(back: Image, forth: Image) -> Motion:
    """With the error of both ways together. Turned around it is `motion_of` (forth, back)."""
    return Motion(back, forth, length(back + warp(forth, back)))


def length(vectors: Image) -> Image:
    """H×W lengths of H×W×2 vectors."""
    return floats(arrays(vectors).sqrt(channel_sum(vectors**2)))


def warp(image: Image, back: Image) -> Image:
    """An image of the frame before, seen from this one; beyond the border the nearest pixel."""
    return sampled(image, pixel_places(back) + back)


def stays_inside(back: Image) -> Mask:
    """Where `warp` reads from inside the frame before."""
    rows, columns = back.shape[:2]
    places = pixel_places(back) + back
    x, y = places[..., 0], places[..., 1]
    inside: Mask = (x >= 0) & (x <= columns - 1) & (y >= 0) & (y <= rows - 1)
    return inside


def extend(vectors: Image, known: Image) -> Image:
    """Fill vectors smoothly where ``known`` (H×W, 0…1) is 0, from the known ones around.

    Source: push–pull of S. Gortler et al., "The Lumigraph", SIGGRAPH 1996. Zero if nothing is
    known.
    """
    return _extend(vectors * _twice(known), known)


def _extend(weighted: Image, known: Image) -> Image:
    rows, columns = known.shape
    half = ((rows + 1) // 2, (columns + 1) // 2)
    if half == (rows, columns):  # one pixel is left
        return floats(weighted / arrays(known).clip(known, 1e-6, None)[..., None])
    share = resized(known, *half, by_area=True)
    # A full pixel counts as much as four: what is well known is not mixed with what is filled in.
    clip = arrays(share).clip
    weight = clip(share * 4, None, 1)
    scale = weight / clip(share, 1e-6, None)
    total = resized(weighted, *half, by_area=True) * _twice(scale)
    filled = resized(_extend(total, weight), rows, columns, by_area=False)
    return weighted + _twice(1 - known) * filled


def _twice(plane: Image) -> Image:
    """H×W×2 of H×W, for both x and y."""
    return merged([plane, plane])


def _dis(search: cv2.DISOpticalFlow, source: Grey, target: Grey) -> Image:
    rows, columns = source.shape
    beyond = ((0, max(0, _LEAST_SIDE - rows)), (0, max(0, _LEAST_SIDE - columns)))
    vectors = search.calc(  # type: ignore[call-overload]  # the stub does not know that None is allowed
        np.pad(source, beyond, mode="edge"), np.pad(target, beyond, mode="edge"), None
    )
    return np.ascontiguousarray(vectors[:rows, :columns], np.float32)
