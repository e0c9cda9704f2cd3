"""Contact sheets: what a person looks at to judge a matte.

One row a frame, four columns: the plate as a viewer shows it, the trimap, the alpha, and the
foreground over a checker, composited in linear light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import OpenImageIO as oiio

from model.plates import colour
from model.plates.channels import Picture
from model.plates.image_files import read_plate, rgb, write_image
from model.plates.mattes import matte_paths

Pixels = npt.NDArray[np.float32]

COLUMNS = ("plate", "trimap", "alpha", "over a checker")
_PAPER, _INK, _FAINT = 0.075, 0.92, 0.55
_GAP, _MARGIN, _HEAD = 8, 20, 30
_CHECKER = (0.12, 0.24)  # scene-linear
_SQUARES = 20  # across a cell


@dataclass(frozen=True)
class ReviewFrame:
    """One row of a contact sheet. All arrays cover the same H×W pixels.

    Attributes:
        frame: its number.
        plate: float32 H×W×3, scene-linear Rec.709.
        alpha: float32 H×W, 0…1.
        trimap: uint8 H×W, 0 / 128 / 255; None leaves its cell empty.
        foreground: float32 H×W×3, premultiplied, scene-linear Rec.709; None = plate times alpha.
        note: shown below the number, e.g. ``keyframe``.
        pixel_aspect: width of a pixel over its height.
    """

    frame: int
    plate: Pixels
    alpha: Pixels
    trimap: npt.NDArray[np.uint8] | None = None
    foreground: Pixels | None = None
    note: str = ""
    pixel_aspect: float = 1.0


def read_review_frame(
    frame: int,
    plate: Path,
    mattes: str | Path,
    layers: Sequence[str],
    *,
    split: bool = False,
    note: str = "",
) -> ReviewFrame:
    """Read back what was written for one frame.

    Args:
        frame: its number.
        plate: the plate's file.
        mattes: output pattern, as it was submitted.
        layers: those that were written; a foreground is taken to be premultiplied.
        split: whether each layer has a file of its own.
        note: for the sheet.

    Raises:
        InputError: as `image_files.read_plate`.
    """
    image = read_plate(plate, frame=frame)
    space = colour.plate_colourspace(image.header)
    paths = matte_paths(mattes, frame, layers, split)

    def read(layer: str) -> Pixels:
        path = paths[layer if split else "alpha"]
        return read_layer(path, layer, split=split, frame=frame)

    trimap = foreground = None
    if "trimap" in layers:
        values = read("trimap")[..., 0]
        trimap = np.where(values >= 0.75, 255, np.where(values >= 0.25, 128, 0)).astype(np.uint8)
    if "foreground" in layers:
        foreground = colour.to_linear_rec709(read("foreground"), space)
    return ReviewFrame(
        frame,
        colour.to_linear_rec709(rgb(image), space),
        read("alpha")[..., 0],
        trimap,
        foreground,
        note=note,
        pixel_aspect=image.header.pixel_aspect,
    )


def contact_sheet(
    frames: Sequence[ReviewFrame], *, title: str = "", cell_width: int = 320
) -> npt.NDArray[np.uint8]:
    """Draw a contact sheet.

    Args:
        frames: one row each; at least one.
        title: one line over the sheet.
        cell_width: of each picture, pixels.

    Returns:
        uint8 H×W×3, R G B.

    Raises:
        ValueError: there are no frames.
    """
    if not frames:
        raise ValueError("a contact sheet needs at least one frame")
    height, width = frames[0].alpha.shape
    cell_height = max(round(cell_width * height / (width * frames[0].pixel_aspect)), 1)
    left = _MARGIN + 84
    top = _MARGIN + (_HEAD if title else 0) + _HEAD
    sheet_width = left + len(COLUMNS) * (cell_width + _GAP) - _GAP + _MARGIN
    sheet_height = top + len(frames) * (cell_height + _GAP) - _GAP + _MARGIN
    sheet = np.full((sheet_height, sheet_width, 3), _PAPER, np.float32)
    texts = [(title, _MARGIN, _MARGIN + 16, 19, _INK)] if title else []
    for column, name in enumerate(COLUMNS):
        texts.append((name, left + column * (cell_width + _GAP), top - 10, 14, _FAINT))
    for row, frame in enumerate(frames):
        y = top + row * (cell_height + _GAP)
        texts.append((str(frame.frame), _MARGIN, y + 18, 18, _INK))
        texts.append((frame.note, _MARGIN, y + 38, 13, _FAINT))
        for column, cell in enumerate(_cells(frame, (cell_width, cell_height))):
            x = left + column * (cell_width + _GAP)
            sheet[y : y + cell_height, x : x + cell_width] = cell
    _write_texts(sheet, texts)
    return np.asarray(np.rint(sheet.clip(0, 1) * 255), np.uint8)


def write_contact_sheet(path: Path, frames: Sequence[ReviewFrame], *, title: str = "") -> None:
    """Write a contact sheet as PNG. Raises what `image_files.write_image` raises."""
    write_image(path, contact_sheet(frames, title=title), ("R", "G", "B"), pixel_type="uint8")


def _cells(frame: ReviewFrame, size: tuple[int, int]) -> tuple[Pixels | float, ...]:
    """Plate, trimap, alpha and composite, each H×W×3 as displayed; made small in linear light."""

    def small(pixels: Pixels) -> Pixels:
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)

    plate, alpha = small(frame.plate), small(frame.alpha)[..., None]
    held = frame.plate * frame.alpha[..., None] if frame.foreground is None else frame.foreground
    composite = small(held) + (1 - alpha) * _checker(size)
    trimap: Pixels | float = _PAPER
    if frame.trimap is not None:
        trimap = small(frame.trimap.astype(np.float32) / np.float32(255))[..., None]
    return _displayed(plate), trimap, alpha, _displayed(composite)


def _displayed(linear: Pixels) -> Pixels:
    return colour.to_display(linear, "lin_rec709").clip(0, 1)


def _checker(size: tuple[int, int]) -> Pixels:
    side = max(size[0] // _SQUARES, 2)
    rows, columns = np.indices((size[1], size[0])) // side
    return np.where((rows + columns) % 2, *_CHECKER).astype(np.float32)[..., None]


def _write_texts(sheet: Pixels, texts: Sequence[tuple[str, int, int, int, float]]) -> None:
    """Draw (text, x, baseline, size, brightness) onto the sheet, in the font OpenImageIO brings."""
    canvas = oiio.ImageBuf(sheet)
    for text, x, y, size, tone in texts:
        if text and not oiio.ImageBufAlgo.render_text(
            canvas, x, y, text, size, "DroidSans", (tone, tone, tone)
        ):
            raise RuntimeError(f"OpenImageIO cannot draw text: {canvas.geterror()}")
    sheet[:] = canvas.get_pixels(oiio.FLOAT)


def read_layer(path: Path, layer: str, *, split: bool = False, frame: int | None = None) -> Pixels:
    """One layer of a matte's file.

    Args:
        path: of the file that holds it.
        layer: ``alpha``, ``trimap``, ``confidence`` or ``foreground``.
        split: the file holds this layer alone.
        frame: for messages.

    Returns:
        float32 H×W×1, of a foreground H×W×3.

    Raises:
        InputError: as `image_files.read_plate`; ``input.no_picture`` if the layer is not in it.
    """
    channels = ("R", "G", "B") if layer == "foreground" else ("A",)
    names = channels if split or layer == "alpha" else [f"{layer}.{one}" for one in channels]

    def choose(found: Sequence[str], _is_id: Sequence[bool]) -> Picture | None:
        if not set(names) <= set(found):
            return None
        return Picture("", channels, tuple(found.index(name) for name in names))

    return read_plate(path, frame=frame, choose=choose).pixels.astype(np.float32)
