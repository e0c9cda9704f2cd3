"""`dvm status`: what a server is doing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dvm_server.reporting import failures, one_line
from host_plugins.client import control
from host_plugins.client.connection import find


def status(
    server: Annotated[
        str, typer.Option(metavar="URL|FILE", help="Default: this machine's running server.")
    ] = "",
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State directory of this machine's server.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what a server is doing."""
    with failures(as_json=as_json):
        connection = find(server, state)
        told = control.status(connection)
    if as_json:
        sys.stdout.write(json.dumps({"type": "status", **told}) + "\n")
        return
    _say_tables({"endpoint": connection.endpoint, **told})


def _say_tables(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    spool = told.get("spool_bytes", 0) / 1e6
    sys.stdout.write(
        f"server: version {one_line(told.get('version', '?'))} at {one_line(told['endpoint'])}\n"
        f"state: {one_line(told.get('state_dir', '?'))}, spool {spool:.1f} MB\n"
    )
    workers = Table("device", "pid", "state", "memory")
    for one in told.get("workers", []):
        memory = f"{one.get('rss_bytes', 0) / 1e6:.0f} MB"
        workers.add_row(*(one_line(one.get(k, "")) for k in ("device", "pid", "state")), memory)
    jobs = Table("shot", "job", "state", "frames")
    for one in told.get("jobs", []):
        frames = f"{one.get('done', 0)} of {one.get('total', 0)}"
        job = one_line(one.get("job", ""))[:12]
        jobs.add_row(one_line(one.get("name", "")), job, one_line(one.get("state", "")), frames)
    console.print(workers if workers.row_count else "workers: none")
    console.print(jobs if jobs.row_count else "jobs: none")
