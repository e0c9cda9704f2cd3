"""A disk that is full, for whoever may not mount one: files that may not grow any further."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def full_disk(most: int = 0, pid: int = 0) -> Iterator[None]:
    """No file of a process (0: this one) is written beyond ``most`` bytes while the block runs.

    To who writes it looks as a full disk does, but for the number of the error.
    """
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
