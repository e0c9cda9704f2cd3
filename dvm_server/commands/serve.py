"""`dvm serve`: the server process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dvm_server.config import ServerConfig, load_config


def serve(
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Connection file, journals, spool and log.")
    ] = None,
    bind: Annotated[
        str, typer.Option(metavar="URL", help="Address; * as port takes a free one.")
    ] = "",
    device: Annotated[
        list[str] | None, typer.Option(help="auto, cpu or cuda:N; a worker for each.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=0, help="CPU threads of a worker; 0 = one a core.")
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder that shots may name files in; may be repeated."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings in TOML; options here win.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="End when the process that started this one ends.")
    ] = False,
) -> None:
    """Run the server that holds the networks, until Ctrl-C, SIGTERM or a client's shutdown."""
    from dvm_server.server import serve as run

    told: dict[str, Any] = {
        "state": state,
        "bind": bind or None,
        "devices": tuple(device) if device else None,
        "threads": threads,
        "roots": tuple(root) if root else None,
        "private": private or None,
    }
    instead = {name: value for name, value in told.items() if value is not None}
    raise typer.Exit(run(load_config(config, **instead) if config else ServerConfig(**instead)))
