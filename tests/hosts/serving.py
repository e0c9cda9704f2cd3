"""A real server, and clips, for tests that run inside of a host's Python: standard library only.

The server and what writes pictures run in the project's own environment, named by
``$DVM_TEST_PYTHON``; a host's Python has neither torch nor OpenImageIO.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

REPOSITORY = Path(__file__).parents[2]
PYTHON = os.environ.get("DVM_TEST_PYTHON", sys.executable)

_SERVE = """
import json, sys
from pathlib import Path
from dvm_server.config import ServerConfig
from dvm_server.server import serve
given = json.loads(sys.argv[1])
given["devices"] = tuple(given.pop("devices", ["cpu"]))
sys.exit(serve(ServerConfig(**given)))
"""

_PAINT = """
import json, sys
from pathlib import Path
import numpy as np
from model.plates.channels import Picture
from model.plates.image_files import write_image
folder, first, count, width, height, suffix = json.loads(sys.argv[1])
folder = Path(folder)
y, x = np.mgrid[0:height, 0:width]
for i in range(count):
    frame = first + i
    middle = width * (0.35 + 0.3 * i / max(count - 1, 1))
    inside = np.clip(width * 0.16 - np.hypot(x - middle, (y - height / 2)) + 0.5, 0, 1)
    waves = 0.25 + 0.1 * np.sin(x / 9)
    ground = np.stack([0.1 + 0.2 * x / width, 0.2 + 0.3 * y / height, waves], 2)
    subject = np.stack([0.8 + 0 * x, 0.5 + 0.2 * np.sin(y / 5), 0.15 + 0 * x], 2)
    picture = ground * (1 - inside[..., None]) + subject * inside[..., None]
    write_image(folder / f"plate.{frame:04d}{suffix}", picture.astype(np.float32), ("R", "G", "B"))
    reach = width * 0.16
    distance = np.hypot(x - middle, y - height / 2)
    trimap = np.where(distance < reach - 3, 255, np.where(distance > reach + 3, 0, 128))
    key = folder / f"key.{frame:04d}.png"
    write_image(key, trimap.astype(np.uint8), ("Y",), pixel_type="uint8")
"""

_MATTES = """
import json, sys
from pathlib import Path
import numpy as np
from model.plates.image_files import write_image
folder, first, count, width, height = json.loads(sys.argv[1])
folder = Path(folder)
x = np.arange(width) + np.zeros((height, 1))
y = np.arange(height)[:, None] + np.zeros(width)
for frame in range(first, first + count):
    garbage = np.where(x < 0.4 * width, 255, 0).astype(np.uint8)
    write_image(folder / f"garbage.{frame:04d}.png", garbage, ("Y",), pixel_type="uint8")
core = np.where((x >= 0.4 * width) & (y < height / 2), 255, 0).astype(np.uint8)
write_image(folder / "core.png", core, ("Y",), pixel_type="uint8")
"""

_READ = """
import json, sys
import OpenImageIO as oiio
found = {}
for path in json.loads(sys.argv[1]):
    buffer = oiio.ImageBuf(path)
    spec = buffer.spec()
    pixels = buffer.get_pixels(oiio.FLOAT)
    found[path] = [list(spec.channelnames), list(pixels.shape), pixels.ravel().tolist()]
print(json.dumps(found))
"""


def run_in_project(code: str, argument: Any) -> str:
    """Run code in the project's environment; its output."""
    ran = subprocess.run(
        [PYTHON, "-c", code, json.dumps(argument)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=str(REPOSITORY),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def make_clip(
    folder: Path, first: int = 1001, count: int = 6, size: tuple[int, int] = (64, 48),
    suffix: str = ".exr",
) -> Path:  # fmt: skip
    """Plates of a disc that moves before a gradient, and a true trimap of each; their pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    run_in_project(_PAINT, [str(folder), first, count, size[0], size[1], suffix])
    return folder / f"plate.####{suffix}"


def make_mattes(
    folder: Path, first: int = 1001, count: int = 6, size: tuple[int, int] = (64, 48)
) -> tuple[Path, Path]:
    """Garbage mattes of the left 0.4 of each plate, and one core matte for all, of the upper half
    of the rest: the pattern of those, and the file of that."""
    run_in_project(_MATTES, [str(folder), first, count, size[0], size[1]])
    return folder / "garbage.####.png", folder / "core.png"


def read_pictures(*paths: Path) -> dict[str, tuple[list[str], list[int], list[float]]]:
    """Channels, shape (rows, columns, channels) and values of pictures, by path."""
    found = json.loads(run_in_project(_READ, [str(path) for path in paths]))
    return {path: tuple(one) for path, one in found.items()}


class Server:
    """``dvm serve`` in a process of its own.

    Args:
        state: its state directory.
        settings: of `dvm_server.config`; ``engine`` is the quick painting one of the server's own
            tests unless it is given.
    """

    def __init__(self, state: Path, **settings: Any):
        self.state, self.settings = state, settings
        self.process: subprocess.Popen | None = None

    @property
    def file(self) -> Path:
        """Its connection file."""
        return self.state / "connection.json"

    def start(self) -> Server:
        self.state.mkdir(parents=True, exist_ok=True)
        settings = {
            "engine": "tests.server.paint_engine:open_engine",
            "grace_seconds": 2.0,
            **self.settings,
            "state": str(self.state),
        }
        with (self.state / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [PYTHON, "-c", _SERVE, json.dumps(settings)],
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_WAIT_POLICY": "PASSIVE"},
                cwd=str(REPOSITORY),
                stderr=stderr,
            )
        wait_for(self._is_up, 40, self.why)
        return self

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def why(self) -> str:
        return (self.state / "stderr").read_text()

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.why()
        if not self.file.exists():
            return False
        return json.loads(self.file.read_text()).get("pid") == self.process.pid


def wait_for(
    condition: Callable[[], Any], seconds: float = 20.0, why: Callable[[], str] = lambda: ""
) -> None:
    """Until a condition holds.

    Raises:
        AssertionError: it did not in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain. {why()}"
        time.sleep(0.02)
