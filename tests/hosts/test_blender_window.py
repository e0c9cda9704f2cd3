"""Debian's Blender 3.4.1 in a real window on a virtual screen: the node is added, masks are drawn,
twelve frames are matted by a real server, and pictures are taken of what a person sees.

With ``$DVM_PICTURES`` the pictures are left in that folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from tests.hosts.serving import REPOSITORY, Server, make_clip, read_pictures, wait_for

PROGRAMS = ("blender", "Xvfb", "xdotool", "import")
SIZE = 1600, 900
# Where the tabs of the sidebar are in that window: the add-on's own is the last.
CLICKS = [[1590, 300]]
FRAMES = 12


@pytest.fixture(scope="module")
def screen():
    gone = [name for name in PROGRAMS if shutil.which(name) is None]
    if gone:
        pytest.skip(f"needs {', '.join(gone)} (apt-get install blender xvfb xdotool imagemagick)")
    number = next(n for n in range(90, 200) if not Path(f"/tmp/.X{n}-lock").exists())
    process = subprocess.Popen(
        ["Xvfb", f":{number}", "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24", "+extension", "GLX"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: Path(f"/tmp/.X11-unix/X{number}").exists(), 20)
    yield f":{number}"
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def told(screen, tmp_path_factory):
    """What the script inside of Blender saw; its pictures lie in ``folder``."""
    folder = tmp_path_factory.mktemp("window")
    clip = make_clip(folder / "clip", 1, FRAMES, size=(320, 180))
    server = Server(folder / "state", engine="model.pipeline:open_engine").start()
    settings = {
        "repository": str(REPOSITORY),
        "addon": str(REPOSITORY),
        "clip": str(clip).replace("####", "0001"),
        "folder": str(folder),
        "server": str(server.file),
        "clicks": CLICKS,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    script = Path(__file__).parent / "window" / "script.py"
    with (folder / "blender.log").open("w") as log:
        ran = subprocess.run(
            ["blender", "--factory-startup", "--no-window-focus", "-p", "0", "0", *map(str, SIZE),
             "--python", str(script), "--", str(folder / "settings.json")],
            env={**os.environ, "DISPLAY": screen, "LIBGL_ALWAYS_SOFTWARE": "1",
                 "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)},
            stdout=log, stderr=subprocess.STDOUT, timeout=160, check=False,
        )  # fmt: skip
    server.kill()
    printed = (folder / "blender.log").read_text()[-3000:]
    assert (folder / "told.json").exists(), printed
    found = json.loads((folder / "told.json").read_text())
    assert "error" not in found, found["error"]
    assert ran.returncode == 0, printed
    keep = os.environ.get("DVM_PICTURES")
    if keep:
        for path in folder.glob("*.png"):
            shutil.copy(path, keep)
    return {**found, "folder": folder}


def test_masks_became_trimaps(told):
    assert told["keyframes"] == [1, FRAMES]
    for path, share in zip(told["trimaps"], (0.35, 0.65)):
        rows = png_rows(Path(path))
        assert len(rows) == 180 and len(rows[0]) == 320
        assert set(b"".join(rows)) == {0, 128, 255}
        assert rows[90][round(320 * share)] == 255  # the middle of the disc
        assert rows[90][round(320 * (share + 0.16))] == 128  # between core and edge


def test_all_frames_were_propagated_and_matted(told):
    assert [one["what"] for one in told["steps"]] == ["propagate", "matte"]
    assert not any(one["failed"] for one in told["steps"]), told["steps"]
    assert set(told["doubts"]) == {str(n) for n in range(2, FRAMES)}
    first = Path(told["files"]["alpha"])
    paths = [first.with_name(f"alpha.{n:04d}.exr") for n in range(1, FRAMES + 1)]
    for path, (channels, shape, values) in read_pictures(*paths).items():
        assert channels == ["A"] and shape[:2] == [180, 320]
        disc = 3.14159 * (0.16 * 320) ** 2 / (320 * 180)
        assert abs(sum(values) / len(values) - disc) < 0.03, path


def test_pictures_show_something(told):
    for name in ("panel", "propagate-progress", "matte-progress", "result"):
        path = told["folder"] / f"{name}.png"
        assert path.stat().st_size > 20_000, name


def test_the_main_thread_was_never_held_for_long(told):
    """Our part of Blender's main thread; drawing by software is not ours."""
    assert told["stalls"], "the timer never ran"
    assert max(told["stalls"]) < 0.05


def png_rows(path: Path) -> list[bytes]:
    """The rows of an 8-bit grey PNG without filters, as we write them."""
    data = path.read_bytes()
    at, idat, width, height = 8, b"", 0, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height = (int.from_bytes(body[i : i + 4], "big") for i in (0, 4))
        elif kind == b"IDAT":
            idat += body
        at += 12 + size
    raw = zlib.decompress(idat)
    rows = [raw[y * (width + 1) : (y + 1) * (width + 1)] for y in range(height)]
    assert all(row[0] == 0 for row in rows)
    return [row[1:] for row in rows]
