"""Which server is meant, and whether it sees the files that the host sees."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import zmq.auth

from . import connection as connection_file
from .connection import Connection
from .errors import SetupError


@dataclass(frozen=True)
class Options:
    """What a host's user has set about servers and files.

    Attributes:
        server: address or connection file; "" = the server of this user on this machine.
        keys: absolute path of a file with our own CURVE key pair; "" = none, or $DVM_CLIENT_KEY.
        command: `dvm`, or the folder of its Python environment; "" = on the PATH.
        cache: folder of mattes; "" = beside the host's file.
        cache_gb: oldest mattes go beyond that; 0 = never.
        travel: ``AUTO``: plates and mattes are read and written by a server on this machine, and
            travel to one on another; ``PATHS``, ``FILES``: always the one or the other.
    """

    server: str = ""
    keys: str = ""
    command: str = ""
    cache: str = ""
    cache_gb: int = 0
    travel: str = "AUTO"

    @property
    def cache_bytes(self) -> int:
        """The most that mattes may take; 0 = no limit."""
        return self.cache_gb * 10**9

    def by_value(self, connection: Connection) -> bool:
        """Whether plates are sent to the server and mattes come back; else it reads and writes
        files by our paths. Looks names of machines up: not for a host's main thread."""
        if self.travel != "AUTO":
            return self.travel == "FILES"
        return not on_this_machine(connection.endpoint)


def on_this_machine(endpoint: str) -> bool:
    """Whether a server's address is one of this machine, be it from a file or not: a connection
    file may have been copied from another."""
    scheme, _, address = endpoint.partition("://")
    if scheme != "tcp":
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        # Only an address of this machine can be bound to.
        for family, kind, protocol, _, ours in socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind, protocol) as one:
                one.bind(ours)
    except OSError:  # it is another's, or nobody knows that name
        return False
    return True


def finder(options: Options, state: Path | None) -> Callable[[], Connection]:
    """How the server is found, to be called by the thread that connects.

    Args:
        options: which one is meant.
        state: state directory of a server that was started from the host; it is meant unless the
            options name another. None = none was.

    The call raises SetupError as `connection.find` does, and ``setup.keys`` if our own key pair
    cannot be read.
    """
    return partial(_find, options.server, state, options.keys)


def _find(server: str, state: Path | None, keys: str) -> Connection:
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
        hint="name the .key_secret file among the plug-in's settings, or in its preferences",
    )
