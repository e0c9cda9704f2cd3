"""The common canvas of several plates: display and data windows together.

Data windows may change from frame to frame (an autocrop does that); what lies outside a plate's
data window is black, and background.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.plates.plate import PlateHeader, Window

# A header may claim any window; this is 20480 × 10240, beyond which no device would hold a frame.
MOST_PIXELS = 20480 * 10240


def canvas_of(headers: Iterable[tuple[int, PlateHeader]]) -> Window:
    """The smallest window that holds every display and data window.

    Args:
        headers: pairs of frame number and header; at least one.

    Raises:
        InputError: ``input.plate_size`` if display windows differ: these are not one shot's plates;
            or if there are more than `MOST_PIXELS`.
    """
    first: tuple[int, PlateHeader] | None = None
    canvas: Window | None = None
    for number, header in headers:
        if first is None:
            first = number, header
        elif header.display_window != first[1].display_window:
            raise InputError(
                "input.plate_size",
                f"frame {number} ({header.path}) is {_size(header)} "
                f"where frame {first[0]} is {_size(first[1])}",
                frame=number,
                hint="render all plates of a shot with one format, or matte them as two shots",
            )
        both = header.display_window.union(header.data_window)
        canvas = both if canvas is None else canvas.union(both)
        if canvas.width * canvas.height > MOST_PIXELS:
            raise InputError(
                "input.plate_size",
                f"frame {number} ({header.path}) spans {canvas.width}×{canvas.height} pixels with "
                "its display and data windows, more than can be matted",
                frame=number,
                hint="check the file's windows, or reformat the plates",
            )
    if canvas is None:
        raise ValueError("a canvas needs at least one plate")
    return canvas


def region_canvas(
    canvas: Window,
    roi: Window,
    trimaps: Iterable[tuple[PlateHeader, npt.NDArray[np.uint8]]],
    margin: int,
    step: int,
) -> Window:
    """The part of a canvas that is solved for a region of it.

    The region with a margin; wider if a trimap that is unknown in there lacks one of its classes
    in there, for nothing could be told then. It begins and ends at multiples of ``step`` from the
    canvas's corner, so that grids lie on the whole frame's.

    Args:
        canvas: of all of the plates.
        roi: meets it.
        trimaps: of the window's frames, each over its plate's data window, with the plate's header.
        margin: in pixels, around the region.
        step: in pixels.
    """
    need = max((_reach(roi, margin, *one) for one in trimaps), default=0)
    wide = roi.grown(max(margin, need + margin // 2 if need else 0))

    def down(value: int, origin: int) -> int:
        return origin + (value - origin) // step * step

    aligned = Window(
        down(wide.x0, canvas.x0),
        down(wide.y0, canvas.y0),
        down(wide.x1 + step, canvas.x0) - 1,
        down(wide.y1 + step, canvas.y0) - 1,
    )
    found = aligned.intersection(canvas)
    if found is None:
        raise ValueError(f"{roi} does not meet {canvas}")
    return found


def _reach(roi: Window, margin: int, header: PlateHeader, trimap: npt.NDArray[np.uint8]) -> int:
    """How far from the region the nearest pixel of the class is that the trimap has, but not in the
    region with its margin; 0 if nothing there is unknown, or it lacks none."""
    data = header.data_window
    near = roi.grown(margin).intersection(data)
    if near is None:
        return 0
    rows, columns = near.inside(data)
    inside = trimap[rows, columns]
    lacking = [value for value in (0, 255) if not (inside == value).any()]
    if not lacking or not (inside == 128).any():
        return 0
    y, x = np.arange(data.y0, data.y1 + 1), np.arange(data.x0, data.x1 + 1)
    above = np.maximum(np.maximum(roi.y0 - y, y - roi.y1), 0)
    beside = np.maximum(np.maximum(roi.x0 - x, x - roi.x1), 0)
    distance = np.maximum(above[:, None], beside[None, :])
    reaches = [distance[trimap == value] for value in lacking]
    return max((int(one.min()) for one in reaches if one.size), default=0)


def _size(header: PlateHeader) -> str:
    window = header.display_window
    at = f" at ({window.x0}, {window.y0})" if (window.x0, window.y0) != (0, 0) else ""
    return f"{window.width}×{window.height}{at}"
