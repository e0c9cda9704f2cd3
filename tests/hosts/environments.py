"""Make what host tests run in: a virtual environment for each Blender version, and a real window.

    python tests/hosts/environments.py [--only 4.2] [--no-window]

The environments are kept in `.hosts/bpy-<version>` and made anew when their requirements change.
They hold bpy and pytest but neither pyzmq nor msgpack: the add-on has to bring its own, and a copy
that happens to lie there would hide that it does not. The wheels open no window, so the tests of
the interface need Blender as a full program and a virtual display, which Debian's packages give.
"""

import argparse
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parents[1] / ".hosts"
VERSIONS = ("4.2", "4.5", "5.0")
BASE = (3, 11)
"""The only Python for which all these versions of bpy have wheels."""

LIBRARIES = {
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libGL.so.1": "libgl1",
    "libgomp.so.1": "libgomp1",
}
"""What bpy loads and does not bring, with Debian's names for it."""

WINDOW = {
    "blender": "blender",
    "xvfb": "Xvfb",
    "xdotool": "xdotool",
    "imagemagick": "import",
    "libgl1-mesa-dri": "",
    "python3-numpy": "",
    "python3-zmq": "",
    "python3-msgpack": "",
}
"""Debian's packages for the real window, each with the program by which to see that it is there."""

CHECK = """
import importlib.util, bpy, numpy, pytest, pytest_timeout
there = [name for name in ("zmq", "msgpack") if importlib.util.find_spec(name)]
assert not there, f"{there} must not be in this environment"
assert numpy.__version__ < "2", "bpy needs numpy below 2"
print("bpy", bpy.app.version_string)
"""


class NotMade(Exception):
    """Why an environment could not be made, in one sentence."""


def python_of(version: str) -> Path:
    """The Python of the environment for this Blender version, whether it is there or not."""
    folder = ENVIRONMENTS / f"bpy-{version}"
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def requirements_of(version: str) -> Path:
    return HERE / f"requirements-bpy-{version}.txt"


def stamp_of(version: str) -> str:
    return hashlib.sha256(requirements_of(version).read_bytes()).hexdigest()


def is_made(version: str) -> bool:
    """Whether the environment is there, holds what is asked for now, and its Python still runs."""
    stamp = ENVIRONMENTS / f"bpy-{version}" / "complete"
    return (
        stamp.is_file()
        and stamp.read_text(encoding="utf-8") == stamp_of(version)
        and asked(python_of(version), "print('runs')") == "runs"
    )


def make(version: str) -> Path:
    """The Python of the environment for this version; one that is there and whole is kept."""
    if is_made(version):
        return python_of(version)
    base = base_python()
    if base is None:
        raise NotMade("No Python 3.11 that runs was found; put one on the PATH.")
    install_libraries()
    folder = ENVIRONMENTS / f"bpy-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    python = python_of(version)
    run([base, "-m", "venv", folder], minutes=5)
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "install", "--requirement", requirements_of(version)], minutes=60)
    run([*pip, "check"], minutes=5)
    run([python, "-c", CHECK], minutes=5)
    (folder / "complete").write_text(stamp_of(version), encoding="utf-8")
    return python


def base_python() -> Path | None:
    """A Python of the version bpy needs that really runs: pyenv's shims may exist and fail."""
    name = "python{}.{}".format(*BASE)
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [sys.executable, shutil.which(name), f"/usr/bin/{name}", shutil.which("python3")]
    candidates += [str(one / "bin" / "python") for one in sorted(versions.glob("3.11.*"))]
    question = "import sys, venv, ensurepip; print(sys.version_info[:2])"
    for candidate in candidates:
        if candidate and asked(Path(candidate), question) == str(BASE):
            return Path(candidate)
    return None


def asked(python: Path, question: str) -> str:
    """What a Python prints when asked, and nothing when it cannot answer."""
    try:
        done = subprocess.run(
            [python, "-c", question], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def install_libraries() -> None:
    """Install what bpy loads and this machine lacks; without them `import bpy` fails."""
    if sys.platform != "linux":
        return
    missing = [package for library, package in LIBRARIES.items() if not loads(library)]
    if missing and not can_install():
        raise NotMade(f"bpy needs libraries that only root can install: {' '.join(missing)}.")
    install(missing)


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def window() -> str:
    """See to it that Blender can open a window here, and say in one sentence whether it can."""
    missing = [package for package, program in WINDOW.items() if not has(package, program)]
    if missing and can_install():
        install(missing)
        missing = [package for package, program in WINDOW.items() if not has(package, program)]
    if missing:
        return f"No window: {' '.join(missing)} missing, and only root on Debian installs them here"
    told = run(["blender", "--version"], minutes=2).splitlines()
    version = next((line for line in told if line.startswith("Blender ")), "Blender")
    return f"{version} with a window: {shutil.which('blender')}"


def has(package: str, program: str) -> bool:
    """By its program where it has one, so that a Blender from elsewhere counts as well."""
    if program:
        return shutil.which(program) is not None
    if shutil.which("dpkg-query") is None:
        return True
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout == "installed"


def can_install() -> bool:
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return is_root and shutil.which("apt-get") is not None


def install(packages: Iterable[str]) -> None:
    """Through apt-get, which asks nothing and takes nothing that is only recommended."""
    packages = list(packages)
    if not packages:
        return
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "--quiet"], minutes=10, more=quiet)
    command = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages]
    run(command, minutes=30, more=quiet)


def run(command: list[str | Path], minutes: float, more: dict[str, str] | None = None) -> str:
    """What a command prints; when it fails, its last line is the reason."""
    words = " ".join(str(word) for word in command[:4] if "\n" not in str(word))
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60 * minutes,
            env={**os.environ, **(more or {})},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotMade(f"`{words} ...` took longer than {minutes:g} minutes.") from error
    except OSError as error:
        raise NotMade(f"`{words} ...` could not be started: {error.strerror}.") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise NotMade(f"`{words} ...` failed with {done.returncode}: {said[-1].strip()}")
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make the environments of the host tests.")
    parser.add_argument("--only", choices=VERSIONS, help="make the environment of one version")
    parser.add_argument("--no-window", action="store_true", help="leave Blender's window alone")
    chosen = parser.parse_args(arguments)
    try:
        for version in [chosen.only] if chosen.only else VERSIONS:
            start = time.monotonic()
            kept = is_made(version)
            python = make(version)
            took = "was there" if kept else f"made in {time.monotonic() - start:.0f} s"
            print(f"bpy {version}: {python} ({took})", flush=True)
        if not chosen.no_window:
            print(window(), flush=True)
    except (NotMade, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
