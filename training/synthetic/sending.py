"""Arrays on their way to the device."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def send(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """A small array on the device; on CUDA through pinned memory, so that the host does not wait.

    On the CPU it may share memory with the array.
    """
    tensor = _tensor(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def kept(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """A large array that stays on the device; on the CPU it may share memory with the array."""
    return _tensor(array).to(device)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    with warnings.catch_warnings():
        # Nobody writes to what was sent, so that a read-only array is fine.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))
