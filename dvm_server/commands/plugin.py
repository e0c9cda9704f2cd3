"""`dvm plugin bundle`: the zips that are installed into hosts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dvm_server.reporting import failures
from host_plugins import bundle


def plugin(
    action: Annotated[str, typer.Argument(metavar="bundle", help="What to do.")],
    host: Annotated[str, typer.Argument(metavar="HOST", help="blender or nuke")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the zips.")] = Path("dist"),
    platform: Annotated[
        str, typer.Option(help="linux-x64, windows-x64, macos-arm64, macos-x64 or all.")
    ] = "all",
    wheels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the pinned wheels: no network.")
    ] = None,
) -> None:
    """Build the zips of a host's plug-in, each with the wheels it needs."""
    if action != "bundle":
        raise typer.BadParameter(f"{action!r} is not bundle", param_hint="ACTION")
    if host not in bundle.HOSTS:
        known = ", ".join(bundle.HOSTS)
        raise typer.BadParameter(f"{host!r} is not among {known}", param_hint="HOST")
    if platform != "all" and platform not in bundle.PLATFORMS:
        known = ", ".join(bundle.PLATFORMS)
        raise typer.BadParameter(f"{platform!r} is not among {known}", param_hint="--platform")
    platforms = list(bundle.PLATFORMS) if platform == "all" else [platform]
    with failures(as_json=False):
        for path in bundle.bundle(host, out, platforms, wheels):
            sys.stdout.write(f"{path}  {path.stat().st_size / 1e6:.2f} MB\n")
