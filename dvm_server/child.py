"""Child processes (worker, decoder) and the channel to them. No torch.

Children are started afresh (fork and exec, never fork alone): CUDA, OpenMP and ZeroMQ do not
survive a fork. A channel carries JSON; nothing is ever unpickled.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

_PR_SET_PDEATHSIG = 1


class Channel:
    """One end of a pipe between two of our processes. Sending is safe from several threads."""

    def __init__(self, descriptor: int):
        self._connection = Connection(descriptor)
        self._sending = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message.

        Raises:
            OSError: the other end is gone.
        """
        text = json.dumps(message, separators=(",", ":"))
        with self._sending:
            self._connection.send_bytes(text.encode("utf-8"))

    def receive(self) -> dict[str, Any]:
        """Wait for a message.

        Raises:
            EOFError, OSError: the other end is gone.
            ValueError: it sent something that is not one of our messages.
        """
        message = json.loads(self._connection.recv_bytes())
        if not isinstance(message, dict):
            raise ValueError("a message between processes is not a JSON object")
        return message

    def waiting(self, seconds: float = 0.0) -> bool:
        """True if `receive` has something to read, the end of the channel included."""
        return self._connection.poll(seconds)

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Child:
    """A running child and our end of the channel to it."""

    process: subprocess.Popen[bytes]
    channel: Channel

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self, grace: float = 0.0) -> None:
        """Close the channel, wait ``grace`` seconds for it to go by itself, then kill it."""
        self.channel.close()
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(
    module: str,
    settings: Mapping[str, Any],
    environment: Mapping[str, str] = {},
    *,
    files: Sequence[int] = (),
) -> Child:
    """Start ``module.main(channel, settings)`` in a fresh interpreter.

    Call it from a thread that lives as long as the process: on Linux a child dies with the thread
    that started it.

    Args:
        module: e.g. ``dvm_server.decoder``.
        settings: plain values for the child's ``main``.
        environment: set in the child before anything is imported.
        files: descriptors of ours that it gets, under the same numbers.
    """
    ours, theirs = socket.socketpair()
    # The parent's own search path, so that the child finds what the parent found.
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", "from dvm_server.child import run; run()"],
            env={**os.environ, "PYTHONPATH": path, **environment},
            pass_fds=(theirs.fileno(), *files),
            stdin=subprocess.PIPE,
        )
        first = {"module": module, "settings": dict(settings), "channel": theirs.fileno()}
        assert process.stdin is not None  # PIPE was asked for
        with process.stdin as stdin:
            stdin.write(json.dumps({**first, "parent": os.getpid()}).encode("utf-8"))
    return Child(process, Channel(ours.detach()))


def run() -> None:
    """In the child: read what to run from stdin, make sure not to outlive the parent, run it."""
    first = json.load(sys.stdin)
    # The parent decides what an interrupt from the terminal means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != first["parent"]:
        os._exit(1)
    __import__(first["module"])
    sys.modules[first["module"]].main(Channel(first["channel"]), first["settings"])


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
