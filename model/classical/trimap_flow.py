"""Trimap propagation without learning: optical flow, a background layer and colour classifiers.

One direction from one keyframe, frame by frame. Each step

1. matches the frame with the one before, both ways (`flow`), and warps the alpha along;
2. asks how likely each pixel's colour is as foreground and as background (`evidence`), from colours
   pinned to the keyframes, colours seen nearby a moment ago, and the background known to be behind;
   and, where both move apart, with which of them it moves, and what the foreground has covered and
   uncovered (`layer_motion`);
3. adds up what both say (inconsistent flow counts little) and lets it follow edges (`guided`);
4. makes the unknown band anew around that alpha, so that it neither grows nor shrinks on the way.
   Where nothing has moved since the keyframe, the artist's own trimap stands (`anchor`).

Sources: carrying trimaps by flow and looking for the background behind: Y.-Y. Chuang et al.,
"Video Matting of Complex Scenes", SIGGRAPH 2002; local colour and shape, weighed against each
other: X. Bai, J. Wang, D. Simons, G. Sapiro, "Video SnapCut", SIGGRAPH 2009.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import torch

from cuda_ops.recorded import Recorded
from model.ahead import ahead, at_once, several
from model.classical.colour_classifier import bins, lab, whole_model
from model.classical.evidence import SOFT, Wholes, reach
from model.classical.filters import Image, fetched, grown, holding, is_on_card, placed
from model.classical.flow import Grey, luminance, motion_of, optical_flow
from model.classical.keyframe import resolve
from model.classical.trimap_step import Seen, State, expect, first_state, lay_out, settle
from model.classical.working_size import WorkingSize
from model.errors import SetupError
from model.face import Frame
from model.trimap_classes import Classes, Clues

Stage = Generator[Any, None, None]

_MATCHED_AT_ONCE = at_once(4, 4)  # frames


@dataclass(frozen=True)
class Memory:
    """All that is carried; its size depends on the working size alone.

    Attributes:
        size: of the frames, and of images.
        wholes: picture-wide colour models of foreground and background, pinned to the keyframes;
            None if there is none of it.
        softness: of the keyframes' bands, 0…1 in the mean; see `keyframe.ResolvedKeyframe`.
        levels: luminance of the last frame.
        state: after it.
    """

    size: WorkingSize
    wholes: Wholes
    softness: float
    levels: Grey
    state: State


@dataclass(frozen=True)
class Sight:
    """What needs nothing that was carried, so that it can be had ahead.

    Attributes:
        seen: of a frame.
        levels: its luminance.
        device: the frame's.
    """

    seen: Seen
    levels: Grey
    device: torch.device


class TrimapFlow:
    """The face of `model.face.PropagationNetwork`, and of `model.face.StepsAhead`."""

    def __init__(self) -> None:
        # On a CUDA device hundreds of small kernels each.
        self._expect, self._settle = Recorded(expect), Recorded(settle)
        self._lay_out = Recorded(lay_out)

    def start(self, keyframes: Sequence[Frame], origin: int) -> Memory:
        """Pin the colours of all keyframes and begin at the one nearest to frame ``origin``.

        Raises:
            ValueError: there is no keyframe, one has no trimap, or their sizes differ.
        """
        return self.starts(keyframes, (origin,))[0]

    def starts(self, keyframes: Sequence[Frame], origins: Sequence[int]) -> list[Memory]:
        """`start` from each of the origins; what keyframes teach is learnt once."""
        if not keyframes:
            raise ValueError("trimap_flow needs at least one keyframe")
        height, width = keyframes[0].picture.shape[2:]
        size = WorkingSize.of(height, width)
        for frame in keyframes:
            _check_size(frame, size)
        solved = [resolve(frame, size) for frame in keyframes]
        pictures = [size.reduce(frame.picture) for frame in keyframes]
        seen = [fetched(bins(lab(picture))) for picture in pictures]
        wholes = [
            whole_model(zip(seen, masks, strict=True))
            for masks in ([k.foreground for k in solved], [k.background for k in solved])
        ]
        pinned = (_pinned(wholes[0], pictures[0]), _pinned(wholes[1], pictures[0]))
        softness = sum(one.softness for one in solved) / len(solved)
        memories = []
        for nearest in (nearest_to(origin, keyframes) for origin in origins):
            light, picture = size.reduce(keyframes[nearest].light), pictures[nearest]
            state = first_state(picture, light, solved[nearest])
            memories.append(Memory(size, pinned, softness, luminance(picture), state))
        return memories

    def step(self, memory: Memory, frame: Frame) -> tuple[Memory, Classes]:
        """Carry on to the next frame in this direction. Raises ValueError if its size differs."""
        return self.carry(memory, self.sight(memory, frame))

    def steps(self, memory: Memory, frames: Iterator[Frame]) -> Generator[Classes, None, None]:
        """`step` after `step`, to the same bit, with `sights` a frame ahead."""
        with closing(beside(self.sights(memory, frames), memory, "sight")) as seen:
            for sight in seen:
                memory, classes = self.carry(memory, sight)
                yield classes

    def sight(self, memory: Memory, frame: Frame) -> Sight:
        """Look at the frame after the one of a memory. Raises ValueError if its size differs."""
        look = _look(memory.size, frame)
        return _sight(look, *optical_flow(memory.levels, look.levels))

    def sights(self, memory: Memory, frames: Iterator[Frame]) -> Generator[Sight, None, None]:
        """`sight` of frame after frame; of the memory only the frame it is at is read. On a machine
        of many cores several frames are matched with those before them at once."""

        def looks() -> Iterator[tuple[Grey, _Look]]:
            before = memory.levels
            for frame in frames:
                look = _look(memory.size, frame)
                yield before, look
                before = look.levels

        def matched(pair: tuple[Grey, _Look]) -> tuple[_Look, Image, Image]:
            before, look = pair
            return look, *optical_flow(before, look.levels)

        with closing(several(looks(), matched, _MATCHED_AT_ONCE, name="match")) as found:
            for look, back, forth in found:
                yield _sight(look, back, forth)

    def carry(self, memory: Memory, sight: Sight) -> tuple[Memory, Classes]:
        """Carry on to the next frame, seen already."""
        size, seen = memory.size, sight.seen
        expected = self._expect(memory.state, seen, memory.wholes, size)
        near = grown(expected.warped > SOFT, reach(float(expected.fast), size))
        alpha, present, seeds = self._settle(seen.picture, seen.move, expected, near, size)
        held = holding(present, seeds)
        state, found = self._lay_out(memory.state.confidence, seen, expected, alpha, held, size)
        behind = expected.behind
        clues = Clues(seen.light, behind.colours, behind.known, seen.move.back, seen.move.forth)
        classes = torch.as_tensor(found)[None].to(sight.device)
        return (
            replace(memory, levels=sight.levels, state=state),
            Classes(classes, size.height, size.width, clues=clues),
        )


def open_network(checkpoint: str | None, device: torch.device) -> TrimapFlow:
    """Nothing to load: SetupError ``setup.no_checkpoint_wanted`` if a checkpoint is named."""
    if checkpoint:
        raise SetupError(
            "setup.no_checkpoint_wanted",
            f"trimap_flow learns nothing and cannot use the checkpoint {checkpoint}",
            hint="leave the checkpoint out, or name the network it belongs to",
        )
    return TrimapFlow()


def beside(made: Stage, memory: Memory, name: str) -> Stage:
    """A stage of carrying in a thread of its own, a frame ahead; on a CUDA device as it is. There
    one thread launches everything: others would only wait for Python's lock in turn, and with all
    of them a frame took 140 ms both ways, at 35 ms a step by itself."""
    return made if is_on_card(memory.state.alpha) else ahead(made, name=name)


def nearest_to(number: int, keyframes: Sequence[Frame]) -> int:
    """The place of the keyframe that is nearest to a frame."""
    return min(range(len(keyframes)), key=lambda i: abs(keyframes[i].number - number))


def _pinned(whole: Image, beside: Image) -> Image | None:
    return placed(whole, beside) if whole.any() else None


@dataclass(frozen=True)
class _Look:
    """A frame by itself; see `Seen` and `Sight`."""

    picture: Image
    light: Image
    levels: Grey
    device: torch.device


def _look(size: WorkingSize, frame: Frame) -> _Look:
    """Raises ValueError if the frame's size differs."""
    _check_size(frame, size)
    picture = size.reduce(frame.picture)
    return _Look(picture, size.reduce(frame.light), luminance(picture), frame.picture.device)


def _sight(look: _Look, back: Image, forth: Image) -> Sight:
    """A frame with its optical flow, numpy's wherever the frame is."""
    move = motion_of(placed(back, look.picture), placed(forth, look.picture))
    seen = Seen(look.picture, look.light, lab(look.picture), move)
    return Sight(seen, look.levels, look.device)


def _check_size(frame: Frame, size: WorkingSize) -> None:
    height, width = frame.picture.shape[2:]
    if (height, width) != (size.height, size.width):
        raise ValueError(
            f"frame {frame.number} is {width}×{height}, its keyframe {size.width}×{size.height}"
        )
