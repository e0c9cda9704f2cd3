"""A server that is started from a host: found, looked after, stopped."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from host_plugins.client.errors import SetupError
from host_plugins.client.local_server import LocalServer, command

ROOT = Path(__file__).parents[2]
UP = """
from host_plugins.client.fake_server import FakeServer
state = Path(sys.argv[sys.argv.index("--state") + 1])
with FakeServer(state=state) as server:
    while "shutdown" not in server.seen:
        time.sleep(0.02)
"""


@pytest.fixture
def program(tmp_path):
    """Writes a program called dvm that does what it is told."""
    if os.name != "posix":
        pytest.skip("a script is a program on POSIX only")

    def write(body: str) -> Path:
        path = tmp_path / "environment" / "bin" / "dvm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"#!{sys.executable}\nimport sys, time\nfrom pathlib import Path\n"
            f"sys.path.insert(0, {str(ROOT)!r})\n"
            f"sys.path += {sys.path!r}\n{body}"
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


def until_it_says(server, word, seconds=20.0):
    end = time.monotonic() + seconds
    while server.poll() != word:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_started_found_and_stopped(program, tmp_path):
    server = LocalServer(command(str(program(UP))), tmp_path / "state")
    assert server.poll() == "down" and not server.is_running()
    server.start()
    assert server.starting and server.is_running()
    until_it_says(server, "up")
    assert server.connection is not None and not server.starting
    process = server._process
    assert process is not None
    server.start()  # nothing happens
    assert server._process is process
    server.stop()
    assert process.poll() is not None and server.poll() == "down"
    server.stop()


def test_started_again_with_the_file_of_an_earlier_one(program, tmp_path):
    """That file names a server which is gone; it must not be taken for ours."""
    for _ in range(2):
        body = UP.replace("state=state", "state=state, secret=str(time.time())")
        server = LocalServer(command(str(program(body))), tmp_path / "state")
        server.start()
        until_it_says(server, "up")
        connection = server.connection
        server.stop()
    assert connection is not None


def test_what_it_complained_of_is_told(program, tmp_path):
    body = 'sys.stderr.write("dvm: no device is free.\\n     Hint: use another one.\\n")\n'
    server = LocalServer(command(str(program(body + "sys.exit(20)"))), tmp_path / "state")
    server.start()
    with pytest.raises(SetupError) as caught:
        until_it_says(server, "up")
    assert caught.value.code == "setup.server_start"
    assert "no device is free" in caught.value.message and "20" in caught.value.message
    assert caught.value.hint == "use another one"
    assert server.poll() == "down"


def test_one_that_never_comes_up_is_ended(program, tmp_path):
    server = LocalServer(
        command(str(program("time.sleep(100)"))), tmp_path / "state", start_seconds=0.5
    )
    server.start()
    process = server._process
    with pytest.raises(SetupError, match=r"within 0\.5 s"):
        until_it_says(server, "up")
    assert process is not None and process.poll() is not None


def test_the_program_is_found(program, tmp_path, monkeypatch):
    path = program(UP)
    assert command(str(path)) == [str(path)]
    assert command(str(path.parents[1])) == [str(path)]  # the folder of the environment
    assert command(sys.executable)[1:] == ["-m", "dvm_server.cli"]
    monkeypatch.setenv("PATH", str(path.parent))
    assert command("") == [str(path)]


@pytest.mark.parametrize("made", ["", "missing", "empty folder", "no program"])
def test_a_program_that_is_not_there_is_said(tmp_path, monkeypatch, made):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = tmp_path / "dvm"
    if made == "empty folder":
        found.mkdir()
    elif made == "no program":
        found.write_text("text")
    with pytest.raises(SetupError) as caught:
        command(str(found) if made else "")
    assert caught.value.code == "setup.no_command" and "install" in caught.value.hint


def test_a_state_folder_that_cannot_be_is_said(program, tmp_path):
    (tmp_path / "state").write_text("a file")
    server = LocalServer(command(str(program(UP))), tmp_path / "state")
    with pytest.raises(SetupError) as caught:
        server.start()
    assert caught.value.code == "setup.state_dir"
