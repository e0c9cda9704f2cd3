"""`dvm-train`: the command line of a training machine. Commands are imported when called.

Errors become exit codes here, by `training.exit_codes`.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import typer

from training.exit_codes import SETUP_EXIT, exit_code

COMMANDS = {
    "adapt": "Adapt the networks to one shot from a few finished mattes.",
    "compose": "Compose clips from foregrounds and backgrounds, as the published data set was.",
    "evaluate": "Judge networks against truth, their priors and the classics.",
    "footage": "Bring a studio's plates and finished mattes in as training clips.",
    "records": "Write clips as tfrecords; check and repair those.",
}
# Modules that a bare machine runs as `python -m`: they parse their arguments themselves.
DOORS = {
    "train": ("training.train", "Train a network by a recipe."),
    "synthesis": ("training.synthesis", "Draw a contact sheet of synthetic clips."),
    "sprites": ("training.sprites", "Draw a contact sheet of sprites."),
    "checkpoint": (
        "training.checkpoint",
        "Import a published checkpoint; average; show what a file is.",
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `dvm-train`; leaves with `SystemExit`."""
    # Threads that wait for each other sleep; OpenMP reads this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    called = next((one for one in given if not one.startswith("-")), "")
    try:
        if called in DOORS:
            rest = given[given.index(called) + 1 :]
            sys.exit(_load(called, DOORS[called][0], "main")(rest))
        _application(called)(args=given, prog_name="dvm-train")
    except KeyboardInterrupt as error:  # while a command is imported: that takes seconds
        sys.exit(exit_code(error))


def say(line: str) -> None:
    """What a command is doing, on stderr with the time before it."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def require_choices(option: str, given: Sequence[object], allowed: Sequence[object]) -> None:
    """See that all that an option was given are choices of it; "" among those stands for none.

    Raises:
        typer.BadParameter: one is not.
    """
    for one in given:
        if one not in allowed:
            known = ", ".join(str(choice) for choice in allowed if choice != "")
            raise typer.BadParameter(f"{one!r} is not one of {known}", param_hint=option)


def _application(called: str) -> typer.Typer:
    app = typer.Typer(
        help="Train and judge the networks of Deep Video Matte.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def group() -> None:
        """Train and judge the networks of Deep Video Matte."""

    for name, summary in COMMANDS.items():
        loaded = name == called
        command = _guarded(_load(name, f"training.{name}", name)) if loaded else _named_only
        app.command(name, help=None if loaded else summary)(command)
    for name, (_, summary) in DOORS.items():
        app.command(name, help=summary)(_named_only)
    return app


def _load(name: str, module: str, function: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except ImportError as error:
        sys.stderr.write(
            f"dvm-train: a package that `dvm-train {name}` needs cannot be imported: {error}.\n"
            "     Hint: pip install 'deep-video-matte[train]'.\n"
        )
        sys.exit(SETUP_EXIT)
    return found


def _named_only() -> None:
    """Stands in the list of commands for one that was not called, so that it is not imported."""


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def guarded(*positional: Any, **named: Any) -> None:
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
