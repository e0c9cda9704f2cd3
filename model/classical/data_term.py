"""What pixels say of their alpha by themselves, for solvers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-12
# A trimap without foreground can be solved if a clean plate or a hint speaks for so much of what is
# unknown. On five held-out clips whose foreground is nowhere certain the residual of `st_fam_s`,
# taken for a whole answer where they speak for less, is worse than without them.
ENOUGH = 0.2


@dataclass(frozen=True)
class DataTerm:
    """What pixels say of their alpha by themselves: the solver minimises the matting Laplacian's
    energy plus weight · (x − alpha)².

    Attributes:
        alpha: float32 1×1×H×W in 0…1.
        weight: float32 1×1×H×W, 0 or more; 0 = nothing is said. Known pixels are not asked.
    """

    alpha: Tensor
    weight: Tensor

    def share(self, unknown: Tensor) -> Tensor:
        """For how much of what is unknown something is said, 0…1, on the device."""
        return ((self.weight > 0) & unknown).sum() / unknown.sum().clamp_min(1)

    def reduced(self, factor: int) -> DataTerm:
        """Of squares of pixels: each says what its pixels say in the mean, as firmly as they do in
        the mean."""
        weight = reduced(self.weight, factor)
        alpha = reduced(self.weight * self.alpha, factor) / weight.clamp_min(_LEAST)
        return DataTerm(alpha, weight)


def reduced(planes: Tensor, factor: int) -> Tensor:
    """Means of squares; those cut off by the frame's border are of what there is."""
    return F.avg_pool2d(planes, factor, ceil_mode=True, count_include_pad=False)


def joined(*said: DataTerm | None) -> DataTerm | None:
    """Several at once; None if nothing is said. Where none says anything alpha is 0."""
    given = [one for one in said if one is not None]
    if len(given) < 2:
        return given[0] if given else None
    weight = torch.stack([one.weight for one in given]).sum(0)
    pull = torch.stack([one.weight * one.alpha for one in given]).sum(0)
    return DataTerm(pull / weight.clamp_min(_LEAST), weight)
