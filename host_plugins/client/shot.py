"""A shot: what is submitted. One JSON object, schema 1 (`shot.schema.json`), and its identity.

Fields that are unknown here are ignored, and absent ones take their default; the canonical form is
built from what was understood. So a shot means the same, and has the same id, whether a newer
client added fields or a person left some out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import json_fields as read
from .errors import InputError

SCHEMA = 1
MOST_FRAMES = 100_000

LAYERS = ("alpha", "trimap", "confidence", "foreground")
COMPRESSIONS = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")
LIGHTS = ("", "linear", "display")
WINDOWS = ("centred", "causal")
PRECISIONS = ("float32", "float16", "bfloat16")
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
class Keyframe:
    """A frame with an artist's trimap: a path, or by value the sha256 of the part that is sent."""

    frame: int
    trimap: str = ""
    part: str = ""


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
        precision: ``float32``, ``float16`` or ``bfloat16``.
        tile: side of the network's tiles in pixels; 0 = chosen by the engine.
        missing: what to do about a missing plate: ``error``, ``hold`` or ``black``.
        overwrite: replace output files that exist and are not this shot's.
    """

    network: str = ""
    checkpoint: str = ""
    window: str = "centred"
    precision: str = "float32"
    tile: int = 0
    missing: str = "error"
    overwrite: bool = False


@dataclass(frozen=True)
class Client:
    """Who sent the shot; no part of its identity."""

    host: str = ""
    version: str = ""


@dataclass(frozen=True)
class Shot:
    """Clip, keyframes and options.

    Attributes:
        name: for people; one line.
        frames: runs [first, last, step], ascending, no frame twice.
        plates: the clip.
        keyframes: ascending; may be empty if trimaps are given.
        trimaps: given trimaps, or None.
        outputs: where mattes go.
        options: what else they depend on.
        client: who sent it, or None.
    """

    name: str
    frames: tuple[tuple[int, int, int], ...]
    plates: Plates
    keyframes: tuple[Keyframe, ...] = ()
    trimaps: Trimaps | None = None
    outputs: Outputs = Outputs()
    options: Options = Options()
    client: Client | None = None

    def numbers(self) -> tuple[int, ...]:
        """Every frame of the shot, ascending."""
        return tuple(n for first, last, step in self.frames for n in range(first, last + 1, step))

    @classmethod
    def from_json(cls, content: Any) -> Shot:
        """Read and check a shot.

        Raises:
            InputError: ``input.bad_shot``, naming the field and what is wanted there;
                ``input.no_keyframe`` if there is nothing to start from;
                ``input.shot_schema`` if it is of another schema.
        """
        top = read.Fields(content, "")
        schema = top.whole("schema", 1, 1_000_000)
        if schema != SCHEMA:
            raise InputError(
                "input.shot_schema",
                f"the shot is written in schema {schema}, this release reads schema {SCHEMA}",
                hint="use a release as new as the one that wrote the shot",
            )
        shot = cls(
            name=top.line("name", 200),
            frames=top.runs("frames", MOST_FRAMES),
            plates=_plates(top.map("plates")),
            keyframes=_keyframes(top),
            trimaps=_trimaps(top.map("trimaps")) if top.has("trimaps") else None,
            outputs=_outputs(top.map("outputs", optional=True)),
            options=_options(top.map("options", optional=True)),
            client=_client(top.map("client")) if top.has("client") else None,
        )
        if not shot.keyframes and shot.trimaps is None:
            raise InputError(
                "input.no_keyframe",
                f"the shot {shot.name!r} has no keyframe trimap",
                shot=shot.name,
                hint="paint a trimap on at least one frame and add it as a keyframe",
            )
        return shot

    def to_json(self) -> dict[str, Any]:
        """The shot as `from_json` reads it, every default written out."""
        plates, outputs, options = self.plates, self.outputs, self.options
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "frames": [list(run) for run in self.frames],
            "plates": {
                **_where(plates.pattern, plates.by_value),
                "colourspace": plates.colourspace,
                "composited_in": plates.composited_in,
                "premultiplied": plates.premultiplied,
            },
            "keyframes": [
                {"frame": one.frame, "trimap": {"part": one.part} if one.part else one.trimap}
                for one in self.keyframes
            ],
            "outputs": {
                "pattern": outputs.pattern,
                "layers": list(outputs.layers),
                "split": outputs.split,
                "compression": outputs.compression,
                "foreground": outputs.foreground,
            },
            "options": {
                "network": options.network,
                "checkpoint": options.checkpoint,
                "window": options.window,
                "precision": options.precision,
                "tile": options.tile,
                "missing": options.missing,
                "overwrite": options.overwrite,
            },
        }
        if self.trimaps is not None:
            content["trimaps"] = _where(self.trimaps.pattern, self.trimaps.by_value)
        if self.client is not None:
            content["client"] = {"host": self.client.host, "version": self.client.version}
        return content

    def resolved(self, folder: Path) -> Shot:
        """The same shot with its relative paths taken to be relative to ``folder``."""

        def absolute(path: str) -> str:
            return os.path.abspath(os.path.join(folder, path)) if path else ""  # noqa: PTH100, PTH118

        return replace(
            self,
            plates=replace(self.plates, pattern=absolute(self.plates.pattern)),
            keyframes=tuple(replace(one, trimap=absolute(one.trimap)) for one in self.keyframes),
            trimaps=self.trimaps and replace(self.trimaps, pattern=absolute(self.trimaps.pattern)),
            outputs=replace(self.outputs, pattern=absolute(self.outputs.pattern)),
            options=replace(self.options, checkpoint=absolute(self.options.checkpoint)),
        )


def canonical(content: Mapping[str, Any]) -> bytes:
    """Canonical JSON: sorted keys, UTF-8, no spaces."""
    return json.dumps(
        content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode("utf-8")


def shot_id(shot: Shot) -> str:
    """Sha256, in hex, of the shot's canonical JSON without output paths and without ``client``."""
    content = shot.to_json()
    del content["outputs"]["pattern"]
    content.pop("client", None)
    return hashlib.sha256(canonical(content)).hexdigest()


