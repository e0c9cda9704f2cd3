"""The parts of a shot, each with how it is read from JSON; absent fields take their default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .json_fields import Fields

MOST_FRAMES = 100_000
MOST_HANDLES = 1000
WIDEST_ROTO = 4096
WIDEST_TILE = 65_536  # pixels

LAYERS = ("alpha", "trimap", "confidence", "foreground")
COMPRESSIONS = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")
LIGHTS = ("", "linear", "display")
WINDOWS = ("centred", "causal")
PRECISIONS = ("auto", "float32", "float16", "bfloat16")
MISSING = ("error", "hold", "black")
FOREGROUNDS = ("premultiplied", "straight")


@dataclass(frozen=True)
class Plates:
    """Where the plates are.

    Attributes:
        pattern: path with a frame number (``####``, ``%04d``, ``$F4``, ``@@@@``), one image or a
            movie; "" by value.
        by_value: the client sends the files.
        colourspace: an OCIO name; "" = from the file.
        composited_in: the light alpha is meant for, ``linear`` or ``display``; "" = from the
            colourspace.
        premultiplied: the plates' colours have been multiplied by their alpha.
    """

    pattern: str = ""
    by_value: bool = False
    colourspace: str = ""
    composited_in: str = ""
    premultiplied: bool = False


@dataclass(frozen=True)
class Roto:
    """How a rough shape becomes a trimap, in pixels of the plate; motion widens it further.

    Attributes:
        shrink: how far inside of the shape's edge it is certainly foreground.
        grow: how far outside of it it is certainly background.
    """

    shrink: int = 10
    grow: int = 10


@dataclass(frozen=True)
class Keyframe:
    """A frame with an artist's trimap: a path, or by value the sha256 of the part that is sent.

    With ``roto`` the file is no trimap but a matte of a rough shape, to be made into one.
    """

    frame: int
    trimap: str = ""
    part: str = ""
    roto: Roto | None = None

    def to_json(self) -> dict[str, Any]:
        """As `read_keyframes` reads it."""
        file = {"part": self.part} if self.part else self.trimap
        if self.roto is None:
            return {"frame": self.frame, "trimap": file}
        return {"frame": self.frame, "roto": file, **asdict(self.roto)}


@dataclass(frozen=True)
class Trimaps:
    """Trimaps that are given for every frame their pattern matches, or sent by the client."""

    pattern: str = ""
    by_value: bool = False


@dataclass(frozen=True)
class Outputs:
    """What is written, and where.

    Attributes:
        pattern: path with a frame number; "" when the client does not write files.
        layers: of alpha, trimap, confidence, foreground; each once, in that order.
        split: a file for each layer.
        compression: an OpenEXR compression.
        foreground: ``premultiplied`` or ``straight``.
    """

    pattern: str = ""
    layers: tuple[str, ...] = ("alpha",)
    split: bool = False
    compression: str = "zip"
    foreground: str = "premultiplied"


@dataclass(frozen=True)
class Options:
    """What else a matte depends on.

    Attributes:
        network: name of the matting network; "" = the server's default.
        checkpoint: path of a checkpoint on the server; "" = the shipped one.
        window: ``centred`` (t−2 … t+2) or ``causal`` (t−2 … t).
        precision: ``auto``, ``float32``, ``float16`` or ``bfloat16``.
        tile: side of the network's tiles in pixels; 0 = chosen by the engine.
        missing: what to do about a missing plate: ``error``, ``hold`` or ``black``.
        overwrite: replace output files that exist and are not this shot's.
    """

    network: str = ""
    checkpoint: str = ""
    window: str = "centred"
    precision: str = "auto"
    tile: int = 0
    missing: str = "error"
    overwrite: bool = False


@dataclass(frozen=True)
class Client:
    """Who sent the shot; no part of its identity."""

    host: str = ""
    version: str = ""


def _source(at: Fields) -> tuple[str, bool]:
    """Pattern or by value, never both, never neither."""
    by_value, pattern = at.flag("by_value"), at.text("pattern", "")
    if by_value == bool(pattern):
        raise at.wrong("", "must have either a 'pattern' or 'by_value': true")
    return pattern, by_value


def read_plates(at: Fields) -> Plates:
    pattern, by_value = _source(at)
    return Plates(
        pattern,
        by_value,
        colourspace=at.text("colourspace", ""),
        composited_in=at.one_of("composited_in", LIGHTS, ""),
        premultiplied=at.flag("premultiplied"),
    )


def read_keyframes(top: Fields) -> tuple[Keyframe, ...]:
    found: dict[int, Keyframe] = {}
    for at in top.maps("keyframes", MOST_FRAMES):
        frame = at.frame("frame")
        if frame in found:
            raise at.wrong("frame", f"names frame {frame} a second time")
        roto = None
        if at.has("roto"):
            if at.has("trimap"):
                raise at.wrong("", "must have either a 'trimap' or a 'roto'")
            roto = Roto(
                at.whole("shrink", 0, WIDEST_ROTO, Roto.shrink),
                at.whole("grow", 0, WIDEST_ROTO, Roto.grow),
            )
        name = "trimap" if roto is None else "roto"
        if isinstance(at.content.get(name), Mapping):
            found[frame] = Keyframe(frame, part=at.map(name).digest("part"), roto=roto)
        else:
            found[frame] = Keyframe(frame, trimap=at.text(name), roto=roto)
    return tuple(found[frame] for frame in sorted(found))


def read_trimaps(at: Fields) -> Trimaps:
    return Trimaps(*_source(at))


def read_outputs(at: Fields) -> Outputs:
    default = Outputs()
    return Outputs(
        pattern=at.text("pattern", ""),
        layers=at.some_of("layers", LAYERS, default.layers),
        split=at.flag("split"),
        compression=at.one_of("compression", COMPRESSIONS, default.compression),
        foreground=at.one_of("foreground", FOREGROUNDS, default.foreground),
    )


def read_options(at: Fields) -> Options:
    default = Options()
    return Options(
        network=at.text("network", ""),
        checkpoint=at.text("checkpoint", ""),
        window=at.one_of("window", WINDOWS, default.window),
        # Left out it means what it meant when there was no ``auto``: ids of old shots stand.
        precision=at.one_of("precision", PRECISIONS, "float32"),
        tile=at.whole("tile", 0, WIDEST_TILE, default.tile),
        missing=at.one_of("missing", MISSING, default.missing),
        overwrite=at.flag("overwrite"),
    )


def read_client(at: Fields) -> Client:
    return Client(host=at.text("host", ""), version=at.text("version", ""))
