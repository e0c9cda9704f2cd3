"""A function of tensors in tuples and dataclasses, replayed on a CUDA device (`replay`)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from cuda_ops.replay import Replayed

_KEPT = 4  # recordings
_TENSOR = object()


class Recorded:
    """A function of anything and a tuple of what it finds, in which there are tensors.

    Where tensors are on a CUDA device calls are replayed; each set of other values has a recording
    of its own, and they must be hashable. Elsewhere, as with arrays, the function itself is called.

    Args:
        function: as `Replayed` asks for it. What it keeps for later calls must be kept for good: a
            recording reads it where it lay.
    """

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        self._recordings: OrderedDict[Any, _Recording] = OrderedDict()
        self._turn = threading.Lock()

    def __call__(self, *given: Any) -> Any:
        tensors: list[Tensor] = []
        others = _taken_apart(given, tensors)
        if not any(map(_can_be_recorded, tensors)):
            return self._function(*given)
        with self._turn:
            found = self._recordings.get(others)
            if found is None:
                found = self._recordings[others] = _Recording(self._function, others)
            self._recordings.move_to_end(others)
            while len(self._recordings) > _KEPT:
                self._recordings.popitem(last=False)
        return found(tensors)


class _Recording:
    """Of calls whose values other than tensors are the same."""

    def __init__(self, function: Callable[..., Any], others: Any):
        self._function = function
        self._others = others
        self._found: Any = None  # what is found, but for its tensors
        self._replayed = Replayed(self._called)

    def __call__(self, tensors: list[Tensor]) -> Any:
        found = self._replayed(*tensors)
        return _put_together(self._found, iter(found))

    def _called(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        given = _put_together(self._others, iter(tensors))
        self._found = _taken_apart(self._function(*given), found)
        return tuple(found)


def _can_be_recorded(tensor: Tensor) -> bool:
    return tensor.is_cuda


def _taken_apart(value: Any, tensors: list[Tensor]) -> Any:
    """What a value is but for its tensors, which are added to a list."""
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return _TENSOR
    if isinstance(value, tuple):
        return tuple, tuple(_taken_apart(one, tensors) for one in value)
    if is_dataclass(value):
        parts = (_taken_apart(getattr(value, one.name), tensors) for one in fields(value))
        return type(value), tuple(parts)
    return None, value


def _put_together(parts: Any, tensors: Any) -> Any:
    if parts is _TENSOR:
        return next(tensors)
    kind, inside = parts
    if kind is None:
        return inside
    values = [_put_together(one, tensors) for one in inside]
    return tuple(values) if kind is tuple else kind(*values)
