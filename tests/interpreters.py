"""Every Python that hosts bring, each in an environment with only pyzmq, msgpack and pytest.

They are kept in `.venv-client/`, one for each version, and made anew when what they should hold
changes.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

Outcome = subprocess.CompletedProcess[str] | None

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".venv-client"
VERSIONS = ("3.9", "3.10", "3.11", "3.13")
PACKAGES = ("pyzmq", "msgpack", "pytest", "pytest-timeout")


def interpreter(version: str) -> Path | None:
    """A Python of this version that really runs: pyenv's shims exist and fail."""
    name = f"python{version}"
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [found for found in (shutil.which(name), f"/usr/bin/{name}") if found]
    candidates += [str(one / "bin" / "python") for one in sorted(versions.glob(f"{version}.*"))]
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        candidates.insert(0, sys.executable)
    ask = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2], sys.executable)"
    for candidate in candidates:
        try:
            done = subprocess.run(
                [candidate, "-c", ask], capture_output=True, text=True, timeout=30, check=False
            )
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.startswith(f"{version} "):
            return Path(candidate)
    return None


def clean_environment() -> dict[str, str]:
    """What the tests may see of ours: no PYTHONPATH, no virtual environment, no pytest options."""
    kept = {"PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG", "SYSTEMROOT"}
    return {name: value for name, value in os.environ.items() if name in kept}


def environment(version: str, base: Path) -> Path:
    """The Python of an environment with `PACKAGES`; one that is there and whole is used again."""
    folder = ENVIRONMENTS / version
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    constraints = Path(__file__).parent / "client" / f"constraints-{version}.txt"
    wanted = list(PACKAGES) + (["-c", str(constraints)] if constraints.is_file() else [])
    text = " ".join(PACKAGES) + (constraints.read_text() if constraints.is_file() else "")
    stamp = hashlib.sha256(text.encode()).hexdigest()
    marker = folder / "complete"
    if marker.is_file() and marker.read_text() == stamp and runs(python):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([base, "-m", "venv", folder], check=True, timeout=120)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted]
    done = subprocess.run(install, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    marker.write_text(stamp)
    return python


def runs(python: Path) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", "import zmq, msgpack, pytest, pytest_timeout"],
            capture_output=True,
            timeout=30,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


@contextmanager
def run_on_all(folder: str, minutes: int, **more: str) -> Iterator[dict[str, Future[Outcome]]]:
    """Run a folder's tests on every version, all at once: most of their time they wait.

    Args:
        folder: of tests, from the repository's root.
        minutes: that they may take on one version.
        more: of their environment.

    Yields:
        By version what will come of it; None for one that is not on this machine.
    """

    def run(version: str) -> Outcome:
        base = interpreter(version)
        if base is None:
            return None
        command = [environment(version, base), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, folder],
            cwd=ROOT,
            env={**clean_environment(), **more},
            capture_output=True,
            text=True,
            timeout=60 * minutes,
            check=False,
        )

    with ThreadPoolExecutor(len(VERSIONS)) as pool:
        yield {version: pool.submit(run, version) for version in VERSIONS}


def passed(version: str, done: Outcome) -> int:
    """How many tests have passed; skips where the version is not on this machine.

    Raises:
        AssertionError: one has failed.
    """
    if done is None:
        pytest.skip(f"there is no Python {version} on this machine")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found, done.stdout[-2000:]
    return int(found[1])
