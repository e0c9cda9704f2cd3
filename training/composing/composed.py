"""Composed clips as a source of training: folders of frames, one for each part.

    FOLDER/{v,a[,f,b,t]}/CLIP/00000.png     composite, alpha; foreground, background, trimap

as `dvm-train compose` writes them, as studio footage is brought in, or as the published tool left
them. Pictures are PNG, JPEG or TIFF in sRGB, read by OpenCV, or EXR, read by OpenImageIO, which is
imported when the first one comes.

`manifest.json` may say of each clip, or of all, ``"light": "linear"`` or ``"display"`` (what it was
composited in) and ``"foreground": "premultiplied"`` or ``"straight"``. Without it pictures are
display, EXRs what their colourspace says, and foregrounds straight. Data sets of the published tool
have premultiplied foregrounds: say so in the recipe, ``foreground = "premultiplied"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from model.checkpoint import sha256_of_file
from model.errors import InputError, SetupError
from model.plates.file_errors import looking_into
from training.composing.composed_pixels import (
    Values,
    frames_of,
    own_light,
    read_alpha,
    read_colour,
    read_trimap,
)
from training.composing.layout import PICTURES, names_in
from training.composing.layout_frames import numbered_pictures
from training.composing.manifest import MANIFEST, entry_of, read_manifest
from training.sources import ClipFrames

_CHOICES = {"light": ("linear", "display"), "foreground": ("straight", "premultiplied")}
_FRAMES = (*PICTURES, ".exr")
_SHOWN = 5


def open_composed(folder: Path, options: Mapping[str, Any]) -> ComposedClips:
    """The clips of a folder.

    Args:
        folder: see the module.
        options: ``light`` and ``foreground``, over what a manifest says.

    Raises:
        InputError: ``input.no_clips`` for a folder without clips, ``input.missing_alpha`` for clips
            without alpha, ``input.missing_frame`` for clips whose parts differ in their frames,
            ``input.unreadable``, ``input.manifest``.
        SetupError: ``setup.bad_recipe`` for another option.
    """
    for key, value in options.items():
        if value not in _CHOICES.get(key, ()):
            known = "; ".join(f"{name}: {' or '.join(ways)}" for name, ways in _CHOICES.items())
            raise SetupError(
                "setup.bad_recipe",
                f"the recipe's [source] of composed clips says {key} = {value!r}",
                hint=f"it may say {known}",
            )
    names = names_in(folder / "v", folders=True)
    if not names:
        raise InputError(
            "input.no_clips",
            f"{folder} holds no clips in its folder v",
            hint="clips are v/NAME/00000.png … with a/NAME/00000.png … beside them",
        )
    lacking = sorted(set(names) ^ set(names_in(folder / "a", folders=True)))
    if lacking:
        more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        raise InputError(
            "input.missing_alpha",
            f"{folder}: {', '.join(lacking[:_SHOWN])}{more} is in only one of the folders v and a",
            hint="if composing was interrupted, run dvm-train compose again; else bring the files",
        )
    _require_frames(folder, names)
    manifest = read_manifest(folder)
    described: dict[str, Any] = {"kind": "composed", "folder": folder.name, "clips": len(names)}
    if manifest is not None:
        described["manifest_sha256"] = sha256_of_file(folder / MANIFEST)
    return ComposedClips(folder, tuple(names), {**described, **options}, manifest or {}, options)


@dataclass(frozen=True)
class ComposedClips:
    """A `training.sources.ClipSource`."""

    folder: Path
    names: tuple[str, ...]
    described: Mapping[str, Any]
    manifest: Mapping[str, Any]
    options: Mapping[str, Any]

    def length(self, name: str) -> int:
        """Frames of a clip.

        Raises:
            InputError: ``input.no_frames`` or ``input.missing_frame``.
        """
        return len(numbered_pictures(self.folder / "v" / name, _FRAMES))

    def read(self, name: str, frames: Sequence[int]) -> ClipFrames:
        """Frames by their place in the clip; only their files are opened.

        Raises:
            InputError: ``input.missing_frame`` if a part lacks one, ``input.unlike_sizes``, or what
                reading raises.
        """
        plates = numbered_pictures(self.folder / "v" / name, _FRAMES)
        parts = {part: self._files(part, name, frames, plates) for part in "vafbt"}
        alphas = [read_alpha(path) for path in parts["a"]]
        said = self._said(name)
        light = said.get("light") or own_light(parts["v"][0])
        colours = {
            part: [read_colour(path, light) for path in parts[part]] for part in "vb" if parts[part]
        }
        if parts["f"]:
            divide = said.get("foreground") == "premultiplied"
            colours["f"] = [
                read_colour(path, light, alpha if divide else None)
                for path, alpha in zip(parts["f"], alphas, strict=True)
            ]
        trimaps = [read_trimap(path) for path in parts["t"]]
        stacked = {
            part: _stacked(planes, [*parts[part]])
            for part, planes in {**colours, "a": alphas, "t": trimaps}.items()
            if planes
        }
        _require_one_size(self.folder, name, stacked)
        return ClipFrames(
            light=stacked["v"],
            alpha=stacked["a"],
            foreground=stacked.get("f"),
            background=stacked.get("b"),
            trimap=stacked.get("t"),
            linear=light == "linear",
        )

    def _files(
        self, part: str, name: str, frames: Sequence[int], plates: Mapping[int, Path]
    ) -> list[Path]:
        """The files of a part; ``plates`` are those of v, by number."""
        folder = self.folder / part / name
        files = list(_numbered(self.folder, part, name, plates).values())
        if not files:
            return []
        beyond = next((frame for frame in frames if not 0 <= frame < len(files)), None)
        if beyond is not None:
            raise InputError(
                "input.missing_frame",
                f"{folder} has {len(files)} frames, and frame {beyond}, from 0, was asked for",
                frame=beyond,
                hint="bring the frames back, or leave the clip out",
            )
        return [files[frame] for frame in frames]

    def _said(self, name: str) -> dict[str, Any]:
        """Light and foreground of a clip: the recipe's, its own, the manifest's."""
        own = entry_of(self.manifest, name)
        found: dict[str, Any] = {}
        for key, ways in _CHOICES.items():
            for place in (self.options, own, self.manifest):
                if place.get(key):
                    found[key] = place[key]
                    break
            if found.get(key, ways[0]) not in ways:
                raise InputError(
                    "input.manifest",
                    f"{self.folder / MANIFEST} says {key} {found[key]!r} of {name}",
                    hint=f"it is {' or '.join(ways)}",
                )
        return found


def _numbered(folder: Path, part: str, name: str, plates: Mapping[int, Path]) -> Mapping[int, Path]:
    """The files of a part of a clip by number, as many as its plates; none of a part that it need
    not have and has not.

    Raises:
        InputError: ``input.missing_frame`` if they are others, and as `numbered_pictures`.
    """
    own = folder / part / name
    if part == "v":
        return plates
    with looking_into(own):
        if part in "fbt" and not own.is_dir():
            return {}
    there = numbered_pictures(own, _FRAMES)
    if list(plates) != list(there):
        first = min(set(plates) ^ set(there))
        raise InputError(
            "input.missing_frame",
            f"{own} and the frames of {folder / 'v' / name} differ in frame {first}",
            frame=first,
            hint="give all parts of a clip the same frames",
        )
    return there


def _require_frames(folder: Path, names: Sequence[str]) -> None:
    """See, by listing alone, that all parts of all clips have the frames of their plates.

    Raises:
        InputError: of the only clip that has not, what is wrong; of several, the first of it.
    """
    wrong: list[InputError] = []
    for name in names:
        try:
            plates = numbered_pictures(folder / "v" / name, _FRAMES)
            for part in "afbt":
                _numbered(folder, part, name, plates)
        except InputError as error:
            wrong.append(error)
    if not wrong:
        return
    told = " | ".join(one.message for one in wrong[:_SHOWN])
    more = f" | and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    if len(wrong) > 1:
        told = f"{len(wrong)} of {len(names)} clips in {folder} cannot be used: {told}{more}"
    raise InputError(wrong[0].code, told, frame=wrong[0].frame, hint=wrong[0].hint)


def _stacked(planes: Sequence[Values], paths: Sequence[Path]) -> Tensor:
    """T×C×H×W."""
    for plane, path in zip(planes, paths, strict=True):
        if plane.shape != planes[0].shape:
            raise InputError(
                "input.unlike_sizes",
                f"{path} is {plane.shape[1]}×{plane.shape[0]}, and {paths[0].name} of the same "
                f"clip {planes[0].shape[1]}×{planes[0].shape[0]}",
                hint="give all frames of a clip one size",
            )
    return frames_of(planes)


def _require_one_size(folder: Path, name: str, stacked: Mapping[str, Tensor]) -> None:
    size = stacked["v"].shape[2:]
    for part, tensor in stacked.items():
        if tensor.shape[2:] != size:
            raise InputError(
                "input.unlike_sizes",
                f"{folder / part / name} is {tensor.shape[3]}×{tensor.shape[2]}, its clip "
                f"{size[1]}×{size[0]}",
                hint="give all parts of a clip one size",
            )
