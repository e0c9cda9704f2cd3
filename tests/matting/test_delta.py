"""A delta is its base with changes, to the bit; without its base it says what it looked for."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint
from model.checkpoint import (
    CheckpointRecord,
    load_tensors,
    read_record,
    save_checkpoint,
    sha256_of_file,
    shared_out,
)
from model.delta import DeltaBase, changed, changes_of, named
from model.engine import EngineOptions
from model.errors import SetupError
from model.networks.st_fam_s import StFamS
from model.networks.trimap_memory_s import TrimapMemoryS
from model.pipeline import open_engine

CPU = torch.device("cpu")
SMALL = {"channels": [8, 8, 8, 16, 16], "narrow": [8, 8], "guide": 8}
SMALL_MEMORY = {"look": [8, 8, 8, 8], "guess": [8, 8, 8]}


def halved(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.half() for name, tensor in network.state_dict().items()}


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """A folder that stands for that of the shipped weights, with tiny ones."""
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(1)
    for name, network in (
        ("st_fam_s", StFamS(**SMALL)),
        ("trimap_memory_s", TrimapMemoryS(**SMALL_MEMORY)),
    ):
        record = CheckpointRecord(name, network.config)
        save_checkpoint(folder / f"{name}.safetensors", halved(network), record)
    monkeypatch.setattr(checkpoint, "WEIGHTS_FOLDER", folder)
    monkeypatch.setattr("model.registry.WEIGHTS_FOLDER", folder)
    return folder


def base_in(folder: Path, name: str) -> DeltaBase:
    path = folder / f"{name}.safetensors"
    return DeltaBase(path.name, sha256_of_file(path), read_record(path).config)


CHANGES = {
    "decoder.head.bias/added": torch.tensor([0.25, -3.0]).half(),
    "encoder.stem.weight/up": torch.linspace(-1, 1, 16).view(8, 2).half(),
    "encoder.stem.weight/down": torch.linspace(-0.5, 2, 2 * 81).view(2, 81).half(),
}


@pytest.fixture
def delta(tmp_path, shipped) -> Path:
    """Of the tiny matting network."""
    path = tmp_path / "shot.delta.safetensors"
    base = base_in(shipped, "st_fam_s")
    record = CheckpointRecord("st_fam_s", base.config, delta={"st_fam_s": base})
    save_checkpoint(path, named("st_fam_s", CHANGES), record)
    return path


def test_a_delta_is_its_base_with_the_changes_exactly(delta, shipped):
    old = load_tensors(shipped / "st_fam_s.safetensors", CPU)
    new = load_tensors(delta, CPU)
    assert list(new) == list(old)
    bias = old["decoder.head.bias"].float() + torch.tensor([0.25, -3.0])
    assert torch.equal(new["decoder.head.bias"], bias)
    up, down = (CHANGES[f"encoder.stem.weight/{half}"].float() for half in ("up", "down"))
    kernel = old["encoder.stem.weight"].float() + (up @ down).view(8, 9, 3, 3)
    assert torch.equal(new["encoder.stem.weight"], kernel)
    same = [name for name in old if torch.equal(old[name], new[name])]
    assert len(same) == len(old) - 2


def test_its_record_comes_back_and_holds_the_base(delta, shipped):
    record = read_record(delta)
    assert record.networks == ("st_fam_s",)
    assert record.delta["st_fam_s"] == base_in(shipped, "st_fam_s")
    assert read_record(shipped / "st_fam_s.safetensors").delta == {}


def test_an_engine_opens_it_and_names_it(delta):
    said = open_engine(EngineOptions(checkpoint=str(delta), device="cpu")).describe()
    assert said["network"] == "st_fam_s"
    assert said["checkpoint"] == f"{delta.name} {sha256_of_file(delta)}"
    assert str(said["propagation_checkpoint"]).startswith("trimap_memory_s.safetensors ")


def test_one_file_may_change_both_networks_or_propagation_alone(delta, shipped, tmp_path):
    carries = {"decoder.head.bias/added": torch.full((16,), 2.0).half()}
    bases = {name: base_in(shipped, name) for name in ("st_fam_s", "trimap_memory_s")}
    both, alone = tmp_path / "both.safetensors", tmp_path / "alone.safetensors"
    tensors = named("st_fam_s", CHANGES) | named("trimap_memory_s", carries)
    save_checkpoint(both, tensors, replace(read_record(delta), delta=bases))
    record = CheckpointRecord(
        "trimap_memory_s", delta={"trimap_memory_s": bases["trimap_memory_s"]}
    )
    save_checkpoint(alone, named("trimap_memory_s", carries), record)

    old = load_tensors(shipped / "trimap_memory_s.safetensors", CPU)["decoder.head.bias"]
    for path in (both, alone):
        new = load_tensors(path, CPU, "trimap_memory_s")["decoder.head.bias"]
        assert torch.equal(new, old.float() + 2)
    names = "st_fam_s", "trimap_memory_s"
    assert shared_out(str(both), *names) == (str(both), str(both))
    assert shared_out(str(alone), *names) == ("", str(alone))
    assert shared_out(str(delta), *names) == (str(delta), "")
    assert shared_out("", *names) == ("", "")
    said = open_engine(EngineOptions(checkpoint=str(alone), device="cpu")).describe()
    assert str(said["checkpoint"]).startswith("st_fam_s.safetensors ")
    assert said["propagation_checkpoint"] == f"{alone.name} {sha256_of_file(alone)}"
    said = open_engine(EngineOptions(checkpoint=str(both), device="cpu")).describe()
    assert said["checkpoint"] == said["propagation_checkpoint"]


def test_the_base_is_found_beside_it_when_the_shipped_one_is_another(delta, shipped):
    base = shipped / "st_fam_s.safetensors"
    expected = load_tensors(delta, CPU)
    shutil.copy(base, delta.parent)
    torch.manual_seed(2)
    save_checkpoint(base, halved(StFamS(**SMALL)), CheckpointRecord("st_fam_s", SMALL))
    found = load_tensors(delta, CPU)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_without_its_base_it_says_where_it_looked(delta, shipped):
    base = shipped / "st_fam_s.safetensors"
    torch.manual_seed(2)
    save_checkpoint(base, halved(StFamS(**SMALL)), CheckpointRecord("st_fam_s", SMALL))
    with pytest.raises(SetupError) as caught:
        open_engine(EngineOptions(checkpoint=str(delta), device="cpu"))
    assert caught.value.code == "setup.no_base"
    assert f"{base} (another one of that name)" in caught.value.message
    assert f"{delta.parent / base.name} (not there)" in caught.value.message
    assert "\n" not in caught.value.message and caught.value.hint


def test_a_base_is_never_looked_for_elsewhere(delta, shipped, tmp_path):
    base = base_in(shipped, "st_fam_s")
    (tmp_path / "private").mkdir()
    shutil.move(shipped / base.file, tmp_path / "private" / base.file)
    far = replace(base, file="private/" + base.file)
    save_checkpoint(
        delta, named("st_fam_s", CHANGES), CheckpointRecord("st_fam_s", delta={"st_fam_s": far})
    )
    with pytest.raises(SetupError) as caught:
        load_tensors(delta, CPU)
    assert caught.value.code == "setup.no_base"


def test_a_delta_of_another_network_is_refused(delta):
    with pytest.raises(SetupError) as caught:
        open_engine(EngineOptions(network="st_fam_r50", checkpoint=str(delta), device="cpu"))
    assert caught.value.code == "setup.other_checkpoint"
    assert "holds st_fam_s, not st_fam_r50" in caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"decoder.nose.bias/added": torch.zeros(2)},
        {"decoder.head.bias/added": torch.zeros(3)},
        {"encoder.stem.weight/up": torch.zeros(8, 2)},
        {"encoder.stem.weight/up": torch.zeros(8, 2), "encoder.stem.weight/down": torch.ones(3, 9)},
    ],
)
def test_changes_that_do_not_fit_are_refused(delta, changes):
    save_checkpoint(delta, named("st_fam_s", changes), read_record(delta))
    with pytest.raises(SetupError) as caught:
        load_tensors(delta, CPU)
    assert caught.value.code == "setup.bad_checkpoint"
    assert delta.name in caught.value.message


def test_a_record_that_is_damaged_is_refused(delta):
    record = json.loads(json.dumps({"network": "st_fam_s", "delta": {"st_fam_s": ["no base"]}}))
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, str(delta), metadata={"dvm": json.dumps(record)})
    with pytest.raises(SetupError) as caught:
        read_record(delta)
    assert caught.value.code == "setup.bad_checkpoint"


def test_names_of_networks_do_not_mix():
    both = named("a", {"x/added": torch.zeros(1)}) | named("ab", {"x/added": torch.ones(1)})
    assert float(changes_of("a", both)["x/added"]) == 0
    assert np.allclose(changed({"x": torch.ones(1)}, changes_of("ab", both))["x"], 2)
