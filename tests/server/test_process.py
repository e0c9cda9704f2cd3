"""The server as a process: its files, its signals, its children."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time

import psutil
import pytest

from dvm_server.config import ServerConfig
from dvm_server.server import serve
from host_plugins.client import control
from host_plugins.client.errors import CapacityError, SetupError
from tests.server.serving import REPOSITORY, RunningServer, begin, in_thread, made, wait_for


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


def test_connection_file_is_the_owners_and_goes_with_the_server(start_server):
    server = start_server()
    path = server.state / "connection.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server.connection.endpoint.startswith("tcp://127.0.0.1:")
    assert server.connection.pid == server.process.pid
    secret = server.connection.secret
    assert server.stop() == 143
    assert not path.exists()
    assert secret not in server.log() + (server.state / "stderr").read_text()


def test_one_server_a_state_directory(start_server):
    server = start_server()
    with pytest.raises(SetupError) as caught:
        serve(ServerConfig(state=server.state))
    assert caught.value.code == "setup.state_in_use"
    assert str(server.process.pid) in caught.value.message
    assert server.status()["state_dir"] == str(server.state)  # it still runs
    server.kill()
    server.start()  # a dead server's lock is no lock


@pytest.mark.parametrize("bind", ["tcp://0.0.0.0:*", "tcp://*:7711", "tcp://192.168.0.9:7711"])
def test_a_public_address_needs_curve(tmp_path, bind):
    with pytest.raises(SetupError) as caught:
        serve(ServerConfig(state=tmp_path, bind=bind))
    assert caught.value.code == "setup.public_bind"
    assert not (tmp_path / "connection.json").exists()


def test_a_port_that_is_taken(start_server, tmp_path):
    server = start_server()
    with pytest.raises(SetupError) as caught:
        serve(ServerConfig(state=tmp_path / "other", bind=server.connection.endpoint))
    assert caught.value.code == "setup.bind"
    assert server.connection.endpoint in caught.value.message


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_it_with_its_children_and_tell_the_client(
    start_server, make_clip, number, code
):
    server, clip = start_server(), make_clip(20)
    shot = clip.shot(network="slow=0.2")
    thread, found = in_thread(lambda: server.run(shot))
    wait_for(lambda: made(clip) >= 1, why=server.why)
    children = family(server.process.pid)
    assert len(children) >= 2  # a worker and its decoder
    began = time.monotonic()
    server.process.send_signal(number)
    assert server.process.wait(15) == code
    assert time.monotonic() - began < 5
    assert gone(children)
    thread.join(15)
    assert isinstance(found[0], CapacityError) and found[0].code == "capacity.server_stopped"
    assert not list((clip.folder / "out").glob(".*"))


def test_sigkill_leaves_no_orphans(start_server, make_clip):
    server, clip = start_server(), make_clip(20)
    begin(server, clip.shot(network="slow=0.2"))
    wait_for(lambda: made(clip) >= 1, why=server.why)
    children = family(server.process.pid)
    server.kill()
    wait_for(lambda: gone(children), 5)


def test_shutdown(start_server):
    server = start_server()
    children = family(server.process.pid)
    control.shutdown(server.connection)
    assert server.process.wait(15) == 0
    assert gone(children)


def test_a_private_server_ends_with_its_parent(tmp_path):
    state = tmp_path / "state"
    code = (
        "import subprocess, sys, time\n"
        "child = 'from dvm_server.config import ServerConfig as C; "
        "from dvm_server.server import serve; import sys; '\\\n"
        "    'sys.exit(serve(C(state=sys.argv[1], private=True, '\\\n"
        "    'engine=\"tests.server.paint_engine:open_engine\")))'\n"
        "print(subprocess.Popen([sys.executable, '-c', child, sys.argv[1]]).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(state)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        wait_for((state / "connection.json").exists)
        children = server.children(recursive=True)
        parent.kill()
    wait_for(lambda: gone([server, *children]), 10)
    assert not (state / "connection.json").exists()


def test_an_engine_that_cannot_be_imported_fails_shots_and_says_so(start_server, make_clip):
    server = start_server(engine="tests.server.no_such_engine:open_engine")
    with pytest.raises(SetupError) as caught:
        server.run(make_clip(3).shot())
    assert caught.value.code == "setup.engine"
    assert "no_such_engine" in caught.value.message and "doctor" in caught.value.hint
    assert "Traceback" in server.log()
    assert server.status()["workers"][0]["state"] == "down"


def test_a_stopped_worker_is_found_by_its_silence(start_server, make_clip):
    """Alive for the system, dead for us: SIGSTOP."""
    server, clip = start_server(heartbeat_seconds=4.0), make_clip(20)
    thread, found = in_thread(lambda: server.run(clip.shot(network="slow=0.05")))
    wait_for(lambda: made(clip) >= 2, why=server.why)
    os.kill(server.worker_pid(), signal.SIGSTOP)
    thread.join(60)
    assert getattr(found[0], "computed", None) == 20, found
    assert "no heartbeat" in server.log()


def test_status(start_server: RunningServer, make_clip):
    server = start_server(devices=["cpu", "cpu"])
    server.run(make_clip(3).shot())
    wait_for(lambda: all(one["rss_bytes"] > 1 << 20 for one in server.status()["workers"]))
    status = server.status()
    assert [one["state"] for one in status["workers"]] == ["idle", "idle"]
    assert status["jobs"][0]["state"] == "done" and status["jobs"][0]["name"] == "clip"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--bind", "tcp://127.0.0.1:99999"], "99999"),
        (["--device", "cuda:97"], "cuda:97"),
        (["--root", "no_such_folder"], "no_such_folder"),
    ],
)
def test_what_a_server_cannot_be_told_ends_it_at_once(tmp_path, wrong, told):
    command = [sys.executable, "-m", "dvm_server.cli", "serve", "--state", str(tmp_path), *wrong]
    ran = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 20 and ran.stdout == ""
    assert ran.stderr.count("\n") == 2 and told in ran.stderr.splitlines()[0]
