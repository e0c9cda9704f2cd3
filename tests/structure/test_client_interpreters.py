"""The client's tests pass on every Python that hosts bring, with only pyzmq and msgpack there."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.interpreters import (
    ENVIRONMENTS,
    ROOT,
    VERSIONS,
    clean_environment,
    environment,
    interpreter,
)

MINUTES = 60


def run_tests(version: str) -> subprocess.CompletedProcess[str] | None:
    """The client's tests on a version; None if it is not on this machine."""
    base = interpreter(version)
    if base is None:
        return None
    return subprocess.run(
        [
            environment(version, base),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/client",
        ],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=10 * MINUTES,
        check=False,
    )


@pytest.fixture(scope="module")
def outcomes():
    """Of all versions, two at a time: most of their time they wait for deadlines."""
    with ThreadPoolExecutor(2) as pool:
        yield {version: pool.submit(run_tests, version) for version in VERSIONS}


@pytest.mark.timeout(15 * MINUTES)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_passes_its_tests_on(version, outcomes):
    done = outcomes[version].result()
    if done is None:
        pytest.skip(f"there is no Python {version} on this machine")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 200, done.stdout[-2000:]


def test_the_environments_hold_nothing_else():
    """numpy in one of them would hide that the client needs it."""
    found = list(ENVIRONMENTS.glob("*/lib/python*/site-packages"))
    for folder in found:
        names = {one.name for one in folder.iterdir()}
        assert not names & {"numpy", "torch", "hypothesis", "jsonschema"}, folder
