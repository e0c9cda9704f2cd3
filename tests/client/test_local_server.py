"""A server that is started from a host: found, looked after, stopped."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from host_plugins.client.errors import CapacityError, SetupError
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
    state = tmp_path / "state"
    secrets = []
    for wait in (0.0, 0.5):
        body = f"time.sleep({wait})\n" + UP.replace("state=state", "state=state, secret=SECRET")
        server = LocalServer(
            command(str(program(f"SECRET = 'one that waits {wait} s'\n{body}"))), state
        )
        server.start()
        if secrets:
            assert (state / "connection.json").exists() and server.poll() == "starting"
        until_it_says(server, "up")
        secrets.append(server.connection.secret)
        server.stop()
    assert secrets == ["one that waits 0.0 s", "one that waits 0.5 s"]


@pytest.mark.parametrize("left", [b"", b"{", b'{"endpoint": "tcp://127.0.0.1:1"}'])
def test_a_damaged_file_of_an_earlier_one_is_no_obstacle(program, tmp_path, left):
    state = tmp_path / "state"
    state.mkdir()
    (state / "connection.json").write_bytes(left)
    server = LocalServer(command(str(program(UP))), state)
    server.start()
    until_it_says(server, "up")
    server.stop()


def test_a_launcher_between_us_and_the_server(program, tmp_path):
    """As on Windows, where the program starts Python as a child: the file has another pid."""
    body = "import subprocess\nsys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))\n"
    launcher, inner = program(body), tmp_path / "inner.py"
    inner.write_text(f"import sys, time\nfrom pathlib import Path\nsys.path += {sys.path!r}\n{UP}")
    server = LocalServer([str(launcher), str(inner)], tmp_path / "state")
    server.start()
    until_it_says(server, "up")
    assert server.connection.pid != server._process.pid
    pid = server.connection.pid
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_is_called_as_a_private_one_of_that_state(program, tmp_path):
    found = command(str(program("print(*sys.argv[1:])")))
    server = LocalServer(found, tmp_path / "s", arguments=["--device", "cpu"])
    server.start()
    server._process.wait(20)
    assert server.log.read_text() == f"serve --private --state {tmp_path / 's'} --device cpu\n"


def test_what_a_host_sets_for_its_own_python_is_not_passed_on(program, tmp_path, monkeypatch):
    found = program("import os\nprint(os.environ.get('PYTHONHOME'), os.environ['KEPT'])")
    monkeypatch.setenv("PYTHONHOME", "/of/the/host")
    monkeypatch.setenv("KEPT", "yes")
    server = LocalServer(command(str(found)), tmp_path / "state")
    server.start()
    server._process.wait(20)
    assert server.log.read_text() == "None yes\n"


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


@pytest.mark.parametrize("said", ["dvm: no space left.\\n     Hint: free some.\\n", ""])
def test_one_without_room_is_tried_again_later(program, tmp_path, said):
    body = f'sys.stderr.write("{said}")\nsys.exit(75)'
    server = LocalServer(command(str(program(body))), tmp_path / "state")
    server.start()
    with pytest.raises(CapacityError) as caught:
        until_it_says(server, "up")
    assert caught.value.exit_code == 75 and caught.value.hint
    assert ("no space left" if said else str(server.state)) in caught.value.message


def test_one_that_says_nothing_of_ours_is_quoted_and_its_log_named(program, tmp_path):
    server = LocalServer(command(str(program("raise OSError('no room')"))), tmp_path / "state")
    server.start()
    with pytest.raises(SetupError) as caught:
        until_it_says(server, "up")
    assert caught.value.message == "the server ended with exit code 1: OSError: no room"
    assert str(server.log) in caught.value.hint and "Traceback" in server.log.read_text()


def test_one_that_ends_after_it_was_up_is_told_once(program, tmp_path):
    body = UP.replace("    while", "    if 1: time.sleep(0.3); sys.exit(70)\n    while")
    server = LocalServer(command(str(program(body))), tmp_path / "state")
    server.start()
    until_it_says(server, "up")
    with pytest.raises(SetupError, match="exit code 70"):
        until_it_says(server, "down")
    assert server.poll() == "down" and server.connection is None and not server.is_running()


@pytest.mark.parametrize("deaf", ["starting", "silent", "stubborn"])
def test_stopped_though_it_does_not_listen(program, tmp_path, deaf):
    body = {
        "starting": "time.sleep(100)",
        "silent": UP.replace(
            'while "shutdown" not in server.seen:', "server._silent = True\n    while 1:"
        ),
        "stubborn": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ignores', flush=True)\ntime.sleep(100)",
    }[deaf]
    server = LocalServer(command(str(program(body))), tmp_path / "state")
    server.start()
    if deaf == "silent":
        until_it_says(server, "up")
    if deaf == "stubborn":
        end = time.monotonic() + 20
        while "ignores" not in server.log.read_text():
            assert time.monotonic() < end
            time.sleep(0.02)
    process = server._process
    began = time.monotonic()
    server.stop(0.5)
    assert time.monotonic() - began < 5
    # By SIGTERM, or killed if that was ignored; a shutdown that was heard ends with 0.
    assert process.poll() == (-9 if deaf == "stubborn" else -15)
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
