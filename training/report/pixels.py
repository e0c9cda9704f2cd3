"""Pictures of a report: 8-bit pixels, PNG files, small copies."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating]

ERROR_WHITE = 0.5  # an error that is drawn white


def grey8(values: Values) -> Pixels:
    """0…1 to 0…255, rounded, clipped; any shape. Not a number becomes 0."""
    return np.asarray(np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255), np.uint8)


def error8(alpha: Values, truth: Values) -> Pixels:
    """|alpha − truth| as grey: black is none, white is `ERROR_WHITE` or more."""
    return grey8(np.abs(alpha - truth) / ERROR_WHITE)


def png(pixels: Pixels) -> bytes:
    """The bytes of a PNG file.

    Args:
        pixels: uint8, H×W grey or H×W×3 R G B.
    """
    stored = pixels if pixels.ndim == 2 else pixels[:, :, ::-1]
    done, data = cv2.imencode(".png", np.ascontiguousarray(stored))
    if not done:
        raise RuntimeError("OpenCV cannot encode a PNG")
    return data.tobytes()


def thumbnail(pixels: Pixels, width: int = 160) -> Pixels:
    """A small copy, areas averaged; never enlarged.

    Args:
        pixels: uint8, H×W or H×W×3.
        width: at most.
    """
    height = max(round(pixels.shape[0] * width / pixels.shape[1]), 1)
    if pixels.shape[1] <= width:
        return pixels
    small = cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def worst_window(error: Values, across: int, down: int) -> tuple[slice, slice]:
    """Rows and columns of the window with the largest sum.

    Args:
        error: H×W, at least 0 everywhere.
        across: width of the window, at most W.
        down: its height, at most H.
    """
    height, width = error.shape
    # Sums by an integral image: exact for windows of any size, at the borders too.
    sums = cv2.integral(np.ascontiguousarray(error, np.float64))
    inside = (
        sums[down:, across:]
        - sums[:-down, across:]
        - sums[down:, :-across]
        + sums[:-down, :-across]
    )
    top, left = np.unravel_index(int(inside.argmax()), (height - down + 1, width - across + 1))
    return slice(int(top), int(top) + down), slice(int(left), int(left) + across)
