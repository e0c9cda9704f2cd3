"""`dvm submit`: a shot.json, as a host, a farm or a bug report leaves it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from dvm_server.interrupts import Interrupts
from dvm_server.reporting import failures, reporter
from dvm_server.running import by_value_files, run_to_end
from host_plugins.client.connection import find
from host_plugins.client.errors import InputError
from host_plugins.client.shot import load


def submit(
    shot: Annotated[
        Path, typer.Argument(help="The shot.json; paths in it are relative to its folder.")
    ],
    by_value: Annotated[
        bool,
        typer.Option("--by-value", help="Send the files; without, the server opens their paths."),
    ] = False,
    server: Annotated[
        str, typer.Option(metavar="URL|FILE", help="Default: this machine's running server.")
    ] = "",
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State directory of this machine's server.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout.")
    ] = False,
) -> None:
    """Send a shot.json to a server and wait for its mattes."""
    with failures(as_json=as_json), Interrupts() as interrupts, ExitStack() as stack:
        wanted = load(shot)
        if wanted.plates.by_value or not wanted.outputs.pattern:
            raise InputError(
                "input.bad_shot",
                f"{shot} does not name its plates and outputs by path",
                shot=wanted.name,
                hint="send a shot.json with plates.pattern and outputs.pattern",
            )
        connection = find(server, state)
        report = stack.enter_context(reporter(wanted, as_json=as_json))
        files = by_value_files(wanted, stack, report, interrupts) if by_value else None
        summary = run_to_end(connection, wanted, files, report, interrupts)
        report.done(summary)
