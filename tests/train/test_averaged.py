"""The mean of checkpoints, and what is refused."""

import errno
import os

import pytest
import torch

from model.checkpoint import CheckpointRecord, load_tensors, read_record, save_checkpoint
from model.delta import DeltaBase
from training.checkpoint import main

CPU = torch.device("cpu")
CONFIG = {"channels": [4, 6], "trust": 1.0}


def saved(path, value, **fields):
    tensors = {
        "weight": torch.full((2, 3), value, dtype=torch.float16),
        "norm": torch.tensor([value]),
        "count": torch.tensor(int(value)),
    }
    known = {
        "config": CONFIG,
        "licence": "ours",
        "training": {"steps": value, "held_out": {"a": 1}},
    }
    save_checkpoint(path, tensors, CheckpointRecord("st_fam_s", **(known | fields)))
    return str(path)


def test_the_mean_and_what_it_says_of_itself(tmp_path, capsys):
    before = saved(tmp_path / "a.safetensors", 1.0, licence="theirs")
    after = saved(tmp_path / "b.safetensors", 4.0, config={**CONFIG, "trust": 0.5})
    out = tmp_path / "c.safetensors"
    assert main(["average", before, after, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: the mean of 2\n"
    tensors, record = load_tensors(out, CPU), read_record(out)
    assert torch.equal(tensors["weight"], torch.full((2, 3), 2.5, dtype=torch.float16))
    assert tensors["norm"].tolist() == [2.5] and int(tensors["count"]) == 4
    assert record.config == {**CONFIG, "trust": 0.5}
    assert record.training["steps"] == 4 and "held_out" not in record.training
    assert len(set(record.training["averaged_sha256"])) == 2
    assert record.licence == "theirs; ours"
    again = ["average", before, after, "--out", str(out), "--trust", "0.25", "--overwrite"]
    assert main(again) == 0
    assert read_record(out).config["trust"] == 0.25


def test_what_does_not_belong_together_is_refused_and_nothing_is_written(tmp_path, capsys):
    one = saved(tmp_path / "a.safetensors", 1.0)
    wider = saved(tmp_path / "b.safetensors", 1.0, config={"channels": [8, 6], "trust": 1.0})
    plain = saved(tmp_path / "c.safetensors", 1.0, config={"channels": [4, 6]})
    base = DeltaBase("a.safetensors", "0" * 64, CONFIG)
    delta = saved(tmp_path / "d.safetensors", 1.0, delta={"st_fam_s": base})
    out = tmp_path / "new.safetensors"
    for given, said in (
        ([one], "one checkpoint has no mean"),
        ([one, wider], "are not whole weights of one network of one size"),
        ([delta, one], "are not whole weights"),
        ([plain, plain, "--trust", "0.5"], "st_fam_s has no trust to be set"),
        ([one, str(tmp_path / "none.safetensors")], "is not there"),
    ):
        assert main(["average", *given, "--out", str(out)]) == 20
        assert said in capsys.readouterr().err
    assert main(["average", one, one, "--out", str(tmp_path / "no" / "a.safetensors")]) == 20
    assert main(["average", one, one, "--out", one]) == 20
    assert "is there already" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("trust", ["nan", "1.5", "-0.1", "half"])
def test_trust_is_a_share(tmp_path, capsys, trust):
    one = saved(tmp_path / "a.safetensors", 1.0)
    out = tmp_path / "b.safetensors"
    with pytest.raises(SystemExit, match="2"):
        main(["average", one, one, "--out", str(out), f"--trust={trust}"])
    assert f"{trust} is no number from 0 to 1" in capsys.readouterr().err
    assert not out.exists()


def test_what_cannot_be_written_has_its_own_exit_codes(tmp_path, capsys, monkeypatch):
    one = saved(tmp_path / "a.safetensors", 1.0)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert main(["average", one, one, "--out", str(folder), "--overwrite"]) == 10
    assert str(folder.parent) in capsys.readouterr().err

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert main(["average", one, one, "--out", str(tmp_path / "b.safetensors")]) == 75
    assert "no space left" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "folder"]
