"""A shot: what is submitted. One JSON object, schema 1 (`shot.schema.json`), and its identity.

Fields that are unknown here are ignored, and absent ones take their default; the canonical form is
built from what was understood. So a shot means the same, and has the same id, whether a newer
client added fields or a person left some out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import shot_parts as parts
from .errors import InputError
from .files import write_whole
from .guides import ROLES, Guide, Guides, read_guides
from .json_fields import Fields
from .shot_parts import Client, Keyframe, Options, Outputs, Plates, Roto, Trimaps

__all__ = [
    "INPUTS",
    "SCHEMA",
    "Client",
    "Guide",
    "Guides",
    "Keyframe",
    "Options",
    "Outputs",
    "Plates",
    "Roto",
    "Shot",
    "Trimaps",
    "canonical",
    "handle_numbers",
    "load",
    "save",
    "shot_id",
]

SCHEMA = 1
# What the first release did not know of a shot: a server says in ``welcome`` which it knows.
INPUTS = (*ROLES, "roto", "roi", "handles")


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
        guides: garbage and core mattes, and the clean plate.
        roi: the window (x0, y0, x1, y1) that is matted, both corners inside, origin top left;
            None = all of the plates.
        handles: so many frames before and after the shot's are read too, and get no matte.
    """

    name: str
    frames: tuple[tuple[int, int, int], ...]
    plates: Plates
    keyframes: tuple[Keyframe, ...] = ()
    trimaps: Trimaps | None = None
    outputs: Outputs = field(default_factory=Outputs)
    options: Options = field(default_factory=Options)
    client: Client | None = None
    guides: Guides = field(default_factory=Guides)
    roi: tuple[int, int, int, int] | None = None
    handles: int = 0

    def numbers(self) -> tuple[int, ...]:
        """Every frame of the shot, ascending."""
        return tuple(n for first, last, step in self.frames for n in range(first, last + 1, step))

    def all_numbers(self) -> tuple[int, ...]:
        """Every frame of the shot and its handles, ascending."""
        before, after = handle_numbers(self.frames, self.handles)
        return (*before, *self.numbers(), *after)

    def inputs(self) -> tuple[str, ...]:
        """Which of `INPUTS` it uses: a server that does not know them would ignore them."""
        roto = any(one.roto is not None for one in self.keyframes)
        others = {"roto": roto, "roi": self.roi is not None, "handles": self.handles > 0}
        return (
            *(role for role, _ in self.guides.given()),
            *(word for word, used in others.items() if used),
        )

    @classmethod
    def from_json(cls, content: Any) -> Shot:
        """Read and check a shot.

        Raises:
            InputError: ``input.bad_shot``, naming the field and what is wanted there;
                ``input.no_keyframe`` if there is nothing to start from;
                ``input.shot_schema`` if it is of another schema.
        """
        top = Fields(content, "")
        schema = top.whole("schema", 1, 1_000_000)
        if schema != SCHEMA:
            raise InputError(
                "input.shot_schema",
                f"the shot is written in schema {schema}, this release reads schema {SCHEMA}",
                hint="use a release as new as the one that wrote the shot",
            )
        shot = cls(
            name=top.line("name", 200),
            frames=top.runs("frames", parts.MOST_FRAMES),
            plates=parts.read_plates(top.map("plates")),
            keyframes=parts.read_keyframes(top),
            trimaps=parts.read_trimaps(top.map("trimaps")) if top.has("trimaps") else None,
            outputs=parts.read_outputs(top.map("outputs", optional=True)),
            options=parts.read_options(top.map("options", optional=True)),
            client=parts.read_client(top.map("client")) if top.has("client") else None,
            guides=read_guides(top.map("guides", optional=True)),
            roi=top.window("roi") if top.has("roi") else None,
            handles=top.whole("handles", 0, parts.MOST_HANDLES, 0),
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
        """The shot as `from_json` reads it, every default written out but those of fields that the
        first release did not have: ids of old shots stand."""
        plates, outputs, options = self.plates, self.outputs, self.options
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "frames": [list(run) for run in self.frames],
            "plates": {
                **_where(plates),
                "colourspace": plates.colourspace,
                "composited_in": plates.composited_in,
                "premultiplied": plates.premultiplied,
            },
            "keyframes": [one.to_json() for one in self.keyframes],
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
            content["trimaps"] = _where(self.trimaps)
        if self.client is not None:
            content["client"] = {"host": self.client.host, "version": self.client.version}
        if self.guides:
            content["guides"] = self.guides.to_json()
        if self.roi is not None:
            content["roi"] = list(self.roi)
        if self.handles:
            content["handles"] = self.handles
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
            guides=self.guides.resolved(absolute),
            outputs=replace(self.outputs, pattern=absolute(self.outputs.pattern)),
            options=replace(self.options, checkpoint=absolute(self.options.checkpoint)),
        )


def handle_numbers(
    runs: Sequence[Sequence[int]], handles: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The frames of a shot's handles before and after it. They go on by the step of the run that
    they lie beside.

    Args:
        runs: [first, last, step] of the shot, ascending.
        handles: how many at each end.
    """
    (first, _, ahead), (_, last, behind) = runs[0], runs[-1]
    before = tuple(first - ahead * n for n in range(handles, 0, -1))
    return before, tuple(last + behind * n for n in range(1, handles + 1))


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
    write_whole(path, text.encode("utf-8"))


def _where(files: Plates | Trimaps) -> dict[str, Any]:
    return {"by_value": True} if files.by_value else {"pattern": files.pattern}
