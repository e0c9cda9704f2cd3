"""A server on this machine for one host: `dvm serve` is started, looked after and stopped.

It is a private one: it ends when the host's process does, whatever becomes of us.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from . import connection as connection_file
from . import control
from .connection import CONNECTION_FILE, Connection, default_state_dir
from .errors import CapacityError, DvmError, SetupError

LOG = "local-server.log"

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_SHUTDOWN_SECONDS = 2.0
# What a host sets for its own Python would break the server's.
_NOT_FOR_OTHERS = ("PYTHONHOME", "__PYVENV_LAUNCHER__")
_LONGEST_SENTENCE = 1000


def command(found: str) -> list[str]:
    """How to call ``dvm``.

    Args:
        found: path of the program ``dvm``, or of the Python it is installed for; the folder of a
            Python environment; or "" for ``dvm`` on the PATH.

    Raises:
        SetupError: ``setup.no_command``.
    """
    named = found.strip()
    if not named:
        on_path = shutil.which("dvm")
        if on_path is None:
            raise _no_command("there is no program dvm on the PATH")
        return [on_path]
    path = Path(named).expanduser()
    if path.is_dir():
        for name in ("bin/dvm", "Scripts/dvm.exe", "dvm", "dvm.exe"):
            if (path / name).is_file():
                path = path / name
                break
        else:
            raise _no_command(f"there is no program dvm in {path}, or in its bin or Scripts")
    if not path.is_file():
        raise _no_command(f"{path} is not there")
    if not os.access(path, os.X_OK):
        raise _no_command(f"{path} is no program: it may not be executed")
    if path.stem.startswith("python"):
        return [str(path), "-m", "dvm_server.cli"]
    return [str(path)]


class LocalServer:
    """One server of ours. `start` returns at once; `poll` says how it goes.

    Args:
        command: from `command`.
        state: its state directory, made if need be; None = the user's. One server may use it.
        arguments: more of ``dvm serve``.
        start_seconds: within which it must be up.

    Attributes:
        state: its state directory.
        connection: how to reach it, once it is up; else None.
    """

    def __init__(
        self,
        command: Sequence[str],
        state: Path | None = None,
        *,
        arguments: Sequence[str] = (),
        start_seconds: float = _START_SECONDS,
    ):
        self.state = Path(state) if state is not None else default_state_dir()
        self.connection: Connection | None = None
        self._command = [*command, "serve", "--private", "--state", str(self.state), *arguments]
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._before: Connection | None = None
        self._end = 0.0

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.state / LOG

    @property
    def starting(self) -> bool:
        """It was started, and `poll` has not said yet that it is up, or why not."""
        return self._process is not None and self.connection is None

    def is_running(self) -> bool:
        """Whether its process runs, be it up or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; nothing happens if it runs already.

        Raises:
            SetupError: ``setup.state_dir`` if the state directory cannot be written to;
                ``setup.no_command`` if the program cannot be started.
        """
        if self.is_running():
            return
        self.connection = None
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            output = self.log.open("wb")
        except OSError as error:
            raise SetupError(
                "setup.state_dir",
                f"the state directory {self.state} cannot be written to: {error.strerror}",
                hint="choose another one",
            ) from error
        self._before = self._connection_now()
        with output:
            try:
                # A session of its own: Ctrl-C in the host's terminal is not for the server.
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={k: v for k, v in os.environ.items() if k not in _NOT_FOR_OTHERS},
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
            except OSError as error:
                raise _no_command(
                    f"{self._command[0]} cannot be started: {error.strerror}"
                ) from error
        self._end = time.monotonic() + self._start_seconds

    def poll(self) -> str:
        """How it goes; does not wait.

        Returns:
            ``down`` if it was not started, or was stopped; ``starting``; ``up``.

        Raises:
            SetupError: ``setup.server_start``, once: it has ended by itself, with what it said, or
                is not up in time; then it is down.
            CapacityError: ``capacity.server_start``, likewise: it lacked disk or memory.
        """
        if self._process is None:
            return "down"
        code = self._process.poll()
        if code is not None:
            self._process = self.connection = None
            raise self._ended(code)
        if self.connection is None:
            now = self._connection_now()
            # A file of an earlier server may lie there. Ours has another secret, always; its
            # process may be a child of the one we started, as a launcher's is.
            if now is not None and (self._before is None or now.secret != self._before.secret):
                self.connection = now
        if self.connection is not None:
            return "up"
        if time.monotonic() > self._end:
            self._kill()
            raise SetupError(
                "setup.server_start",
                f"the server did not start within {self._start_seconds:g} s",
                hint=f"see its log {self.log}",
            )
        return "starting"

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """End the server, and wait until its process is gone. Jobs go on when one is started with
        the same state directory again.

        Args:
            timeout: in seconds; after that it is killed.
        """
        if self._process is None:
            return
        if self._process.poll() is None and not self._asked_to_end(timeout):
            self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._kill()
        self._process = self.connection = None

    def _asked_to_end(self, timeout: float) -> bool:
        if self.connection is None:
            return False
        try:
            control.shutdown(self.connection, min(timeout, _SHUTDOWN_SECONDS))
        except DvmError:
            return False  # it did not hear, and is told in another way
        return True

    def _kill(self) -> None:
        """End it and what it has started, at once."""
        assert self._process is not None
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()
        self._process = self.connection = None

    def _connection_now(self) -> Connection | None:
        """What the connection file says; None while there is none."""
        path = self.state / CONNECTION_FILE
        if not path.exists():
            return None
        try:
            return connection_file.read(path)
        except SetupError:
            return None  # a leftover: a server writes its own whole, in one step

    def _ended(self, code: int) -> DvmError:
        said, hint = _last_words(self.log)
        if code == CapacityError.exit_code:
            # On a disk that is full it could write nothing down.
            return CapacityError(
                "capacity.server_start",
                said or f"there is no space left in the state directory {self.state}",
                hint=hint or "free some space there and try again",
            )
        return SetupError(
            "setup.server_start",
            f"the server ended with exit code {code}" + (f": {said}" if said else ""),
            hint=hint or f"see its log {self.log}",
        )


def _last_words(log: Path) -> tuple[str, str]:
    """The last complaint of `dvm` and its hint, else the last line; "" if it said nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [one.strip()[:_LONGEST_SENTENCE] for one in lines if one.strip()]
    complaints = [index for index, one in enumerate(lines) if one.startswith("dvm: ")]
    if not complaints:
        return (lines[-1] if lines else ""), ""
    last = complaints[-1]
    after = lines[last + 1] if last + 1 < len(lines) else ""
    hint = after[len("Hint: ") :] if after.startswith("Hint: ") else ""
    return lines[last][len("dvm: ") :].rstrip("."), hint.rstrip(".")


def _no_command(message: str) -> SetupError:
    return SetupError(
        "setup.no_command",
        message,
        hint="install deep-video-matte with pip into a Python environment, and name its folder",
    )
