"""How fast a network learns at which step, and what moves its weights, as the recipe says.

``warm_cosine`` is ours, and what a recipe has that names none. The others are those of the
published `train.py` (``--lr_policy``), which counts in epochs: ``linear`` (its own), ``step``,
``cosine``, ``cyclic``, which counts in clips, and ``plateau``, which counts judgements. An epoch is
as many steps as the stage says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from model.errors import SetupError

OPTIMISERS = ("adamw", "adam", "sgd")  # ours; the published --optim
_EPOCHS = {"linear": ("niter", "niter_decay"), "cosine": ("niter",)}  # keys that schedules read
Rate = Callable[[Mapping[str, Any], int, int], float]


@dataclass(frozen=True)
class Plateau:
    """What judgements have said so far; saved with a run.

    Attributes:
        least: the score that counts as the best.
        waited: judgements since, none of which was better.
        lowered: how often the rate was made less for it.
    """

    least: float = math.inf
    waited: int = 0
    lowered: int = 0


def judged(recipe: Mapping[str, Any], before: Plateau, score: float) -> Plateau:
    """After one more judgement. The rate is lowered once more than ``plateau_patience`` of them
    (5) in a row were not better by a share of ``plateau_threshold`` (0.01)."""
    if score < before.least * (1 - float(recipe.get("plateau_threshold", 0.01))):
        return replace(before, least=score, waited=0)
    if before.waited < int(recipe.get("plateau_patience", 5)):
        return replace(before, waited=before.waited + 1)
    return replace(before, waited=0, lowered=before.lowered + 1)


def learning_rate(
    recipe: Mapping[str, Any], step: int, epoch_steps: int = 1, lowered: int = 0
) -> float:
    """The rate of a step, from 0; never below the recipe's ``min_lr``, if it has one. That of
    ``plateau`` is multiplied by ``plateau_factor`` (0.2) as often as it was ``lowered``."""
    schedule = str(recipe.get("schedule", "warm_cosine"))
    rate = SCHEDULES[schedule](recipe, step, epoch_steps)
    if schedule == "plateau":
        rate *= float(recipe.get("plateau_factor", 0.2)) ** lowered
    return max(rate, float(recipe.get("min_lr", 0.0)))


def check_schedule(recipe: Mapping[str, Any]) -> None:
    """See that a recipe, whose values are what they may be, says how many epochs its schedule has.

    Raises:
        SetupError: ``setup.bad_recipe``.
    """
    schedule = str(recipe.get("schedule", "warm_cosine"))
    lacking = [key for key in _EPOCHS.get(schedule, ()) if key not in recipe]
    if lacking:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe's schedule {schedule!r} counts in epochs, and {' and '.join(lacking)} "
            "is not there",
            hint="give niter and niter_decay, or another schedule",
        )
    epochs = recipe.get("niter", 0) + recipe.get("niter_decay", 0)
    if (schedule == "cosine" and not recipe["niter"]) or ("steps" not in recipe and not epochs):
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe's niter is {recipe['niter']}, which leaves nothing to train",
            hint="niter is a number of epochs from 1 on; with niter_decay above 0 it may be 0, but "
            "for the schedule cosine",
        )


def place_in_time(recipe: Mapping[str, Any], step: int, steps: int, spent: float) -> int:
    """The step whose rate is due at ``step`` when a share of the time is spent, 0…1: never one gone
    by, and in the warm-up, which is counted in steps, the step itself."""
    if step < int(recipe.get("warm_up", 0)):
        return step
    return max(step, min(int(spent * steps), steps - 1))


def total_steps(recipe: Mapping[str, Any], epoch_steps: int) -> int:
    """``steps``, or ``niter`` + ``niter_decay`` epochs."""
    if "steps" in recipe:
        return int(recipe["steps"])
    return (int(recipe["niter"]) + int(recipe["niter_decay"])) * epoch_steps


def optimiser_of(recipe: Mapping[str, Any], parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """``optimiser`` is one of `OPTIMISERS`."""
    name = str(recipe.get("optimiser", "adamw"))
    rate, decay = float(recipe["learning_rate"]), float(recipe.get("weight_decay", 0.0))
    first, second = recipe.get("betas", (0.9, 0.99))
    betas = float(first), float(second)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=decay)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=rate, betas=betas, weight_decay=decay)
    momentum = float(recipe.get("momentum", 0.9))
    return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay)


def _warm_cosine(recipe: Mapping[str, Any], step: int, epoch_steps: int) -> float:
    """Linear warm-up, then half a cosine down to ``last_share`` of the rate."""
    most, warm = float(recipe["learning_rate"]), int(recipe.get("warm_up", 0))
    if step < warm:
        return most * (step + 1) / warm
    done = (step - warm) / max(1, total_steps(recipe, epoch_steps) - warm)
    least = float(recipe.get("last_share", 0.02))
    return most * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def _linear(recipe: Mapping[str, Any], step: int, epoch_steps: int) -> float:
    """The whole rate for ``niter`` epochs less one, then down a line that would reach 0 one epoch
    after ``niter_decay`` more."""
    late = max(0, step // epoch_steps + 1 - int(recipe["niter"]))
    return float(recipe["learning_rate"]) * (1 - late / (int(recipe["niter_decay"]) + 1))


def _step(recipe: Mapping[str, Any], step: int, epoch_steps: int) -> float:
    """A tenth of it every ``lr_decay_iters`` epochs."""
    times = step // epoch_steps // int(recipe.get("lr_decay_iters", 50))
    return float(recipe["learning_rate"]) * math.pow(0.1, times)


def _cosine(recipe: Mapping[str, Any], step: int, epoch_steps: int) -> float:
    """Half a cosine to 0 within ``niter`` epochs, and up again."""
    turn = math.pi * (step // epoch_steps) / int(recipe["niter"])
    return float(recipe["learning_rate"]) * 0.5 * (1 + math.cos(turn))


def _cyclic(recipe: Mapping[str, Any], step: int, epoch_steps: int) -> float:
    """Between ``base_lr`` and ``max_lr`` in triangles of twice ``cyclical_step`` clips, each half
    as high as the one before.

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
    """
    half = float(recipe.get("cyclical_step", 7500))
    low, high = float(recipe.get("base_lr", 5e-4)), float(recipe.get("max_lr", 1.5e-3))
    clips = step * int(recipe["batch"])
    cycle = math.floor(1 + clips / (2 * half))
    up = max(0.0, 1 - abs(clips / half - 2 * cycle + 1))
    return low + (high - low) * up * math.pow(0.5, cycle - 1)


def _plateau(recipe: Mapping[str, Any], step: int, epoch_steps: int) -> float:
    return float(recipe["learning_rate"])


SCHEDULES: Mapping[str, Rate] = {
    "warm_cosine": _warm_cosine,
    "linear": _linear,
    "step": _step,
    "cosine": _cosine,
    "cyclic": _cyclic,
    "plateau": _plateau,
}
