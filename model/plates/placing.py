"""Where a picture that has windows of its own lies on a plate."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from model.plates.plate import Window

Element = TypeVar("Element", bound=np.generic)


def laid(
    pixels: npt.NDArray[Element], place: Window, around: Window, data: Window
) -> npt.NDArray[Element]:
    """The picture over a plate's data window, H×W.

    Outside of its own data window it is 0, as it was cropped to what is in it; but beyond an edge
    that is also one of its display window's it goes on as it ends there, into a plate's overscan.

    Args:
        pixels: h×w.
        place: its data window.
        around: its display window.
        data: the plate's data window.
    """
    rows, above, below = _axis(data.y0, data.y1, place.y0, place.y1, around.y0, around.y1)
    columns, left, right = _axis(data.x0, data.x1, place.x0, place.x1, around.x0, around.x1)
    found: npt.NDArray[Any] = pixels[np.ix_(rows, columns)]
    found[:above], found[found.shape[0] - below :] = 0, 0
    found[:, :left], found[:, found.shape[1] - right :] = 0, 0
    return np.ascontiguousarray(found)


def _axis(
    first: int, last: int, low: int, high: int, edge_low: int, edge_high: int
) -> tuple[npt.NDArray[np.int64], int, int]:
    """Which samples of low…high lie at first…last, and how many at either end are outside of it."""
    wanted = np.arange(first, last + 1)
    before = 0 if low == edge_low else int((wanted < low).sum())
    after = 0 if high == edge_high else int((wanted > high).sum())
    return np.clip(wanted, low, high) - low, before, after
