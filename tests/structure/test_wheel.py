"""The wheel holds everything: modules, data files, a console script that starts."""

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("dvm_server", "host_plugins", "model", "cuda_ops", "training")

IMPORT_ALL = """
import importlib, json, pkgutil, sys
names = []
for package in sys.argv[2:]:
    top = importlib.import_module(package)
    assert top.__file__.startswith(sys.argv[1]), top.__file__
    names.append(package)
    for found in pkgutil.walk_packages(top.__path__, package + "."):
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            # What belongs to a host runs in that host alone.
            own = {"host_plugins.blender.": "bpy", "host_plugins.nuke.": "nuke"}
            if own.get(found.name.rpartition(".")[0] + ".") != error.name:
                raise
        names.append(found.name)
print(json.dumps(names))
"""

READ_DATA = """
import importlib.resources as resources, json, sys
for name in json.loads(sys.argv[1]):
    package, _, rest = name.partition("/")
    assert resources.files(package).joinpath(rest).read_bytes(), name
"""


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(out),
            str(ROOT),
        ]
    )
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A venv with the wheel alone, that sees the packages of the environment under test."""
    venv = tmp_path_factory.mktemp("venv")
    run([sys.executable, "-m", "venv", str(venv)])
    site = next(venv.glob("lib/python*/site-packages"))
    python = venv / "bin" / "python"
    run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)])
    # A bare path in a .pth file does not run the .pth files behind it, so the editable install
    # of this checkout stays out of sight.
    (site / "environment.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return venv


def test_every_subpackage_imports(installed, tmp_path):
    python = installed / "bin" / "python"
    listing = run([str(python), "-c", IMPORT_ALL, str(installed), *PACKAGES], cwd=tmp_path)
    names = json.loads(listing.splitlines()[-1])
    sources = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in PACKAGES
        for p in (ROOT / package).rglob("*.py")
    }
    assert set(names) == sources


def test_every_data_file_opens(installed, wheel, tmp_path):
    expected = {
        str(p.relative_to(ROOT))
        for package in PACKAGES
        for p in (ROOT / package).rglob("*")
        if p.is_file() and p.suffix not in (".py", ".pyc")
    }
    assert expected, "there are no data files to look for"
    with zipfile.ZipFile(wheel) as opened:
        assert expected <= set(opened.namelist())
    python = installed / "bin" / "python"
    run([str(python), "-c", READ_DATA, json.dumps(sorted(expected))], cwd=tmp_path)


def test_bundles_are_built_from_the_wheel(installed, tmp_path):
    """As far as the wheels they bring along, which a machine without a network lacks."""
    done = subprocess.run(
        [str(installed / "bin" / "dvm"), "plugin", "bundle", "blender", "--wheels", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 20, done.stdout + done.stderr
    assert "the wheel msgpack" in done.stderr and "--fetch" in done.stderr


def test_doctor_runs_from_the_wheel(installed, tmp_path):
    done = subprocess.run(
        [str(installed / "bin" / "dvm"), "doctor"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "protocol" in done.stdout
    assert "FAIL" not in done.stdout
