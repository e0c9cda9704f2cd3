"""Which attributes of a plate still hold in a file made from it, and how each is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model.plates.plate import PlateHeader

# OpenImageIO's names. Each group says why what is in it does not hold in a matte.
_STALE_NAMES = {
    # how the plate's file was stored, not what it shows
    "compression": "storage",
    "chunkCount": "storage",
    "type": "storage",
    "version": "storage",
    "maxSamplesPerPixel": "storage",
    "planarconfig": "storage",
    "dwaCompressionLevel": "storage",
    "Orientation": "storage",
    "ResolutionUnit": "storage",
    "XResolution": "storage",
    "YResolution": "storage",
    # several parts or views became one part
    "name": "parts",
    "multiView": "parts",
    # lookup as a texture or environment
    "envmap": "texture",
    "wrapmodes": "texture",
    "textureformat": "texture",
    "tiles": "texture",
    # a small copy of the plate's picture
    "preview": "preview",
    # the promise of an ACES container (RGB or RGBA, uncompressed), which a matte does not keep
    "acesImageContainerFlag": "container",
    # what wrote the plate did not write the matte
    "Software": "origin",
    # carried as windows and pixel aspect, not as attributes
    "PixelAspectRatio": "window",
}
_STALE_PREFIXES = {
    "oiio:": "OpenImageIO's notes on the file it just read",
    "openexr:": "storage",
    "png:": "storage",
    "jpeg:": "storage",
    "tiff:": "storage",
    "dpx:": "storage",
    "cineon:": "storage",
    "thumbnail_": "a small copy of the plate's picture",
    "cryptomatte/": "manifests of channels that are not written",
    "ICCProfile": "describes integer RGB",
    "dvm:": "about another matte: a plate may itself be one of ours",
}
# nuke/node_hash and its like: sums over pixels or scripts that are not these
_STALE_ENDINGS = ("hash", "md5", "sha1", "sha-1", "sha256", "checksum", "crc32")
# true of the plate's RGB and of a foreground in its colourspace; an alpha has no colour
_COLOUR_NAMES = ("colorInteropID", "chromaticities", "whiteLuminance", "adoptedNeutral", "CICP")

_KNOWN_TYPES = {
    "smpte:TimeCode": "timecode",
    "smpte:KeyCode": "keycode",
    "FramesPerSecond": "rational",
}


def still_hold(header: PlateHeader, *, colour: bool) -> dict[str, object]:
    """The plate's attributes that are also true of a file with the same windows and other channels.

    Args:
        header: of the plate.
        colour: whether the new file has R, G and B in the plate's colourspace.

    Returns:
        OpenImageIO names and values, e.g. timecode, frame rate, camera and owner.
    """
    return {
        name: value
        for name, value in header.metadata.items()
        if not _is_stale(name) and (colour or name not in _COLOUR_NAMES)
    }


def type_of(name: str, value: object, types: Mapping[str, str]) -> str:
    """OpenImageIO's type for an attribute: as it was read, else from its name, else from its value.

    Raises:
        ValueError: for a value that no attribute can hold.
    """
    if name in types:
        return types[name]
    if name in _KNOWN_TYPES:
        return _KNOWN_TYPES[name]
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if isinstance(value, Sequence) and value:
        kinds = {type_of("", one, {}) for one in value}
        kind = kinds.pop() if len(kinds) == 1 else "float"
        if kind in ("string", "int", "float"):
            return f"{kind}[{len(value)}]"
    raise ValueError(f"attribute {name!r} cannot hold {value!r}")


def _is_stale(name: str) -> bool:
    return (
        name in _STALE_NAMES
        or name.startswith(tuple(_STALE_PREFIXES))
        or name.lower().endswith(_STALE_ENDINGS)
    )
