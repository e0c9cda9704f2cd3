from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvm_server.cli import main
from tests.server.serving import Clip, RunningServer


@dataclass(frozen=True)
class Ran:
    """How a command went."""

    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """What it complained of: one sentence and one hint, nothing else."""
        lines = self.err.splitlines()
        assert len(lines) == 2, self.err
        assert lines[0].startswith("dvm: ") and lines[0].endswith("."), self.err
        assert lines[1].startswith("     Hint: ") and lines[1].endswith("."), self.err
        return lines[0].removeprefix("dvm: ")


def run_dvm(*arguments: object) -> Ran:
    """Run `dvm` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as left,
    ):
        main([str(one) for one in arguments])
    return Ran(int(left.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def dvm() -> Callable[..., Ran]:
    """`run_dvm`, for tests that are not in reach of this file by name."""
    return run_dvm


@pytest.fixture(scope="session")
def engine_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the real engine, for all tests."""
    state = tmp_path_factory.mktemp("server") / "state"
    server = RunningServer(state, {"engine": "model.pipeline:open_engine"})
    server.start()
    yield server
    assert server.stop() == 143, server.why()


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """Six tiny plates 1001–1006, with trimaps for the first and the last."""
    made = Clip(tmp_path / "clip", 1001, 6)
    made.folder.mkdir()
    for frame in made.frames:
        made.paint_plate(frame)
    for frame in (1001, 1006):
        made.paint_trimap(frame)
    return made
