"""What pixels say of their alpha by themselves, for solvers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
