"""What a convention of matting metrics looks at, and what one of its metrics is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.conventions.formulas import Flow, Mask
from training.judging.datasets import Alpha
from training.judging.judgement import neighbours
from training.judging.metrics import difference, unknown_region

GRAD, CONN, SSDA, MESSDDT = "Grad", "Conn", "SSDA", "MESSDdt"

OVER_FRAMES = "mean over the frames"
OVER_PAIRS = "mean over the pairs of neighbours"
PAIRS_OVER_FRAMES = "sum over the pairs ÷ number of frames: the {} frame has no pair and counts 0"
GRADIENT = "gradients of a Gaussian (σ 1.4 px, 9×9, unit L2, nearest pixel beyond the border)"
CONNECTED = (
    "φ from the largest 4-connected region at thresholds 0.1, 0.2 … 1 of both, distances under "
    "0.15 dropped"
)


@dataclass(frozen=True)
class MatteClip:
    """What is judged; one of each per judged frame.

    Attributes:
        places: two that differ by 1 are neighbours in the clip.
        alphas, truths: float H×W, 0…1.
        trimaps: uint8 H×W: 0, 128, 255.
        length: frames of the whole item, whether judged or not.
        flow: of neighbours, from the i-th judged frame to the next: float H×W×2, x and y, NaN where
            nothing is known; None if there is none.
    """

    places: Sequence[int]
    alphas: Sequence[Alpha]
    truths: Sequence[Alpha]
    trimaps: Sequence[npt.NDArray[np.uint8]]
    length: int
    flow: Callable[[int], Flow] | None = None

    @property
    def pairs(self) -> list[int]:
        """The first of each pair of neighbours."""
        return neighbours(self.places)

    def error(self, i: int) -> npt.NDArray[np.float64]:
        """alpha − truth of the i-th frame. Raises ValueError if they differ in shape."""
        return difference(self.alphas[i], self.truths[i])

    def painted(self, i: int) -> Mask:
        """Where the trimap is 128."""
        return np.asarray(self.trimaps[i] == 128)

    def unknown(self, i: int) -> Mask:
        """Where the trimap is neither 0 nor 255."""
        return unknown_region(self.trimaps[i])

    def flow_from(self, i: int) -> Flow:
        """To the next frame. Raises ValueError without flow."""
        if self.flow is None:
            raise ValueError("this metric follows what moves, and there is no flow")
        return self.flow(i)


@dataclass(frozen=True)
class Metric:
    """One metric of a convention.

    Attributes:
        text: formula, mask, scale and mean.
        of: figures by the index of a frame; of pairs by that of the later frame.
        over_frames: the figure of a clip is the sum over its pairs divided by the number of its
            frames, as if the frame without a pair had none.
        follows: it needs flow.
    """

    text: str
    of: Callable[[MatteClip], Mapping[int, float]]
    over_frames: bool = False
    follows: bool = False


def by_frame(
    error_of: Callable[[MatteClip, int], float],
) -> Callable[[MatteClip], Mapping[int, float]]:
    """``error_of`` every frame."""
    return lambda clip: {i: error_of(clip, i) for i in range(len(clip.alphas))}


def by_pair(
    error_of: Callable[[MatteClip, int], float],
) -> Callable[[MatteClip], Mapping[int, float]]:
    """``error_of`` every pair, given the earlier of the two."""
    return lambda clip: {i + 1: error_of(clip, i) for i in clip.pairs}


def mean(values: npt.NDArray[np.float64]) -> float:
    """0 of nothing."""
    return float(values.mean()) if values.size else 0.0


def root_of_sum(values: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt((values**2).sum()))
