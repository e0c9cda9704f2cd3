"""How the kernels of the prior are named and launched."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

from torch import Tensor

from cuda_ops import nvrtc, variants
from cuda_ops.variants import Variant

__all__ = ["THREADS", "blocks_of", "launch", "part"]

THREADS = 256  # of a block, unless it says otherwise


@cache
def part(name: str, *options: tuple[str, int], threads: int = THREADS, shared: int = 0) -> Variant:
    """A kernel of the prior; it is told its threads."""
    told = (("THREADS", threads), *options)
    return Variant(name, ("together", "matting"), told, threads, shared)


def blocks_of(count: int) -> int:
    """As many as it takes for a thread each."""
    return -(-count // THREADS)


def launch(
    variant: Variant,
    grid: Sequence[int],
    *arguments: Tensor | int | ctypes.c_float | ctypes.c_double,
) -> None:
    """On the device of its tensors, the first of which there must be; numbers are C's int."""
    device = next(one.device for one in arguments if isinstance(one, Tensor))
    values: list[nvrtc.Argument] = []
    for one in arguments:
        if isinstance(one, Tensor):
            assert one.is_contiguous()
            values.append(ctypes.c_void_p(one.data_ptr()))
        else:
            values.append(ctypes.c_int(one) if isinstance(one, int) else one)
    variants.kernel_on(device, variant)(grid, variant.threads, values)
