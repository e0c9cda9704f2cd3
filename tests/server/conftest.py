from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.serving import Clip, RunningServer


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers; all of them are gone after the test, whatever happened."""
    started: list[RunningServer] = []

    def start(name: str = "state", planted: str = "", **settings: Any) -> RunningServer:
        one = RunningServer(tmp_path / name, settings, planted)
        started.append(one)
        return one.start()

    yield start
    for one in started:
        if one.process is not None and one.process.poll() is None:
            one.kill()


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Clip]:
    def make(count: int = 6, first: int = 1001, keys: tuple[int, ...] = ()) -> Clip:
        clip = Clip(tmp_path / "clip", first, count)
        clip.folder.mkdir()
        for frame in clip.frames:
            clip.paint_plate(frame)
        for frame in keys or (first, first + count - 1):
            clip.paint_trimap(frame)
        return clip

    return make
