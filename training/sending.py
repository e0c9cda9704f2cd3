"""Small arrays on their way to the device, without making it wait."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def send(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """A copy on the device; on CUDA through pinned memory, so that the host does not wait."""
    with warnings.catch_warnings():
        # Nobody writes to what was sent, so that a read-only array is fine.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
