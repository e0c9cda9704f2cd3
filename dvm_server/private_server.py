"""A server of one's own for the length of one command: started, found, stopped in every case."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from host_plugins.client import connection as connection_file
from host_plugins.client import control
from host_plugins.client.connection import Connection
from host_plugins.client.errors import CapacityError, DvmError, ServerError, SetupError
from host_plugins.client.session import SERVER_LOST
from model.plates.file_errors import no_space

LOG = "private.log"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_SLICE = 0.05


@contextmanager
def private_server(
    state: Path, arguments: Sequence[str] = (), check: Callable[[], None] = lambda: None
) -> Iterator[Connection]:
    """Run ``dvm serve --private`` while the block runs.

    Args:
        state: its state directory, made if need be. One server at a time may use it.
        arguments: more of ``dvm serve``.
        check: called while waiting; raises to give up.

    Yields:
        Where it listens.

    Raises:
        SetupError: ``setup.state_dir`` if the directory cannot be made, ``setup.server_start`` if
            the server ended or said nothing, naming its log.
        CapacityError: ``capacity.server_start`` if it lacked disk or memory.
        ServerError: ``server.fault`` if it ended by a fault of ours.
    """
    log = state / LOG
    command = [sys.executable, "-m", "dvm_server.cli", "serve", "--private", "--state", str(state)]
    try:
        state.mkdir(parents=True, exist_ok=True)
        output = log.open("wb")
    except OSError as error:
        if no_space(error):
            raise _too_little(state) from error
        raise SetupError(
            "setup.state_dir",
            f"the state directory {state} cannot be written to: {error.strerror}",
            hint="choose another one with --state",
        ) from error
    with output:
        # A session of its own: Ctrl-C in the terminal is for us, who then cancel the job in order.
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    found: Connection | None = None
    try:
        found = _wait_for(process, state / connection_file.CONNECTION_FILE, log, check)
        yield found
    except DvmError as error:
        if error.report:
            log = state / "server.log"
            error.hint = f"send us {log}, where report {error.report} has the traceback"
        elif process.poll() is not None and error.code in (SERVER_LOST, "setup.no_server"):
            raise _ended(process, log) from error
        raise
    finally:
        _stop(process, found)


def _wait_for(
    process: subprocess.Popen[bytes], path: Path, log: Path, check: Callable[[], None]
) -> Connection:
    """The server's connection file, once it is this server's and not an earlier one's."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        check()
        if process.poll() is not None:
            raise _ended(process, log)
        if path.exists():
            found = connection_file.read(path)
            if found.pid == process.pid:
                return found
        time.sleep(_SLICE)
    raise SetupError(
        "setup.server_start",
        f"the private server did not start within {_START_SECONDS:g} s",
        hint=f"see its log {log}",
    )


def _ended(process: subprocess.Popen[bytes], log: Path) -> DvmError:
    """Why it ended, as whoever must act would hear it from the server."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line for line in lines if line.startswith("dvm: ")]
    last = said[-1].removeprefix("dvm: ") if said else (lines[-1] if lines else "")
    last = last.strip().rstrip(".")
    if process.returncode == CapacityError.exit_code:
        return _too_little(log.parent, last)
    message = f"the private server ended with exit code {process.returncode}"
    message += f": {last}" if last else ""
    if process.returncode == ServerError.exit_code:
        return ServerError("server.fault", message, hint=f"please send us its log {log}")
    return SetupError("setup.server_start", message, hint=f"see its log {log}")


def _too_little(state: Path, said: str = "") -> CapacityError:
    """``said`` is the server's own sentence; on a full disk its log is empty."""
    return CapacityError(
        "capacity.server_start",
        said or f"there is no space left in the state directory {state}",
        hint="free some space there and run it again, or choose another one with --state",
    )


def _stop(process: subprocess.Popen[bytes], found: Connection | None) -> None:
    """Ask it to end, then make it."""
    if process.poll() is None and found is not None:
        try:
            control.shutdown(found, _STOP_SECONDS)
        except DvmError:
            process.terminate()  # it did not hear
    else:
        process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
