"""What a server can be told: frozen dataclasses, from TOML; an unknown key is an error."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from host_plugins.client.connection import default_state_dir
from host_plugins.client.errors import SetupError
from host_plugins.client.wire import Limits

GIB = 1 << 30
_TYPES: dict[str, Any] = {
    "str": (str,),
    "Path": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
}
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True)
class ServerConfig:
    """A server's settings. Sizes in bytes, times in seconds.

    Attributes:
        state: folder of the connection file, journals, spool and log; one server each.
        bind: address of the main socket; ``*`` as port takes a free one. Addresses other than
            loopback need ``curve``. The control socket takes the next port, or a free one too.
        advertise: name or address of this machine in the connection file, for one that is copied to
            others; "" = what it is bound to.
        private: end when the parent process ends, or on ``shutdown``.
        engine: ``module:factory``, see `model.engine`.
        devices: a worker for each: ``auto``, ``cpu``, ``cuda:0`` …
        threads: CPU threads of a worker; 0 = one a core. Part of a matte's identity.
        roots: by path, only files under these folders are read and written, checkpoints too. Empty
            means all that the server's user may, which is refused when others than this machine can
            connect.
        quota_bytes: of the spool; what one unit makes may exceed it until the next begins.
        decoders: processes of a worker that read plates; 0 = one for every two cores, at least
            one, at most eight.
        decoder_memory_bytes: address space of a decoder, which opens hostile files.
        decode_seconds: a file that takes longer to decode is damaged; one that takes longer to be
            read is where no file server answers.
        credit: mattes, or plates, that may be on their way unacknowledged.
        heartbeat_seconds: a worker silent for this long is dead.
        client_seconds: a client that leaves mattes unacknowledged for so long is sent no more until
            it submits again.
        grace_seconds: what a frame may take to be given up on SIGTERM.
        log_level: of ``server.log``.
        curve: encrypt with the keys in ``<state>/keys``, see `security.start_curve`.
        limits: on messages from clients.
    """

    state: Path = field(default_factory=default_state_dir)
    bind: str = "tcp://127.0.0.1:*"
    advertise: str = ""
    private: bool = False
    engine: str = "model.pipeline:open_engine"
    devices: tuple[str, ...] = ("auto",)
    threads: int = 0
    roots: tuple[Path, ...] = ()
    quota_bytes: int = 64 * GIB
    decoders: int = 0
    decoder_memory_bytes: int = 6 * GIB
    decode_seconds: float = 60.0
    credit: int = 8
    heartbeat_seconds: float = 30.0
    client_seconds: float = 600.0
    grace_seconds: float = 5.0
    log_level: str = "INFO"
    curve: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", Path(self.state).expanduser().absolute())
        object.__setattr__(self, "roots", tuple(Path(one).expanduser() for one in self.roots))
        if not self.devices:
            raise _wrong("devices", "the server's settings", "needs at least one device")
        if self.log_level not in _LOG_LEVELS:
            raise _wrong("log_level", "the server's settings", f"is none of {_LOG_LEVELS}")

    @property
    def worker_threads(self) -> int:
        """CPU threads of a worker, counted out: what keys are made of is what workers are told."""
        if self.threads:
            return self.threads
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1


def load_config(path: Path, **instead: Any) -> ServerConfig:
    """Read settings from a TOML file.

    Args:
        path: the file. Its keys are the attributes of `ServerConfig`; ``[limits]`` those of
            `Limits`.
        instead: settings that override the file's, e.g. from a command line.

    Raises:
        SetupError: ``setup.config``, naming key and file.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(
            "setup.config",
            f"the settings {path} cannot be read ({error.strerror})",
            hint="check the path given with --config",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(
            "setup.config", f"{path} is not TOML: {error}", hint="correct the file"
        ) from error
    values = {name: _value(ServerConfig, name, value, path) for name, value in content.items()}
    return ServerConfig(**{**values, **instead})


def _value(owner: type, name: str, value: Any, path: Path) -> Any:
    """One setting, as the type its field has."""
    known = {one.name: str(one.type) for one in fields(owner)}
    if name not in known:
        raise SetupError(
            "setup.config",
            f"{path} has an unknown key {name!r}",
            hint=f"known are {', '.join(sorted(known))}",
        )
    kind = known[name]
    if kind == "Limits":
        if not isinstance(value, Mapping):
            raise _wrong(name, path, "is not a table")
        return Limits(**{key: _value(Limits, key, one, path) for key, one in value.items()})
    if kind.startswith("tuple"):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise _wrong(name, path, "is not a list of texts")
        return tuple(value)
    if not isinstance(value, _TYPES[kind]) or (kind != "bool" and isinstance(value, bool)):
        raise _wrong(name, path, f"is {value!r}, not {kind.lower()}")
    if kind in ("int", "float") and value < 0:
        raise _wrong(name, path, f"is {value!r}, below 0")
    return Path(value) if kind == "Path" else value


def _wrong(name: str, where: Any, why: str) -> SetupError:
    return SetupError("setup.config", f"{name!r} in {where} {why}", hint="correct the value")
