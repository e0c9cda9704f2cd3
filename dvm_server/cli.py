"""`dvm`: the command line. Each command is a file of `dvm_server/commands`, imported when called.

Here, and nowhere else, errors become exit codes: 0 done, 2 usage, 10 input, 20 setup, 70 server,
75 capacity (retry), 130 cancelled, 143 SIGTERM.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import typer

COMMANDS = {
    "matte": "Matte a clip: plates and trimaps in, alpha plates out.",
    "serve": "Run the server that holds the networks.",
    "submit": "Send a shot.json to a server and wait for its mattes.",
    "status": "Show what a server is doing.",
    "doctor": "Say what is wrong with this installation, one line each.",
    "plugin": "Build the zips that are installed into Blender and Nuke.",
    "bench": "Measure seconds per frame of each stage, and memory.",
}
SETUP_EXIT = 20
SIGTERM_EXIT = 143


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `dvm`; leaves with `SystemExit`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    called = next((one for one in given if not one.startswith("-")), "")
    _application(called)(args=given, prog_name="dvm")


def exit_code(error: BaseException) -> int:
    """Say on stderr, in one sentence and a hint, what went wrong; return the exit code for it."""
    from dvm_server.interrupts import Terminated
    from dvm_server.reporting import complain
    from dvm_server.translate import wire_error
    from host_plugins.client.errors import Cancelled, DvmError
    from model.errors import EngineError

    if isinstance(error, Terminated):
        complain("stopped by SIGTERM", "run it again: finished frames are kept")
        return SIGTERM_EXIT
    if isinstance(error, KeyboardInterrupt):
        error = Cancelled(hint="run it again: finished frames are kept")
    known = wire_error(error)  # a foreign exception's traceback goes to stderr here
    ours = isinstance(error, DvmError | EngineError) or not known.report
    if ours:
        complain(known.message, known.hint)
    else:
        complain(f"dvm failed with {type(error).__name__}", "please send us the traceback above")
    return known.exit_code


def _application(called: str) -> typer.Typer:
    app = typer.Typer(
        help="Video matting for compositors: plates and keyframe trimaps in, alpha plates out.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def version(
        show: bool = typer.Option(False, "--version", help="Show the version and exit."),
    ) -> None:
        if show:
            from importlib.metadata import version as installed

            typer.echo(f"dvm {installed('deep-video-matte')}")
            raise typer.Exit()

    for name, summary in COMMANDS.items():
        command = _guarded(_load(name)) if name == called else _named_only
        app.command(name, help=None if name == called else summary)(command)
    return app


def _load(name: str) -> Callable[..., None]:
    try:
        module = import_module(f"dvm_server.commands.{name}")
    except ImportError as error:
        sys.stderr.write(
            f"dvm: a package that `dvm {name}` needs cannot be imported: {error}.\n"
            "     Hint: install deep-video-matte again with its dependencies.\n"
        )
        sys.exit(SETUP_EXIT)
    function: Callable[..., None] = getattr(module, name)
    return function


def _named_only() -> None:
    """Stands in the list of commands for one that was not called, so that it is not imported."""


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def guarded(*positional: Any, **named: Any) -> None:
        # No exception may reach a farm as a traceback with exit code 1.
        try:
            command(*positional, **named)
        except typer.Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:
            if type(error).__module__.startswith(("click", "typer")):
                raise  # a usage error, which typer shows
            raise typer.Exit(exit_code(error)) from error

    return guarded


if __name__ == "__main__":
    main()
