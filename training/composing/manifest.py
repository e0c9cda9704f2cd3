"""The manifest of a composed data set, `manifest.json`: what its clips are and what they came from.

    {"schema": 1, "light": "display", "foreground": "straight", "settings": {…},
     "clips": {NAME: {"pair": …, "frames": …, "size": …, "sha256": …, …}},
     "skipped": [{"pair": …, "reasons": […]}]}

A clip stands in it only when all of its files have their names. It is replaced as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.errors import InputError
from model.plates.atomic import write_bytes

MANIFEST = "manifest.json"
SCHEMA = 1
PARTS = ("v", "a", "f", "b")

Entry = Mapping[str, Any]


def read_manifest(folder: Path, by_name: bool = False) -> dict[str, Any] | None:
    """The manifest of a folder, or None if it has none.

    Args:
        folder: of the clips.
        by_name: refuse clips in a list, which only others' manifests have.

    Raises:
        InputError: ``input.manifest``: it is damaged, or of a version to come.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise InputError(
            "input.manifest",
            f"{path} cannot be read: {reason}",
            hint="bring it back from a copy, or choose another folder",
        ) from error
    wrong = _wrong(found, by_name)
    if wrong:
        raise InputError(
            "input.manifest",
            f"{path} is no manifest of clips: {wrong}",
            hint="bring it back from a copy, or choose another folder",
        )
    if found.get("schema", SCHEMA) != SCHEMA:
        raise InputError(
            "input.manifest",
            f"{path} has the schema {found['schema']}, this version knows {SCHEMA}",
            hint="use the version that wrote it, or another folder",
        )
    manifest: dict[str, Any] = found
    return manifest


def _wrong(found: object, by_name: bool) -> str:
    """What is not as in any manifest; "" if nothing is."""
    if not isinstance(found, dict):
        return "it holds no table"
    if not isinstance(found.get("settings", {}), dict):
        return "its settings are no table"
    clips = found.setdefault("clips", {})
    if not isinstance(clips, dict if by_name else dict | list):
        return "its clips are no table of names"
    entries = clips.items() if isinstance(clips, dict) else enumerate(clips)
    for name, entry in entries:
        if not isinstance(entry, dict):
            return f"what it says of the clip {name} is no table"
    return ""


def entry_of(manifest: Mapping[str, Any], name: str) -> Entry:
    """What a manifest says of one clip, in whichever way it has clips: by name, or in a list."""
    clips = manifest.get("clips", {})
    if isinstance(clips, list):
        clips = {one.get("name", ""): one for one in clips if isinstance(one, dict)}
    found: Entry = clips.get(name, {})
    return found


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Replace the manifest in one step.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``; the one before is still there.
    """
    whole = {name: _line(value) for name, value in manifest.items() if name != "clips"}
    clips = manifest["clips"]
    whole["clips"] = _lines(
        "{}", [f"{_line(name)}: {_line(clips[name])}" for name in sorted(clips)]
    )
    whole["skipped"] = _lines("[]", [_line(one) for one in manifest.get("skipped", [])])
    text = _lines("{}", [f"{_line(name)}: {value}" for name, value in whole.items()])
    write_bytes(folder / MANIFEST, f"{text}\n".encode())


def clip_digest(folders: Mapping[str, Path]) -> str:
    """SHA-256 over the files of a clip: for each part in order, each file's name, size and bytes.

    Raises:
        OSError: a folder or a file is not there or cannot be read.
    """
    digest = hashlib.sha256()
    for part in PARTS:
        if part in "fb" and not folders[part].is_dir():
            continue  # footage may have neither
        for path in sorted(folders[part].iterdir()):
            data = path.read_bytes()
            digest.update(f"{part}/{path.name} {len(data)}\n".encode())
            digest.update(data)
    return digest.hexdigest()


def parts_of(entry: Entry) -> tuple[str, ...]:
    """The parts of a clip: footage that was a plate has neither ``f`` nor ``b``."""
    return PARTS[:2] if entry.get("kind") == "plate" else PARTS


def clip_folders(out: Path, name: str) -> dict[str, Path]:
    """Where a finished clip's parts are."""
    return {part: out / part / name for part in PARTS}


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(brackets: str, lines: list[str]) -> str:
    """One a line: a manifest is read by people too, and compared."""
    inside = ",\n".join(lines)
    return f"{brackets[0]}\n{inside}\n{brackets[1]}" if lines else brackets
