"""What a worker frees stays for the next frame, and is given back when there is none."""

import subprocess
import sys

import pytest

CODE = """
import sys
from dvm_server import allocator
if sys.argv[1] == "keep":
    allocator.keep_freed_memory()
import resource

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def take(count):
    return b"x" * count

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

take(100_000_000)
before = faults()
take(100_000_000)
print(faults() - before, end=" ")
kept = resident()
allocator.give_back()
print(kept - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_memory_is_kept_and_given_back():
    def run(how):
        done = subprocess.run(
            [sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True
        )
        return map(int, done.stdout.split())

    faults, given_back = run("keep")
    assert faults < 1000 and given_back > 90_000_000
    faults, given_back = run("not")
    assert faults > 20_000 and given_back < 10_000_000
