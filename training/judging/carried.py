"""Clips with what `trimap_flow` makes of them: what `trimap_memory_s` learns to correct.

A clip is made on one core of the CPU: synthesised, turned round now and then (a shot is carried
backward as often as forward), and carried from its first frame. Several processes make clips, each
by its number alone, so who made it does not show.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from model.classical.filters import Image
from model.classical.trimap_flow import TrimapFlow
from model.face import Frame
from model.networks.memory_guess import keyframe_guess
from model.networks.trimap_memory_s import flow_guess
from training.synthesis import Clips, Synthesis

_BOTH = 0.3  # of the clips have a keyframe at either end
_BACKWARD = 0.5  # of the clips are turned round
_SEEDS = 1 << 20  # clips of one seed


@dataclass(frozen=True)
class CarriedClip:
    """One clip of T frames at working size, all uint8: 255 stands for 1.

    Attributes:
        picture: T×3×H×W, what a network looks at.
        alpha: T×1×H×W, the truth.
        guess: T×7×H×W, see `model.networks.memory_guess`: the trimap in keyframes,
            `trimap_flow`'s answer elsewhere.
        keyframes: the first frame, and the last one or the first again.
        kind: of the clip's sprite.
    """

    picture: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    guess: NDArray[np.uint8]
    keyframes: tuple[int, int]
    kind: str


def carry(clips: Clips, both: bool) -> CarriedClip:
    """Run `trimap_flow` over the first clip, from its first frame.

    Args:
        clips: on the CPU, no larger than the working size.
        both: the last frame is a keyframe as well.
    """
    frames = [_frame(clips, i) for i in range(clips.alpha.shape[1])]
    last = len(frames) - 1
    ends = (0, last if both else 0)
    keyframes = [replace(frames[i], trimap=clips.trimap[:1, i]) for i in sorted(set(ends))]
    network = TrimapFlow()
    memory = network.start(keyframes, 0)
    guesses = [_bytes(keyframe_guess(clips.trimap[:1, 0])[0])]
    for frame in frames[1:]:
        memory, classes = network.step(memory, frame)
        guesses.append(_bytes(flow_guess(classes, memory)[0]))
    if both:
        guesses[last] = _bytes(keyframe_guess(clips.trimap[:1, last])[0])
    return CarriedClip(
        picture=_bytes(clips.picture[0]),
        alpha=_bytes(clips.alpha[0]),
        guess=np.stack(guesses),
        keyframes=ends,
        kind=clips.kinds[0],
    )


class CarriedClips(Dataset[CarriedClip]):
    """Clips by number: the same number, the same clip.

    Args:
        makers: on the CPU; they take turns, so that clips may have several sizes.
        seed: below 2**20; or that of a hold-out, then ``judged``.
        judged: always from the first frame alone, never turned round.
    """

    def __init__(self, makers: Sequence[Synthesis], seed: int, *, judged: bool = False):
        self.makers, self.seed, self.judged = makers, seed, judged

    def __getitem__(self, number: int) -> CarriedClip:
        maker = self.makers[number % len(self.makers)]
        if self.judged:
            return carry(maker.clips(self.seed + number, 1), both=False)
        clips = maker.clips(self.seed * _SEEDS + number, 1)
        draw = np.random.default_rng((self.seed, 3, number)).random(2)
        if draw[0] < _BACKWARD:
            clips = replace(
                clips,
                light=clips.light.flip(1),
                picture=clips.picture.flip(1),
                alpha=clips.alpha.flip(1),
                trimap=clips.trimap.flip(1),
            )
        return carry(clips, both=bool(draw[1] < _BOTH))


def made(dataset: CarriedClips, numbers: Sequence[int], workers: int) -> Iterator[CarriedClip]:
    """Clips in the order of their numbers, made ahead by ``workers`` processes; by this one if 0.

    Workers are forked, so that they share the sprites. Clips come back through pipes, for shared
    memory is scarce in containers.
    """
    if workers == 0:
        yield from (dataset[number] for number in numbers)
        return
    with warnings.catch_warnings():
        # From 3.12 on: forking is not for processes with threads. The workers use none of them.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        # More workers than cores is for the recipe to decide.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader: DataLoader[CarriedClip] = DataLoader(
            dataset,
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            collate_fn=_as_it_is,
            multiprocessing_context="fork",
            worker_init_fn=_alone,
        )
        clips = iter(loader)  # starts the workers
    yield from clips


def _alone(_: int) -> None:
    """One worker, one core. What asks a whole group of processes to stop is answered by the one
    that has something to save; it ends its workers itself."""
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _as_it_is(clip: Any) -> Any:
    return clip


def _frame(clips: Clips, i: int) -> Frame:
    light = "linear" if bool(clips.linear[0]) else "display"
    return Frame(i, clips.light[:1, i], clips.picture[:1, i], None, light)


def _bytes(planes: torch.Tensor | Image) -> NDArray[np.uint8]:
    array = planes.numpy() if isinstance(planes, torch.Tensor) else planes
    return np.asarray(np.rint(array.clip(0, 1) * 255), np.uint8)
