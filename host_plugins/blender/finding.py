"""Which server is meant, and whether it sees the files that Blender sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import zmq.auth

from ..client import connection as connection_file
from ..client.connection import Connection
from ..client.errors import SetupError
from . import adapter, preferences

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def finder(local: bool) -> Callable[[], Connection]:
    """How the server is found; made in the main thread, called by the one that connects.

    Args:
        local: a server was started from here, and is meant unless preferences name another.
    """
    options = preferences.current()
    state = preferences.state_folder() if local else None
    return partial(_find, options.server, state, adapter.absolute(options.keys))


def _find(server: str, state: Path | None, keys: str) -> Connection:
    """
    Raises:
        SetupError: as `connection.find`; ``setup.keys`` if our own key pair cannot be read.
    """
    found = connection_file.find(server, state)
    if not keys:
        return found
    try:
        _, secret = zmq.auth.load_certificate(keys)
    except (OSError, ValueError) as error:
        raise _no_keys(keys, str(error)) from error
    if secret is None:
        raise _no_keys(keys, "it has the public key alone")
    return replace(found, client_key=secret.decode("ascii"))


def _no_keys(path: str, why: str) -> SetupError:
    return SetupError(
        "setup.keys",
        f"the key pair {path} cannot be used: {why}",
        hint="name the .key_secret file in the add-on's preferences",
    )


def sees_our_files() -> bool:
    """Whether the server reads paths as we do: on this machine, or where preferences say so."""
    options = preferences.current()
    if options.travel != "AUTO":
        return options.travel == "PATHS"
    return "://" not in options.server or any(f"//{n}:" in options.server for n in _LOOPBACK)
