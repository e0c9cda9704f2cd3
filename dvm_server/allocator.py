"""How a worker keeps memory: what is freed stays for the next frame, until it is idle.

A frame's intermediate results are as large as the frame's before. glibc takes each from the system
and gives it back, and the system clears every page anew: a quarter of the processor time of a frame
at 960×540, and the part of it that no second core shortens. Threads would have heaps of their own,
which hold on to what the others could use. Elsewhere than in glibc nothing is done.
"""

from __future__ import annotations

import ctypes

# From malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1


def keep_freed_memory() -> None:
    """For this process, from here on. Call it before there are threads."""
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    set_option(_MMAP_MAX, 0)
    set_option(_TRIM_THRESHOLD, _NEVER)
    set_option(_ARENA_MAX, 1)


def give_back() -> None:
    """Give the system what is free."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return
