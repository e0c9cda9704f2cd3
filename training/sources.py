"""Clips with truth that lie somewhere, instead of being made up: the face that training reads them
through, whether they are folders of frames, records, or composed as they are read.

A recipe names one with a table ``[source]``: ``kind`` is a key of `SOURCES`, ``folder`` the place,
and everything else goes to the kind's opener, which refuses what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from model.errors import SetupError
from model.plates.file_errors import looking_into

# Each is called with the folder and the table's other keys, and returns a `ClipSource`.
SOURCES = {
    "composed": "training.composing.composed:open_composed",
    "layout": "training.composing.layout_source:open_layout",
    "records": "training.tfrecords.source:open_records",
}


@dataclass(frozen=True)
class ClipFrames:
    """Some frames of one clip, float32 on the CPU, all over the same H×W.

    Attributes:
        light: T×3×H×W, the plate in the light it was composited in: scene-linear (Rec. 709), or
            sRGB-encoded, 0…1.
        alpha: T×1×H×W, 0…1.
        foreground, background: T×3×H×W in the light of ``light``, straight; None if not there.
        trimap: T×1×H×W: 0 background, 0.5 unknown, 1 foreground; None = to be drawn from alpha.
        linear: composited in scene-linear light.
    """

    light: Tensor
    alpha: Tensor
    foreground: Tensor | None
    background: Tensor | None
    trimap: Tensor | None
    linear: bool


class ClipSource(Protocol):
    """Clips by name. Opened again in each process that reads, so it holds paths, no open files.

    Attributes:
        names: of all clips, sorted.
        described: what a checkpoint's record says of where they came from, e.g. a folder's name and
            the sha256 of its manifest.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def described(self) -> Mapping[str, Any]: ...

    def length(self, name: str) -> int:
        """Frames of a clip."""
        ...

    def read(self, name: str, frames: Sequence[int]) -> ClipFrames:
        """Frames by their place in the clip, from 0.

        Raises:
            InputError: a file is missing, unreadable, or unlike the others in size.
        """
        ...


def open_source(table: Mapping[str, Any]) -> ClipSource:
    """The source that a recipe's ``[source]`` names.

    Raises:
        SetupError: ``setup.bad_recipe`` for an unknown kind, or a key that is missing.
        InputError: ``input.unreadable``; what the kind's opener raises.
    """
    rest = dict(table)
    kind, folder = rest.pop("kind", ""), rest.pop("folder", "")
    if kind not in SOURCES or not folder:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe's [source] names the kind {kind!r} and the folder {folder!r}",
            hint=f"kind is one of {', '.join(SOURCES)}; folder is where the clips lie",
        )
    _require_listed(Path(folder))
    module, _, function = SOURCES[kind].partition(":")
    found: ClipSource = getattr(import_module(module), function)(Path(folder), rest)
    return found


def _require_listed(folder: Path) -> None:
    """See that a folder that is there can be listed. Whether it is there its opener sees to: it may
    be the name of something else.

    Raises:
        InputError: ``input.unreadable``.
    """
    with looking_into(folder), suppress(FileNotFoundError, NotADirectoryError):
        next(folder.iterdir(), None)
