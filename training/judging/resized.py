"""A matting network run at another size than the frame's, as others' evaluations do.

`Resized` stands between the engine and a network, and is itself one: whole frames go in and out,
and known pixels stay what the full-size trimap says, since the engine sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from model.classical.data_term import DataTerm
from model.face import Estimate, Frame, MattingNetwork
from model.tiles import padded

Size = tuple[int, int]
PUBLISHED_STEP = 32
HELD = 8  # priors that are kept: those of a window, and of what is read ahead


def at_most(side: int) -> Callable[[Size], Size]:
    """Sizes whose longer side is at most so many pixels; never larger than they were."""

    def small(size: Size) -> Size:
        share = min(side / max(size), 1)
        return max(round(size[0] * share), 1), max(round(size[1] * share), 1)

    return small


def published(size: Size) -> Size:
    """The size at which the CVPR 2021 network's own test runs: the next lower multiple of 32."""
    height, width = (max(one // PUBLISHED_STEP, 1) * PUBLISHED_STEP for one in size)
    return height, width


class Resized:
    """The face of `model.face.MattingNetwork` around another.

    Args:
        network: what is run.
        size_of: (height, width) of a frame to those it is run at.
        nearest: resize by nearest neighbour both ways, trimap and all. Otherwise pictures are
            averaged over areas, a pixel is certain if all it covers is, and alpha comes back
            bilinearly.
    """

    tiles_itself = True  # it is given whole frames
    multiple = 1
    halo = 0

    def __init__(
        self, network: MattingNetwork, size_of: Callable[[Size], Size], *, nearest: bool = False
    ):
        self.needs_both, self.causal, self.reach = (
            network.needs_both,
            network.causal,
            network.reach,
        )
        self._network, self._size_of, self._nearest = network, size_of, nearest
        # By frame number, with the picture that it is of: numbers are those of one clip.
        self._priors: dict[int, tuple[Tensor, Estimate]] = {}

    def prior(self, frame: Frame) -> Estimate:
        """Solved at the other size; at that of the frame."""
        return self._back(self._solved(frame, self._small(frame)), _size(frame))

    def encode(self, frame: Frame, prior: Estimate) -> tuple[Any, Size]:
        """``prior`` is not looked at: the one at the other size is, solved again if need be."""
        small = self._small(frame)
        own = self._solved(frame, small)
        return self._network.encode(*padded(small, own, self._network.multiple)), _size(frame)

    def decode(self, window: Sequence[tuple[Any, Size]], centre: int, side: int = 0) -> Estimate:
        found = self._network.decode([one for one, _ in window], centre, 0)
        size = window[centre][1]
        height, width = self._size_of(size)
        inside = (..., slice(height), slice(width))
        return self._back(Estimate(found.alpha[inside], found.confidence[inside]), size)

    def _solved(self, frame: Frame, small: Frame) -> Estimate:
        picture, found = self._priors.get(frame.number, (None, None))
        if found is None or picture is not frame.picture:
            found = self._network.prior(small)
            self._priors[frame.number] = frame.picture, found
            for old in list(self._priors)[:-HELD]:
                del self._priors[old]
        return found

    def _small(self, frame: Frame) -> Frame:
        size = self._size_of(_size(frame))
        trimap = frame.trimap
        if trimap is None or size == _size(frame):
            return frame
        if self._nearest:
            trimap = F.interpolate(trimap, size, mode="nearest")
        else:
            certain = [
                (F.interpolate((trimap == c).float(), size, mode="area") == 1) for c in (0, 1)
            ]
            trimap = 0.5 * (1 + certain[1].float() - certain[0].float())
        mode = "nearest" if self._nearest else "area"
        return replace(
            frame,
            light=F.interpolate(frame.light, size, mode=mode),
            picture=F.interpolate(frame.picture, size, mode=mode),
            trimap=trimap,
            hint=self._small_hint(frame.hint, size, mode),
        )

    @staticmethod
    def _small_hint(hint: DataTerm | None, size: Size, mode: str) -> DataTerm | None:
        if hint is None:
            return None
        return DataTerm(*(F.interpolate(x, size, mode=mode) for x in (hint.alpha, hint.weight)))

    def _back(self, found: Estimate, size: Size) -> Estimate:
        if found.alpha.shape[-2:] == size:
            return found
        mode = "nearest" if self._nearest else "bilinear"
        return Estimate(
            F.interpolate(found.alpha.float(), size, mode=mode),
            F.interpolate(found.confidence.float(), size, mode=mode),
        )


def _size(frame: Frame) -> Size:
    return frame.picture.shape[-2], frame.picture.shape[-1]
