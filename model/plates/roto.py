"""A trimap from a rough roto shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.plates.input_mattes import Values
from model.plates.trimap import BACKGROUND, FOREGROUND, UNKNOWN

# A drawn matte is all of it, or nothing of it, up to this: 8 bits, resaved.
_NEARLY = 0.01


def trimap_of_shape(
    shape: Values,
    shrink: int,
    grow: int,
    motion: Values | None = None,
    *,
    frame: int | None = None,
    path: str = "",
) -> npt.NDArray[np.uint8]:
    """A trimap with an unknown band along the edge of a shape.

    Certainly foreground is what lies further inside than ``shrink`` and the motion at the nearest
    point of the edge; certainly background what lies further outside than ``grow`` and that motion.
    What the shape has between 0 and 1 is unknown, and its edge is counted from there. The picture's
    border is no edge: shapes go on beyond it.

    Args:
        shape: float32 H×W in 0…1, hard or soft.
        shrink, grow: in pixels.
        motion: float32 H×W, in pixels: how much wider the band is to either side; None = 0.
        frame: for messages.
        path: of the shape's file, for messages.

    Returns:
        uint8 H×W: 0 background, 128 unknown, 255 foreground.

    Raises:
        InputError: ``input.roto``: there is a shape, but nothing of it is certain.
    """
    inside, outside = shape >= 1 - _NEARLY, shape <= _NEARLY
    found = np.full(shape.shape, UNKNOWN, np.uint8)
    found[_deep(inside, shrink, motion)] = FOREGROUND
    found[_deep(outside, grow, motion)] = BACKGROUND
    if not outside.all() and not (found == FOREGROUND).any():
        moving = "" if motion is None else ", with what it moves,"
        raise InputError(
            "input.roto",
            f"all of the shape {path} lies within {shrink} pixels of its edge{moving} "
            "so that nothing of it is certain",
            frame=frame,
            hint="shrink it by fewer pixels, or paint a trimap of this frame",
        )
    return found


def _deep(part: npt.NDArray[np.bool_], pixels: int, motion: Values | None) -> npt.NDArray[np.bool_]:
    """Where a part of the picture is further from its edge than so many pixels and the motion
    there."""
    if part.all() or not part.any():
        return part
    # Imported here: it takes as long as all else that `dvm matte` starts with, and few shots have
    # shapes.
    from scipy.ndimage import distance_transform_edt

    if motion is None:
        return np.asarray(distance_transform_edt(part) > pixels)
    distance, (rows, columns) = distance_transform_edt(part, return_indices=True)
    return np.asarray(distance > pixels + motion[rows, columns])