def load(path: Path) -> Shot:
    """Read a shot.json; paths in it are relative to its folder and come back absolute.

    Raises:
        InputError: ``input.no_shot`` if there is no such file, else as `Shot.from_json`.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            "input.no_shot",
            f"the shot {path} cannot be read ({error.strerror})",
            hint="check the path",
        ) from error
    except ValueError as error:
        raise InputError(
            "input.bad_shot", f"{path} is not JSON: {error}", hint="write the shot again"
        ) from error
    return Shot.from_json(content).resolved(path.parent)


def save(shot: Shot, path: Path) -> None:
    """Write a shot.json in one step.

    Raises:
        OSError: the folder cannot be written to.
    """
    path = Path(path)
    text = json.dumps(shot.to_json(), indent=2, ensure_ascii=False) + "\n"
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _where(pattern: str, by_value: bool) -> dict[str, Any]:
    return {"by_value": True} if by_value else {"pattern": pattern}


def _source(at: read.Fields) -> tuple[str, bool]:
    """Pattern or by value, never both, never neither."""
    by_value, pattern = at.flag("by_value"), at.text("pattern", "")
    if by_value == bool(pattern):
        raise at.wrong("", "must have either a 'pattern' or 'by_value': true")
    return pattern, by_value


def _plates(at: read.Fields) -> Plates:
    pattern, by_value = _source(at)
    return Plates(
        pattern,
        by_value,
        colourspace=at.text("colourspace", ""),
        composited_in=at.one_of("composited_in", LIGHTS, ""),
        premultiplied=at.flag("premultiplied"),
    )


def _keyframes(top: read.Fields) -> tuple[Keyframe, ...]:
    found: dict[int, Keyframe] = {}
    for at in top.maps("keyframes", MOST_FRAMES):
        frame = at.frame("frame")
        if frame in found:
            raise at.wrong("frame", f"names frame {frame} a second time")
        if isinstance(at.content.get("trimap"), Mapping):
            found[frame] = Keyframe(frame, part=at.map("trimap").digest("part"))
        else:
            found[frame] = Keyframe(frame, trimap=at.text("trimap"))
    return tuple(found[frame] for frame in sorted(found))


def _trimaps(at: read.Fields) -> Trimaps:
    return Trimaps(*_source(at))


def _outputs(at: read.Fields) -> Outputs:
    default = Outputs()
    return Outputs(
        pattern=at.text("pattern", ""),
        layers=at.some_of("layers", LAYERS, default.layers),
        split=at.flag("split"),
        compression=at.one_of("compression", COMPRESSIONS, default.compression),
        foreground=at.one_of("foreground", FOREGROUNDS, default.foreground),
    )


def _options(at: read.Fields) -> Options:
    default = Options()
    return Options(
        network=at.text("network", ""),
        checkpoint=at.text("checkpoint", ""),
        window=at.one_of("window", WINDOWS, default.window),
        precision=at.one_of("precision", PRECISIONS, default.precision),
        tile=at.whole("tile", 0, 65536, default.tile),
        missing=at.one_of("missing", MISSING, default.missing),
        overwrite=at.flag("overwrite"),
    )


def _client(at: read.Fields) -> Client:
    return Client(host=at.text("host", ""), version=at.text("version", ""))
