"""Debian's Blender 3.4.1 in a real window on a virtual screen, with the add-on installed from its
zip: the node is added, masks are drawn, twelve frames are matted by a real server, and pictures are
taken of what a person sees.

With ``$DVM_PICTURES`` the pictures are left in that folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from tests.hosts.serving import read_pictures
from tests.hosts.window.running import missing_programs, run_script, virtual_screen

pytestmark = pytest.mark.skipif(
    "DVM_HOSTS" not in os.environ, reason="takes a minute: make test-hosts"
)
FRAMES = 12
SIZE = 640, 360


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the script inside of Blender saw; its pictures lie in ``folder``."""
    gone = missing_programs()
    if gone:
        pytest.skip(f"needs {', '.join(gone)} (apt-get install blender xvfb xdotool imagemagick)")
    folder = tmp_path_factory.mktemp("window")
    with virtual_screen() as screen:
        found = run_script(screen, folder, FRAMES, SIZE)
    keep = os.environ.get("DVM_PICTURES")
    if keep:
        for path in folder.glob("*.png"):
            shutil.copy(path, keep)
    return {**found, "folder": folder}


def test_masks_became_trimaps(told):
    assert told["keyframes"] == [1, FRAMES]
    for path, share in zip(told["trimaps"], (0.35, 0.65)):
        rows = png_rows(Path(path))
        assert (len(rows[0]), len(rows)) == SIZE
        assert set(b"".join(rows)) == {0, 128, 255}
        assert rows[180][round(640 * share)] == 255  # the middle of the disc
        assert rows[180][round(640 * (share + 0.16))] == 128  # between core and edge


def test_all_frames_were_propagated_and_matted(told):
    assert [one["what"] for one in told["steps"]] == ["propagate", "matte"]
    assert not any(one["failed"] for one in told["steps"]), told["steps"]
    assert told["threads"] == []
    assert set(told["doubts"]) == {str(n) for n in range(2, FRAMES)}
    assert told["strip"] == list(range(2, FRAMES))
    first = Path(told["files"]["alpha"])
    paths = [first.with_name(f"alpha.{n:04d}.exr") for n in range(1, FRAMES + 1)]
    for path, (channels, shape, values) in read_pictures(*paths).items():
        assert channels == ["A"] and shape[:2] == [360, 640]
        disc = 3.14159 * (0.16 * 640) ** 2 / (640 * 360)
        assert abs(sum(values) / len(values) - disc) < 0.03, path


def test_the_backdrop_shows_the_matte(told):
    """The viewer has the alpha of the frame that was gone to, though its file came later."""
    width, height, mean = told["viewer"]
    assert (width, height) == SIZE
    assert abs(mean - 3.14159 * (0.16 * 640) ** 2 / (640 * 360)) < 0.03


def test_a_render_without_its_matte_is_told_and_nothing_is_touched_aside(told):
    ((text, in_main_thread),) = told["warned"]
    assert "matte of plate 2 of" in text and "alpha.0002.exr" in text and "Press Matte" in text
    assert in_main_thread and not told["busy"]
    assert told["aside"] == []  # calls of ours from the render's thread


def test_the_command_line_renders_the_file_without_the_addon(told):
    """``blender -b shot.blend -a``, as a farm does it."""
    folder = told["folder"]
    ran = subprocess.run(
        ["blender", "--factory-startup", "-b", str(folder / "shot.blend"), "-a"],
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = sorted(folder.glob("render.*.png"))
    assert [path.name for path in found] == ["render.0001.png", "render.0002.png"]
    names, shape, values = read_pictures(found[1])[str(found[1])]
    assert (shape[1], shape[0]) == SIZE
    alpha = values[names.index("A") :: shape[2]]
    disc = 3.14159 * (0.16 * 640) ** 2 / (640 * 360)
    assert abs(sum(alpha) / len(alpha) - disc) < 0.03


def test_pictures_show_something(told):
    for name in ("panel", "propagate-progress", "matte-progress", "result"):
        path = told["folder"] / f"{name}.png"
        assert path.stat().st_size > 20_000, name


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
