"""The plug-in passes its tests in the fake Nuke on every Python that Nuke brings.

Each server under test runs in the project's own environment.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.interpreters import ROOT, VERSIONS, clean_environment, environment, interpreter

MINUTES = 60
pytestmark = pytest.mark.skipif(
    "DVM_HOSTS" not in os.environ, reason="takes ten minutes: make test-hosts"
)


def run_tests(version):
    """The tests in the fake Nuke on a version; None if it is not on this machine."""
    base = interpreter(version)
    if base is None:
        return None
    return subprocess.run(
        [environment(version, base), "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "tests/hosts/in_nuke"],
        cwd=ROOT,
        env={**clean_environment(), "DVM_TEST_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=15 * MINUTES,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def outcomes():
    """Of all versions, two at a time: much of their time they wait for servers to start."""
    with ThreadPoolExecutor(2) as pool:
        yield {version: pool.submit(run_tests, version) for version in VERSIONS}


@pytest.mark.timeout(20 * MINUTES)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_plug_in_passes_its_tests_on(version, outcomes):
    done = outcomes[version].result()
    if done is None:
        pytest.skip(f"there is no Python {version} on this machine")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 60 and "skipped" not in done.stdout, done.stdout[-2000:]
