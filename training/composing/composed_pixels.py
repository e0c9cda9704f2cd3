"""Pixels of composed clips: PNG, JPEG and TIFF by OpenCV; EXR by OpenImageIO, when one comes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.errors import InputError
from training.composing.layout_frames import alpha_of, colour_of, read_picture, unit
from training.synthetic.camera import decode_srgb

Values = npt.NDArray[np.float32]


def read_colour(path: Path, light: str, alpha: Values | None = None) -> Values:
    """H×W×3 in the light, divided by the alpha if there is one."""
    if path.suffix.lower() == ".exr":
        return _exr_colour(path, light, alpha)
    values = _divided(unit(colour_of(read_picture(path))), alpha)
    return decode_srgb(torch.from_numpy(values)).numpy() if light == "linear" else values


def read_alpha(path: Path) -> Values:
    """H×W, 0…1."""
    if path.suffix.lower() == ".exr":
        return _exr_alpha(path)
    return unit(alpha_of(read_picture(path), path))


def read_trimap(path: Path) -> Values:
    """H×W: 0, 0.5, 1.

    Raises:
        InputError: ``input.not_a_trimap``.
    """
    codes = np.rint(read_alpha(path) * 255).astype(np.int32)
    certain = (codes == 0) | (codes == 255)
    if not (certain | (abs(codes - 128) <= 1)).all():
        raise InputError(
            "input.not_a_trimap",
            f"{path} holds values beside 0, 128 and 255",
            hint="write trimaps losslessly",
        )
    return np.where(certain, codes / 255, 0.5).astype(np.float32)


def _exr_colour(path: Path, light: str, alpha: Values | None) -> Values:
    from model.plates import colour
    from model.plates.image_files import read_plate, rgb

    plate = read_plate(path)
    space = colour.plate_colourspace(plate)
    window, frame = plate.header.data_window, plate.header.display_window
    whole = placed(rgb(plate), window, frame)
    to_light = colour.to_linear_rec709 if light == "linear" else colour.to_display
    return to_light(_divided(whole, alpha), space)


def _exr_alpha(path: Path) -> Values:
    from model.plates.channels import find_alpha
    from model.plates.image_files import read_plate

    plate = read_plate(path, choose=find_alpha)
    channel = plate.pixels[:, :, :1].astype(np.float32)
    whole = placed(channel, plate.header.data_window, plate.header.display_window)
    return np.ascontiguousarray(np.nan_to_num(whole[..., 0]).clip(0, 1))


def frames_of(planes: Sequence[Values]) -> Tensor:
    """T×C×H×W of planes H×W or H×W×C that have one size."""
    stack = torch.from_numpy(np.stack(planes))
    return stack[:, None] if stack.ndim == 3 else stack.permute(0, 3, 1, 2).contiguous()


def placed(pixels: Values, window: Any, frame: Any) -> Values:
    """Over the display window; 0 where the file has no pixels."""
    both = window.union(frame)
    whole = np.zeros((both.height, both.width, pixels.shape[2]), np.float32)
    whole[window.inside(both)] = pixels
    return np.ascontiguousarray(whole[frame.inside(both)])


def own_light(path: Path) -> str:
    """``display`` or ``linear``: what a picture is composited in if nobody tells."""
    if path.suffix.lower() != ".exr":
        return "display"
    from model.plates import colour
    from model.plates.image_files import read_header

    return colour.default_composited_in(colour.plate_colourspace(read_header(path)))


def _divided(values: Values, alpha: Values | None) -> Values:
    if alpha is None or alpha.shape != values.shape[:2]:
        return values  # a size that does not match is told of where all parts are
    straight = values / np.maximum(alpha, 1e-6)[..., None]
    return np.where(alpha[..., None] > 0, straight, 0).astype(np.float32)
