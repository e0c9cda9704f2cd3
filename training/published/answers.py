"""How a network is asked for the frames that the published training asks for, one file for all
networks that can be trained by it.

A window is ``shift`` frames back and ``ahead`` forward of each of ``asked`` frames in a row. The
frames of a clip are numbered from 0; those asked for begin at ``shift``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.errors import SetupError
from model.networks.st_fam_r50 import NAME as ST_FAM_R50
from model.networks.st_fam_r50 import StFamR50, planes_of
from model.networks.st_fam_s import NAME as ST_FAM_S
from model.networks.st_fam_s import StFamS
from training.matting import answers, bounded
from training.pool import Batch

_REACH = 2  # of st_fam_s, either way


@dataclass
class PublishedBatch(Batch):
    """Also the layers, N×T×3×H×W each, straight, in the light of ``light``; empty tensors if the
    source has none. ``light`` itself is N×T×3×H×W; ``prior`` is empty for a network without one."""

    light: Tensor
    foreground: Tensor
    background: Tensor


@dataclass(frozen=True)
class Window:
    """See the module."""

    asked: int = 2
    shift: int = 2
    ahead: int = 0

    @property
    def frames(self) -> int:
        """Of a clip."""
        return self.shift + self.asked + self.ahead

    @property
    def centres(self) -> slice:
        """The frames that are asked for."""
        return slice(self.shift, self.shift + self.asked)


@dataclass(frozen=True)
class Reply:
    """N×n×1×H×W each, n frames of N clips.

    Attributes:
        coarse: alpha before the refining stage.
        alpha: after it; None if the network has none.
        logit: of the confidence; None if the network tells none.
        least: see `training.published.losses.divergence`.
    """

    coarse: Tensor
    alpha: Tensor | None
    logit: Tensor | None
    least: float

    @property
    def final(self) -> Tensor:
        """What is used: the refined alpha if there is one."""
        return self.coarse if self.alpha is None else self.alpha


@dataclass(frozen=True)
class Asking:
    """How a network is asked; ``needs_prior`` if the batch must have one."""

    ask: Callable[[Any, Batch, Window], Reply]
    needs_prior: bool


def asking(network: str, config: Mapping[str, Any], window: Window) -> Asking:
    """How the recipe's network is asked.

    Raises:
        SetupError: ``setup.bad_recipe`` for a network that this does not train, or a window that it
            cannot see.
    """
    if network not in _ASK:
        raise SetupError(
            "setup.bad_recipe",
            f"the stage published does not train {network}",
            hint=f"it trains {', '.join(_ASK)}",
        )
    said = f"{network} cannot see {window.shift} frames back and {window.ahead} ahead"
    if network == ST_FAM_R50:
        shift = int(config.get("shift", 2))
        if window.ahead or window.shift != shift:
            raise SetupError(
                "setup.bad_recipe",
                said,
                hint=f"its window is network_config.shift ({shift}) frames back: set clips.shift "
                "to that and clips.ahead to 0",
            )
    elif not 0 <= window.ahead <= _REACH or not 0 <= window.shift <= _REACH:
        raise SetupError(
            "setup.bad_recipe", said, hint=f"clips.shift and clips.ahead are 0 to {_REACH} each"
        )
    return _ASK[network]


def _ask_r50(network: StFamR50, batch: Batch, window: Window) -> Reply:
    """Clip by clip: the network takes consecutive frames, and BatchNorm learns from one clip at a
    time, as published with its batches of one."""
    height, width = batch.picture.shape[-2:]
    found = [
        network(planes_of(picture, trimap))
        for picture, trimap in zip(batch.picture, batch.trimap, strict=True)
    ]
    coarse = torch.stack([one.coarse[..., :height, :width] for one in found])
    if network.refine is None:
        return Reply(coarse, None, None, 1e-10)
    alpha = torch.stack([one.alpha[..., :height, :width] for one in found])
    return Reply(coarse, alpha, None, 1e-10)


def _ask_s(network: StFamS, batch: Batch, window: Window) -> Reply:
    """All windows at once."""
    centres = range(window.shift, window.shift + window.asked)
    around = [*range(-window.shift, 0), *range(1, window.ahead + 1)]
    windows = [[c, *(c + k for k in around)] for c in centres]
    answer, _ = answers(network, batch, windows, (0, *(abs(k) for k in around)))
    n = len(batch.linear)

    def by_clip(planes: Tensor) -> Tensor:  # centre after centre → clip after clip
        return planes.view(window.asked, n, *planes.shape[1:]).transpose(0, 1)

    return Reply(by_clip(bounded(answer.alpha)), None, by_clip(answer.logit), 1e-3)


_ASK: Mapping[str, Asking] = {
    ST_FAM_R50: Asking(_ask_r50, needs_prior=False),
    ST_FAM_S: Asking(_ask_s, needs_prior=True),
}
