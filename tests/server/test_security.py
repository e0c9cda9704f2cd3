"""Who gets in, and which files a shot may name."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
import zmq
import zmq.auth

from dvm_server import start_checks
from dvm_server.config import ServerConfig
from dvm_server.security import check_bind, check_roots, is_loopback, make_keys, secret_of
from host_plugins.client import wire
from host_plugins.client.errors import InputError, SetupError
from host_plugins.client.session import Session, Times
from host_plugins.client.shot import Outputs, Plates
from tests.server.serving import wait_for

QUICK = Times(hello=1.0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("*", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected


def test_roots(tmp_path):
    show, other = tmp_path / "show", tmp_path / "show2"
    show.mkdir()
    other.mkdir()
    check_roots(show / "a.exr", [show])
    check_roots(show / "new" / "a.exr", [other, show])
    check_roots("/anywhere", [])
    (show / "way-out").symlink_to(other)
    (show / "stays").symlink_to(show)
    check_roots(show / "stays" / "a.exr", [show])
    for path in (other / "a.exr", show / ".." / "show2" / "a.exr", show / "way-out" / "a.exr"):
        with pytest.raises(InputError) as caught:
            check_roots(path, [show])
        assert caught.value.code == "input.outside_roots" and str(path) in caught.value.message
    with pytest.raises(InputError) as caught:
        check_roots("a.exr", [])
    assert caught.value.code == "input.relative_path"


def test_a_root_that_is_a_link_means_where_it_leads(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    check_roots(tmp_path / "real" / "a.exr", [tmp_path / "link"])


def test_shots_may_only_name_files_under_the_roots(start_server, make_clip, tmp_path):
    clip = make_clip(3)
    server = start_server(roots=[str(clip.folder)])
    shot = clip.shot()
    assert server.run(shot).computed == 3
    outside = tmp_path / "outside"
    outside.mkdir()
    (clip.folder / "link").symlink_to(outside)
    (outside / "key.png").write_bytes(clip.trimap(1001).read_bytes())
    (clip.folder / "key.9999.png").symlink_to(outside / "key.png")
    for path in clip.folder.glob("plate.*"):
        (outside / path.name).write_bytes(path.read_bytes())
    key = replace(shot.keyframes[0], trimap=str(clip.folder / "key.9999.png"))
    for bad in (
        replace(shot, plates=Plates(pattern=str(outside / "plate.####.exr"))),
        replace(shot, plates=Plates(pattern=str(clip.folder / "link" / "plate.####.exr"))),
        replace(shot, outputs=Outputs(pattern=str(clip.folder / "link" / "a.####.exr"))),
        replace(shot, keyframes=(key,)),
        replace(shot, options=replace(shot.options, checkpoint=str(outside / "plate.1001.exr"))),
    ):
        with pytest.raises(InputError) as caught:
            server.run(bad)
        assert caught.value.code == "input.outside_roots", bad
    assert not list(outside.glob("a.*"))


def test_strangers_are_dropped_and_logged(start_server):
    server = start_server()
    guessed = replace(server.connection, secret="guessed", source="")
    with pytest.raises(SetupError) as caught, Session(guessed, times=QUICK) as session:
        session.hello()
    assert caught.value.code == "setup.no_server"
    assert "not signed" in server.log() and "guessed" not in server.log()
    assert server.status()["workers"]  # and the server goes on


def test_noise_on_the_port_does_no_harm(start_server):
    server = start_server()
    connection = server.connection
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    try:
        socket.connect(connection.endpoint)
        socket.send(b"")
        socket.send(b"\x93not a header")
        socket.send_multipart([b"x"] * 5000)
        good = wire.encode(wire.Message("hello", body={"protocols": [1]}), connection.key)
        forged = bytearray(good[0])
        forged[-1] ^= 0xFF  # a fixed last byte would be the right one now and then
        socket.send_multipart([bytes(forged)])
        socket.send_multipart([*good, b"a part nobody announced"])
        assert socket.poll(5000)
        answer = wire.decode(socket.recv_multipart(), connection.key)
        assert answer.body["error"]["code"] == "setup.protocol"
    finally:
        socket.close()
        context.term()
    wait_for(lambda: "beyond the limits" in server.log())
    with server.session() as session:
        assert session.hello().protocol == 1


def test_the_secret_stays_where_people_have_to_be_told_of_it(tmp_path):
    here = ServerConfig(state=tmp_path)
    assert secret_of(here) != secret_of(here)
    there = replace(here, bind="tcp://0.0.0.0:45671", curve=True)
    kept = secret_of(there)
    assert secret_of(there) == kept and len(kept) == 64
    file = tmp_path / "keys" / "secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("short\n")
    with pytest.raises(SetupError, match=str(file)) as caught:
        secret_of(there)
    assert caught.value.code == "setup.keys"


def test_the_connection_file_names_the_machine_as_others_call_it(start_server):
    server = start_server(advertise="localhost")
    connection = server.connection
    for end in (connection.endpoint, connection.control):
        assert end.startswith("tcp://localhost:")
    with Session(connection, times=Times()) as session:
        assert session.hello().protocol == 1


def test_curve(start_server, make_clip):
    """Encrypted; with a folder of client keys, only these get in."""
    server, clip = start_server(curve=True), make_clip(3)
    secret = server.state / "keys" / "server.key_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(server.connection.server_key) == 40
    assert server.run(clip.shot()).computed == 3
    plain = replace(server.connection, server_key="", source="")
    with pytest.raises(SetupError), Session(plain, times=QUICK) as session:
        session.hello()


def test_curve_with_a_folder_of_client_keys(start_server, tmp_path):
    state = tmp_path / "state"
    ours = make_keys(state / "keys" / "clients", "ours")
    kept = ours.rename(tmp_path / "ours.key_secret")  # the server sees the public half only
    server = start_server(curve=True)
    connection = server.connection
    with pytest.raises(SetupError), Session(connection, times=QUICK) as session:
        session.hello()
    known = replace(connection, client_key=key_of(kept), source="")
    with Session(known, times=QUICK) as session:
        assert session.hello().protocol == 1


def key_of(path: Path) -> str:
    _, secret = zmq.auth.load_certificate(str(path))
    assert secret is not None
    return secret.decode("ascii")


@pytest.mark.parametrize("port", ["0", "65535", "65536", "99999"])
def test_ports_that_are_none(tmp_path, port):
    with pytest.raises(SetupError) as caught:
        check_bind(ServerConfig(state=tmp_path, bind=f"tcp://127.0.0.1:{port}"))
    assert caught.value.code == "setup.bind" and port in caught.value.message
    for good in ("*", "1", "65534"):
        check_bind(ServerConfig(state=tmp_path, bind=f"tcp://127.0.0.1:{good}"))


@pytest.mark.parametrize(
    ("devices", "refused"),
    [
        (("cpu", "auto", "cuda", "cuda:1"), ""),
        (("cpu", "cuda:2"), "cuda:2"),
        (("gpu",), "gpu"),
        (("cuda:-1",), "cuda:-1"),
    ],
)
def test_devices_that_are_not_there(monkeypatch, devices, refused):
    monkeypatch.setattr(start_checks, "_COUNT", "print(2)")
    if not refused:
        start_checks.check_devices(devices)
        return
    with pytest.raises(SetupError) as caught:
        start_checks.check_devices(devices)
    assert caught.value.code == "setup.device" and refused in caught.value.message


def test_without_torch_devices_are_the_workers_affair(monkeypatch):
    monkeypatch.setattr(start_checks, "_COUNT", "import no_such_package")
    start_checks.check_devices(["cuda:7"])
