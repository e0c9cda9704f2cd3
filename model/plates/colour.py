"""Colour by the OCIO that OpenImageIO bundles: plates to the two lights of the engine, and back.

The lights are scene-linear Rec.709 and sRGB-encoded Rec.709. ``$OCIO`` names the config if it is
set; else it is one built-in config, by its full name: what ``ocio://default`` means changes from
release to release, and the names in it too. A conversion costs about 45 ms beside its pixels, for
OpenImageIO reads the config each time.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import OpenImageIO as oiio

from model.errors import InputError, SetupError
from model.plates.plate import Plate, PlateHeader
from model.plates.same_files import file_stamp

BUILT_IN_CONFIG = "ocio://studio-config-v4.0.0_aces-v2.0_ocio-v2.5"

Pixels = npt.NDArray[np.float32]

# Interop id first, then what configs without ids call the same.
_LINEAR_NAMES = (
    "lin_rec709_scene",
    "lin_rec709",
    "lin_srgb",
    "Linear Rec.709 (sRGB)",
    "Linear Rec.709",
    "Utility - Linear - sRGB",
    "Utility - Linear - Rec.709",
)
_DISPLAY_NAMES = (
    "srgb_rec709_scene",
    "srgb_texture",
    "sRGB - Texture",
    "Utility - sRGB - Texture",
    "sRGB",
)
# Red, green, blue, white: x and y of each, as in the EXR attribute.
_CHROMATICITIES = {
    "lin_rec709_scene": (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329),
    "lin_ap0_scene": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "lin_ap1_scene": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767),
    "lin_p3d65_scene": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329),
    "lin_rec2020_scene": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329),
}
_SAYS_NOTHING = {"", "data", "raw", "unknown"}
_FLOAT_TYPES = {"half", "float", "double"}
# Code value 1 is white in display-encoded spaces; in camera logs it is 10 to 500 times as bright.
_BRIGHTER_THAN_WHITE = 2.0
LARGEST = 65504.0  # of half: what infinities become


def config_file() -> str:
    """The file that ``$OCIO`` names; ``""`` for a built-in config."""
    source = _source()
    return "" if source.startswith("ocio://") else source


def require_config(stamp: str) -> None:
    """See that the config's file is the one that a shot was accepted with: OpenImageIO reads it
    again for each picture.

    Args:
        stamp: `file_stamp` of it then; ``""`` = whatever is there.

    Raises:
        SetupError: ``setup.ocio_changed``.
    """
    if stamp and file_stamp(config_file()) != stamp:
        raise SetupError(
            "setup.ocio_changed",
            f"the OCIO config {config_file()} was changed while the shot was being matted",
            hint="submit the shot again: its mattes are made anew with the config of now",
        )


def config_digest() -> str:
    """sha256 over which config is in use and the version of OCIO: part of a matte's identity.

    Of a config file it takes the bytes; files that it points to are not looked into.

    Raises:
        SetupError: ``setup.ocio``.
    """
    source = _source()
    _config()
    digest = hashlib.sha256(f"OCIO {oiio.OpenColorIO_version_hex:x}\n".encode())
    digest.update(source.encode() if source.startswith("ocio://") else Path(source).read_bytes())
    return digest.hexdigest()


def resolve(name: str) -> str:
    """The config's own name of a colourspace given by name, alias, role or interop id.

    Raises:
        InputError: ``input.unknown_colourspace``, naming the nearest there are.
        SetupError: ``setup.ocio``.
    """
    found = _find(name)
    if found is None:
        raise InputError(
            "input.unknown_colourspace",
            f"there is no colourspace {name!r} in the OCIO config {_source()}",
            hint=f"use e.g. {', '.join(_nearest(name))}; $OCIO chooses another config",
        )
    return found


def interop_id(name: str) -> str:
    """The id of a colourspace that other programs know (``lin_ap1_scene``); ``""`` if it has none.

    Raises:
        InputError: ``input.unknown_colourspace``.
        SetupError: ``setup.ocio``.
    """
    return str(_config().get_color_interop_id(resolve(name)))


def is_scene_linear(name: str) -> bool:
    """Whether values are proportional to light in the scene."""
    return bool(_config().isColorSpaceLinear(resolve(name)))


def default_composited_in(name: str) -> str:
    """``display`` for pictures encoded for a screen, ``linear`` for linear ones and camera logs."""
    if is_scene_linear(name):
        return "linear"
    white = _white(_source(), file_stamp(config_file()), resolve(name))
    return "linear" if white > _BRIGHTER_THAN_WHITE else "display"


def plate_colourspace(plate: Plate | PlateHeader, override: str = "") -> str:
    """The colourspace of a plate.

    The first of these that says anything: ``override``; the file's ``colorInteropID``; a rule of
    ``$OCIO`` for its name (not its default rule); what the file's format or ``chromaticities`` say;
    else linear Rec.709 for half and float, sRGB for integers.

    Returns:
        A name of the config in use.

    Raises:
        InputError: ``input.unknown_colourspace`` if the file or ``override`` names a space that the
            config lacks (a DPX that says Cineon log, say): a guess would be silently wrong.
        SetupError: ``setup.ocio``.
    """
    header = plate.header if isinstance(plate, Plate) else plate
    if override:
        return resolve(override)
    for said in (
        str(header.metadata.get("colorInteropID", "")),
        _file_rule(header.path),
        header.colourspace,
        _from_chromaticities(header),
    ):
        if said.lower() not in _SAYS_NOTHING:
            return _said_by_file(said, header)
    is_float = header.pixel_type in _FLOAT_TYPES or not header.pixel_type
    return _one_of(_LINEAR_NAMES if is_float else _DISPLAY_NAMES)


def to_linear_rec709(pixels: npt.NDArray[np.floating], name: str) -> Pixels:
    """From a colourspace to scene-linear Rec.709.

    NaN becomes 0 and infinities the largest half *before* the conversion: a matrix would spread
    one bad channel over the pixel. Nothing else is clamped.

    Args:
        pixels: H×W×3, any strides.
        name: of their colourspace.

    Returns:
        float32 H×W×3, contiguous, finite, always a copy.

    Raises:
        InputError: ``input.unknown_colourspace``.
        SetupError: ``setup.ocio``.
    """
    return _convert(pixels, resolve(name), _one_of(_LINEAR_NAMES))


def to_display(pixels: npt.NDArray[np.floating], name: str) -> Pixels:
    """From a colourspace to sRGB-encoded Rec.709, unclamped; as `to_linear_rec709`.

    The curve goes on above 1 and in a straight line below 0. There is no view transform in it.
    """
    return _convert(pixels, resolve(name), _one_of(_DISPLAY_NAMES))


def without_alpha(
    convert: Callable[[Pixels, str], Pixels], pixels: Pixels, name: str, alpha: Pixels | None
) -> Pixels:
    """Premultiplied colours, converted as what they are without their alpha: a curve over α·F is
    not α times the curve over F.

    Args:
        convert: one of those here.
        pixels: H×W×3.
        name: of their colourspace.
        alpha: H×W×1, by which they are divided before and multiplied after; where it is 0 they are
            light that is added, fire or a flare, and are converted as they are. None = they are not
            premultiplied.
    """
    if alpha is None:
        return convert(pixels, name)
    share = np.where(alpha > 0, alpha, 1).astype(np.float32)
    with np.errstate(over="ignore"):  # infinities become numbers on the way
        straight = pixels / share
    return convert(straight, name) * share


def is_encoded_in(name: str, light: str) -> bool:
    """Whether `to_linear_rec709` (``linear``) or `to_display` (``display``) only cleans such
    pixels."""
    return resolve(name) == _one_of(_LINEAR_NAMES if light == "linear" else _DISPLAY_NAMES)


def from_linear_rec709(pixels: npt.NDArray[np.floating], name: str) -> Pixels:
    """The way back of `to_linear_rec709`, to about 1e-5 of the values."""
    return _convert(pixels, _one_of(_LINEAR_NAMES), resolve(name))


def from_display(pixels: npt.NDArray[np.floating], name: str) -> Pixels:
    """The way back of `to_display`, to about 1e-5 of the values, 1e-4 far above 1."""
    return _convert(pixels, _one_of(_DISPLAY_NAMES), resolve(name))


def _source() -> str:
    return os.environ.get("OCIO") or BUILT_IN_CONFIG


def _config() -> oiio.ColorConfig:
    """The config in use, as its file is now."""
    return _opened(_source(), file_stamp(config_file()))


@cache
def _opened(source: str, stamp: str) -> oiio.ColorConfig:
    if source == "ocio://default" or source.endswith("-latest"):
        raise SetupError(
            "setup.ocio",
            f"OCIO is set to {source}, which is another config in every release",
            hint=f"set it to a full name, e.g. {BUILT_IN_CONFIG}, or unset it",
        )
    config = oiio.ColorConfig(source)
    trouble = config.geterror()
    if trouble:
        raise SetupError(
            "setup.ocio",
            f"the OCIO config {source} cannot be used: {trouble.strip().splitlines()[0]}",
            hint="correct $OCIO, or unset it to use the built-in config",
        )
    return config


def _find(name: str) -> str | None:
    config = _config()
    found = str(config.resolve(name))
    known = {one.lower(): one for one in config.getColorSpaceNames()}
    return known.get(found.lower())


def _one_of(names: tuple[str, ...]) -> str:
    for name in names:
        found = _find(name)
        if found:
            return found
    raise SetupError(
        "setup.ocio",
        f"the OCIO config {_source()} has no colourspace like {names[0]}",
        hint="add one with this name or alias, or unset $OCIO to use the built-in config",
    )


def _nearest(name: str) -> list[str]:
    """Colourspaces with a name or alias that holds this one, or looks like it; some that are common
    if there is none."""
    config = _config()
    known = {}
    for one in config.getColorSpaceNames():
        for said in (one, *config.getAliases(one)):
            known[said.lower()] = one
    wanted = name.lower()
    close = [said for said in known if len(wanted) > 3 and wanted in said]
    close += difflib.get_close_matches(wanted, known, n=6, cutoff=0.6)
    return list(dict.fromkeys(known[one] for one in close))[:4] or _examples()


def _examples() -> list[str]:
    wanted = (*_LINEAR_NAMES[:1], *_DISPLAY_NAMES[:1], "ACEScg", "ARRI LogC3 (EI800)")
    return [found for found in map(_find, wanted) if found]


@cache
def _white(source: str, stamp: str, name: str) -> float:
    """The light of code value 1. Which config it is is part of the key: they differ."""
    return float(_convert(np.ones((1, 1, 3), np.float32), name, _one_of(_LINEAR_NAMES)).max())


def _file_rule(path: str) -> str:
    if not os.environ.get("OCIO") or not path:
        return ""  # the built-in config has no rules that a picture's name could match
    config = _config()
    if config.filepathOnlyMatchesDefaultRule(path):
        return ""
    return str(config.getColorSpaceFromFilepath(path))


def _from_chromaticities(header: PlateHeader) -> str:
    said = header.metadata.get("chromaticities")
    if not isinstance(said, tuple | list) or len(said) != 8:
        return ""
    for name, known in _CHROMATICITIES.items():
        if np.allclose(said, known, atol=1e-3):
            return name
    return ""


def _said_by_file(name: str, header: PlateHeader) -> str:
    found = _find(name)
    if found is None:
        raise InputError(
            "input.unknown_colourspace",
            f"{header.path or 'the plate'} says it is {name!r}, which the OCIO config "
            f"{_source()} does not know",
            hint="name its colourspace with --colourspace",
        )
    return found


def _convert(pixels: npt.NDArray[np.floating], start: str, end: str) -> Pixels:
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"{pixels.shape} is not H×W×3")
    clean = _finite(pixels)
    if start == end or clean.size == 0:
        return clean
    source = oiio.ImageBuf(clean)
    target = oiio.ImageBufAlgo.colorconvert(
        source, start, end, unpremult=False, colorconfig=_source()
    )
    converted = None if target.has_error else target.get_pixels(oiio.FLOAT)
    if converted is None:
        raise SetupError(
            "setup.ocio",
            f"OCIO cannot go from {start} to {end} in {_source()}: {target.geterror()}",
            hint="check the config with ociocheck",
        )
    # a log space can turn what was finite into infinities
    return _finite(converted)


def _finite(pixels: npt.NDArray[np.floating]) -> Pixels:
    """A contiguous float32 copy without NaN and infinities."""
    copy = np.array(pixels, dtype=np.float32, order="C")
    return np.nan_to_num(copy, copy=False, nan=0.0, posinf=LARGEST, neginf=-LARGEST)
