"""How an error ends a command: one sentence and a hint on stderr, and an exit code. Also for what a
bare machine runs, so nothing of the command line's packages is imported here.

0 done, 2 usage, 10 input, 20 setup, 75 capacity (retry), 130 cancelled, 70 a fault of ours.
"""

from __future__ import annotations

import sys
import traceback

from model.errors import Cancelled, CapacityError, EngineError, InputError, SetupError

SETUP_EXIT, FAULT_EXIT, CANCELLED_EXIT = 20, 70, 130
_CODES = (
    (InputError, 10),
    (SetupError, SETUP_EXIT),
    (CapacityError, 75),
    (Cancelled, CANCELLED_EXIT),
)


def exit_code(error: BaseException) -> int:
    """Say on stderr, in one sentence and a hint, what went wrong; return the exit code for it."""
    if isinstance(error, KeyboardInterrupt):
        error = Cancelled()
    if not isinstance(error, EngineError):
        traceback.print_exception(error)
        sys.stderr.write(
            f"dvm-train failed with {type(error).__name__}; please send us the above\n"
        )
        return FAULT_EXIT
    sys.stderr.write(f"dvm-train: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"     Hint: {error.hint}\n")
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAULT_EXIT)
