"""Clips with their priors, made while training goes on, each used several times.

Making a clip and solving its priors costs more than one training step on it. The pool holds the
newest ``size`` clips; every ``every`` steps ``fill`` new ones take the place of the oldest. What a
step sees is a function of (recipe, step) alone, so a resumed run sees the same: it makes the clips
again that the pool held.

Clips are made by processes of their own, a few fills ahead; a step that needs one that is not ready
waits for it, so that nothing depends on how fast they are. Without such processes they are made
between the steps, on the GPU if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from model.exposure import ExposureMap, to_picture
from training.prior import knows_both
from training.synthesis import Clips


class Maker(Protocol):
    """Makes clips from a seed: `training.synthesis.Synthesis`, or `training.source_clips`."""

    def clips(self, seed: int, count: int) -> Clips:
        """Clip i of a seed does not depend on ``count``."""
        ...


Solve = Callable[[Tensor, Tensor, Tensor, Sequence[int]], Tensor]
# Shares of the clips by how many pixels to a side their prior is solved as one: plates are larger.
COARSE = (0.25, 0.45, 0.2, 0.1)
MOST_LIGHT = 6e4  # a half float ends at 65504


@dataclass  # not frozen: Fabric rebuilds it on its way to the loss
class Batch:
    """Crops of clips, N×T×C×H×W each; ``linear`` is bool N.

    See `training.synthesis.Clips`; ``prior`` is the closed-form alpha, ``both`` bool N×T: whether
    the whole frame that it was solved on knew foreground and background.
    ``step`` is that of the run.
    """

    picture: Tensor
    alpha: Tensor
    prior: Tensor
    trimap: Tensor
    both: Tensor
    linear: Tensor
    step: int


def batch_of(planes: Sequence[Tensor], step: int) -> Batch:
    """From the tensors in their order."""
    picture, alpha, prior, trimap, both, linear = planes
    return Batch(picture, alpha, prior, trimap, both, linear, step)


@dataclass(frozen=True)
class Share:
    """Which part of each batch one of several processes is taught with."""

    rank: int = 0
    processes: int = 1

    def of(self, count: int) -> range:
        """Places in a batch of ``count``; one of all ``processes`` parts, which are alike."""
        part = count // self.processes
        return range(self.rank * part, (self.rank + 1) * part)


WHOLE = Share()


@dataclass(frozen=True)
class PoolConfig:
    """How the pool is kept and read.

    Attributes:
        size: clips held.
        fill: clips made at a time; ``size`` is a multiple of it.
        every: steps between fills.
        start: fills made before the first step; until the pool is full it grows.
        workers: processes that make clips; 0 = this one, between the steps.
        crop: side of the crops, in pixels.
        stops: largest change of exposure before the network's view, in stops either way.
    """

    size: int = 256
    fill: int = 16
    every: int = 4
    start: int = 4
    workers: int = 0
    crop: int = 256
    stops: float = 0.7


class ClipPool:
    """See the module. ``solve`` is one of `training.prior`'s functions; clips are kept, and crops
    made, on ``device``."""

    def __init__(
        self,
        synthesis: Maker,
        solve: Solve,
        config: PoolConfig,
        seed: int,
        device: torch.device,
    ):
        if config.size % config.fill:
            raise ValueError(f"pool size {config.size} is no multiple of fill {config.fill}")
        self.config, self.seed, self._device = config, seed, device
        self.share = WHOLE
        self._make = partial(_made, synthesis, solve, config.fill, seed)
        self._slots = config.size // config.fill
        self._held: list[tuple[Clips, Tensor] | None] = [None] * self._slots
        self._done = 0
        self._ahead: dict[int, Future[tuple[Clips, Tensor]]] = {}
        self._workers: ProcessPoolExecutor | None = None
        if config.workers:
            self._workers = forked(self._make, config.workers)

    def batch(self, step: int, count: int) -> Batch:
        """The batch of a step: random clips of those the pool holds then, cropped and changed; of a
        process that has a ``share``, its part of it."""
        self._keep_up(step)
        rng = np.random.default_rng((self.seed, 1, step))
        held = min(self._done, self._slots) * self.config.fill
        crops = [self._crop(int(rng.integers(held)), rng) for _ in range(count)]
        crops = [crops[place] for place in self.share.of(count)]
        return batch_of([torch.stack(planes) for planes in zip(*crops, strict=True)], step)

    def _keep_up(self, step: int) -> None:
        """Make the fills that are missing at a step; after a resume, those that it would hold."""
        wanted = self.config.start + step // self.config.every
        first = max(self._done, wanted - self._slots, 0)
        for fill in range(first, wanted):
            if self._workers is None:
                found = self._make(fill)
            else:
                for ahead in range(fill, max(wanted, fill + 2 * self.config.workers)):
                    if ahead not in self._ahead:
                        self._ahead[ahead] = self._workers.submit(elsewhere, ahead)
                found = self._ahead.pop(fill).result()
            self._held[fill % self._slots] = _moved(*found, self._device)
        self._done = max(self._done, wanted)

    def _crop(
        self, clip: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        held = self._held[clip // self.config.fill]
        assert held is not None
        clips, priors = held
        i = clip % self.config.fill
        height, width = clips.light.shape[-2:]
        side = self.config.crop
        y = int(rng.integers(max(height - side, 0) + 1))
        x = int(rng.integers(max(width - side, 0) + 1))
        turn, flip, back, swap = (bool(v) for v in rng.random(4) < 0.5)
        stops = float(rng.uniform(-self.config.stops, self.config.stops))
        gamma = float(np.exp(rng.uniform(-0.25, 0.25)))
        tint = torch.tensor(np.exp(rng.normal(0, 0.06, 3)), dtype=torch.float32)

        def cut(planes: Tensor) -> Tensor:
            found = planes[i, :, :, y : y + side, x : x + side].float()
            found = found.flip(0) if back else found
            found = found.flip(3) if flip else found
            return found.transpose(2, 3) if turn else found

        light, alpha, trimap, prior = map(cut, (clips.light, clips.alpha, clips.trimap, priors))
        both = knows_both(clips.trimap[i])
        both = both.flip(0) if back else both
        if swap:
            # The prior of a frame that lacks a class is that class everywhere, also when swapped.
            alpha, trimap = 1 - alpha, 1 - trimap
            prior = 1 - prior
        tint = tint.to(light.device)[:, None, None]
        linear = to_picture(light * (tint * 2.0**stops), ExposureMap())
        display = (light * tint).clamp(0, 1) ** gamma
        picture = torch.where(clips.linear[i], linear, display)
        return picture, alpha, prior, trimap, both, clips.linear[i]


def _made(synthesis: Maker, solve: Solve, count: int, seed: int, fill: int) -> tuple[Clips, Tensor]:
    """One fill: clips and their priors, as half floats; what training does not need is left out."""
    clips = synthesis.clips(seed * 1_000_003 + fill, count)
    frames = clips.light.shape[1]
    drawn = np.random.default_rng((seed, 3, fill)).choice(len(COARSE), count, p=COARSE) + 1
    priors = solve(
        clips.light.flatten(0, 1),
        clips.trimap.flatten(0, 1),
        clips.linear.repeat_interleave(frames),
        [int(factor) for factor in drawn.repeat(frames)],
    )
    empty = clips.light.new_zeros(0)
    kept = replace(
        clips,
        light=clips.light.clamp(-MOST_LIGHT, MOST_LIGHT).half(),
        alpha=clips.alpha.half(),
        trimap=clips.trimap.half(),
        picture=empty,
        foreground=empty,
        background=empty,
        flow=empty,
    )
    return kept, priors.view_as(clips.alpha).half()


def _moved(clips: Clips, priors: Tensor, device: torch.device) -> tuple[Clips, Tensor]:
    planes: dict[str, Any] = {k: v for k, v in vars(clips).items() if isinstance(v, Tensor)}
    return replace(clips, **{k: v.to(device) for k, v in planes.items()}), priors.to(device)


_make: Callable[[int], Any] | None = None


def forked(make: Callable[[int], Any], workers: int) -> ProcessPoolExecutor:
    """Processes that do ``make(number)`` when given `elsewhere` and a number.

    Forked when they get the first one, so that they share what ``make`` holds; safe as long as
    torch has one thread here, and ``make`` stays off the GPU.
    """
    return ProcessPoolExecutor(workers, get_context("fork"), _inherit, (make,))


def _inherit(make: Callable[[int], Any]) -> None:
    global _make
    torch.set_num_threads(1)
    _make = make


def elsewhere(number: int) -> Any:
    """In a process that `forked` began."""
    assert _make is not None
    return _make(number)
