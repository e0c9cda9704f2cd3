"""Finding the server: the connection file and addresses."""

import json
import os
import stat
from pathlib import Path

import pytest

from host_plugins.client import connection as connections
from host_plugins.client.connection import CONNECTION_FILE, Connection
from host_plugins.client.errors import SetupError

HERE = Connection("tcp://127.0.0.1:4001", "tcp://127.0.0.1:4002", "hush", 1, 77)


def test_written_for_the_owner_only_and_read_back(tmp_path):
    path = tmp_path / CONNECTION_FILE
    old = os.umask(0)
    try:
        HERE.write(path)
    finally:
        os.umask(old)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = connections.read(path)
    assert found == HERE
    assert found.source == str(path)
    assert found.key == b"hush"
    assert [one.name for one in tmp_path.iterdir()] == [CONNECTION_FILE]
    content = json.loads(path.read_text(encoding="utf-8"))
    assert set(content) == {"endpoint", "control", "secret", "protocol", "pid", "server_key"}


def test_writing_replaces_a_file_that_others_could_read(tmp_path):
    path = tmp_path / CONNECTION_FILE
    path.write_text("old", encoding="utf-8")
    path.chmod(0o644)
    HERE.write(path)
    assert connections.read(path) == HERE


def test_secrets_do_not_show(tmp_path):
    assert "hush" not in repr(HERE)
    assert "hush" not in str(HERE)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / CONNECTION_FILE
    HERE.write(path)
    path.chmod(mode)
    with pytest.raises(SetupError, match="may be read by other users") as caught:
        connections.read(path)
    assert caught.value.code == "setup.connection_file"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        {"endpoint": "http://x"},
        {"endpoint": 3},
        {"control": ""},
        {"secret": ""},
        {"secret": None},
        {"protocol": "1"},
        {"pid": True},
        {"server_key": 4},
    ],
    ids=str,
)
def test_a_file_that_is_none_is_named(tmp_path, content):
    path = tmp_path / CONNECTION_FILE
    HERE.write(path)
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text(encoding="utf-8")), **content})
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SetupError) as caught:
        connections.read(path)
    assert caught.value.code == "setup.connection_file"
    assert str(path) in caught.value.message and caught.value.hint


def test_unknown_fields_are_ignored(tmp_path):
    path = tmp_path / CONNECTION_FILE
    HERE.write(path)
    content = {**json.loads(path.read_text(encoding="utf-8")), "future": 1}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert connections.read(path) == HERE


def test_found_by_state_by_file_and_by_folder(tmp_path, monkeypatch):
    HERE.write(tmp_path / CONNECTION_FILE)
    assert connections.find(None, tmp_path) == HERE
    assert connections.find(str(tmp_path / CONNECTION_FILE), None) == HERE
    assert connections.find(str(tmp_path)) == HERE
    monkeypatch.setenv("DVM_STATE", str(tmp_path))
    assert connections.find() == HERE


def test_no_server_says_how_to_start_one(tmp_path):
    with pytest.raises(SetupError) as caught:
        connections.find(None, tmp_path)
    assert caught.value.code == "setup.no_server"
    assert "dvm serve" in caught.value.hint


def test_an_address_takes_its_secrets_from_the_environment(monkeypatch):
    monkeypatch.setenv("DVM_SECRET", "hush")
    monkeypatch.setenv("DVM_SERVER_KEY", "public")
    found = connections.find("tcp://gpu.example:4001")
    assert (found.endpoint, found.control) == ("tcp://gpu.example:4001", "tcp://gpu.example:4002")
    assert (found.secret, found.server_key) == ("hush", "public")
    assert connections.find("tcp://[::1]:4001,5000").control == "tcp://[::1]:5000"
    monkeypatch.delenv("DVM_SECRET")
    with pytest.raises(SetupError) as caught:
        connections.find("tcp://gpu.example:4001")
    assert caught.value.code == "setup.no_secret" and "DVM_SECRET" in caught.value.hint


@pytest.mark.parametrize(
    "address", ["tcp://gpu", "tcp://gpu:0", "tcp://gpu:65535", "tcp://gpu:x", "http://gpu:1"]
)
def test_what_is_no_address_is_told(address, monkeypatch):
    monkeypatch.setenv("DVM_SECRET", "hush")
    with pytest.raises(SetupError) as caught:
        connections.find(address)
    assert caught.value.code == "setup.server_address" and address in caught.value.message


def test_the_state_directory_is_the_users(monkeypatch):
    monkeypatch.setenv("DVM_STATE", "")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", "/x/state")
    assert connections.default_state_dir() == Path("/x/state/deep-video-matte")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert connections.default_state_dir() == Path.home() / ".local/state/deep-video-matte"
    monkeypatch.setenv("DVM_STATE", "/y")
    assert connections.default_state_dir() == Path("/y")
