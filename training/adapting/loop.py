"""The loop that learns a delta, one for both networks: steps, and now and then a look at what was
held out. What is judged is what a file would hold, float16 and all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from model.delta import changed
from model.errors import SetupError
from model.precision import PRECISIONS, resolved
from training.adapting.low_rank import learned_changes, make_adaptable
from training.loop.schedule import learning_rate

Network = TypeVar("Network", bound=nn.Module)
WARM_UP = 0.1  # of the steps, in which the learning rate rises
CLIP_NORM = 1.0
LOOKS = 8  # at what was held out


@dataclass(frozen=True)
class Course:
    """How long and how hard.

    Attributes:
        steps: of the optimiser.
        rate: its learning rate, at most.
        rank: of the changes of kernels.
        seed: of everything that is drawn.
    """

    steps: int
    rate: float
    rank: int
    seed: int


@dataclass(frozen=True)
class Adapted:
    """What was learned.

    Attributes:
        changes: by the names that deltas use, float16.
        step: after which they were best.
        before, after: figures of what was held out, with the base and with the changes.
        score: what the step was chosen by: below 1 is better than the base.
    """

    changes: dict[str, Tensor]
    step: int
    before: dict[str, float]
    after: dict[str, float]
    score: float


class Loop(Generic[Network]):
    """Everything that differs between networks.

    Args:
        loss: of a step by its number, with the network that learns.
        judge: figures of what was held out.
        score: of figures, against those of the base.
    """

    def __init__(
        self,
        loss: Callable[[Network, int], Tensor],
        judge: Callable[[Network], dict[str, float]],
        score: Callable[[dict[str, float], dict[str, float]], float],
    ):
        self.loss, self.judge, self.score = loss, judge, score

    def run(self, base: Network, course: Course, say: Callable[[str], None]) -> Adapted:
        """Learn, and return the best of what was looked at; ``score`` is 1 or more if nothing was
        better than the base.

        Args:
            base: the network; it stays as it is.
            course: how long.
            say: progress, a line for each look.

        Raises:
            SetupError: ``setup.not_finite`` if learning led nowhere.
        """
        device = next(base.parameters()).device
        plain = {name: tensor.float() for name, tensor in base.state_dict().items()}
        shown = copy.deepcopy(base)
        before = self.judge(shown)
        best = Adapted({}, 0, before, before, 1.0)
        say(f"step 0 of {course.steps}: {_told(before)}")
        learner = copy.deepcopy(base).train()
        learned = make_adaptable(learner, course.rank, course.seed)
        optimiser = torch.optim.Adam(learned, lr=course.rate, betas=(0.9, 0.99))
        dtype = PRECISIONS.get(resolved("auto", device))
        for step in range(course.steps):
            for group in optimiser.param_groups:
                group["lr"] = course.rate * share_of_rate(step, course.steps)
            with (
                parametrize.cached(),
                torch.autocast(device.type, dtype, enabled=dtype is not None),
            ):
                total = self.loss(learner, step)
            total.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(learned, CLIP_NORM)
            if not bool(norm.isfinite()):
                raise _not_finite(step)
            optimiser.step()
            optimiser.zero_grad()
            done = step + 1
            if done % max(1, course.steps // LOOKS) and done != course.steps:
                continue
            try:
                changes = learned_changes(learner)
            except ValueError as error:
                raise _not_finite(step) from error
            shown.load_state_dict(changed(plain, changes))
            after = self.judge(shown)
            score = self.score(after, before)
            say(f"step {done} of {course.steps}: {_told(after)}")
            if score < best.score:
                best = Adapted(changes, done, before, after, score)
        return best


def share_of_rate(step: int, steps: int) -> float:
    """Linear up over the first tenth, half a cosine down to nearly nothing."""
    warm = max(1, round(WARM_UP * steps))
    return learning_rate({"learning_rate": 1.0, "steps": steps, "warm_up": warm}, step)


def _not_finite(step: int) -> SetupError:
    return SetupError(
        "setup.not_finite",
        f"adapting went astray at step {step}: a number is not finite; nothing is written",
        hint="try a smaller --rate",
    )


def _told(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
