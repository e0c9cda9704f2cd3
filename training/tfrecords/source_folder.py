"""The clips that records are written from, with what `manifest.json` says if there is one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.errors import InputError
from training.composing.manifest import MANIFEST, read_manifest
from training.tfrecords.layout import SourceClip, find_clips
from training.tfrecords.manifest import FOREGROUNDS, LIGHTS


@dataclass(frozen=True)
class SourceFolder:
    """What lies in a folder of clips.

    Attributes:
        clips: those that are whole, by name.
        misfits: of each other one what is wrong, each in one sentence.
        lights, foregrounds: by clip, where the manifest tells; see `manifest.Listed`.
    """

    clips: Mapping[str, SourceClip] = field(default_factory=dict)
    misfits: Mapping[str, list[str]] = field(default_factory=dict)
    lights: Mapping[str, str] = field(default_factory=dict)
    foregrounds: Mapping[str, str] = field(default_factory=dict)


def read_source(folder: Path, mode: str, only: Collection[str] | None) -> SourceFolder:
    """Find all clips of a mode. With a manifest, they must be the clips that it lists.

    Args:
        folder: of the clips.
        mode: one of `MODES`.
        only: look at none but these; None = at all.

    Raises:
        InputError: as `find_clips`; ``input.manifest`` if the manifest cannot be used.
    """
    clips, misfits = find_clips(folder, mode, only)
    manifest = read_manifest(folder)
    if manifest is None or not isinstance(manifest.get("clips"), dict):
        return SourceFolder(clips, misfits)
    listed: dict[str, Any] = manifest["clips"]
    for name, entry in listed.items():
        if only is not None and name not in only:
            continue
        frames = entry.get("frames")
        if name not in clips:
            misfits.setdefault(name, [f"{MANIFEST} lists {name}, and it is not there"])
        elif frames not in (None, len(clips[name].frames)):
            told = f"{name} has {len(clips.pop(name).frames)} frames, {MANIFEST} says {frames}"
            misfits[name] = [told]
    for name in sorted(set(clips) - set(listed)):
        del clips[name]
        misfits[name] = [f"{MANIFEST} does not list {name}; compose it again, or take it out"]
    told_lights = {name: listed[name].get("light", manifest.get("light")) for name in clips}
    told_foregrounds = {
        name: listed[name].get("foreground", manifest.get("foreground")) for name in clips
    }
    return SourceFolder(
        clips,
        misfits,
        _known(folder, "light", told_lights, LIGHTS),
        _known(folder, "foreground", told_foregrounds, FOREGROUNDS),
    )


def _known(
    folder: Path, key: str, told: Mapping[str, Any], allowed: tuple[str, ...]
) -> dict[str, str]:
    for name, value in told.items():
        if value is not None and value not in allowed:
            raise InputError(
                "input.manifest",
                f"{folder / MANIFEST} says that {key} of {name} is {value!r}",
                hint=f"it is {' or '.join(allowed)}",
            )
    return {name: value for name, value in told.items() if value is not None}
