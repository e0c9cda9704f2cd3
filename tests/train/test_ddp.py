"""Two processes under torchrun are taught with the batches of one, and learn the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.train.disc_clips import KIND, OF_DISCS
from training import sources, train
from training.loop.processes import agree_on_norms

PROCESS = Path(__file__).with_name("ddp_process.py")
# SGD, because Adam would make steps of rounding: it divides by how large gradients are.
RECIPE = f"""
network = "st_fam_s"
stage = "matting"
alone = 0.5
seed = 4
batch = 4
steps = 4
learning_rate = 0.05
optimiser = "sgd"
clip_norm = 1.0
ema = 0.5
{OF_DISCS}
[pool]
size = 4
fill = 4
start = 1
every = 100
crop = 48

[judge]
clips = 1
"""


def torchrun(recipe, out, *more, **options):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone",
        str(PROCESS), str(recipe), "--out", str(out), "--accelerator", "cpu", *more,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        **options,
    )  # fmt: skip


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "discs", KIND)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.mark.timeout(180)
def test_two_processes_learn_what_one_learns(recipe, tmp_path):
    with torchrun(recipe, tmp_path / "two") as process:
        said, _ = process.communicate()
    assert process.returncode == 0, said[-3000:]
    fixed = "--accelerator", "cpu", "--out"
    assert train.main([str(recipe), *fixed, str(tmp_path / "one")]) == 0
    assert train.main([str(recipe), *fixed, str(tmp_path / "none"), "--time-budget", "0s"]) == 0
    two, one, none = (
        torch.load(tmp_path / name / "state.pt", weights_only=True)["network"]
        for name in ("two", "one", "none")
    )
    moved = max(float((none[name] - tensor).abs().max()) for name, tensor in one.items())
    apart = max(float((two[name] - tensor).abs().max()) for name, tensor in one.items())
    assert moved > 1e-3
    assert apart < 1e-6


@pytest.mark.timeout(180)
def test_a_signal_stops_both_at_the_same_step_and_saves(recipe, tmp_path):
    out = tmp_path / "run"
    command = (
        "--set", "steps=100000", "--log-every", "1", "--anneal-by-time", "--time-budget", "10m",
    )  # fmt: skip
    with torchrun(recipe, out, *command, start_new_session=True) as process:
        until = time.monotonic() + 120
        while not (out / "log.jsonl").is_file() and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)  # torchrun hands it on to both
        said, _ = process.communicate()
    state = torch.load(out / "state.pt", weights_only=True)
    assert 0 < state["step"] < 100000, said[-3000:]


def test_norms_become_the_mean_of_what_processes_have_seen():
    class Two:
        world_size = 2

        def all_reduce(self, flat, reduce_op):
            assert reduce_op == "mean"
            return (flat + torch.zeros_like(flat)) / 2

    norm = torch.nn.BatchNorm2d(3)
    norm.running_mean += torch.tensor([1.0, 2.0, 4.0])
    agree_on_norms(Two(), norm)
    assert norm.running_mean.tolist() == [0.5, 1.0, 2.0]
    assert norm.running_var.tolist() == [0.5] * 3
    assert int(norm.num_batches_tracked) == 0


def test_a_batch_that_cannot_be_parted_is_refused(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert train.main([str(recipe), "--out", str(tmp_path / "run"), "--dry-run"]) == 20
    assert "a batch of 4 cannot be parted among 3 processes" in capsys.readouterr().err
