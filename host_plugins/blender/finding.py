"""Which server is meant, and whether it sees the files that Blender sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..client import connection as connection_file
from ..client.connection import Connection
from . import preferences

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def finder(local: bool) -> Callable[[], Connection]:
    """How the server is found; made in the main thread, called by the one that connects.

    Args:
        local: a server was started from here, and is meant unless preferences name another.
    """
    server = preferences.current().server
    state = preferences.state_folder() if local else None
    return partial(connection_file.find, server, state)


def sees_our_files() -> bool:
    """Whether the server reads paths as we do: on this machine, or where preferences say so."""
    options = preferences.current()
    if options.travel != "AUTO":
        return options.travel == "PATHS"
    return "://" not in options.server or any(f"//{n}:" in options.server for n in _LOOPBACK)
