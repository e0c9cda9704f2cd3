"""For all tests. Standard library only: client tests run where nothing else is installed."""

import os

# Tests start servers while torch computes here too: threads that wait for each other must sleep,
# or they take the cores from those they wait for. OpenMP reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
