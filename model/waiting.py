"""What one way over a span has found of frames that the other has not reached yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.classical.filters import is_on_card
from model.plates.atomic import discard
from model.plates.file_errors import keeping
from model.trimap_classes import Classes, Clues

Classified = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]  # a trimap and its confidence

_HALF = 65504.0  # the largest half float
_SHARE_OF_CARD = 16  # as much of a CUDA device's memory may hold what waits


@dataclass
class Waiting:
    """Classes by frame, as half floats: on a CUDA device for as long as there is room, else in
    files, so that memory does not grow with the span.

    Attributes:
        folder: for the files.
        device: of the classes.
    """

    folder: Path
    device: torch.device
    _held: dict[int, Mapping[str, torch.Tensor]] = field(default_factory=dict)

    def put(self, number: int, classes: Classes) -> None:
        """Keep a frame's.

        Raises:
            CapacityError: ``capacity.disk_full``.
            SetupError: ``setup.state``: the folder cannot be written to.
        """
        halves = _halves({"carried": classes.carried, "added": classes.added})
        if classes.clues is not None:
            halves |= _halves(vars(classes.clues))
        size = sum(x.nbytes for x in halves.values())
        if (len(self._held) + 1) * size <= self._room:
            self._held[number] = halves
        else:
            _spool(self._path(number), _fetched(halves))

    def __contains__(self, number: int) -> bool:
        return number in self._held or self._path(number).exists()

    def take(self, number: int, like: Classes) -> Classes:
        """What was kept of a frame, for the last time; ``like`` is what the other way found of
        it."""
        halves = self._held.pop(number, None)
        if halves is None:
            with np.load(self._path(number)) as stored:
                halves = {name: torch.from_numpy(x).to(self.device) for name, x in stored.items()}
            self._path(number).unlink()
        planes: dict[str, Any] = {
            name: halves[name].float() for name in ("carried", "added") if name in halves
        }
        return replace(like, **planes, clues=like.clues and _clues_like(like.clues, halves))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.npz"

    @property
    def _room(self) -> int:
        if self.device.type != "cuda":
            return 0
        return torch.cuda.get_device_properties(self.device).total_memory // _SHARE_OF_CARD


def spool_trimap(path: Path, found: Classified, clues: Clues) -> None:
    """A trimap that waits for what frames after it show, its confidence, and what was seen."""
    classified = {"pixels": found[0], "sure": found[1]}
    _spool(path, classified | _fetched(_halves(vars(clues))))


def _spool(path: Path, planes: Mapping[str, Any]) -> None:
    """Whole, or not at all.

    Raises:
        CapacityError: ``capacity.disk_full``.
        SetupError: ``setup.state``: the folder cannot be written to.
    """
    try:
        with keeping(path.parent), path.open("wb") as file:
            np.savez(file, **planes)
    except BaseException:
        discard(path)
        raise


def unspool_trimap(path: Path, like: Clues) -> tuple[Classified, Clues]:
    """What `spool_trimap` wrote, clues where ``like`` has them."""
    with np.load(path) as stored:
        halves = {one.name: torch.from_numpy(stored[one.name]) for one in fields(Clues)}
        return (stored["pixels"], stored["sure"]), _clues_like(like, halves)


def _halves(planes: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {
        name: torch.as_tensor(x).clamp(-_HALF, _HALF).half()
        for name, x in planes.items()
        if x is not None
    }


def _fetched(halves: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: x.cpu().numpy() for name, x in halves.items()}


def _clues_like(like: Clues, halves: Mapping[str, torch.Tensor]) -> Clues:
    there: Any = like.light
    planes: list[Any] = [halves[one.name].float() for one in fields(Clues)]
    if is_on_card(there):
        return Clues(*(plane.to(there.device) for plane in planes))
    return Clues(*(plane.numpy() for plane in planes))
