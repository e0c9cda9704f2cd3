"""The face every network has, learned or classical: what it is given and what it answers."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch

from model.classical.data_term import DataTerm
from model.trimap_classes import Classes


@dataclass(frozen=True)
class Frame:
    """What a network sees of one frame. All tensors are 1×C×H×W on one device and cover the same
    canvas.

    Attributes:
        number: the frame number.
        light: float32, 3 channels: the plate in the light it is composited in: scene-linear
            Rec.709 (finite, may be
            negative or far above 1), or sRGB-encoded (0…1). Priors are solved in it.
        picture: float32, 3 channels, 0…1: sRGB-encoded after exposure and shoulder. Networks look
            at it.
        trimap: float32, 1 channel: 0 background, 0.5 unknown, 1 foreground; None during
            propagation.
        composited_in: ``linear`` or ``display``.
        background: float32, 3 channels: the clean plate in the light of ``light``; None if there is
            none.
        background_known: bool, 1 channel: where the clean plate is known.
        whole_pixels: of the whole frame, if this is the part of it around a region that is wanted;
            0 = this is all of it. What depends on a frame's size depends on this.
        hint: what was seen of single pixels while the trimap was carried here, see
            `model.classical.hints`; None if it was not.
    """

    number: int
    light: torch.Tensor
    picture: torch.Tensor
    trimap: torch.Tensor | None
    composited_in: str
    whole_pixels: int = 0
    background: torch.Tensor | None = None
    background_known: torch.Tensor | None = None
    hint: DataTerm | None = None

    @property
    def share(self) -> float:
        """How much of the whole frame this is, 0…1."""
        height, width = self.light.shape[-2:]
        return height * width / self.whole_pixels if self.whole_pixels else 1.0

    def planes(self) -> list[torch.Tensor]:
        """Every tensor of it."""
        all_of_it = [self.light, self.picture, self.trimap, self.background, self.background_known]
        if self.hint is not None:
            all_of_it += [self.hint.alpha, self.hint.weight]
        return [one for one in all_of_it if one is not None]

    @property
    def known(self) -> torch.Tensor:
        """The trimap, of a frame that must have one.

        Raises:
            ValueError: it has none.
        """
        if self.trimap is None:
            raise ValueError(f"frame {self.number} has no trimap")
        return self.trimap

    def crop(self, rows: slice, columns: slice) -> Frame:
        """A part of it, for a network: without clean plate and hint, which it does not look at."""
        cut = (slice(None), slice(None), rows, columns)
        return replace(
            self,
            light=self.light[cut],
            picture=self.picture[cut],
            trimap=None if self.trimap is None else self.trimap[cut],
            background=None,
            background_known=None,
            hint=None,
        )


@dataclass(frozen=True)
class Estimate:
    """An alpha with its confidence, each float32 1×1×H×W in 0…1."""

    alpha: torch.Tensor
    confidence: torch.Tensor


@runtime_checkable
class MattingNetwork(Protocol):
    """Pass B. `prior` on the whole frame, `encode` once per frame and tile, `decode` per window.

    ``needs_both`` is True if it can tell nothing where a trimap has unknown pixels but lacks the
    foreground or the background. ``reach`` is how many frames before and after the centre it reads
    (0, or 2); ``halo`` how many pixels around a tile can influence it, given the prior;
    ``multiple`` what sizes must be divisible by inside (the pipeline pads, networks need not).
    ``causal`` is True if it reads none after the centre, whatever the options say. One that
    ``tiles_itself`` needs the whole frame for something: it is given whole frames and the side of
    tiles, and leaves out by itself what has no unknown pixels.
    """

    needs_both: bool
    causal: bool
    tiles_itself: bool
    reach: int
    halo: int
    multiple: int

    def prior(self, frame: Frame) -> Estimate:
        """Solve the whole frame; ``frame.trimap`` is set. Depends on this frame alone."""
        ...

    def encode(self, frame: Frame, prior: Estimate) -> Any:
        """Features of one frame's tile; kept while the frame is in a window."""
        ...

    def decode(self, window: Sequence[Any], centre: int, side: int = 0) -> Estimate:
        """The estimate of the window's centre (its last, if causal) from the encodings of t−2 …
        t+2 (t−2 … t). ``side`` is that of tiles, in pixels, for a network that tiles itself; 0 = it
        need not."""
        ...


@runtime_checkable
class StepsAhead(Protocol):
    """Also by a `PropagationNetwork` that makes several steps faster than one after the other."""

    def steps(self, memory: Any, frames: Iterator[Frame]) -> Generator[Classes, None, None]:
        """What `PropagationNetwork.step` finds for each of the frames, in their order. Another
        thread may ask for them, ahead of what is yielded."""
        ...


@runtime_checkable
class PropagationNetwork(Protocol):
    """Pass A, one direction. The pipeline runs it forward and backward and blends."""

    def starts(self, keyframes: Sequence[Frame], origins: Sequence[int]) -> Sequence[Any]:
        """For each of the frames ``origins`` a memory that pins the span's keyframes (each with its
        trimap) and begins there."""
        ...

    def step(self, memory: Any, frame: Frame) -> tuple[Any, Classes]:
        """Carry on to the next frame in this direction. State in, state out; ``memory`` is not
        changed."""
        ...
