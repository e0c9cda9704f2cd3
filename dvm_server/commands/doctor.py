"""`dvm doctor`: what is wrong with this installation."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dvm_server.doctor import examine
from dvm_server.reporting import one_line
from host_plugins.client.connection import default_state_dir
from host_plugins.client.errors import SetupError


def doctor(
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State directory of this machine's server.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout.")
    ] = False,
) -> None:
    """Say what is wrong with this installation, one line each."""
    findings = examine((state or default_state_dir()).absolute())
    for one in findings:
        line = json.dumps(asdict(one)) if as_json else f"{one.level:<4} {one.topic}: {one.text}"
        sys.stdout.write(one_line(line) + "\n")
    if any(one.level == "FAIL" for one in findings):
        raise typer.Exit(SetupError.exit_code)
