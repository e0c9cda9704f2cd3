"""The plug-in passes its tests in the fake Nuke on every Python that Nuke brings.

Each server under test runs in the project's own environment.
"""

import os
import sys

import pytest

from tests.interpreters import VERSIONS, passed, run_on_all

pytestmark = pytest.mark.skipif(
    "DVM_HOSTS" not in os.environ, reason="takes ten minutes: make test-hosts"
)


@pytest.fixture(scope="module")
def outcomes():
    with run_on_all("tests/hosts/in_nuke", 15, DVM_TEST_PYTHON=sys.executable) as found:
        yield found


@pytest.mark.timeout(20 * 60)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_plug_in_passes_its_tests_on(version, outcomes):
    done = outcomes[version].result()
    assert passed(version, done) > 60 and "skipped" not in done.stdout, done.stdout[-2000:]
