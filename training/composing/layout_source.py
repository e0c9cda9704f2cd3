"""Clips composed while training goes on, from the layout that `dvm-train compose` reads: the same
clips, to the last code, without the terabyte that they fill.

A frame is composed when it is asked for. The last few clips of a process stay open, so that windows
of one clip cost no more than their own frames; a movie that is opened is read through once and
decoded from the keyframe before.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from model.errors import InputError, SetupError
from training.composing.composed_pixels import frames_of
from training.composing.composer import Composer
from training.composing.layout import Trouble, troubles_told
from training.composing.layout_frames import numbered_pictures, unit
from training.composing.pair_list import CLASSES, KINDS
from training.composing.selection import MOST_CLIPS, PER_FOREGROUND, SEED, Clip, Request, select
from training.sources import ClipFrames

_OPEN = 3
# Keys of the recipe, as the command's options are called, with what they are if not given.
_DEFAULTS: dict[str, Any] = {
    "phase": "train",
    "pairs": "",
    "seed": SEED,
    "per_foreground": PER_FOREGROUND,
    "image_only": False,
    "video_only": False,
    "classes": [],
    "classes_file": "",
    "max_size_from_image": MOST_CLIPS["image"],
    "max_size_from_video": MOST_CLIPS["video"],
    "bg_blur": False,
    "skip_missing": False,
}


def open_layout(folder: Path, options: Mapping[str, Any]) -> LayoutClips:
    """Clips of a layout.

    Args:
        folder: its root.
        options: as the command's, with underscores: see `_DEFAULTS`. Paths are as given.

    Raises:
        InputError: ``input.incomplete_layout`` for files and frames that are not there, as far as
            listing tells, unless ``skip_missing``; what `select` raises.
        SetupError: ``setup.bad_recipe`` for an option that there is not, or of another type.
    """
    request = _request(folder, options)
    selection = select(request)
    lacking = _lacking(selection.clips)
    bad = {trouble.pair for trouble in lacking}
    clips = [clip for clip in selection.clips if clip.pair.line not in bad]
    troubles = (*selection.troubles, *lacking)
    if troubles and (not options.get("skip_missing") or not clips):
        raise InputError(
            "input.incomplete_layout",
            f"{len(troubles)} pairs cannot be composed: {troubles_told(troubles)}",
            hint="bring the files, or leave these pairs out with skip_missing = true",
        )
    return LayoutClips(request, clips, len(troubles))


class LayoutClips:
    """A `training.sources.ClipSource`. What is open belongs to one process, and never travels."""

    def __init__(self, request: Request, clips: Sequence[Clip], skipped: int):
        self._request = request
        self._clips = {clip.name: clip for clip in sorted(clips, key=lambda clip: clip.name)}
        self._skipped = skipped
        self._lengths: dict[str, int] = {}
        self._open: OrderedDict[str, Composer] = OrderedDict()
        self._process = os.getpid()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._clips)

    @property
    def described(self) -> Mapping[str, Any]:
        lines = "\n".join(clip.pair.line for clip in self._clips.values())
        return {
            "kind": "layout",
            "folder": self._request.root.name,
            "phase": self._request.phase,
            "seed": self._request.seed,
            "bg_blur": self._request.bg_blur,
            "clips": len(self._clips),
            "skipped": self._skipped,
            "pairs_sha256": hashlib.sha256(lines.encode()).hexdigest(),
        }

    def length(self, name: str) -> int:
        """Frames of a clip; its sources are opened to know.

        Raises:
            InputError: a source is damaged, or foreground and alpha do not match.
        """
        if name not in self._lengths:
            self._lengths[name] = self._composer(name).plan.frames
        return self._lengths[name]

    def read(self, name: str, frames: Sequence[int]) -> ClipFrames:
        """Compose frames by their place in the clip.

        Raises:
            InputError: as `length`, or ``input.missing_frame`` for a frame that the clip lacks.
        """
        composer = self._composer(name)
        beyond = next((one for one in frames if not 0 <= one < composer.plan.frames), None)
        if beyond is not None:
            raise InputError(
                "input.missing_frame",
                f"the clip {name} has {composer.plan.frames} frames, and frame {beyond}, from 0, "
                "was asked for",
                frame=beyond,
                hint="see to the sources of the clip",
            )
        made = {index: composer.frame(index).parts() for index in sorted(set(frames))}
        parts = {part: frames_of([unit(made[index][part]) for index in frames]) for part in "vafb"}
        return ClipFrames(parts["v"], parts["a"], parts["f"], parts["b"], None, linear=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict(), "_process": -1}

    def _composer(self, name: str) -> Composer:
        if self._process != os.getpid():
            # Forked: files that another process reads from share their place with it. They are
            # left to it, and not closed.
            self._open, self._process = OrderedDict(), os.getpid()
            cv2.setNumThreads(1)
        if name not in self._open:
            clip, request = self._clips[name], self._request
            while len(self._open) >= _OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[name] = Composer(clip.pair, clip.sources, request.seed, request.bg_blur)
        self._open.move_to_end(name)
        return self._open[name]


def _lacking(clips: Sequence[Clip]) -> list[Trouble]:
    """Clips whose folders of frames lack some, by their names alone; movies are not opened."""
    told = [clip.sources.parts() for clip in clips]
    listed = {path: _listed(path) for path in {one for parts in told for one in parts.values()}}
    found = []
    for clip, parts in zip(clips, told, strict=True):
        said = {part: listed[path] for part, path in parts.items()}
        reasons = [one for one in said.values() if isinstance(one, str)]
        counts = [said[part] for part in ("colour", "alpha") if isinstance(said[part], int)]
        if len(set(counts)) == 2:
            reasons.append(
                f"{parts['colour']} has {counts[0]} frames and its alpha {parts['alpha'].name} "
                f"{counts[1]}"
            )
        if reasons:
            found.append(Trouble(clip.pair.line, tuple(reasons)))
    return found


def _listed(path: Path) -> int | str | None:
    """How many frames a folder has, or what is wrong with it; None for a file."""
    if not path.is_dir():
        return None
    try:
        return len(numbered_pictures(path))
    except InputError as error:
        return error.message


def _request(folder: Path, options: Mapping[str, Any]) -> Request:
    given = {**_DEFAULTS, **options}
    for key, value in given.items():
        wanted = _DEFAULTS.get(key)
        if wanted is None or type(value) is not type(wanted):
            raise SetupError(
                "setup.bad_recipe",
                f"the recipe's [source] of a layout says {key} = {value!r}",
                hint=f"it may say {', '.join(_DEFAULTS)}; "
                "training/README.md, Composing a data set, says what they mean",
            )
    least = {"seed": 0, "per_foreground": 1, "max_size_from_image": 0, "max_size_from_video": 0}
    low = next((key for key, one in least.items() if given[key] < one), None)
    if low is not None:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe's [source] of a layout says {low} = {given[low]}",
            hint=f"it may say a whole number from {least[low]} on",
        )
    wrong = [one for one in given["classes"] if one not in CLASSES]
    if wrong or (given["image_only"] and given["video_only"]):
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe's [source] of a layout says classes = {given['classes']!r}, "
            f"image_only = {given['image_only']}, video_only = {given['video_only']}",
            hint=f"classes are {', '.join(CLASSES)}, and one of the two may be true",
        )
    return Request(
        root=folder,
        phase=given["phase"],
        pairs=Path(given["pairs"]) if given["pairs"] else None,
        seed=given["seed"],
        per_foreground=given["per_foreground"],
        kinds=("image",) if given["image_only"] else ("video",) if given["video_only"] else KINDS,
        classes=tuple(given["classes"]),
        classes_file=Path(given["classes_file"]) if given["classes_file"] else None,
        most={kind: given[f"max_size_from_{kind}"] for kind in KINDS},
        bg_blur=given["bg_blur"],
    )
