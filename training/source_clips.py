"""Clips of sources made ready to teach with: which clip, which frames, how they are mixed.

Everything random is drawn from generators seeded by numbers, so that what a step sees is a function
of recipe and step. Not as published, where that is a slip: every frame of a clip can be asked for,
the last one too, and a clip that is too short repeats its ends, as a shot does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.errors import InputError, SetupError
from training.loop.recipe_file import tables_of
from training.pool import Maker
from training.source_crops import Crop, Drawing, cropped, each, picture_of
from training.sources import ClipFrames, ClipSource, open_source
from training.synthesis import Clips


@dataclass(frozen=True)
class Sources:
    """One source or several.

    Attributes:
        sources, shares: the share of the clips that each gives.
        entries: every clip: the place of its source, and its name.
    """

    sources: tuple[ClipSource, ...]
    shares: tuple[float, ...]
    entries: tuple[tuple[int, str], ...]

    @property
    def described(self) -> list[Mapping[str, Any]]:
        """For the record of a checkpoint."""
        return [dict(one.described) for one in self.sources]

    def length(self, entry: tuple[int, str]) -> int:
        """Frames of a clip."""
        return self.sources[entry[0]].length(entry[1])

    def read(self, entry: tuple[int, str], first: int, count: int) -> ClipFrames:
        """Frames in a row; those before the first and after the last repeat these.

        Raises:
            InputError: as `ClipSource.read`; ``input.unlike_frames`` if planes differ in length or
                size, ``input.no_frames`` if the clip is empty.
        """
        source, name = self.sources[entry[0]], entry[1]
        length = source.length(name)
        if length < 1:
            raise InputError(
                "input.no_frames", f"the clip {name} has no frames", hint="leave the clip out"
            )
        places = np.clip(np.arange(first, first + count), 0, length - 1)
        needed = sorted({int(place) for place in places})
        found = source.read(name, needed)
        _check_alike(found, name, len(needed))
        if len(needed) == count:
            return found
        order = [needed.index(int(place)) for place in places]
        return each(found, lambda planes: planes[order])


class SourceClips:
    """Clips of sources as `training.pool` wants them.

    Args:
        sources: where from.
        frames: of a clip.
        crop, drawing: see there.
        device: where they are brought.
    """

    def __init__(
        self, sources: Sources, frames: int, crop: Crop, drawing: Drawing, device: torch.device
    ):
        self.sources, self.frames, self.crop, self.drawing = sources, frames, crop, drawing
        self._device = device
        shares = np.array(sources.shares, float)
        self._shares = shares / shares.sum()

    def clips(self, seed: int, count: int) -> Clips:
        """See `Maker`."""
        return side_by_side([self._clip(np.random.default_rng((seed, i))) for i in range(count)])

    def _clip(self, rng: np.random.Generator) -> Clips:
        which = int(rng.choice(len(self._shares), p=self._shares))
        names = self.sources.sources[which].names
        entry = which, names[int(rng.integers(len(names)))]
        first = int(rng.integers(max(self.sources.length(entry) - self.frames, 0) + 1))
        frames = self.sources.read(entry, first, self.frames)
        middle = self.frames // 2
        return as_clips(cropped(frames, middle, self.crop, self.drawing, rng), self._device)


class MixedClips:
    """Clips of several makers by their shares."""

    def __init__(self, makers: Sequence[tuple[float, Maker]]):
        self._makers = [maker for _, maker in makers]
        shares = np.array([share for share, _ in makers], float)
        self._shares = shares / shares.sum()

    def clips(self, seed: int, count: int) -> Clips:
        """See `Maker`; layers and flow are left out, for not all makers have them."""
        found = []
        for i in range(count):
            rng = np.random.default_rng((seed, i, 1))
            maker = self._makers[int(rng.choice(len(self._makers), p=self._shares))]
            clip = maker.clips(int(rng.integers(1 << 40)), 1)
            empty = clip.light.new_zeros(0)
            found.append(replace(clip, foreground=empty, background=empty, flow=empty))
        return side_by_side(found)


def open_sources(recipe: Mapping[str, Any], table: str = "source") -> Sources | None:
    """What a recipe's ``[source]`` or ``[[source]]`` names; None if there is no such table.

    Args:
        recipe: the whole of it.
        table: ``source`` or ``validation``.

    Raises:
        SetupError: ``setup.bad_recipe``.
        InputError: ``input.no_clips`` if a source holds none; what its opener raises.
    """
    sources, shares = [], []
    entries: list[tuple[int, str]] = []
    for place, one in enumerate(tables_of(recipe, table)):
        rest = dict(one)
        shares.append(_share(rest.pop("share", 1.0), table))
        source = open_source(rest)
        names = list(source.names)
        if not names:
            raise InputError(
                "input.no_clips", f"there are no clips in {one.get('folder')}",
                hint=f"the recipe's [{table}] reads it as {one.get('kind')}: is it that?",
            )  # fmt: skip
        sources.append(source)
        entries += [(place, name) for name in names]
    return Sources(tuple(sources), tuple(shares), tuple(entries)) if sources else None


def as_clips(frames: ClipFrames, device: torch.device) -> Clips:
    """As one clip, N = 1, on the device; empty tensors for layers that are not there, and flow."""
    assert frames.trimap is not None
    empty = torch.zeros(0, device=device)

    def one(planes: Tensor | None) -> Tensor:
        return empty if planes is None else planes[None].to(device)

    return Clips(
        light=one(frames.light),
        picture=one(picture_of(frames)),
        alpha=one(frames.alpha),
        foreground=one(frames.foreground),
        background=one(frames.background),
        flow=empty,
        trimap=one(frames.trimap),
        linear=torch.tensor([frames.linear], device=device),
        kinds=("source",),
    )


def side_by_side(clips: Sequence[Clips]) -> Clips:
    """Clips of one size as one; layers that some of them lack are left out."""

    def joined(name: str) -> Tensor:
        planes: list[Tensor] = [getattr(one, name) for one in clips]
        complete = all(one.dim() == planes[0].dim() and len(one) for one in planes)
        return torch.cat(planes) if complete else planes[0].new_zeros(0)

    tensors = {f.name: joined(f.name) for f in fields(Clips) if f.name != "kinds"}
    return Clips(**tensors, kinds=tuple(kind for one in clips for kind in one.kinds))


def _check_alike(frames: ClipFrames, name: str, count: int) -> None:
    """All planes of a clip have the frames that were asked for, over one size."""
    size = frames.alpha.shape[-2:]
    for field in fields(ClipFrames):
        planes = getattr(frames, field.name)
        if not isinstance(planes, Tensor):
            continue
        if len(planes) != count:
            raise InputError(
                "input.unlike_frames",
                f"the clip {name} has {len(planes)} frames of {field.name} where {count} are asked"
                " for",
                hint="give all its layers the same frames, or leave the clip out",
            )
        if planes.shape[-2:] != size:
            raise InputError(
                "input.unlike_frames",
                f"the clip {name} has {field.name} of {planes.shape[-1]}×{planes.shape[-2]} pixels "
                f"and alpha of {size[1]}×{size[0]}",
                hint="give all its layers the same size, or leave the clip out",
            )


def _share(value: Any, table: str) -> float:
    if not isinstance(value, int | float) or not value > 0:
        raise SetupError(
            "setup.bad_recipe", f"the share {value!r} of a [[{table}]] is not above 0",
            hint="shares are numbers, e.g. share = 0.5",
        )  # fmt: skip
    return float(value)
