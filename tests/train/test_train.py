"""The training loop, on a network and a stage small enough to see through."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from model.checkpoint import load_tensors, read_record, save_checkpoint
from model.errors import InputError
from training import cli, train
from training.loop import dry_run

RECIPE = """
network = "line"
stage = "line"
seed = 3
batch = 4
steps = 12
learning_rate = 1e-2
warm_up = 2
clip_norm = 1.0
ema = 0.9
"""


class Line(nn.Module):
    """y = a·x + b."""

    def __init__(self, width: int = 1):
        super().__init__()
        self.config = {"width": width}
        self.layer = nn.Linear(width, 1)

    def forward(self, x):
        return self.layer(x)


@dataclass
class LineStage:
    """Teaches y = 3·x − 1. ``spoil`` is a step whose truth is not a number."""

    recipe: dict
    material: object
    device: torch.device

    def batches(self, first_step):
        step = first_step
        while True:
            x = torch.rand(self.recipe["batch"], 1, generator=torch.Generator().manual_seed(step))
            y = 3 * x - 1
            if step == self.recipe.get("spoil"):
                y[0] = float("nan")
            if step == self.recipe.get("stop_at"):
                os.kill(os.getpid(), self.recipe.get("stop_by", signal.SIGTERM))
            if step == self.recipe.get("break_at"):
                raise InputError("input.damaged", "the clip is damaged", hint="bring it back")
            yield x, y
            step += 1

    def loss(self, network, batch):
        error = (network(batch[0]) - batch[1]).square().mean()
        return error, {"error": error.detach()}

    def validate(self, network):
        if self.recipe.get("break_judge"):
            raise InputError("input.damaged", "the clip to judge by is damaged")
        x = torch.linspace(0, 1, 8)[:, None]
        return {"score": float((network(x) - 3 * x + 1).square().mean().detach())}

    def pictures(self, network):
        return {"line": np.zeros((4, 4, 3), np.uint8)}


@pytest.fixture(autouse=True)
def line(monkeypatch):
    module = sys.modules[__name__]
    monkeypatch.setattr(train, "_named", lambda table, name, what: getattr(module, table[name]))
    monkeypatch.setitem(train.NETWORKS, "line", "Line")
    monkeypatch.setitem(train.STAGES, "line", "LineStage")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "line.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


def go(recipe, out, *more) -> int:
    fixed = "--accelerator", "cpu", "--log-every", "4", "--judge-every", "4"
    return train.main([recipe, "--out", str(out), *fixed, *more])


def state(out):
    return torch.load(out / "state.pt", weights_only=True)


def test_it_learns_and_keeps_the_best(recipe, tmp_path):
    assert go(recipe, tmp_path / "run", "--set", "steps=200") == 0
    lines = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    judged = [x["held out/score"] for x in lines if "held out/score" in x]
    assert judged[-1] < 0.3 * judged[0]
    record = read_record(tmp_path / "run" / "best.safetensors")
    assert record.network == "line"
    assert record.config == {"width": 1}
    assert record.training["held_out"]["score"] == min(judged)
    assert record.training["recipe_sha256"]
    assert record.training["init"] is None
    assert not any(record.training["material"].values())
    tensors = load_tensors(tmp_path / "run" / "best.safetensors", torch.device("cpu"))
    assert {t.dtype for t in tensors.values()} == {torch.float16}


def test_a_resumed_run_is_the_same_to_the_bit(recipe, tmp_path):
    assert go(recipe, tmp_path / "straight") == 0
    assert go(recipe, tmp_path / "broken", "--set", "stop_at=5") == 143
    assert state(tmp_path / "broken")["step"] == 6
    text = RECIPE + "stop_at = 5\n"  # the same recipe again, else it is refused
    (tmp_path / "line.toml").write_text(text, encoding="utf-8")
    assert go(recipe, tmp_path / "broken", "--resume") == 0
    first, second = state(tmp_path / "straight"), state(tmp_path / "broken")
    assert second["step"] == 12
    for part in ("network", "average"):
        for name, tensor in first[part].items():
            assert torch.equal(tensor, second[part][name]), (part, name)


def test_a_keyboard_stops_a_run_as_it_cancels_other_commands(recipe, tmp_path):
    by = int(signal.SIGINT)
    assert go(recipe, tmp_path / "run", "--set", "stop_at=5", "--set", f"stop_by={by}") == 130
    assert state(tmp_path / "run")["step"] == 6


def test_a_keyboard_before_the_first_step_leaves_one_line(recipe, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "built", interrupted)
    assert go(recipe, tmp_path / "run") == 130
    assert capsys.readouterr().err == "dvm-train: cancelled\n"


@pytest.mark.parametrize("command", ["train", "footage"])
def test_a_keyboard_while_a_command_is_imported_leaves_one_line(command, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "x"])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "dvm-train: cancelled\n"


@pytest.mark.parametrize(
    ("change", "step", "said"),
    [("break_at = 6", 6, "the clip is damaged"), ("break_judge = true", 4, "to judge by is damag")],
)
def test_a_source_that_fails_while_training_loses_nothing(
    recipe, tmp_path, capsys, monkeypatch, change, step, said
):
    (tmp_path / "line.toml").write_text(f"{RECIPE}{change}\n", encoding="utf-8")
    out = tmp_path / "run"
    assert go(recipe, out) == 10
    assert said in capsys.readouterr().err
    assert state(out)["step"] == step
    with monkeypatch.context() as patch:
        patch.setattr(
            LineStage, "recipe", property(lambda _: {"batch": 4}, lambda *_: None), raising=False
        )
        assert go(recipe, out, "--resume") == 0
    assert (
        go(recipe, tmp_path / "straight", "--set", "break_at=99", "--set", "break_judge=false") == 0
    )
    straight, gone_on = state(tmp_path / "straight"), state(out)
    assert gone_on["step"] == 12
    assert all(torch.equal(one, gone_on["network"][n]) for n, one in straight["network"].items())


def test_a_fault_of_ours_has_a_code_of_its_own(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(LineStage, "loss", lambda *_: 1 / 0)
    assert go(recipe, tmp_path / "run") == 70
    assert "ZeroDivisionError; please send us the above" in capsys.readouterr().err


def not_built_before(monkeypatch):
    for module in (train, dry_run):
        monkeypatch.setattr(module, "built", lambda *_: pytest.fail("it was built before"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("plan", [[], ["--dry-run"]])
def test_a_run_that_is_there_is_not_written_over(recipe, tmp_path, capsys, plan):
    assert go(recipe, tmp_path / "run") == 0
    before = contents(tmp_path / "run")
    assert go(recipe, tmp_path / "run", *plan) == 20
    said = capsys.readouterr().err
    assert f"there is a run in {tmp_path / 'run'} already (state.pt, best.safetensors" in said
    assert "--resume; name another folder with --out, or remove that run with --overwrite" in said
    assert contents(tmp_path / "run") == before


def test_a_run_that_was_never_saved_is_not_written_over_either(recipe, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text("{}\n")
    assert go(recipe, tmp_path / "run") == 20
    assert "it never saved what --resume needs" in capsys.readouterr().err


def test_a_run_that_is_overwritten_leaves_nothing_in_the_log_of_the_next(recipe, tmp_path):
    assert go(recipe, tmp_path / "run", "--set", "spoil=6") == 70
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert go(recipe, tmp_path / "run", "--overwrite", "--set", "steps=4") == 0
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 4]
    assert not (tmp_path / "run" / "not-finite-6.pt").exists()
    assert (tmp_path / "run" / "notes.txt").exists()
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def test_what_is_to_be_overwritten_is_kept_until_the_next_run_can_begin(recipe, tmp_path):
    assert go(recipe, tmp_path / "run") == 0
    before = contents(tmp_path / "run")
    assert go(recipe, tmp_path / "run", "--overwrite", "--init", "nowhere.safetensors") == 20
    assert contents(tmp_path / "run") == before


def test_resuming_and_overwriting_exclude_each_other(recipe, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        go(recipe, tmp_path / "run", "--resume", "--overwrite")


@pytest.mark.parametrize("plan", [[], ["--dry-run"]])
def test_a_file_where_the_folder_should_be_is_found_first(
    recipe, tmp_path, capsys, monkeypatch, plan
):
    not_built_before(monkeypatch)
    (tmp_path / "run").write_text("mine")
    for out in (tmp_path / "run", tmp_path / "run" / "deeper"):
        assert go(recipe, out, *plan) == 10
        assert f"{out} cannot be written: {tmp_path / 'run'} is a file" in capsys.readouterr().err


def test_a_folder_that_may_not_be_written_is_found_first(recipe, tmp_path, capsys, monkeypatch):
    not_built_before(monkeypatch)
    monkeypatch.setattr("training.loop.run_folder.os.access", lambda *_: False)
    assert go(recipe, tmp_path / "run") == 10
    assert f"{tmp_path} may not be written to" in capsys.readouterr().err


class Full:
    """A disk on which what is called so finds no room."""

    def __init__(self, monkeypatch, name):
        real = Path.open

        def opened(path, *arguments, **options):
            if path.name.startswith(name):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", opened)


@pytest.mark.parametrize("name", [".state.pt", ".last.safetensors", "log.jsonl"])
def test_a_full_disk_keeps_what_was_saved_before(recipe, tmp_path, capsys, monkeypatch, name):
    out = tmp_path / "run"
    (tmp_path / "line.toml").write_text(RECIPE + "stop_at = 5\n", encoding="utf-8")
    assert go(recipe, out) == 143
    before = state(out)
    with monkeypatch.context() as patch:
        Full(patch, name)
        assert go(recipe, out, "--resume") == 75
    said = capsys.readouterr().err
    assert f"no space left to write in {out}" in said
    assert "go on with --resume from what was saved before" in said
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert state(out)["step"] >= before["step"]
    assert go(recipe, out, "--resume") == 0
    assert state(out)["step"] == 12


@pytest.mark.parametrize("room", [50, 2000])
def test_a_real_file_system_without_room_is_told_the_same(recipe, tmp_path, room):
    """Files of at most so many bytes, in a process of its own."""
    code = (
        "import resource, signal, sys\n"
        "import tests.train.test_train as here\n"
        "from training import train\n"
        "train._named = lambda table, name, what: getattr(here, table[name])\n"
        "train.NETWORKS['line'], train.STAGES['line'] = 'Line', 'LineStage'\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "sys.exit(train.main(sys.argv[1:]))\n"
    )
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", code, recipe, "--out", str(out), "--accelerator", "cpu"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 75, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.glob(".*")) and not (out / "state.pt").exists()


@pytest.mark.parametrize("plan", [[], ["--dry-run"]])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.999, "text", "other"])
def test_a_damaged_state_is_one_sentence(recipe, tmp_path, capsys, kept, plan):
    assert go(recipe, tmp_path / "run") == 0
    path = tmp_path / "run" / "state.pt"
    data = path.read_bytes()
    if kept == "text":
        path.write_text("not a state at all" * 100)
    elif kept == "other":
        torch.save({"step": 3}, path)
    else:
        path.write_bytes(data[: int(kept * len(data)) if kept < 1 else kept])
    capsys.readouterr()
    assert go(recipe, tmp_path / "run", "--resume", *plan) == 20
    said = capsys.readouterr().err
    assert f"{path} is cut or damaged" in said and "another --out" in said
    assert len(said.splitlines()) == 2


def test_a_dry_run_refuses_to_resume_another_recipe(recipe, tmp_path, capsys):
    assert go(recipe, tmp_path / "run") == 0
    assert go(recipe, tmp_path / "run", "--resume", "--dry-run", "--set", "batch=5") == 20
    assert "another recipe" in capsys.readouterr().err


def test_another_recipe_is_not_resumed(recipe, tmp_path, capsys):
    assert go(recipe, tmp_path / "run") == 0
    assert go(recipe, tmp_path / "run", "--resume", "--set", "batch=5") == 20
    assert "another recipe" in capsys.readouterr().err


def test_nothing_to_resume(recipe, tmp_path, capsys):
    assert go(recipe, tmp_path / "run", "--resume") == 20
    assert "no run to resume" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_and_saves_its_batch(recipe, tmp_path, capsys):
    assert go(recipe, tmp_path / "run", "--set", "spoil=6") == 70
    assert "step 6" in capsys.readouterr().err
    kept = torch.load(tmp_path / "run" / "not-finite-6.pt", weights_only=True)
    assert torch.isnan(kept["batch"][1]).any()


def test_the_time_budget_ends_a_run_that_can_be_resumed(recipe, tmp_path):
    assert go(recipe, tmp_path / "run", "--time-budget", "0s") == 0
    assert state(tmp_path / "run")["step"] == 0
    assert go(recipe, tmp_path / "run", "--resume") == 0
    assert state(tmp_path / "run")["step"] == 12


def test_the_learning_rate_can_fall_with_the_time_budget(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=count().__next__))
    plan = "--anneal-by-time", "--time-budget", "60s", "--log-every", "1"
    assert go(recipe, tmp_path / "run", *plan, "--set", "steps=100000") == 0
    text = (tmp_path / "run" / "log.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    rates = [line["rate"] for line in lines if "rate" in line]
    assert 5 < len(rates) < 60
    assert rates[:2] == pytest.approx([5e-3, 1e-2])  # warm-up is counted in steps
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 5e-4  # as good as at its end, after a hundredth of the steps at most


@pytest.mark.parametrize("odd", [[], ["--resume", "--time-budget", "9m"]])
def test_annealing_by_time_needs_a_time(recipe, tmp_path, capsys, odd):
    assert go(recipe, tmp_path / "run", "--anneal-by-time", *odd) == 20
    assert "time budget" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_init_takes_weights_and_nothing_else(recipe, tmp_path):
    assert go(recipe, tmp_path / "first") == 0
    best = tmp_path / "first" / "best.safetensors"
    assert go(recipe, tmp_path / "second", "--init", str(best), "--time-budget", "0s") == 0
    found, wanted = state(tmp_path / "second"), load_tensors(best, torch.device("cpu"))
    assert found["step"] == 0
    assert torch.equal(found["network"]["layer.weight"], wanted["layer.weight"].float())
    record = read_record(tmp_path / "second" / "best.safetensors")
    assert record.training["init"] == read_record(best).training


def test_the_record_names_what_was_taught_with(recipe, tmp_path):
    for name in ("fg_cutouts/fern.png", "fg_cutouts/hair_bob02.png", "fg_video/dance/fgr.mp4"):
        (tmp_path / "material" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "material" / name).touch()
    material = "--material", str(tmp_path / "material")
    assert go(recipe, tmp_path / "run", *material) == 0
    named = read_record(tmp_path / "run" / "best.safetensors").training["material"]
    assert named["fg_cutouts"] == ["fg_cutouts/fern.png"]  # the other one is held out
    assert named["fg_video"] == ["fg_video/dance/fgr.mp4"]


def begun_elsewhere(recipe, folder) -> Path:
    """A checkpoint of somebody else, with a licence of its own."""
    assert go(recipe, folder / "first") == 0
    path = folder / "first" / "best.safetensors"
    record = replace(read_record(path), licence="weights: property of a studio")
    save_checkpoint(path, load_tensors(path, torch.device("cpu")), record)
    return path


def test_a_resumed_run_knows_what_it_began_with(recipe, tmp_path):
    base = begun_elsewhere(recipe, tmp_path)
    wanted, out = read_record(base).training, tmp_path / "run"
    assert go(recipe, out, "--init", str(base), "--time-budget", "0s") == 0
    assert go(recipe, out, "--resume", "--init", str(base), "--time-budget", "0s") == 0
    base.unlink()
    assert go(recipe, out, "--resume") == 0
    for name in ("last", "best"):
        record = read_record(out / f"{name}.safetensors")
        assert record.training["init"] == wanted
        assert record.licence.endswith("; begun with: weights: property of a studio")
    assert read_record(out / "last.safetensors").training["steps"] == 12


def test_a_resumed_run_began_with_no_other_weights(recipe, tmp_path, capsys):
    base, out = begun_elsewhere(recipe, tmp_path), tmp_path / "run"
    assert go(recipe, out, "--time-budget", "0s") == 0
    assert go(recipe, out, "--resume", "--init", str(base)) == 20
    assert f"the run at {out / 'state.pt'} did not begin with {base}" in capsys.readouterr().err
    assert state(out)["step"] == 0


def materials(folder, *names) -> tuple[str, str]:
    for name in ("bg_photos/one.png", *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return "--material", str(folder)


@pytest.mark.parametrize("plan", [[], ["--dry-run"]])
def test_a_run_is_resumed_with_its_own_material(recipe, tmp_path, capsys, plan):
    material, out = materials(tmp_path / "material"), tmp_path / "run"
    assert go(recipe, out, *material, "--time-budget", "0s") == 0
    before = contents(out)
    other = materials(tmp_path / "other", "clips/two.mp4")
    for given, said in (([], "bg_photos/one.png is missing"), (other, "clips/two.mp4 is new")):
        assert go(recipe, out, "--resume", *given, *plan) == 20
        assert f"not the same any more: {said}\n" in capsys.readouterr().err
    assert contents(out) == before
    (tmp_path / "material").rename(tmp_path / "moved")
    assert go(recipe, out, "--resume", "--material", str(tmp_path / "moved")) == 0
    named = read_record(out / "last.safetensors").training["material"]
    assert named["bg_photos"] == ["bg_photos/one.png"]


def test_a_run_saved_before_goes_on_and_says_what_is_not_known(recipe, tmp_path, capsys):
    base, out = begun_elsewhere(recipe, tmp_path), tmp_path / "run"
    assert go(recipe, out, "--init", str(base), "--time-budget", "0s") == 0
    old = state(out)
    del old["beginning"]
    torch.save(old, out / "state.pt")
    for _ in range(2):
        capsys.readouterr()
        assert go(recipe, out, "--resume", "--time-budget", "0s") == 0
        assert "what this run began with was not saved with it" in capsys.readouterr().out
        record = read_record(out / "last.safetensors")
        assert record.training["init"] == "not known"
        assert record.licence.endswith("; begun with: not known")
    assert go(recipe, out, "--resume", "--init", str(base)) == 0
    assert "was not saved with it" not in capsys.readouterr().out
    record = read_record(out / "last.safetensors")
    assert record.training["init"] == read_record(base).training
    assert record.licence.endswith("; begun with: weights: property of a studio")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("network = ", 20, "is not TOML"),
        ('network = "line"\n', 20, "lacks"),
        (None, 20, "cannot be read"),
    ],
)
def test_bad_recipes_are_refused_in_a_sentence(text, code, said, tmp_path, capsys):
    path = tmp_path / "bad.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert go(str(path), tmp_path / "run") == code
    assert said in capsys.readouterr().err


def test_the_rate_warms_up_and_falls():
    recipe = {"learning_rate": 1.0, "warm_up": 10, "steps": 110, "last_share": 0.1}
    rates = [train.learning_rate(recipe, step) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
