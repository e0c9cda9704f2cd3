"""Servers in processes of their own, with an engine without torch; tiny clips."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dvm_server import journal
from host_plugins.client import connection as connection_file
from host_plugins.client import control, files
from host_plugins.client.connection import Connection
from host_plugins.client.events import Accepted
from host_plugins.client.run import Summary, run_shot
from host_plugins.client.session import Session, Times
from host_plugins.client.shot import Keyframe, Options, Outputs, Plates, Shot
from model.plates.channels import Picture
from model.plates.image_files import read_header, read_plate, write_image
from model.plates.plate import PlateHeader

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 30.0
SIZE = (9, 14)  # odd, and not square


@dataclass
class RunningServer:
    """A server process; `stop` and `kill` end it, `start` begins another on the same state.

    What is ``planted`` is code that it runs before it serves.
    """

    state: Path
    settings: dict[str, Any] = field(default_factory=dict)
    planted: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> RunningServer:
        self.state.mkdir(exist_ok=True)
        settings = {
            "engine": "tests.server.paint_engine:open_engine",
            "grace_seconds": 2.0,
            **self.settings,
        }
        settings["state"] = str(self.state)
        code = (
            "import json, sys\n"
            "from pathlib import Path\n"
            "from dvm_server.config import ServerConfig\n"
            "from dvm_server.server import serve\n"
            "given = json.loads(sys.argv[1])\n"
            "given['roots'] = tuple(map(Path, given.pop('roots', [])))\n"
            "given['devices'] = tuple(given.pop('devices', ['cpu']))\n"
            "sys.exit(serve(ServerConfig(**given)))\n"
        )
        with (self.state / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"{self.planted}\n{code}", json.dumps(settings)],
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                stderr=stderr,
            )
        wait_for(self._is_up, START_SECONDS, self.why)
        return self

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.why()
        path = self.state / connection_file.CONNECTION_FILE
        return path.exists() and connection_file.read(path).pid == self.process.pid

    def why(self) -> str:
        return (self.state / "stderr").read_text() + (
            (self.state / "server.log").read_text() if (self.state / "server.log").exists() else ""
        )

    @property
    def connection(self) -> Connection:
        return connection_file.read(self.state / connection_file.CONNECTION_FILE)

    def session(self) -> Session:
        return Session(self.connection, client={"host": "test", "version": "0"}, times=Times())

    def run(self, shot: Shot, **rest: Any) -> Summary:
        with self.session() as session:
            session.hello()
            return run_shot(session, shot, **rest)

    def status(self) -> dict[str, Any]:
        return control.status(self.connection)

    def worker_pid(self) -> int:
        return int(self.status()["workers"][0]["pid"])

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(15)

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """Events of all journals, in order of the jobs' names."""
        found = []
        for path in sorted(self.state.glob("jobs/*/journal.jsonl")):
            found += [dict(one) for one in journal.read(path).events]
        return [one for one in found if not kind or one["event"] == kind]

    def log(self) -> str:
        return (self.state / "server.log").read_text()


@dataclass
class Clip:
    """Plates and keyframe trimaps on disk, and shots over them."""

    folder: Path
    first: int
    count: int

    @property
    def frames(self) -> list[int]:
        return list(range(self.first, self.first + self.count))

    def plate(self, frame: int) -> Path:
        return self.folder / f"plate.{frame:04d}.exr"

    def trimap(self, frame: int) -> Path:
        return self.folder / f"key.{frame:04d}.png"

    def out(self, frame: int, folder: str = "out") -> Path:
        return self.folder / folder / f"alpha.{frame:04d}.exr"

    def paint_plate(self, frame: int, seed: int = 0) -> None:
        noise = np.random.default_rng(seed * 1000 + frame).random((*SIZE, 3), np.float32)
        write_image(self.plate(frame), noise, ("R", "G", "B"))

    def paint_trimap(self, frame: int, columns: int = 4) -> None:
        grey = np.full(SIZE, 128, np.uint8)
        grey[:, :columns], grey[:, -columns:] = 0, 255
        write_image(self.trimap(frame), grey, ("Y",), pixel_type="uint8")

    def shot(
        self, keys: tuple[int, ...] = (), *, out: str = "out", network: str = "", **options: Any
    ) -> Shot:
        """By path; `by_value` makes the other kind of it."""
        (self.folder / out).mkdir(exist_ok=True)
        outputs = options.pop("outputs", Outputs())
        return Shot(
            name="clip",
            frames=((self.first, self.first + self.count - 1, 1),),
            plates=Plates(pattern=str(self.folder / "plate.####.exr")),
            keyframes=tuple(Keyframe(f, trimap=str(self.trimap(f))) for f in keys or (self.first,)),
            outputs=replace(outputs, pattern=str(self.folder / out / "alpha.####.exr")),
            options=Options(network=network, **options),
        )

    def by_value(self, shot: Shot) -> tuple[Shot, dict[str, Any]]:
        """The shot as it goes by value, and what `run_shot` needs with it."""
        keys = {one.frame: Path(one.trimap) for one in shot.keyframes}
        sent = replace(
            shot,
            plates=Plates(by_value=True),
            keyframes=tuple(Keyframe(f, part=files.digest(path)) for f, path in keys.items()),
        )
        plates = {f: self.plate(f) for f in self.frames if self.plate(f).exists()}
        return sent, {"plates": plates, "trimaps": keys}


def wait_for(
    true: Callable[[], bool], seconds: float = 20.0, why: Callable[[], str] = lambda: ""
) -> None:
    """Wait until something has happened; what a test says happens, does, or the test fails."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it did not happen within {seconds} s\n{why()}"
        time.sleep(0.02)


def pixels(path: Path) -> np.ndarray:
    """Every channel of a file, H×W×C."""
    return np.asarray(read_plate(path, choose=_all_channels).pixels)


def header(path: Path) -> PlateHeader:
    return read_header(path, choose=_all_channels)


def _all_channels(names: Sequence[str], is_id: Sequence[bool]) -> Picture:
    return Picture("", tuple("A" for _ in names), tuple(range(len(names))))


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every matte: a file that is written again has others."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.glob("*.exr"))
    }


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run in a thread; the list gets the result or the exception."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # noqa: BLE001  the test looks at it
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, found


def begin(server: RunningServer, shot: Shot) -> Accepted:
    """Submit by path and leave: the server goes on by itself."""
    with server.session() as session:
        session.hello()
        return session.submit(shot)


def made(clip: Clip, out: str = "out") -> int:
    """How many mattes there are."""
    return len(list((clip.folder / out).glob("*.exr")))
