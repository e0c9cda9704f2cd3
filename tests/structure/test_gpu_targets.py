"""`make gpu-check` and `make gpu-bench`: what they say without a GPU, and what they do without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "tests" / "gpu" / "check.py"
# What a bare GPU machine lacks.
ABSENT = (
    "OpenImageIO", "av", "kornia", "typer", "rich", "zmq", "msgpack", "pymatting", "hypothesis",
    "jsonschema", "pytest_timeout",
)  # fmt: skip
COLLECT = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
import pytest
options = ["-c", "tests/gpu/check.ini", "--rootdir", ".", "-p", "no:hypothesispytest"]
sys.exit(pytest.main([*options, "-p", "no:timeout", "--collect-only", "-q", "tests/gpu"]))
"""


MEASURE = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
sys.argv = ["gpu_bench.py"]
runpy.run_path("tests/benchmarks/gpu_bench.py", run_name="__main__")
"""


def run(*command, **environment):
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=120, env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize("script", [CHECK, ROOT / "tests" / "benchmarks" / "gpu_bench.py"])
def test_without_a_device_one_sentence_says_so(script):
    done = run(script, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout.startswith("there is no CUDA device: torch ")
    assert len(done.stdout.splitlines()) == 1
    assert not done.stderr


def test_gpu_tests_need_only_what_a_bare_machine_has():
    done = run("-c", COLLECT, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "test_forward_and_backward" in done.stdout


def test_gpu_figures_need_only_what_a_bare_machine_has():
    done = run("-c", MEASURE, CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stderr) == (2, ""), done.stdout + done.stderr
    assert done.stdout.startswith("there is no CUDA device")
