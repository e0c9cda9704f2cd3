"""What is said of a device that is full: how much was needed, and how much was free."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from model.errors import CapacityError

GIB = 2.0**30
_TRIED = re.compile(r"[Tt]ried to allocate ([\d.]+ [KMG]?i?B)")


def needed_and_free(error: Exception, device: torch.device) -> str:
    """Half a sentence, as far as it is known: ``2.50 GiB more were needed, 0.31 of 79.1 GiB free``.

    Args:
        error: as raised by torch; its text says what was asked for.
        device: that is full.

    Returns:
        "" if neither is known.
    """
    said = []
    tried = _TRIED.search(str(error))
    if tried:
        said.append(f"{tried[1]} more were needed")
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        said.append(f"{free / GIB:.2f} GiB of {total / GIB:.1f} GiB were free")
    return " and ".join(said)


@contextmanager
def device_full(frame: int, device: torch.device) -> Iterator[None]:
    """Turns what torch raises of a full device into our error.

    Raises:
        CapacityError: ``capacity.device_memory``, naming needed and free memory.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise does_not_fit(frame, device, error) from error


def does_not_fit(
    frame: int, device: torch.device, error: Exception, how: str = ""
) -> CapacityError:
    """The error for a frame; ``how`` says what was tried."""
    told = needed_and_free(error, device)
    return CapacityError(
        "capacity.device_memory",
        f"frame {frame} does not fit into the device's memory{how}{': ' if told else ''}{told}",
        frame=frame,
        hint="close other programs on the device, or choose a smaller tile or --device cpu",
    )
