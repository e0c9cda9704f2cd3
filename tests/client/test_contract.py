"""The fake server keeps the contract that the real one keeps."""

from collections.abc import Iterator

import pytest

from host_plugins.client.connection import Connection
from host_plugins.client.fake_server import FakeServer
from tests.client.contract import WireContract


class TestFakeServer(WireContract):
    @pytest.fixture
    def connection(self) -> Iterator[Connection]:
        with FakeServer() as server:
            yield server.connection
