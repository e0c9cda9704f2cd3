"""For all tests. Standard library only: client tests run where nothing else is installed."""

import os

import pytest

# Tests start servers while torch computes here too: threads that wait for each other must sleep,
# or they take the cores from those they wait for. OpenMP reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each core has a worker, whose threads would only take turns with the other's.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Where CUDA kernels are that were compiled for the CPU: each is compiled once."""
    return tmp_path_factory.mktemp("kernels")
