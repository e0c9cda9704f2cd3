"""Checkpoints carry their record, and what is not one says so."""

import pytest
import torch
from safetensors.torch import save_file

from model.checkpoint import CheckpointRecord, load_tensors, read_record, save_checkpoint
from model.errors import SetupError
from model.exposure import ExposureMap


def test_round_trip(tmp_path):
    record = CheckpointRecord(
        "some_net", {"width": 32}, "Apache-2.0", {"steps": 10}, ExposureMap(-1.0, 0.7)
    )
    path = tmp_path / "net.safetensors"
    tensor = torch.arange(6.0).reshape(2, 3).T  # not contiguous
    save_checkpoint(path, {"a": tensor}, record)
    assert read_record(path) == record
    assert torch.equal(
        load_tensors(path, torch.device("cpu"))["a"], torch.arange(6.0).reshape(2, 3).T
    )
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_a_checkpoint_is_named(tmp_path):
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not safetensors at all")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, str(foreign))
    for path in (garbage, foreign):
        with pytest.raises(SetupError, match=path.name) as caught:
            read_record(path)
        assert caught.value.code == "setup.bad_checkpoint"
    with pytest.raises(SetupError) as caught:
        read_record(tmp_path / "missing.safetensors")
    assert caught.value.code == "setup.no_checkpoint"
