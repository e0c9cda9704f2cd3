"""A file saved in one Blender renders in the others, with the add-on and without it; with it, no
frame is made from a matte that is not there."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest

from tests.hosts.environments import python_of
from tests.hosts.serving import PYTHON, Server, make_clip, read_pictures

VERSIONS = ("4.2", "4.5", "5.0")
SCRIPT = Path(__file__).parent / "farm_script.py"
FRAMES = 4


def blender(version: str, what: str, folder: Path, **settings) -> subprocess.CompletedProcess[str]:
    """Run the script in a version's Python."""
    python = python_of(version)
    if not python.exists():
        pytest.skip(f"needs bpy {version}: python tests/hosts/environments.py")
    if not (python.parents[2] / "vendor").is_dir():
        pytest.skip("needs pyzmq and msgpack in .hosts/vendor: make test-hosts")
    path = folder / f"{what}.json"
    path.write_text(json.dumps(settings))
    return subprocess.run(
        [str(python), "-B", str(SCRIPT), what, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"DVM_TEST_PYTHON": PYTHON, "HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file saved in 4.2, matted, and its server: file, clip, settings."""
    folder = tmp_path_factory.mktemp("farm")
    with contextlib.ExitStack() as stack:
        server = Server(folder / "state").start()
        stack.callback(server.kill)
        clip = make_clip(folder / "clip", 1001, FRAMES)
        settings = {
            "file": str(folder / "shot.blend"),
            "clip": str(clip).replace("####", "1001"),
            "keys": {str(n): str(clip.parent / f"key.{n}.png") for n in (1001, 1000 + FRAMES)},
            "server": str(server.file),
            "frames": [1, FRAMES],
            "addon": True,
        }
        ran = blender("4.2", "make", folder, **settings)
        assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-3000:]
        yield {**settings, "folder": folder}


def rendered(made, version, out, *, addon, server):
    settings = {k: v for k, v in made.items() if k != "folder"}
    settings |= {"addon": addon, "server": server, "out": str(out / "frame.")}
    return blender(version, "render", made["folder"], **settings)


@pytest.mark.parametrize("addon", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_of_4_2_renders_everywhere(made, version, addon, tmp_path):
    nowhere = str(tmp_path / "no-server.json")
    ran = rendered(made, version, tmp_path, addon=addon, server=nowhere)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = sorted(tmp_path.glob("frame.*.exr"))
    assert len(found) == FRAMES
    mattes = Path(made["file"]).parent / "dvm" / "mattes"
    (alpha,) = mattes.glob("*/alpha.1003.exr")
    (colour,) = mattes.glob("*/alpha.foreground.1003.exr")
    read = read_pictures(found[2], alpha, colour)
    names, shape, values = read[str(found[2])]
    for channel, name in enumerate("RGB"):
        wanted = [c * a for c, a in zip(read[str(colour)][2][channel::3], read[str(alpha)][2])]
        ours = values[names.index(name) :: shape[2]]
        assert max(abs(a - b) for a, b in zip(ours, wanted)) < 2e-3
    ours = values[names.index("A") :: shape[2]]
    assert max(abs(a - b) for a, b in zip(ours, read[str(alpha)][2])) < 1e-3


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_matte_ends_the_render_with_a_sentence(made, version, tmp_path):
    """4.2 itself would abort, the others would show black."""
    (path,) = (Path(made["file"]).parent / "dvm" / "mattes").glob("*/alpha.1002.exr")
    kept = path.read_bytes()
    path.unlink()
    try:
        ran = rendered(made, version, tmp_path, addon=True, server=str(tmp_path / "none.json"))
    finally:
        path.write_bytes(kept)
    assert ran.returncode == 10, ran.stdout[-2000:] + ran.stderr[-2000:]
    (said,) = [line for line in ran.stderr.splitlines() if line.startswith("Deep Video Matte:")]
    assert "plate 1002" in said and "alpha.1002.exr" in said and "server" in said
    assert not list(tmp_path.glob("frame.*"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_matte_is_fetched_if_a_server_answers(made, version, tmp_path):
    (path,) = (Path(made["file"]).parent / "dvm" / "mattes").glob("*/alpha.1002.exr")
    before = read_pictures(path)[str(path)]
    path.unlink()
    ran = rendered(made, version, tmp_path, addon=True, server=made["server"])
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert read_pictures(path)[str(path)] == before
    assert len(list(tmp_path.glob("frame.*.exr"))) == FRAMES
