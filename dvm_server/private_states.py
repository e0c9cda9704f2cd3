"""Where private servers keep their state: a folder for each clip.

So a trimap that was carried for one shot of it is there for the next, with other outputs, another
region or one keyframe more.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from dvm_server.identity import digest
from dvm_server.spool import LOCK
from host_plugins.client.shot import Shot, shot_id

_DAYS = 30  # without a server, after which a folder is removed
_NAME = 16  # digits
_RESERVED = "command.lock"


@contextmanager
def private_state(root: Path, shot: Shot) -> Iterator[Path]:
    """The state directory for a shot while the block runs: its clip's, or one of its own if another
    command is matting the same clip.

    Args:
        root: the folder that holds all of them.
        shot: with absolute paths.
    """
    state = root / digest([asdict(shot.plates), shot.frames])[:_NAME]
    with _reserved(state) as free:
        # A command that was killed a moment ago may have left its server there.
        if not free or _in_use(state):
            state = root / f"{state.name}-{shot_id(shot)[:_NAME]}"
        yield state


def remove_old(root: Path) -> None:
    """Remove those that no server has used for thirty days. What cannot be removed now can be by a
    later command."""
    oldest = time.time() - _DAYS * 24 * 3600
    for lock in root.glob(f"*/{LOCK}"):
        with suppress(OSError):
            if lock.stat().st_mtime < oldest:
                with lock.open("r") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(lock.parent)


@contextmanager
def _reserved(state: Path) -> Iterator[bool]:
    """Keep the directory from other commands while the block runs; whether it was free.

    A server's own lock tells too late: commands that start together all look before any of their
    servers has it.
    """
    with ExitStack() as stack:
        try:
            state.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((state / _RESERVED).open("w"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError:
            free = True  # who cannot write or lock there is told so by the server that starts
        yield free


def _in_use(state: Path) -> bool:
    """Whether a server has the directory. Who cannot look is told so by the server that starts."""
    try:
        with (state / LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
