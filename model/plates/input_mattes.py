"""Mattes that come in: garbage and core mattes, and mattes of rough shapes, as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.plates.channels import Picture, find_lone, find_picture, roles
from model.plates.image_files import read_plate
from model.plates.placing import laid
from model.plates.plate import PlateHeader, Window

Values = npt.NDArray[np.float32]

# Differences that resaving or half precision make; one step of 255 is 0.0039.
_TOLERANCE = 0.002
_COLOURED = 0.02
_COLOURED_SHARE = 0.02


@dataclass(frozen=True)
class InputMatte:
    """A matte as it was drawn.

    Attributes:
        pixels: float32 H×W in 0…1.
        window: where it lies; None when the file has no windows of its own (PNG, JPEG …).
        frame_window: the display window that came with it; None likewise.
        path: of its file, for messages.
    """

    pixels: Values
    window: Window | None = None
    frame_window: Window | None = None
    path: str = ""


def read_input_matte(path: str | Path, *, frame: int | None = None) -> InputMatte:
    """Read a matte: a lone channel, an alpha, or a grey picture.

    Where there is a picture and an alpha, the one that says something counts: the alpha unless it
    is the same everywhere. Values outside of 0…1 are cut off, NaN is 0.

    Args:
        path: of an image file.
        frame: its frame number, for messages.

    Returns:
        The matte; with windows if the file is an EXR.

    Raises:
        InputError: ``input.not_a_matte`` if it is coloured, or has a picture and an alpha that
            say different things; and all that `image_files.read_plate` raises.
    """
    path = Path(path)
    image = read_plate(path, frame=frame, choose=_any_matte)
    values = np.nan_to_num(image.pixels.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    values = values.clip(0, 1)
    kinds = roles(image.header.channels)
    picture = [index for index, kind in enumerate(kinds) if kind != "A"]
    alpha = [index for index, kind in enumerate(kinds) if kind == "A"]
    grey = _grey(values[:, :, picture]) if picture else None
    if alpha and (not picture or np.ptp(values[:, :, alpha[0]]) > _TOLERANCE):
        found = values[:, :, alpha[0]]
        if grey is not None and np.ptp(grey) > _TOLERANCE:
            differ = np.abs(grey - found) > _COLOURED
            if differ.mean() > _COLOURED_SHARE:
                raise _not_a_matte(path, frame, "its picture and its alpha are different mattes")
    elif grey is not None:
        found = grey
    else:
        raise _not_a_matte(path, frame, "it is coloured and has no alpha")
    exr = path.suffix.lower() == ".exr"
    header = image.header
    return InputMatte(
        np.ascontiguousarray(found),
        header.data_window if exr else None,
        header.display_window if exr else None,
        str(path),
    )


def place_input_matte(
    matte: InputMatte, header: PlateHeader, *, frame: int | None = None, what: str = "the matte"
) -> Values:
    """The matte over a plate's data window.

    A matte with windows of its own lies there. It is 0 outside of its data window, but goes on
    beyond an edge that is also one of its display window's, into a plate's overscan. One without
    lies on the display window if it has its size, else on the data window if it has that size.

    Args:
        matte: of any size.
        header: of the plate.
        frame: for messages.
        what: names the matte in messages.

    Returns:
        float32 H×W over ``header.data_window``.

    Raises:
        InputError: ``input.guide_size`` if it was made for a plate of another size.
    """
    height, width = matte.pixels.shape
    data, display = header.data_window, header.display_window
    place = matte.window or header.window_of_size(width, height)
    if place is None:
        raise other_size(what, matte.path, (width, height), header, frame)
    around = place
    if matte.window is not None:
        around = matte.frame_window or place
        if (around.width, around.height) != (display.width, display.height):
            raise other_size(what, matte.path, (around.width, around.height), header, frame)
    return laid(matte.pixels, place, around, data)


def _any_matte(names: Sequence[str], is_id: Sequence[bool]) -> Picture | None:
    """RGB or luminance with their alpha, else an alpha, else the only channel there is."""
    return find_picture(names, is_id) or find_lone(names, is_id, "A")


def _grey(values: Values) -> Values | None:
    """H×W of H×W×C if its channels are equal, else None."""
    if (np.ptp(values, axis=2) > _COLOURED).mean() > _COLOURED_SHARE:
        return None
    return values[:, :, 0]


def _not_a_matte(path: Path, frame: int | None, why: str) -> InputError:
    return InputError(
        "input.not_a_matte",
        f"{path} is not a matte: {why}",
        frame=frame,
        hint="write the matte as one channel, 0 to 1, without a colour transform",
    )


def other_size(
    what: str, path: str, size: tuple[int, int], header: PlateHeader, frame: int | None
) -> InputError:
    """The error for a guide of another width and height than the plate's format."""
    display = header.display_window
    return InputError(
        "input.guide_size",
        f"{what} {path} is {size[0]}×{size[1]}, the plate is {display.width}×{display.height}",
        frame=frame,
        hint="write it with the plate's format",
    )
