"""`records.json` beside the records: what they are, which nothing inside of them says.

It is there before the first record: a clip that is still to be written is in it without a checksum.

The published tools write none; their foregrounds are multiplied by alpha, in display light. What
`dvm-train compose` makes is told by a `manifest.json` beside the clips.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from model.errors import InputError
from model.plates.atomic import write_bytes
from training.tfrecords.layout import MODES

NAME = "records.json"
SCHEMA = 1
FOREGROUNDS = ("premultiplied", "straight")
LIGHTS = ("display", "linear")


@dataclass(frozen=True)
class Listed:
    """A record as it was written.

    Attributes:
        frames, bytes, sha256: of the record; 0, 0 and "" while it is still to be written.
        foreground: ``premultiplied`` or ``straight``: what `f` holds.
        light: ``display`` or ``linear``: what the clip is composited in. Pictures are sRGB-encoded
            either way.
    """

    frames: int
    bytes: int
    sha256: str
    foreground: str = FOREGROUNDS[0]
    light: str = LIGHTS[0]


@dataclass(frozen=True)
class Manifest:
    """What `records.json` says.

    Attributes:
        mode: one of `MODES`.
        clips: by name.
    """

    mode: str
    clips: Mapping[str, Listed] = field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder of records; None if it has none.

    Raises:
        InputError: ``input.bad_manifest``.
    """
    path = folder / NAME
    try:
        found = json.loads(path.read_bytes())
        if found["schema"] != SCHEMA:
            raise ValueError(f"its schema is {found['schema']}, not {SCHEMA}")
        if found["mode"] not in MODES:
            raise ValueError(f"its mode is {found['mode']}")
        clips = {name: _listed(one) for name, one in found["clips"].items()}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _bad(path, str(error.strerror)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad(path, f"{type(error).__name__}: {error}") from error
    return Manifest(found["mode"], clips)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it, whole or not at all.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    told = {"schema": SCHEMA, **asdict(manifest)}
    told["clips"] = dict(sorted(told["clips"].items()))
    write_bytes(folder / NAME, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())


def _listed(found: Mapping[str, object]) -> Listed:
    listed = Listed(**found)  # type: ignore[arg-type]
    if not isinstance(listed.frames, int) or not isinstance(listed.bytes, int):
        raise TypeError("frames and bytes are whole numbers")
    if listed.foreground not in FOREGROUNDS or listed.light not in LIGHTS:
        raise ValueError(f"it tells of {listed.foreground}, {listed.light}")
    return listed


def _bad(path: Path, why: str) -> InputError:
    return InputError(
        "input.bad_manifest",
        f"{path} cannot be used: {why}",
        hint="`dvm-train records -s verify` writes it anew; give it --foreground and --light",
    )
