"""Pixels to the device and back, beside what the device is computing. Plain copies off CUDA."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.face import Frame


def sent(pixels: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array on a device; to CUDA through pinned memory, which is copied without waiting."""
    tensor = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@cache  # torch keeps freed memory for the stream it was made on: a new one would have none
def _upload_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Upload:
    """Makes frames on a device while another thread's network is at work there.

    On CUDA that takes a stream of its own: on the network's, a frame would wait for its kernels.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = _upload_stream(device)

    def __call__(self, make: Callable[[], Frame]) -> Frame:
        """What ``make`` makes, complete: any stream may use it."""
        if self._stream is None:
            return make()
        users = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            frame = make()
        for plane in frame.planes():
            plane.record_stream(users)  # its memory is not given away while the network reads it
        self._stream.synchronize()
        return frame


class Download:
    """A tensor on its way from its device: begun when made, waited for by `array`."""

    def __init__(self, tensor: torch.Tensor):
        self._here = tensor
        self._done: torch.cuda.Event | None = None
        if tensor.is_cuda:
            self._here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._here.copy_(tensor, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record(torch.cuda.current_stream(tensor.device))

    def array(self) -> npt.NDArray[Any]:
        """The values; shares memory with the tensor where that is here already."""
        if self._done is not None:
            self._done.synchronize()
        return np.asarray(self._here.numpy())
