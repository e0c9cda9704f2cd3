"""From plates to what networks see, and back: colour, light, canvas, device.

Alpha has meaning only in the light it is composited in; `LightView` holds that choice for a shot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.classical.data_term import DataTerm
from model.exposure import ExposureMap, to_picture
from model.face import Frame
from model.plates import colour
from model.plates.channels import roles
from model.plates.hint import byte_weights, placed_hint
from model.plates.holdout import ALL
from model.plates.image_files import rgb, rgb_indices
from model.plates.plate import Plate, Trimap, Window
from model.plates.trimap import FOREGROUND, UNKNOWN, place_trimap
from model.transfers import sent

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LightView:
    """How a shot's plates are looked at.

    Attributes:
        colourspace: OCIO name that overrides what the files say; "" = as the files say.
        composited_in: ``linear``, ``display`` or "" = by the plate's colourspace.
        exposure: scene-linear light to the network's range.
        device: where frames live.
        ocio_stamp: of the colour config it must be, see `model.engine.EngineOptions`.
        premultiplied: colours are divided by the plate's alpha before they are converted, and
            multiplied by it after.
    """

    colourspace: str
    composited_in: str
    exposure: ExposureMap
    device: torch.device
    ocio_stamp: str = ""
    premultiplied: bool = False

    def space(self, plate: Plate) -> str:
        return colour.plate_colourspace(plate.header, self.colourspace)

    def light_name(self, plate: Plate) -> str:
        return self.composited_in or colour.default_composited_in(self.space(plate))

    def frame(
        self,
        number: int,
        plate: Plate,
        canvas: Window,
        trimap: Trimap | None = None,
        whole_pixels: int = 0,
        clean: Plate | None = None,
    ) -> Frame:
        """A plate, its trimap if there is one, and its clean plate, on the canvas.

        Args:
            number: of the frame.
            plate: its plate.
            canvas: may be a part of the plate.
            trimap: laid over the plate.
            whole_pixels: of the whole frame, if the canvas is a part of it.
            clean: a plate of the background alone; not known where its alpha is below 1.

        Raises:
            InputError: ``input.unknown_colourspace``, ``input.trimap_size``.
            SetupError: ``setup.ocio_changed``.
        """
        space, composited_in = self.space(plate), self.light_name(plate)
        scene_referred = colour.default_composited_in(space) == "linear"
        linear = display = None
        if scene_referred or composited_in == "linear":
            linear = self._light(canvas, plate, space, "linear")
        if not scene_referred or composited_in == "display":
            display = self._light(canvas, plate, space, "display")
        light = linear if composited_in == "linear" else display
        picture = to_picture(linear, self.exposure) if linear is not None else None
        if display is not None and not scene_referred:
            picture = display.clamp(0, 1)
        if light is None or picture is None:
            raise ValueError(f"no light called {composited_in!r}")
        placed = hint = None
        if trimap is not None:
            # As bytes, a quarter of what goes to the device; outside of the plate they are 0.
            painted = self._on(canvas, place_trimap(trimap, plate.header)[..., None], plate)
            placed = torch.where(painted == UNKNOWN, 0.5, (painted == FOREGROUND).float())
            packed = placed_hint(trimap, plate.header)
            if packed is not None:
                told = self._on(canvas, packed.transpose(1, 2, 0), plate)  # as bytes, too
                weights = torch.from_numpy(byte_weights()).to(self.device)
                hint = DataTerm(told[:, :1] / 255, weights[told[:, 1:].long()])
        background = known = None
        if clean is not None:
            background = self._light(canvas, clean, self.space(clean), composited_in)
            known = self._on(canvas, _is_known(clean), clean) > 0
        colour.require_config(self.ocio_stamp)
        return Frame(
            number, light, picture, placed, composited_in, whole_pixels, background, known, hint
        )

    def in_plate_space(self, light: Pixels, plate: Plate) -> Pixels:
        """Colours (H×W×3) from the light they were composited in back to the plate's own space."""
        linear = self.light_name(plate) == "linear"
        back = colour.from_linear_rec709 if linear else colour.from_display
        found = colour.without_alpha(back, light, self.space(plate), self._multiplied_by(plate))
        colour.require_config(self.ocio_stamp)
        return found

    def _light(self, canvas: Window, plate: Plate, space: str, name: str) -> torch.Tensor:
        """The plate in a light, on the canvas."""
        plate = _part(plate, canvas)
        if colour.is_encoded_in(space, name):
            # As stored, half of the bytes if it is half: the device widens and cleans it.
            order, pixels = rgb_indices(plate), plate.pixels
            if order != list(range(pixels.shape[2])):
                pixels = pixels[:, :, order]
            most = colour.LARGEST
            return self._on(canvas, pixels, plate).nan_to_num_(nan=0.0, posinf=most, neginf=-most)
        convert = colour.to_linear_rec709 if name == "linear" else colour.to_display
        found = colour.without_alpha(convert, rgb(plate), space, self._multiplied_by(plate))
        return self._on(canvas, found, plate)

    def _multiplied_by(self, plate: Plate) -> Pixels | None:
        """The plate's own alpha, H×W×1, if its colours are multiplied by one."""
        kinds = roles(plate.header.channels)
        if not self.premultiplied or "A" not in kinds:
            return None
        return plate.pixels[:, :, kinds.index("A")].astype(np.float32)[..., None]

    def _on(self, canvas: Window, pixels: npt.NDArray[Any], plate: Plate) -> torch.Tensor:
        """H×W×C over the plate's data window to float32 1×C×H×W over the canvas, black outside."""
        full = torch.zeros(1, pixels.shape[2], canvas.height, canvas.width, device=self.device)
        data = plate.header.data_window
        part = data.intersection(canvas)
        if part is None:
            return full
        where = part.inside(canvas)
        if part != data:
            rows, columns = part.inside(data)
            pixels = pixels[rows, columns]
        full[0, :, where[0], where[1]] = sent(pixels, self.device).permute(2, 0, 1)
        return full


def _part(plate: Plate, canvas: Window) -> Plate:
    """What of the plate lies on the canvas: no more of it need be converted. All of it if nothing
    does, for a plate has at least a pixel."""
    data = plate.header.data_window
    part = data.intersection(canvas)
    if part is None or part == data:
        return plate
    rows, columns = part.inside(data)
    return Plate(plate.pixels[rows, columns], replace(plate.header, data_window=part))


def _is_known(clean: Plate) -> Pixels:
    """Where a clean plate tells the background: 1, H×W×1 over its data window."""
    known = np.isfinite(clean.pixels[:, :, rgb_indices(clean)]).all(2, keepdims=True)
    kinds = roles(clean.header.channels)
    if "A" in kinds:
        known &= clean.pixels[:, :, kinds.index("A")][..., None] >= ALL
    return np.asarray(known, np.float32)
