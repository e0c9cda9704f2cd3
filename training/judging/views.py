"""What a person looks at beside the figures of one item: pictures, truth and every method's alphas.

An evaluation may judge more frames by more methods than memory holds. Alphas are put down on disk
in 8 bit as they are judged, and read again frame by frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model.exposure import ExposureMap
from model.face import Frame
from model.view import LightView
from training.judging.datasets import Alpha, Item, Judged
from training.judging.kept import Kept, key_of


@dataclass(frozen=True)
class View:
    """One item as it was judged. All arrays are H×W over the plate's data window.

    Attributes:
        item: what was judged.
        frames: numbers of the judged frames, in order.
        keys: by method, as in tables and in their order: where its alphas lie in ``kept``.
        kept: the folder.
    """

    item: Item
    frames: tuple[int, ...]
    keys: Mapping[str, str]
    kept: Kept

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.keys)

    def alphas(self, method: str) -> npt.NDArray[np.uint8]:
        """T×H×W, 0…255, of all judged frames.

        Raises:
            KeyError: no such method.
            RuntimeError: the file is gone, or cannot be read.
        """
        found = self.kept.find(self.keys[method])
        if found is None:
            raise RuntimeError(
                f"the alphas of {method} on {self.item.name} are gone from the cache"
            )
        return np.asarray(found["alphas"], np.uint8)


def put_down(
    item: Item, frames: Sequence[int], alphas: Mapping[str, Sequence[Alpha]], kept: Kept
) -> View:
    """Keep what was judged, in 8 bit.

    Args:
        item: what was judged.
        frames: their numbers.
        alphas: by method: one a frame, H×W, 0…1.
        kept: a folder.
    """
    keys = {}
    for method, several in alphas.items():
        planes = np.stack([np.rint(a.clip(0, 1) * 255).astype(np.uint8) for a in several])
        keys[method] = key_of("view", planes)
        if kept.find(keys[method]) is None:
            kept.keep(keys[method], {"alphas": planes})
    return View(item, tuple(frames), keys, kept)


def shown(item: Item, judged: Judged) -> Alpha:
    """The plate's picture, H×W×3, 0…1, as displayed: what networks see."""
    return _pixels(_frame(item, judged).picture)


def in_light(item: Item, judged: Judged) -> Alpha:
    """The plate, H×W×3, in the light that the item is composited in."""
    return _pixels(_frame(item, judged).light)


def _frame(item: Item, judged: Judged) -> Frame:
    view = LightView("", item.light, ExposureMap(), torch.device("cpu"))
    return view.frame(0, judged.plate, judged.plate.header.data_window)


def _pixels(planes: torch.Tensor) -> Alpha:
    return np.ascontiguousarray(planes[0].permute(1, 2, 0).numpy())
