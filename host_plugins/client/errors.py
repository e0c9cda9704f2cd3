"""What can go wrong, sorted by who must act; the same tree on both sides of the wire.

Codes are stable dotted strings (``input.no_keyframe``). A client raises the class it received.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

# Longest text taken from a peer for a terminal or a message box, in characters.
_LONGEST = 4000


class DvmError(Exception):
    """Base of all errors raised on purpose.

    Args:
        code: stable dotted string, e.g. ``input.not_a_trimap``.
        message: one sentence that names the file or frame and says what is wrong.
        shot: name of the shot concerned, if there is one.
        frame: the frame concerned, if there is one.
        hint: what to do next, one sentence.
        report: number that finds the traceback in the server's log; only for `ServerError`.
    """

    kind: ClassVar[str] = "server"
    exit_code: ClassVar[int] = 70

    def __init__(
        self,
        code: str,
        message: str,
        *,
        shot: str = "",
        frame: int | None = None,
        hint: str = "",
        report: str = "",
    ):
        super().__init__(message)
        self.code = code
        self.message = message
        self.shot = shot
        self.frame = frame
        self.hint = hint
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        return (from_wire, (self.to_wire(),))

    def to_wire(self) -> dict[str, Any]:
        """The error as the map that ``failed`` carries; ``class`` says which class it is."""
        return {
            "class": self.kind,
            "code": self.code,
            "message": self.message,
            "shot": self.shot,
            "frame": self.frame,
            "hint": self.hint,
            "report": self.report,
        }


class InputError(DvmError):
    """The artist must act: a plate, a trimap, a file name or an option is wrong."""

    kind = "input"
    exit_code = 10


class SetupError(DvmError):
    """The wrangler must act: a server, a checkpoint or a package is missing or does not fit."""

    kind = "setup"
    exit_code = 20


class ProtocolError(SetupError):
    """The peer sent something that is not this protocol; code ``setup.protocol``."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(
            "setup.protocol",
            message,
            hint=hint or "check that server and plug-in are of the same release",
        )


class BadSignature(ProtocolError):
    """The header is not signed with our secret. Nothing of it has been read; do not answer it."""

    def __init__(self) -> None:
        super().__init__(
            "a message is not signed with this server's secret",
            "use the connection file that the running server wrote",
        )


class CapacityError(DvmError):
    """Nobody needs to act; it may work later (memory, disk, quota). The one a farm retries."""

    kind = "capacity"
    exit_code = 75


class Cancelled(DvmError):
    """Somebody asked for it."""

    kind = "cancelled"
    exit_code = 130

    def __init__(self, code: str = "cancelled", message: str = "cancelled", **rest: Any):
        super().__init__(code, message, **rest)


class ServerError(DvmError):
    """We must act: a fault in the server; ``report`` finds the traceback in its log."""


def sentence(message: str, hint: str = "") -> str:
    """``Message. Hint.``, for people."""
    parts = [part[:1].upper() + part[1:].rstrip(".") + "." for part in (message, hint) if part]
    return " ".join(parts)


_BY_KIND: dict[str, type[DvmError]] = {
    one.kind: one for one in (InputError, SetupError, CapacityError, Cancelled, ServerError)
}


def from_wire(error: Mapping[str, Any]) -> DvmError:
    """The error a peer sent, as the class it had there.

    Fields that are absent or of another type are read as empty, and a class unknown here becomes a
    `ServerError`: an error must get through, even from a newer peer.
    """

    def text(name: str, default: str = "") -> str:
        value = error.get(name)
        return value[:_LONGEST] if isinstance(value, str) and value else default

    frame = error.get("frame")
    return _BY_KIND.get(text("class"), ServerError)(
        text("code", "server.unnamed"),
        text("message", "the server failed without saying why"),
        shot=text("shot"),
        frame=frame if isinstance(frame, int) and not isinstance(frame, bool) else None,
        hint=text("hint"),
        report=text("report"),
    )
