"""Whether files travel: by where the server is, and by what is set."""

import json

import pytest

from host_plugins.client.connection import Connection
from host_plugins.client.finding import Options, finder, on_this_machine

ELSEWHERE = "tcp://192.0.2.7"  # of nobody: an address for examples


@pytest.mark.parametrize(
    ("endpoint", "ours"),
    [
        ("tcp://127.0.0.1:40001", True),
        ("tcp://localhost:40001", True),
        ("tcp://0.0.0.0:40001", True),
        ("ipc:///run/dvm", True),
        (f"{ELSEWHERE}:40001", False),
        ("tcp://[2001:db8::7]:40001", False),
    ],
)
def test_a_server_is_on_this_machine_if_its_address_is(endpoint, ours):
    assert on_this_machine(endpoint) is ours


@pytest.mark.parametrize(
    ("travel", "host", "by_value"),
    [
        ("AUTO", "tcp://127.0.0.1", False),
        ("AUTO", ELSEWHERE, True),
        ("PATHS", ELSEWHERE, False),
        ("FILES", "tcp://127.0.0.1", True),
    ],
)
def test_a_copied_connection_file_is_taken_by_the_address_in_it(tmp_path, travel, host, by_value):
    path = tmp_path / "connection.json"
    Connection(f"{host}:40001", f"{host}:40002", "s", 1, 1).write(path)
    assert json.loads(path.read_text())["endpoint"] == f"{host}:40001"
    options = Options(server=str(path), travel=travel)
    assert options.by_value(finder(options, None)()) is by_value
