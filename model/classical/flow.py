"""Dense optical flow between two frames, both ways, and what is done with it.

Source: T. Kroeger, R. Timofte, D. Dai, L. Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016
(OpenCV's DISOpticalFlow, preset MEDIUM). Its result does not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]

_LEAST_SIDE = 48  # DIS refuses or crashes on pictures smaller than its patches


@dataclass(frozen=True)
class Motion:
    """Motion between the frame before and this one, in pixels, x then y.

    Attributes:
        back: H×W×2 over this frame: pixel p was at p + back.
        forth: H×W×2 over the frame before: pixel q went to q + forth.
        error: H×W over this frame: distance between p and where the way back and forth again ends.
    """

    back: Image
    forth: Image
    error: Image


def grey(picture: Image) -> Grey:
    """Luminance of an sRGB-encoded H×W×3 picture in 0…1, as the 8 bits that DIS wants."""
    levels = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) * 255 + 0.5
    return np.clip(levels, 0, 255).astype(np.uint8)


def motion(before: Grey, now: Grey) -> Motion:
    """Match two frames both ways."""
    back, forth = _dis(now, before), _dis(before, now)
    error = np.linalg.norm(back + warp(forth, back), axis=2)
    return Motion(back, forth, error.astype(np.float32))


def warp(image: Image, back: Image) -> Image:
    """The image of the frame before, seen from this one: bilinear; beyond the border the nearest pixel."""
    x, y = _targets(back)
    warped: Image = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return warped


def stays_inside(back: Image) -> npt.NDArray[np.bool_]:
    """Where `warp` reads from inside the frame before."""
    x, y = _targets(back)
    return (x >= 0) & (y >= 0) & (x <= back.shape[1] - 1) & (y <= back.shape[0] - 1)


def extend(vectors: Image, known: Image) -> Image:
    """Fill vectors smoothly where ``known`` (0…1) is 0, from the known ones around.

    Source: push–pull of S. Gortler et al., "The Lumigraph", SIGGRAPH 1996. Zero if nothing is known.
    """
    rows, columns = known.shape
    weighted = vectors * known[..., None]
    if max(rows, columns) <= 2:
        mean = weighted.sum((0, 1)) / max(float(known.sum()), 1e-6)
        coarse = np.broadcast_to(mean, weighted.shape)
    else:
        half = ((columns + 1) // 2, (rows + 1) // 2)
        weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA).reshape(half[::-1])
        mean = cv2.resize(weighted, half, interpolation=cv2.INTER_AREA).reshape(*half[::-1], 2)
        filled = extend(mean / np.maximum(weight, 1e-6)[..., None], np.minimum(weight, 1))
        coarse = cv2.resize(filled, (columns, rows), interpolation=cv2.INTER_LINEAR)
    result: Image = weighted + (1 - known[..., None]) * coarse.reshape(weighted.shape)
    return result


def _dis(source: Grey, target: Grey) -> Image:
    rows, columns = source.shape
    down, right = max(0, _LEAST_SIDE - rows), max(0, _LEAST_SIDE - columns)
    if down or right:
        source, target = (
            cv2.copyMakeBorder(one, 0, down, 0, right, cv2.BORDER_REPLICATE)
            for one in (source, target)
        )
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    vectors: Image = search.calc(source, target, None)
    return np.ascontiguousarray(vectors[:rows, :columns])


def _targets(back: Image) -> tuple[Image, Image]:
    y, x = np.indices(back.shape[:2], dtype=np.float32)
    return x + back[..., 0], y + back[..., 1]
