"""The connection file: how a client on the machine finds the server, and proves it may use it."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import SetupError
from .files import write_whole

CONNECTION_FILE = "connection.json"
SECRET_VARIABLE = "DVM_SECRET"
SERVER_KEY_VARIABLE = "DVM_SERVER_KEY"
CLIENT_KEY_VARIABLE = "DVM_CLIENT_KEY"
STATE_VARIABLE = "DVM_STATE"

_ENDPOINT = re.compile(r"(tcp|ipc|inproc)://[^\s]{1,255}\Z")
_URL = re.compile(
    r"tcp://(?P<host>[^\s:/]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})(,(?P<control>\d{1,5}))?\Z"
)


@dataclass(frozen=True)
class Connection:
    """Where a server listens and the secret that signs messages to and from it.

    Attributes:
        endpoint: of the main socket, e.g. ``tcp://127.0.0.1:40001``.
        control: of the control socket.
        secret: text whose UTF-8 bytes are the key of the HMAC. Never shown in ``repr``.
        protocol: the newest protocol the server speaks.
        pid: of the server's process; 0 if unknown.
        server_key: the server's public CURVE key in Z85; "" without CURVE.
        client_key: our own secret CURVE key in Z85; "" = a new pair each time. Not in the file.
        source: the file it was read from, or "". Not in the file.
    """

    endpoint: str
    control: str
    secret: str = field(repr=False)
    protocol: int
    pid: int
    server_key: str = ""
    client_key: str = field(default="", repr=False, compare=False)
    source: str = field(default="", compare=False)

    @property
    def key(self) -> bytes:
        """The secret as `wire.encode` and `wire.decode` want it."""
        return self.secret.encode("utf-8")

    def write(self, path: Path) -> None:
        """Write the connection file, readable by its owner only, in one step.

        Raises:
            OSError: the folder cannot be written to.
        """
        path = Path(path)
        content = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("client_key", "source")
        }
        write_whole(path, json.dumps(content).encode("utf-8"), 0o600)


def read(path: Path) -> Connection:
    """Read a connection file.

    Raises:
        SetupError: ``setup.no_server`` if there is none, ``setup.connection_file`` if it is not
            one or other users may read it.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SetupError(
            "setup.no_server",
            f"no server has written the connection file {path}",
            hint="start one with `dvm serve`, or name its connection file",
        ) from error
    except (OSError, ValueError) as error:
        raise _not_one(path, f"cannot be read ({type(error).__name__})") from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise _not_one(path, "may be read by other users", f"chmod 600 {path}")
    return _from_json(content, path)


def default_state_dir() -> Path:
    """The folder a server keeps its state in unless told otherwise: ``$DVM_STATE``, else the
    user's folder for such things on this system."""
    chosen = os.environ.get(STATE_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "deep-video-matte"


def find(server: str | None = None, state: Path | None = None) -> Connection:
    """The connection a user means.

    Args:
        server: path of a connection file, or ``tcp://HOST:PORT[,CONTROLPORT]``; the control port
            is the next one unless it is given. The secret of an address is in ``$DVM_SECRET``, the
            server's public CURVE key in ``$DVM_SERVER_KEY`` and our secret one in
            ``$DVM_CLIENT_KEY``. None or "" means the server of ``state``.
        state: the server's state directory; None means `default_state_dir`.

    Raises:
        SetupError: ``setup.no_server``, ``setup.connection_file``, ``setup.server_address`` or
            ``setup.no_secret``.
    """
    if not server:
        return read(Path(state or default_state_dir()) / CONNECTION_FILE)
    if "://" not in server:
        path = Path(server)
        return read(path / CONNECTION_FILE if path.is_dir() else path)
    found = _URL.match(server)
    port = int(found["port"]) if found else 0
    control = int(found["control"] or port + 1) if found else 0
    if not found or not 0 < port < 65536 or not 0 < control < 65536:
        raise SetupError(
            "setup.server_address",
            f"{server!r} is not the address of a server",
            hint="write tcp://HOST:PORT, or the path of a connection file",
        )
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not secret:
        raise SetupError(
            "setup.no_secret",
            f"the server at {server} wants a secret and ${SECRET_VARIABLE} is not set",
            hint=f"set ${SECRET_VARIABLE} to the secret in the server's connection file",
        )
    base = f"tcp://{found['host']}"
    return Connection(
        f"{base}:{port}",
        f"{base}:{control}",
        secret,
        protocol=1,
        pid=0,
        server_key=os.environ.get(SERVER_KEY_VARIABLE, ""),
        client_key=os.environ.get(CLIENT_KEY_VARIABLE, ""),
    )


def _from_json(content: Any, path: Path) -> Connection:
    if not isinstance(content, dict):
        raise _not_one(path, "is not a JSON object")
    for name in ("endpoint", "control"):
        if not isinstance(content.get(name), str) or not _ENDPOINT.match(content[name]):
            raise _not_one(path, f"has no endpoint in the field {name!r}")
    if not isinstance(content.get("secret"), str) or not content["secret"]:
        raise _not_one(path, "has no secret")
    for name in ("protocol", "pid"):
        if type(content.get(name)) is not int:
            raise _not_one(path, f"has no whole number in the field {name!r}")
    server_key = content.get("server_key", "")
    if not isinstance(server_key, str):
        raise _not_one(path, "has no text in the field 'server_key'")
    return Connection(
        content["endpoint"],
        content["control"],
        content["secret"],
        content["protocol"],
        content["pid"],
        server_key,
        client_key=os.environ.get(CLIENT_KEY_VARIABLE, ""),
        source=str(path),
    )


def _not_one(path: Path, why: str, hint: str = "") -> SetupError:
    return SetupError(
        "setup.connection_file",
        f"the connection file {path} {why}",
        hint=hint or "start the server again; it writes a new one",
    )
