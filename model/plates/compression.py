"""EXR compressions, and which of them leave a matte as it is."""

from __future__ import annotations

from collections.abc import Sequence

from model.errors import InputError
from model.plates.channels import split

LOSSLESS = ("none", "rle", "zip", "zips", "piz", "htj2k256", "htj2k32")
LOSSY = ("pxr24", "dwaa", "dwab", "b44", "b44a")
_EXACT_LAYERS = {"trimap", "confidence", "matte", "alpha"}
_DWA_LOSSY = {"R", "G", "B", "Y", "RY", "BY"}


def check_compression(name: str, channels: Sequence[str], pixel_type: str = "half") -> None:
    """Refuse a compression that does not exist or would change a matte.

    B44 and B44A damage every half channel; DWAA and DWAB those whose name ends in R, G, B, Y, RY
    or BY; PXR24 only floats. A picture's R, G and B may be lossy, mattes, trimaps and confidences
    may not.

    Raises:
        InputError: ``input.unknown_compression`` or ``input.lossy_compression``.
    """
    if name not in LOSSLESS + LOSSY:
        raise InputError(
            "input.unknown_compression",
            f"there is no EXR compression called {name!r}",
            hint=f"use one of {', '.join(LOSSLESS + LOSSY)}",
        )
    exact = [channel for channel in channels if _is_exact(channel)]
    if name in ("dwaa", "dwab"):
        hurt = [one for one in exact if one.rpartition(".")[2].upper() in _DWA_LOSSY]
    elif name in ("b44", "b44a"):
        hurt = exact if pixel_type == "half" else []
    elif name == "pxr24":
        hurt = exact if pixel_type == "float" else []
    else:
        hurt = []
    if hurt:
        raise InputError(
            "input.lossy_compression",
            f"compression {name} would change the channels {', '.join(hurt)}, which must be exact",
            hint="use zip, zips, piz or rle for mattes",
        )


def _is_exact(channel: str) -> bool:
    layer, role = split(channel)
    return role not in ("R", "G", "B") or layer.rpartition(".")[2] in _EXACT_LAYERS
