"""Frames of a studio's shot as they are read: over the display window, in the light of the shot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.plates import colour
from model.plates.channels import find_alpha
from model.plates.image_files import read_plate, rgb
from model.plates.plate import Plate, Window
from training.composing.composed_pixels import placed
from training.studio.shots import StudioShot

Values = npt.NDArray[np.float32]
SPACES = {"linear": "lin_rec709_scene", "display": "srgb_rec709_scene"}  # of a light's colours
_HALF_MAX = 65504.0
_GREY = 0.02  # how far the channels of a grey picture may lie apart


@dataclass(frozen=True)
class StudioFrame:
    """One frame, over the plate's display window.

    Attributes:
        colours: float32 H×W×3, in the shot's light.
        alpha: float32 H×W, as stored: it may leave 0…1.
        odd: pixels of the matte that are not numbers; they are 0 in ``alpha``.
        odd_colours: pixels of the plate that are not numbers or infinite; in ``colours`` they are
            0, and what half holds at most.
    """

    number: int
    colours: Values
    alpha: Values
    odd: int
    odd_colours: int = 0


@dataclass(frozen=True)
class Light:
    """How a shot's colours are meant: its colourspace, and ``linear`` or ``display``."""

    space: str
    name: str


def shown(colours: Values, light: str) -> Values:
    """H×W×3 in a light, ``linear`` or ``display``, encoded for a screen; unclamped."""
    return colour.to_display(colours, SPACES[light]) if light == "linear" else colours


def light_of(shot: StudioShot) -> Light:
    """By the first plate and what the list says.

    Raises:
        InputError: reading, or ``input.unknown_colourspace``.
    """
    plate = read_plate(shot.files(shot.numbers[0])[0], frame=shot.numbers[0])
    space = colour.plate_colourspace(plate, shot.colourspace)
    return Light(space, shot.composited_in or colour.default_composited_in(space))


def read_frame(shot: StudioShot, number: int, light: Light, kind: str = "plate") -> StudioFrame:
    """A frame with its matte.

    Args:
        shot, number: which.
        light: of the shot.
        kind: see `kinds`: premultiplied colours are brought into the light as what they are
            without their alpha, and multiplied again there.

    Raises:
        InputError: reading, ``input.matte_size``, ``input.no_alpha``, ``input.other_colourspace``.
    """
    plate_path, matte_path = shot.files(number)
    plate = read_plate(plate_path, frame=number)
    space = colour.plate_colourspace(plate, shot.colourspace)
    if space != light.space:
        raise InputError(
            "input.other_colourspace",
            f"{plate_path} is in {space}, the shot's first plate in {light.space}",
            frame=number,
            hint="convert them to one colourspace, or say colourspace = … if files are mislabelled",
        )
    frame = plate.header.display_window
    matte = plate
    if matte_path != plate_path:
        matte = read_plate(matte_path, frame=number, choose=find_alpha)
    stored = _alpha(matte, matte_path == plate_path, number)
    odd = ~np.isfinite(stored)
    pixels = rgb(plate)
    odd_colours = int((~np.isfinite(pixels).all(2)).sum())
    alpha = placed(np.where(odd, 0, stored)[..., None], _place(matte, frame, number), frame)
    over = placed(pixels, plate.header.data_window, frame)
    to_light = colour.to_linear_rec709 if light.name == "linear" else colour.to_display
    premultiplied = kind == "premultiplied" and not colour.is_encoded_in(space, light.name)
    divisor = alpha.clip(0, 1) if premultiplied else None
    return StudioFrame(
        number=number,
        colours=_finite(colour.without_alpha(to_light, over, space, divisor)),
        alpha=alpha[..., 0],
        odd=int(odd.sum()),
        odd_colours=odd_colours,
    )


def _finite(colours: Values) -> Values:
    if np.isfinite(colours).all():
        return colours
    return np.nan_to_num(colours, nan=0, posinf=_HALF_MAX, neginf=-_HALF_MAX)


def _alpha(matte: Plate, from_plate: bool, number: int) -> Values:
    names = matte.header.channels
    if from_plate and "A" not in names:
        raise InputError(
            "input.no_alpha",
            f"{matte.header.path} has no channel A",
            frame=number,
            hint="name the matte's files with mattes = …",
        )
    values = matte.pixels.astype(np.float32)
    if "A" in names:
        return values[:, :, names.index("A")]
    spread = np.ptp(_finite(values), axis=2)
    if spread.max() > _GREY:
        raise InputError(
            "input.not_grey",
            f"{matte.header.path} is a coloured picture without channel A",
            frame=number,
            hint="give a grey matte, or one with its matte in A",
        )
    return values[:, :, 0]


def _place(matte: Plate, frame: Window, number: int) -> Window:
    """Where a matte's pixels lie. A format without windows begins at 0, the plate elsewhere."""
    window, shown = matte.header.data_window, matte.header.display_window
    if (shown.width, shown.height) != (frame.width, frame.height):
        raise InputError(
            "input.matte_size",
            f"{matte.header.path} is {shown.width}×{shown.height}, its plate "
            f"{frame.width}×{frame.height}",
            frame=number,
            hint="give mattes the plates' format",
        )
    x, y = frame.x0 - shown.x0, frame.y0 - shown.y0
    return Window(window.x0 + x, window.y0 + y, window.x1 + x, window.y1 + y)
