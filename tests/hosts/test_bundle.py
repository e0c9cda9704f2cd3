"""The zips that are installed into hosts."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomllib

from host_plugins import bundle
from host_plugins.client.desk import VERSION
from host_plugins.client.errors import InputError, SetupError
from tests.hosts.environments import ENVIRONMENTS, python_of

WHEELS = ENVIRONMENTS / "wheels"
REPOSITORY = Path(__file__).parents[2]


def test_the_lock_pins_both_packages_for_every_platform_and_python():
    for platform in bundle.PLATFORMS:
        for python in (bundle.LEGACY_PYTHON, *bundle.EXTENSION_PYTHONS):
            names = sorted(one.name.split("-")[0] for one in bundle.wheels_for(platform, python))
            assert names == ["msgpack", "pyzmq"], (platform, python)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A lock with made-up wheels for one platform, and the folder they lie in."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    lines = []
    for python in (bundle.LEGACY_PYTHON, *bundle.EXTENSION_PYTHONS):
        for package, module in (("pyzmq", "zmq"), ("msgpack", "msgpack")):
            path = folder / f"{package}-1-cp{python.replace('.', '')}.whl"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(f"{module}/__init__.py", f"# {module} for {python}\n")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"linux-x64 {python} {digest} {path.name}")
    lock = tmp_path / "wheels.lock"
    lock.write_text("# pinned\n" + "\n".join(lines) + "\n")
    monkeypatch.setattr(bundle, "LOCK", lock)
    return folder


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def read(path: Path, name: str) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name).decode()


def test_an_extension_and_a_classic_addon_are_made(small, tmp_path):
    extension, legacy = bundle.bundle("blender", tmp_path / "out", ["linux-x64"], small)
    inside = names(extension)
    for wanted in ("__init__.py", "blender/adapter.py", "client/wire.py", "client/shot.schema.json",
                   "blender_manifest.toml", "LICENSE", "wheels/pyzmq-1-cp311.whl",
                   "wheels/msgpack-1-cp313.whl"):  # fmt: skip
        assert wanted in inside
    assert not [n for n in inside if "__pycache__" in n or "nuke" in n or n.endswith(".png")]
    assert not [n for n in inside if "tests/" in n or "test_" in n or "/." in n]
    assert sorted(inside) == inside
    texts = [REPOSITORY / "host_plugins" / name for name in inside if name.startswith("client/")]
    assert set(REPOSITORY.glob("host_plugins/client/*.py")) <= set(texts)
    manifest = tomllib.loads(read(extension, "blender_manifest.toml"))
    assert manifest["platforms"] == ["linux-x64"]
    assert sorted(manifest["wheels"]) == sorted(f"./{n}" for n in inside if n.startswith("wheels/"))
    assert manifest["version"] in extension.name
    assert manifest["license"][0] == "SPDX:GPL-3.0-or-later"
    inside = names(legacy)
    assert all(n.startswith("deep_video_matte/") for n in inside)
    assert read(legacy, "deep_video_matte/vendor/zmq/__init__.py") == "# zmq for 3.10\n"
    first = ast.parse(read(legacy, "deep_video_matte/__init__.py"))
    (info,) = [n for n in first.body if isinstance(n, ast.Assign) and n.targets[0].id == "bl_info"]
    assert ast.literal_eval(info.value)["blender"] == (3, 4, 0)


# Isolated and without site-packages, so that it has no zmq and no msgpack but those it is given.
IMPORT = """
import json, sys
sys.path[:0] = sys.argv[1:]
before = len(sys.path)
import deep_video_matte, msgpack, zmq
from deep_video_matte.client import errors
deep_video_matte.register, deep_video_matte.unregister
print(json.dumps([sys.path[before:], zmq.__file__, msgpack.__file__]))
"""


@pytest.mark.parametrize("there", [(), ("msgpack",), ("msgpack", "zmq")])
def test_the_classic_addon_adds_its_own_modules_last_and_only_if_need_be(small, tmp_path, there):
    legacy = bundle.bundle("blender", tmp_path / "out", ["linux-x64"], small)[1]
    addons, system = tmp_path / "addons", tmp_path / "system"
    system.mkdir()
    for module in there:
        (system / f"{module}.py").write_text("")
    with zipfile.ZipFile(legacy) as archive:
        archive.extractall(addons)
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", IMPORT, str(addons), str(system)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    added, *found = json.loads(ran.stdout)
    vendor = addons / "deep_video_matte" / "vendor"
    assert added == ([] if len(there) == 2 else [str(vendor)])
    for module, path in zip(("zmq", "msgpack"), found):
        wanted = system / f"{module}.py" if module in there else vendor / module / "__init__.py"
        assert path == str(wanted)


def test_the_same_bytes_each_time(small, tmp_path, monkeypatch):
    one = bundle.bundle("blender", tmp_path / "one", ["linux-x64"], small)
    monkeypatch.setattr(sys, "platform", "win32")  # which zipfile would write into each entry
    other = bundle.bundle("blender", tmp_path / "other", ["linux-x64"], small)
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in other]
    for path in one:  # two builds within a moment would agree on the time of day
        with zipfile.ZipFile(path) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(2026, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("linux-x64 3.11", "# linux-x64 3.11", "3.11"),
        (" pyzmq-1-cp313.whl", "", "pins no wheel"),
        ("pyzmq-1-cp310.whl", "zmq-1-cp310.whl", "0 wheels of pyzmq"),
    ],
)
def test_a_lock_that_pins_too_little_is_refused(small, tmp_path, old, new, said):
    text = bundle.LOCK.read_text()
    assert old in text
    bundle.LOCK.write_text(text.replace(old, new, 1))
    with pytest.raises(SetupError) as caught:
        bundle.bundle("blender", tmp_path / "out", ["linux-x64"], small)
    assert caught.value.code == "setup.wheels_lock" and said in caught.value.message
    assert not list((tmp_path / "out").glob("*"))


def test_a_lock_that_is_not_there_is_named(small, tmp_path):
    bundle.LOCK.unlink()
    with pytest.raises(SetupError) as caught:
        bundle.bundle("blender", tmp_path / "out", ["linux-x64"], small)
    assert caught.value.code == "setup.wheels_lock" and "wheels.lock" in caught.value.message


def test_the_wheels_that_were_fetched_are_those_of_the_lock(tmp_path):
    if not WHEELS.is_dir():
        pytest.skip("needs the pinned wheels in .hosts/wheels: make test-hosts")
    for wheel in bundle.locked():
        data = bundle.wheel_bytes(wheel, WHEELS, tmp_path)
        assert hashlib.sha256(data).hexdigest() == wheel.sha256


def test_pip_that_gets_no_wheel_is_said_in_one_sentence(small, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # as without a network, but at once
    with pytest.raises(SetupError) as caught:
        bundle.bundle("blender", tmp_path / "out", ["linux-x64"])
    assert caught.value.code == "setup.no_wheels" and "--wheels" in caught.value.hint
    assert "\n" not in caught.value.message


def test_a_wheel_that_is_another_one_is_refused(small, tmp_path):
    path = small / "pyzmq-1-cp311.whl"
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(SetupError) as caught:
        bundle.bundle("blender", tmp_path / "out", ["linux-x64"], small)
    assert caught.value.code == "setup.wheel_digest" and "pyzmq-1-cp311.whl" in caught.value.message
    assert not list((tmp_path / "out").glob("*"))


def test_a_wheel_that_is_not_there_is_named(small, tmp_path):
    (small / "msgpack-1-cp310.whl").unlink()
    with pytest.raises(SetupError) as caught:
        bundle.bundle("blender", tmp_path / "out", ["linux-x64"], small)
    assert caught.value.code == "setup.no_wheels" and "--fetch" in caught.value.hint


def test_a_folder_that_cannot_be_written_to_is_said(small, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError) as caught:
        bundle.bundle("blender", tmp_path / "out", ["linux-x64"], small)
    assert caught.value.code == "input.output_unwritable"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bundle", "maya"], "blender"),
        (["build", "blender"], "bundle"),
        (["bundle", "blender", "--platform", "amiga"], "linux-x64"),
    ],
)
def test_usage(arguments, said):
    ran = subprocess.run(
        [sys.executable, "-m", "dvm_server.cli", "plugin", *arguments],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert ran.returncode == 2 and said in ran.stderr


def test_the_command_says_where_wheels_come_from(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "dvm_server.cli", "plugin", "bundle", "blender",
         "--wheels", str(tmp_path / "none"), "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert ran.returncode == SetupError.exit_code and "--fetch" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("host", "platform"), [("maya", "linux-x64"), ("blender", "amiga")])
def test_what_there_is_no_zip_for_is_said(host, platform, tmp_path):
    with pytest.raises(InputError) as caught:
        bundle.bundle(host, tmp_path, [platform])
    assert caught.value.code in ("input.unknown_host", "input.unknown_platform")


def test_wheels_cannot_be_fetched_into_a_file(tmp_path):
    (tmp_path / "wheels").write_text("a file")
    with pytest.raises(InputError) as caught:
        bundle.fetch(tmp_path / "wheels")
    assert caught.value.code == "input.output_unwritable"


def test_the_manifest_has_the_version_of_the_package():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    manifest = tomllib.loads(
        (REPOSITORY / "host_plugins/blender/blender_manifest.toml").read_text()
    )
    info = (REPOSITORY / "host_plugins/blender/__init__.py").read_text()
    assert manifest["version"] == project["version"] == VERSION
    assert str(tuple(map(int, project["version"].split(".")))) in info


@pytest.mark.parametrize("version", ["4.2", "4.5", "5.0"])
def test_blenders_own_validator_accepts_the_extensions(version, tmp_path):
    if not WHEELS.is_dir():
        pytest.skip("needs the pinned wheels in .hosts/wheels: make test-hosts")
    python = python_of(version)
    found = list(python.parents[1].glob("lib/*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/"
                                        "blender_ext.py"))  # fmt: skip
    if not found:
        pytest.skip(f"needs bpy {version}: python tests/hosts/environments.py")
    tags = found[0].parents[3] / "modules" / "_bpy_internal" / "extensions" / "tags.py"
    for path in bundle.bundle("blender", tmp_path, bundle.PLATFORMS, WHEELS):
        if "blender-3-" in path.name:
            continue
        ran = subprocess.run(
            [str(python), "-I", str(found[0]), "validate", f"--valid-tags={tags}", str(path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr


# Nuke

IN_NUKE = """
import sys
sys.path.insert(0, {fake!r})
import nuke
nuke.pluginAddPath({folder!r})
import zmq, msgpack
from deep_video_matte.nuke import live
assert {folder!r} in zmq.__file__ and {folder!r} in msgpack.__file__, (zmq.__file__, msgpack)
assert {folder!r} in live.__file__
print(zmq.zmq_version())
"""


def test_each_system_and_python_of_nuke_has_its_wheels():
    for platform in bundle.PLATFORMS:
        wanted = "linux-x64-glibc-2.17" if platform == "linux-x64" else platform
        for python in bundle.NUKE_PYTHONS:
            for wheel in bundle.wheels_for(wanted, python):
                # EL 7 has glibc 2.17.
                assert platform != "linux-x64" or "manylinux_2_17" in wheel.name, wheel.name


@pytest.mark.parametrize("platform", bundle.PLATFORMS)
def test_the_folder_for_nuke_has_all_that_it_needs(platform, tmp_path):
    if not WHEELS.is_dir():
        pytest.skip("needs the pinned wheels in .hosts/wheels: make test-hosts")
    (path,) = bundle.bundle("nuke", tmp_path, [platform], WHEELS)
    found = names(path)
    assert path.name.endswith(f"-nuke-{platform}.zip")
    assert {one.split("/")[0] for one in found} == {"DeepVideoMatte"}
    top = {one.split("/")[1] for one in found}
    assert top == {"LICENSE", "init.py", "menu.py", "smoke.py", "deep_video_matte", "vendor"}
    system = platform.split("-")[0]
    folders = {one.split("/")[2] for one in found if one.startswith("DeepVideoMatte/vendor/")}
    assert folders == {f"{system}-py{one.replace('.', '')}" for one in bundle.NUKE_PYTHONS}
    inside = "DeepVideoMatte/deep_video_matte"
    assert f"{inside}/nuke/DeepVideoMatte.nk" in found and f"{inside}/client/wire.py" in found
    assert not [one for one in found if one.endswith((".pyc", "nuke/README.md"))]
    (again,) = bundle.bundle("nuke", tmp_path / "again", [platform], WHEELS)
    assert again.read_bytes() == path.read_bytes()


def test_the_folder_brings_its_own_libraries_to_a_python_that_has_none(tmp_path):
    """Blender's Python here has neither pyzmq nor msgpack, as Nuke's has not."""
    python = python_of("4.2")
    if not WHEELS.is_dir() or not python.exists() or sys.platform != "linux":
        pytest.skip("needs .hosts/wheels and bpy 4.2 on Linux: make test-hosts")
    (path,) = bundle.bundle("nuke", tmp_path, ["linux-x64"], WHEELS)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    code = IN_NUKE.format(
        fake=str(REPOSITORY / "tests" / "hosts" / "fake_nuke"),
        folder=str(tmp_path / "DeepVideoMatte"),
    )
    ran = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and ran.stdout.startswith("4.3"), ran.stdout + ran.stderr
