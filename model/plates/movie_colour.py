"""Video pictures to R'G'B', exactly.

FFmpeg resamples the chroma; the rest is done here after ITU-T H.273. Its own conversion from 8 bit
to 16 or to float makes white 254.02 of 255 (libswscale scales by 2⁸ and not by 257), and clips what
video has above white.
"""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation

# Matrix coefficients of H.273, table 4: the weights of red and blue in luma.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
}
_UNSPECIFIED = 2
_FULL_RANGE = 2
_HD_HEIGHT = 720
_RESAMPLING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND


def to_rgb(picture: av.VideoFrame) -> npt.NDArray[np.float32]:
    """A decoded picture as H×W×3, encoded as it was; an alpha is left out.

    Video levels become 0…1; what lies above white or below black stays there. A picture that does
    not name its matrix is BT.709 from 720 lines on, and BT.601 below.

    Raises:
        ValueError: a way to store colour that is not known here (YCgCo, XYZ).
    """
    kind = picture.format
    if "f32" in kind.name or "f16" in kind.name:
        green, blue, red = _planes(picture, "gbrpf32le", np.dtype("<f4"))
        return np.stack([red, green, blue], axis=2).astype(np.float32)
    # Of fewer than 8 bits FFmpeg makes 8 (RGB 5-6-5).
    bits = max(8, kind.components[0].bits)
    if kind.is_rgb or kind.has_palette:
        name = f"gbrp{bits}le" if bits > 8 else "gbrp"
        green, blue, red = _planes(picture, name, _word(bits))
        return np.stack([red, green, blue], axis=2) / np.float32((1 << bits) - 1)
    matrix = int(picture.colorspace)
    if matrix == _UNSPECIFIED:
        matrix = 1 if picture.height >= _HD_HEIGHT else 6
    if matrix not in _LUMA_WEIGHTS or kind.name.startswith("xyz"):
        raise ValueError(f"{kind.name} with matrix {matrix} of H.273")
    is_full = kind.name.startswith("yuvj") or int(picture.color_range) == _FULL_RANGE
    if bits > 8:
        name = f"yuv444p{bits}le"
    else:  # FFmpeg has a second name for full range in 8 bit, and converts between the two
        name = "yuvj444p" if kind.name.startswith("yuvj") else "yuv444p"
    luma, blue_difference, red_difference = _planes(picture, name, _word(bits))
    return _matrix(luma, blue_difference, red_difference, bits, is_full, *_LUMA_WEIGHTS[matrix])


def _matrix(
    luma: npt.NDArray[np.float32],
    blue_difference: npt.NDArray[np.float32],
    red_difference: npt.NDArray[np.float32],
    bits: int,
    is_full: bool,
    red_weight: float,
    blue_weight: float,
) -> npt.NDArray[np.float32]:
    """Equations 4-1 to 4-15 of H.273, backwards."""
    step = 1 << (bits - 8)
    black, white = (0, (1 << bits) - 1) if is_full else (16 * step, 219 * step)
    swing = (1 << bits) - 1 if is_full else 224 * step
    y = (luma - np.float32(black)) / np.float32(white)
    blue = y + (blue_difference - np.float32(128 * step)) * np.float32(
        2 * (1 - blue_weight) / swing
    )
    red = y + (red_difference - np.float32(128 * step)) * np.float32(2 * (1 - red_weight) / swing)
    green_weight = 1 - red_weight - blue_weight
    green = (y - np.float32(red_weight) * red - np.float32(blue_weight) * blue) / np.float32(
        green_weight
    )
    return np.stack([red, green, blue], axis=2)


def _planes(
    picture: av.VideoFrame, name: str, word: np.dtype[np.generic]
) -> list[npt.NDArray[np.float32]]:
    """Three planes of full size in the picture's own depth and range."""
    own_range = picture.color_range
    same = picture.reformat(
        format=name,
        interpolation=_RESAMPLING,
        src_color_range=own_range,
        dst_color_range=own_range,
    )
    found = []
    for plane in same.planes:
        rows = np.frombuffer(memoryview(plane), word).reshape(
            plane.height, plane.line_size // word.itemsize
        )
        found.append(rows[:, : plane.width].astype(np.float32))
    return found


def _word(bits: int) -> np.dtype[np.generic]:
    return np.dtype("u1") if bits <= 8 else np.dtype("<u2")
