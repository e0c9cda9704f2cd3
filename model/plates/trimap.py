"""Trimaps as files: three classes out of any grey, and the place where they lie on a plate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.plates.channels import Picture, find_lone, find_picture, roles
from model.plates.file_errors import no_plate
from model.plates.image_files import read_plate
from model.plates.placing import laid
from model.plates.plate import PlateHeader, Trimap, Window

BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255

# JPEG and resaved PNGs are a few steps off; 0.02 is five of 255.
_TOLERANCE = 0.02
# Anti-aliased edges between the classes: they are unknown. More of them is a matte or a photograph.
_MIXED_SHARE = 0.02


def read_trimap(path: str | Path, *, frame: int | None = None, source: str = "painted") -> Trimap:
    """Read a trimap: background 0, unknown one half, foreground 1, in 8 bit, 16 bit, half or float.

    Grey, RGB with equal channels, or a lone alpha. Where there is a picture and an alpha, it is the
    picture, unless that is 0 throughout and the alpha is not one value: some programs draw into the
    alpha alone. Values up to 0.02 off count as the class, and
    another grey than one half will do, if it is one. Up to 2 % of the pixels may lie between the
    classes, as anti-aliased edges do, and become unknown.
    A trimap without unknown pixels is one; so is one without foreground, or without background.

    Args:
        path: of an image file.
        frame: its frame number, for messages.
        source: ``painted`` or ``given``.

    Returns:
        The trimap; with windows if the file is an EXR.

    Raises:
        InputError: ``input.missing_trimap``, ``input.not_a_trimap``, ``input.trimap_empty`` if
            every pixel is unknown, so that nothing says what the foreground is; and all that
            `image_files.read_plate` raises.
    """
    path = Path(path)
    if not os.path.exists(path):  # noqa: PTH110  of a name that is too long, Path's raises
        raise InputError(
            "input.missing_trimap",
            f"the trimap {path} is not there",
            frame=frame,
            hint="check the path given with --trimap",
        )
    with no_plate("the trimap"):
        image = read_plate(path, frame=frame, choose=_grey_and_alpha)
    values = _drawn(image.pixels.astype(np.float32), roles(image.header.channels))
    with np.errstate(invalid="ignore"):  # NaN and infinities are reported below, as values
        coloured = np.ptp(values, axis=2) > _TOLERANCE
    if coloured.mean() > _MIXED_SHARE:
        why = f"{coloured.mean():.0%} of it is coloured"
        raise _not_a_trimap(path, frame, values, why)
    pixels = _classify(values[:, :, 0], path, frame)
    if (pixels == UNKNOWN).all():
        raise InputError(
            "input.trimap_empty",
            f"{path} is unknown everywhere",
            frame=frame,
            hint="paint some of the foreground white and some of the background black",
        )
    if path.suffix.lower() != ".exr":
        return Trimap(pixels, source=source, path=str(path))
    header = image.header
    return Trimap(
        pixels, header.data_window, source, path=str(path), frame_window=header.display_window
    )


def place_trimap(
    trimap: Trimap, header: PlateHeader, *, frame: int | None = None
) -> npt.NDArray[np.uint8]:
    """The trimap over a plate's data window.

    A trimap with windows of its own lies there, and is background where it was cropped, see
    `model.plates.placing.laid`. One without lies on the display window if it has its size, else on
    the data window if it has that size. Beyond its edge (overscan) the nearest pixel of the trimap
    is repeated.

    Args:
        trimap: of any size.
        header: of the plate.
        frame: for messages.

    Returns:
        uint8 H×W over ``header.data_window``.

    Raises:
        InputError: ``input.trimap_size`` if it was made for a plate of another size, or its own
            window does not touch the plate's data window.
    """
    name = trimap.path or "the trimap"
    height, width = trimap.pixels.shape
    data = header.data_window
    place = trimap.window or header.window_of_size(width, height)
    if place is None:
        raise _other_size(name, (width, height), header, frame)
    around = trimap.frame_window or place
    if place.intersection(data) is None:
        raise InputError(
            "input.trimap_size",
            f"{name} lies at {_corners(place)}, the plate's pixels at {_corners(data)}",
            frame=frame,
            hint="write the trimap with the plate's format and without an offset",
        )
    if place == data:
        return trimap.pixels.copy()
    display = header.display_window
    if trimap.frame_window and (around.width, around.height) != (display.width, display.height):
        raise _other_size(name, (around.width, around.height), header, frame)
    return laid(trimap.pixels, place, around, data)


def _other_size(
    name: str, size: tuple[int, int], header: PlateHeader, frame: int | None
) -> InputError:
    both = header.display_window, header.data_window
    sizes = dict.fromkeys(f"{one.width}×{one.height}" for one in both)
    return InputError(
        "input.trimap_size",
        f"{name} is {size[0]}×{size[1]}, the plate is {' or '.join(sizes)}",
        frame=frame,
        hint="paint the trimap over this plate, at its full size",
    )


def _grey_and_alpha(names: Sequence[str], is_id: Sequence[bool]) -> Picture | None:
    """RGB or luminance with their alpha, else an alpha, else the only channel there is."""
    return find_picture(names, is_id) or find_lone(names, is_id, "Y")


def _drawn(values: npt.NDArray[np.float32], kinds: Sequence[str]) -> npt.NDArray[np.float32]:
    """Those of the channels that somebody has drawn the trimap in."""
    picture = values[:, :, [index for index, kind in enumerate(kinds) if kind != "A"]]
    alpha = values[:, :, [index for index, kind in enumerate(kinds) if kind == "A"]]
    in_alpha = not picture.any() and alpha.size > 0 and bool((alpha != alpha[0, 0]).any())
    return alpha if in_alpha else picture


def _classify(
    grey: npt.NDArray[np.float32], path: Path, frame: int | None
) -> npt.NDArray[np.uint8]:
    if not ((grey >= -_TOLERANCE) & (grey <= 1.0 + _TOLERANCE)).all():
        raise _not_a_trimap(path, frame, grey, "it has values outside of 0…1")
    pixels = np.full(grey.shape, UNKNOWN, np.uint8)
    pixels[grey <= _TOLERANCE] = BACKGROUND
    pixels[grey >= 1.0 - _TOLERANCE] = FOREGROUND
    between = grey[pixels == UNKNOWN]
    mixed = np.abs(between - _middle(between)) > _TOLERANCE
    share = float(np.count_nonzero(mixed)) / grey.size
    if share > _MIXED_SHARE:
        why = f"{share:.0%} of it is neither black, white nor one grey"
        raise _not_a_trimap(path, frame, grey, why)
    return pixels


def _middle(between: npt.NDArray[np.float32]) -> float:
    """The grey that most pixels between black and white have, within the tolerance.

    One half, as a rule. But one half written through a colour transform is 188 or 55 of 255, and
    some programs paint with 100: any one grey can only mean "unknown".
    """
    if between.size == 0:
        return 128 / 255
    counts = np.bincount(np.rint(between * 255).astype(np.int64), minlength=256)
    around = np.ones(2 * int(_TOLERANCE * 255) + 1, np.int64)
    return float(np.convolve(counts, around, "same").argmax()) / 255


def _not_a_trimap(
    path: Path, frame: int | None, grey: npt.NDArray[np.float32], why: str
) -> InputError:
    return InputError(
        "input.not_a_trimap",
        f"{path} is not a trimap: {why} ({_histogram(grey)})",
        frame=frame,
        hint="a trimap has three values: 0 background, 128 unknown, 255 foreground (0, 0.5, 1 in "
        "float), saved without a colour transform",
    )


def _histogram(grey: npt.NDArray[np.float32]) -> str:
    """Where the values are, in 8-bit steps: ``0: 41 %, 1–63: 12 %, … not finite: 1 %``."""
    finite = grey[np.isfinite(grey)]
    steps = np.rint(finite.clip(-1.0, 2.0) * 255)
    bins = (
        ("below 0", steps < 0),
        ("0", steps == 0),
        ("1–63", (steps > 0) & (steps < 64)),
        ("64–127", (steps >= 64) & (steps < 128)),
        ("128", steps == 128),
        ("129–191", (steps > 128) & (steps < 192)),
        ("192–254", (steps >= 192) & (steps < 255)),
        ("255", steps == 255),
        ("above 255", steps > 255),
    )
    shares = [(name, float(np.count_nonzero(which)) / grey.size) for name, which in bins]
    shares.append(("not finite", 1.0 - finite.size / grey.size))
    return "values " + ", ".join(f"{name}: {share:.0%}" for name, share in shares if share >= 0.005)


def _corners(window: Window) -> str:
    return f"({window.x0}, {window.y0})–({window.x1}, {window.y1})"
