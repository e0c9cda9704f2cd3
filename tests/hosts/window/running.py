"""Blender in a window on a virtual screen, with the add-on in it and a server beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host_plugins import bundle
from tests.hosts.serving import REPOSITORY, Server, make_clip, wait_for

WHEELS = REPOSITORY / ".hosts" / "wheels"
PROGRAMS = ("blender", "Xvfb", "xdotool", "import")
SCREEN = 1600, 900
# Where the add-on's tab is in the sidebar of a window of that size, and a place in its panel.
TAB, PANEL = (1309, 316), (1200, 400)


def missing_programs() -> list[str]:
    """What has to be there first; Debian: blender xvfb xdotool imagemagick."""
    gone = [name for name in PROGRAMS if shutil.which(name) is None]
    return gone if WHEELS.is_dir() else [*gone, f"{WHEELS} (make test-hosts)"]


@contextmanager
def virtual_screen() -> Iterator[str]:
    """Its name, for ``$DISPLAY``."""
    number = next(n for n in range(90, 200) if not Path(f"/tmp/.X{n}-lock").exists())
    process = subprocess.Popen(
        ["Xvfb", f":{number}", "-screen", "0", f"{SCREEN[0]}x{SCREEN[1]}x24", "+extension", "GLX"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: Path(f"/tmp/.X11-unix/X{number}").exists(), 20)
        yield f":{number}"
    finally:
        process.terminate()
        process.wait()


def install_addon(folder: Path) -> None:
    """As Blender 3.x installs a zip: unpacked into the folder of add-ons."""
    made = bundle.bundle("blender", folder / "dist", ["linux-x64"], WHEELS)
    (path,) = [one for one in made if "blender-3-" in one.name]
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "scripts" / "addons")


def run_script(
    screen: str, folder: Path, frames: int, size: tuple[int, int], seconds: float = 170
) -> dict[str, Any]:
    """Do what `script.py` does with a clip of a disc that moves.

    Args:
        screen: from `virtual_screen`.
        folder: empty; clip, mattes and pictures come into it.
        frames, size: of the clip.
        seconds: within which it must end.

    Returns:
        What the script told.

    Raises:
        AssertionError: it failed.
    """
    install_addon(folder)
    clip = make_clip(folder / "clip", 1, frames, size=size)
    server = Server(folder / "state", engine="model.pipeline:open_engine").start()
    settings = {
        "addon": bundle.NAME,
        "clip": str(clip).replace("####", "0001"),
        "folder": str(folder),
        "server": str(server.file),
        "clicks": [TAB],
        "panel": PANEL,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    script = Path(__file__).parent / "script.py"
    environment = {
        **os.environ,
        "DISPLAY": screen,
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder),
        "BLENDER_USER_SCRIPTS": str(folder / "scripts"),
    }
    place = ["-p", "0", "0", *map(str, SCREEN)]
    command = ["blender", "--factory-startup", "--no-window-focus", *place]
    try:
        with (folder / "blender.log").open("w") as log:
            ran = subprocess.run(
                [*command, "--python", str(script), "--", str(folder / "settings.json")],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
    finally:
        server.kill()
    printed = (folder / "blender.log").read_text()[-3000:]
    assert (folder / "told.json").exists(), printed
    found: dict[str, Any] = json.loads((folder / "told.json").read_text())
    assert "error" not in found, found["error"]
    assert ran.returncode == 0, printed
    return found
