"""Adapting `st_fam_s` to a shot: crops of its finished frames, and the one that was held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.networks.st_fam_s import StFamS, StFamSMatting
from model.tiles import estimate_in_tiles
from training.adapting.crops import cut_around, filled
from training.adapting.loop import Adapted, Course, Loop
from training.adapting.shot import Finished
from training.matting import WEIGHTS, answers, bounded, still_losses
from training.pool import Batch

BATCH = 3
SIDE = 192  # of crops
_ORDER = (2, 0, 1, 3, 4)  # of a window's frames, the centre first
_ALONE = 0.25  # of the crops see their centre only
_GAMMA = 0.1


@dataclass(frozen=True)
class Planes:
    """A finished frame as crops are cut from it; float16 5×C×H×W, sizes multiples of 16.

    Attributes:
        picture, trimap, prior: of the window's frames.
        truth, counts: of the centre, 1×1×H×W; ``counts`` is bool.
        both: bool 5, whether each frame's prior knew foreground and background.
        linear: composited in linear light.
        places: N×2, rows and columns of the pixels that count.
    """

    picture: Tensor
    trimap: Tensor
    prior: Tensor
    truth: Tensor
    counts: Tensor
    both: Tensor
    linear: bool
    places: Tensor


def adapt_matting(
    base: StFamS,
    taught: Sequence[Finished],
    judged: Finished,
    course: Course,
    say: Callable[[str], None],
) -> Adapted:
    """Learn from finished frames; the step is chosen by the one held out.

    Raises:
        SetupError: ``setup.not_finite``.
    """
    planes = [planes_of(one) for one in taught]

    def loss(network: StFamS, step: int) -> Tensor:
        rng = np.random.default_rng((course.seed, 1, step))
        return crop_loss(network, [crop(planes, rng) for _ in range(BATCH)], step, rng)

    def judge(network: StFamS) -> dict[str, float]:
        return {"MSE": held_out_error(network, judged)}

    def score(after: dict[str, float], before: dict[str, float]) -> float:
        return after["MSE"] / before["MSE"] if before["MSE"] > 0 else 1.0

    return Loop(loss, judge, score).run(base, course, say)


@torch.no_grad()
def held_out_error(network: StFamS, judged: Finished) -> float:
    """MSE ×10³ over the pixels that count, of the matte as in use but in float32."""
    face = StFamSMatting(network)
    found, _ = estimate_in_tiles(face, judged.window, 2, {}, 0, "float32")
    error = (found.alpha - judged.truth)[judged.counts]
    return 1e3 * float(error.double().square().mean())


def planes_of(one: Finished) -> Planes:
    """See `Planes`; sizes are filled up by repeating the last row and column."""
    frames = [seen.frame for seen in one.window]
    truth = filled(one.truth)
    down, right = (a - b for a, b in zip(truth.shape[-2:], one.truth.shape[-2:], strict=True))

    def joined(planes: Sequence[Tensor]) -> Tensor:
        return filled(torch.cat(list(planes))).half()

    knew = [bool(seen.prior.confidence.max() > 0) for seen in one.window]
    return Planes(
        picture=joined([f.picture for f in frames]),
        trimap=joined([f.known for f in frames]),
        prior=joined([seen.prior.alpha for seen in one.window]),
        truth=truth.half(),
        counts=F.pad(one.counts, (0, right, 0, down)),
        both=torch.tensor(knew, device=one.truth.device),
        linear=frames[0].composited_in == "linear",
        places=one.counts[0, 0].nonzero(),
    )


def crop(planes: Sequence[Planes], rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Around a random pixel that counts: picture, alpha, prior, trimap, both, linear as a `Batch`
    holds them but for the first axis, and what counts. Mirrored, turned, colours changed a little,
    foreground and background swapped, as in training."""
    one = planes[int(rng.integers(len(planes)))]
    sides = [min(SIDE, *(p.truth.shape[axis] for p in planes)) for axis in (-2, -1)]
    place = one.places[int(rng.integers(len(one.places)))].tolist()
    rows, columns = cut_around(place, one.truth.shape[-2:], sides, rng)
    across, down, swap = (bool(x) for x in rng.random(3) < 0.5)
    gamma = float(np.exp(rng.uniform(-_GAMMA, _GAMMA)))

    def cropped(x: Tensor) -> Tensor:
        x = x[..., rows, columns]
        x = x.flip(-1) if across else x
        return x.flip(-2) if down else x

    parts = (one.picture, one.truth, one.prior, one.trimap)
    picture, truth, prior, trimap = (cropped(x).float() for x in parts)
    if swap:
        truth, prior, trimap = 1 - truth, 1 - prior, 1 - trimap
    linear = torch.tensor(one.linear, device=truth.device)
    return picture**gamma, truth, prior, trimap, one.both, linear, cropped(one.counts)


def crop_loss(
    network: StFamS, crops: Sequence[tuple[Tensor, ...]], step: int, rng: np.random.Generator
) -> Tensor:
    """As `training.matting` teaches, without what needs two truths in a row."""
    *planes, counts = (torch.stack(parts) for parts in zip(*crops, strict=True))
    picture, truth, prior, trimap, both, linear = planes
    batch = Batch(picture, truth, prior, trimap, both, linear, step)
    window = [2] if rng.random() < _ALONE else list(_ORDER)
    answer, _ = answers(network, batch, [window])
    alpha, truth, counts = bounded(answer.alpha), truth[:, 0], counts[:, 0]
    parts = still_losses(alpha, answer.logit, truth, counts)
    return torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum()
