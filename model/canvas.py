"""The common canvas of several plates: display and data windows together.

Data windows may change from frame to frame (an autocrop does that); what lies outside a plate's
data window is black, and background.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def _size(header: PlateHeader) -> str:
    window = header.display_window
    at = f" at ({window.x0}, {window.y0})" if (window.x0, window.y0) != (0, 0) else ""
    return f"{window.width}×{window.height}{at}"
