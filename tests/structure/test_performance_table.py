"""The README's figures of speed are those of the committed results, and a missing GPU is said."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "performance_table.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("performance_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_holds_what_the_results_say(script):
    text = script.README.read_text(encoding="utf-8")
    assert text == script.placed(text, script.render()), "run `make figures`"


def test_the_results_name_their_machine_and_command():
    for path in (SCRIPT.parent / "results").glob("*bench.json"):
        machine = json.loads(path.read_text())["machine"]
        assert machine["cpu"] and machine["torch"] and machine["commit"], path
        assert machine["command"] and "/" not in machine["command"].split()[0], path


def test_a_gpu_that_was_not_there_is_said_and_one_that_was_is_shown(script, tmp_path):
    shutil.copy(script.RESULTS / "bench.json", tmp_path)
    assert script.NO_GPU in script.render(tmp_path)
    found = json.loads((tmp_path / "bench.json").read_text())
    gpu = {"machine": {**found["machine"], "gpu": "H0"}, "networks": found["networks"]}
    (tmp_path / "gpu_bench.json").write_text(json.dumps(gpu))
    shown = script.render(tmp_path)
    assert script.NO_GPU not in shown and "H0" in shown


def test_without_markers_nothing_is_written(script):
    with pytest.raises(SystemExit, match="lacks the lines"):
        script.placed("# Figures\n", "block")
