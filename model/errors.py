"""What can go wrong inside the engine, sorted by who must act.

The server translates these to the errors of the wire (`dvm_server/translate.py`); the codes are
the same strings.
"""

from __future__ import annotations

from typing import Any


class EngineError(Exception):
    """Base of all errors the engine raises on purpose.

    Args:
        code: stable dotted string, e.g. ``input.not_a_trimap``.
        message: one sentence that names the file or frame and says what is wrong.
        frame: the frame concerned, if there is one.
        hint: what to do next, one sentence.
    """

    def __init__(self, code: str, message: str, *, frame: int | None = None, hint: str = ""):
        super().__init__(message)
        self.code = code
        self.message = message
        self.frame = frame
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """So that an error comes whole from another process."""
        return _again, (type(self), self.args, dict(vars(self)))


def _again(kind: type[EngineError], arguments: tuple[str, ...], fields: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *arguments)
    vars(error).update(fields)
    return error


class InputError(EngineError):
    """The artist must act: a plate, a trimap or an option is wrong."""


class SetupError(EngineError):
    """The wrangler must act: a checkpoint, a config or a package is wrong or missing."""


class CapacityError(EngineError):
    """Nobody needs to act; it may work later (memory, disk, quota)."""


class Cancelled(EngineError):
    """Somebody asked for it."""

    def __init__(self, message: str = "cancelled", *, frame: int | None = None):
        super().__init__("cancelled", message, frame=frame)
