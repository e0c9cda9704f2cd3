"""Pixels between a decoder and its worker: a file in memory that both have open.

Through a pipe they would be copied in slices, with a switch between the processes for each, while
the next question waits. Neither side maps the file: a decoder gone wrong may cut it at any time,
and a read that comes out short is an error, where a page that is gone would be the end.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_KINDS = ("uint8", "float16", "float32")


def make_pixel_file() -> int:
    """A new one; returns its descriptor. Where there are none in memory, a temporary file."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("dvm-pixels")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def write_pixels(descriptor: int, pixels: npt.NDArray[Any]) -> dict[str, Any]:
    """Write an array from the file's beginning; returns what `read_pixels` needs to be told."""
    left = np.ascontiguousarray(pixels).data.cast("B")
    at = 0
    while at < len(left):
        at += os.pwrite(descriptor, left[at:], at)
    return {"shape": list(pixels.shape), "dtype": pixels.dtype.name}


def read_pixels(descriptor: int, shape: Sequence[int], dtype: str) -> npt.NDArray[Any]:
    """A copy of what was written.

    Raises:
        ValueError: the file does not hold as much, or no pixels are of that kind.
    """
    if dtype not in _KINDS or min(shape, default=0) < 1:
        raise ValueError(f"{shape} {dtype} are no pixels")
    if os.fstat(descriptor).st_size < math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError("the decoder has written less than it says")
    pixels = np.empty(shape, dtype)
    left = pixels.data.cast("B")
    at = 0
    while at < len(left):
        count = os.preadv(descriptor, [left[at:]], at)
        if count == 0:
            raise ValueError("the decoder has cut what it had written")
        at += count
    return pixels
