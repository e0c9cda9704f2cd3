"""The client's tests pass on every Python that hosts bring, with only pyzmq and msgpack there."""

import pytest

from tests.interpreters import ENVIRONMENTS, VERSIONS, passed, run_on_all


@pytest.fixture(scope="module")
def outcomes():
    with run_on_all("tests/client", 10) as found:
        yield found


@pytest.mark.timeout(15 * 60)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_passes_its_tests_on(version, outcomes):
    done = outcomes[version].result()
    assert passed(version, done) > 200, done.stdout[-2000:]


def test_the_environments_hold_nothing_else():
    """numpy in one of them would hide that the client needs it."""
    found = list(ENVIRONMENTS.glob("*/lib/python*/site-packages"))
    for folder in found:
        names = {one.name for one in folder.iterdir()}
        assert not names & {"numpy", "torch", "hypothesis", "jsonschema"}, folder
