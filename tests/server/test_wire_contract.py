"""The real server keeps the contract that the fake one keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from host_plugins.client import control
from host_plugins.client.connection import Connection
from tests.client.contract import WireContract
from tests.client.material import Clip, make_clip
from tests.server.serving import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all of them: no test may spoil it for the next."""
    server = RunningServer(tmp_path_factory.mktemp("server") / "state").start()
    yield server
    assert server.stop() == 143


class TestRealServer(WireContract):
    @pytest.fixture
    def clip(self, tmp_path: Path) -> Clip:
        folder = tmp_path / "clip"
        folder.mkdir()
        return make_clip(folder)

    @pytest.fixture
    def connection(self, server: RunningServer) -> Iterator[Connection]:
        yield server.connection
        for job in control.status(server.connection)["jobs"]:
            control.cancel(server.connection, job["job"])
