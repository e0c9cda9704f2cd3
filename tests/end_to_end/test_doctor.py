"""`dvm doctor` and the cheap commands."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from dvm_server import doctor
from host_plugins.client.connection import CONNECTION_FILE, Connection
from tests.server.serving import REPOSITORY

TOPICS = [
    "python", "packages", "shadowing", "opencv", "device", "deformable convolution", "weights",
    "colour", "protocol", "port", "server", "state",
]  # fmt: skip


def test_a_sound_installation(dvm, tmp_path):
    ran = dvm("doctor", "--state", tmp_path / "state")
    lines = ran.out.splitlines()
    assert [line[5:].partition(":")[0] for line in lines] == TOPICS
    assert {line[:4] for line in lines} <= {"ok  ", "warn"}, ran.out
    assert ran.code == 0
    assert "closed_form: needs none" in ran.out


def test_as_json(dvm, tmp_path):
    ran = dvm("doctor", "--json", "--state", tmp_path)
    told = [json.loads(line) for line in ran.out.splitlines()]
    assert [one["topic"] for one in told] == TOPICS
    assert all(set(one) == {"topic", "level", "text"} for one in told)


def test_a_state_directory_that_cannot_be(dvm, tmp_path):
    (tmp_path / "file").write_text("in the way")
    ran = dvm("doctor", "--state", tmp_path / "file" / "state")
    assert ran.code == 20
    assert f"FAIL state: {tmp_path}/file/state cannot be written to" in ran.out


def test_a_broken_ocio(monkeypatch, tmp_path):
    monkeypatch.setenv("OCIO", str(tmp_path / "none.ocio"))
    (found,) = [one for one in doctor.examine(tmp_path) if one.topic == "colour"]
    assert found.level == "FAIL"
    assert str(tmp_path / "none.ocio") in found.text


def test_a_package_that_hides_ours():
    def find(name: str) -> str:
        return "/elsewhere/model" if name == "model" else str(REPOSITORY / name)

    found = doctor.shadowing(find, dict)
    assert (found.level, found.topic) == ("FAIL", "shadowing")
    assert "model is /elsewhere/model" in found.text


def test_a_package_that_claims_our_names():
    owners = {"model": ["deep-video-matte", "other-model"], "training": ["deep-video-matte"]}
    found = doctor.shadowing(lambda name: str(REPOSITORY / name), lambda: owners)
    assert found.level == "warn"
    assert "model also comes from other-model" in found.text


def test_two_opencvs():
    found = doctor.opencv(["numpy", "opencv-python", "opencv-python-headless"])
    assert found.level == "FAIL"
    assert "opencv-python and opencv-python-headless" in found.text
    assert doctor.opencv(["opencv-python-headless"]).level == "ok"
    assert doctor.opencv([]).level == "FAIL"


def test_a_server_that_is_gone(tmp_path):
    gone = Connection("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", "secret", 1, 1)
    gone.write(tmp_path / CONNECTION_FILE)
    found = doctor.server(tmp_path)
    assert found.level == "warn"
    assert "nothing answers" in found.text


def test_a_server_of_another_protocol(tmp_path):
    other = Connection("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", "secret", 7, 1)
    other.write(tmp_path / CONNECTION_FILE)
    assert doctor.server(tmp_path).level == "FAIL"


def test_a_server_that_runs(engine_server):
    found = doctor.server(engine_server.state)
    assert (found.level, found.topic) == ("ok", "server")
    assert str(engine_server.connection.pid) in found.text


def test_status_of_a_server(dvm, engine_server):
    ran = dvm("status", "--state", engine_server.state)
    assert ran.code == 0, ran.err
    assert f"server: version {metadata.version('deep-video-matte')}" in ran.out
    told = json.loads(dvm("status", "--state", engine_server.state, "--json").out)
    assert told["type"] == "status"
    assert told["workers"][0]["device"] == "cpu"


def test_status_without_a_server(dvm, tmp_path):
    ran = dvm("status", "--state", tmp_path)
    assert ran.code == 20
    assert str(tmp_path / CONNECTION_FILE) in ran.sentence()


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["--version"], 0), (["status"], 20), (["nope"], 2)]
)
def test_cheap_commands_load_no_torch(arguments, code, tmp_path):
    script = (
        "import sys\nfrom dvm_server.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as left:\n    print('left', left.code, 'torch' in sys.modules)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={"DVM_STATE": str(tmp_path), "PATH": "", "PYTHONPATH": str(REPOSITORY)},
    )
    assert ran.stdout.splitlines()[-1] == f"left {code} False"


def test_every_command_has_its_file():
    from dvm_server.cli import COMMANDS

    folder = Path(doctor.__file__).parent / "commands"
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(COMMANDS)
