"""Who may connect, and which files a client may name."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from dvm_server.config import ServerConfig
from host_plugins.client.errors import InputError, SetupError
from model.plates.file_errors import keeping

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:\s]+):(?P<port>\*|\d{1,5})\Z")

# Port and the one after it, for control, are both below 65536.
_LAST_PORT = 65534
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY
_SHORTEST_SECRET = 32  # characters


def new_secret() -> str:
    """The text that signs messages, 256 bits of it."""
    return secrets.token_hex(32)


def check_bind(config: ServerConfig) -> None:
    """Refuse to listen to strangers without CURVE, or without roots.

    Raises:
        SetupError: ``setup.public_bind``, ``setup.no_roots``, or ``setup.bind`` if it is no
            address.
    """
    if config.bind.startswith("ipc://"):
        return
    found = _TCP.match(config.bind)
    if not found:
        raise SetupError(
            "setup.bind",
            f"{config.bind!r} is not an address to listen at",
            hint="write tcp://127.0.0.1:* or tcp://HOST:PORT",
        )
    if found["port"] != "*" and not 1 <= int(found["port"]) <= _LAST_PORT:
        # ZeroMQ would take what is left of it after division.
        raise SetupError(
            "setup.bind",
            f"{found['port']} in {config.bind} is not a port to listen at",
            hint=f"choose one of 1 to {_LAST_PORT} (the next one is for control), or * for any",
        )
    if is_loopback(found["host"]):
        return
    if not config.curve:
        raise SetupError(
            "setup.public_bind",
            f"{config.bind} can be reached from other machines and is not encrypted",
            hint="bind to 127.0.0.1, or set curve = true in the server's settings",
        )
    if not config.roots:
        raise SetupError(
            "setup.no_roots",
            f"{config.bind} can be reached from other machines, and no roots say which files "
            "their shots may name",
            hint='set roots = ["/shows", …] in the server\'s settings',
        )


def is_loopback(host: str) -> bool:
    """True for ``localhost`` and addresses of the loopback interface; names are not looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_roots(path: str | Path, roots: Sequence[Path]) -> None:
    """Refuse a file outside of the roots, after following every symbolic link.

    Args:
        path: absolute; need not exist.
        roots: folders; none means that everything the server's user may reach is allowed, which
            is right on the user's own machine and is only possible there (`check_bind`).

    Raises:
        InputError: ``input.outside_roots``; ``input.relative_path``.
    """
    if not Path(path).is_absolute():
        raise InputError(
            "input.relative_path",
            f"{path} is relative, and the server has another working directory",
            hint="send absolute paths",
        )
    if not roots:
        return
    real = os.path.realpath(path)
    for root in roots:
        top = os.path.realpath(root)
        if os.path.commonpath([real, top]) == top:
            return
    raise InputError(
        "input.outside_roots",
        f"{path} lies outside of the folders this server may use",
        hint=f"these are {', '.join(str(root) for root in roots)}; ask whoever runs the server",
    )


def secret_of(config: ServerConfig) -> str:
    """What messages are signed with: another one at each start, or, where other machines connect
    and people have to be told of it, always that of ``<state>/keys/secret``, made at the first.

    Raises:
        SetupError: ``setup.keys`` if the file cannot be read or holds none.
    """
    host = _TCP.match(config.bind)
    if host is None or is_loopback(host["host"]):
        return new_secret()
    file = config.state / "keys" / "secret"
    try:
        if not file.exists():
            with keeping(file.parent):
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with os.fdopen(os.open(file, _NEW, 0o600), "w", encoding="ascii") as new:
                    new.write(new_secret())
        found = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise _bad_keys(file, str(error)) from error
    if len(found) < _SHORTEST_SECRET:
        raise _bad_keys(file, "it is too short for a secret")
    return found


def make_keys(folder: Path, name: str) -> Path:
    """Make a pair of CURVE certificates, ``name.key`` and ``name.key_secret``, both 0600.

    Returns:
        The secret one; the public one may be given away.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for made in zmq.auth.create_certificates(str(folder), name):
        Path(made).chmod(0o600)
    return folder / f"{name}.key_secret"


def start_curve(
    context: zmq.Context[zmq.Socket[bytes]], state: Path
) -> tuple[ThreadAuthenticator, bytes, bytes]:
    """Encrypt, and let in only clients whose public key lies in ``<state>/keys/clients``.

    Without that folder every client key is let in, and it is the secret of the connection file
    alone, which signs each message, that keeps strangers out. The server's own keys are made at
    the first start.

    Returns:
        The authenticator, to be stopped at the end, and the server's public and secret key.

    Raises:
        SetupError: ``setup.keys`` if a certificate cannot be read or is no secret one.
    """
    keys = state / "keys"
    secret_file = keys / "server.key_secret"
    try:
        if not secret_file.exists():
            with keeping(keys):
                make_keys(keys, "server")
        public, secret = zmq.auth.load_certificate(str(secret_file))
    except (OSError, ValueError) as error:
        raise _bad_keys(secret_file, str(error)) from error
    if secret is None:
        raise _bad_keys(secret_file, "it holds no secret key")
    clients = keys / "clients"
    # Without an authenticator there would be nobody to ask the folder.
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    location = str(clients) if clients.is_dir() else zmq.auth.CURVE_ALLOW_ANY
    authenticator.configure_curve(domain="*", location=location)
    return authenticator, public, secret


def _bad_keys(path: Path, why: str) -> SetupError:
    return SetupError(
        "setup.keys",
        f"the server's key {path} cannot be used: {why}",
        hint="remove it, and a new one is made; clients then need the new one too",
    )
