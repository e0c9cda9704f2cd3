"""A region of interest: mattes of a part of the plate.

The data window of a matte is then that of the plate within the region; outside of it there is
nothing, which compositors read as black. The display window stays the plate's, so that a matte lies
where it belongs.
"""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.plates.plate import PlateHeader, Window


def matte_header(header: PlateHeader, roi: Window | None, frame: int) -> PlateHeader:
    """The header of a plate's matte.

    Args:
        header: of the plate.
        roi: the region; None = all of the plate.
        frame: for messages.

    Returns:
        ``header`` with another data window. If the region holds none of the plate's pixels, but
        lies on its picture, that is one pixel in the region's corner: a file cannot have none.

    Raises:
        InputError: ``input.roi``: the region lies beside the plate.
    """
    if roi is None:
        return header
    whole = header.display_window.union(header.data_window)
    on_picture = roi.intersection(whole)
    if on_picture is None:
        raise InputError(
            "input.roi",
            f"the region ({roi.x0}, {roi.y0})–({roi.x1}, {roi.y1}) lies outside of the plate, "
            f"which spans ({whole.x0}, {whole.y0})–({whole.x1}, {whole.y1})",
            frame=frame,
            hint="the origin is the top left corner of the picture",
        )
    window = roi.intersection(header.data_window)
    if window == header.data_window:
        return header
    if window is None:
        window = Window(on_picture.x0, on_picture.y0, on_picture.x0, on_picture.y0)
    name = "originalDataWindow"  # as the EXR standard calls it
    return replace(
        header,
        data_window=window,
        metadata={**header.metadata, name: astuple(header.data_window)},
        metadata_types={**header.metadata_types, name: "box2i"},
    )


def cut(values: npt.NDArray[Any], plate: PlateHeader, matte: PlateHeader) -> npt.NDArray[Any]:
    """H×W… over a plate's data window to what lies in its matte's; 0 if that has none of it."""
    if plate.data_window == matte.data_window:
        return values
    if plate.data_window.intersection(matte.data_window) is None:
        return np.zeros((1, 1, *values.shape[2:]), values.dtype)
    rows, columns = matte.data_window.inside(plate.data_window)
    return np.ascontiguousarray(values[rows, columns])
