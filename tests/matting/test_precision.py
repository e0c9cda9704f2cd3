"""Which numbers a network works in where that is left to the engine, and what it costs."""

import pytest
import torch

from model.engine import EngineOptions
from model.passes import blocks
from model.pipeline import open_engine
from model.precision import resolved


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_what_is_named_is_taken(name, device):
    assert resolved(name, torch.device(device)) == name


def test_halves_on_cuda():
    assert resolved("auto", torch.device("cuda:1")) == "float16"


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
        ({"bf16": True}, "bfloat16"),
        ({"avx512_f": True, "avx512_bf16": False}, "float32"),
        ({}, "float32"),
    ],
)
def test_on_processors_halves_only_where_they_are_in_hardware(capabilities, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolved("auto", torch.device("cpu")) == expected


def test_an_older_torch_does_not_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolved("auto", torch.device("cpu")) == "float32"


def test_the_engine_says_which_it_took():
    """It is part of a matte's identity."""
    auto = open_engine(EngineOptions(device="cpu")).describe()["precision"]
    assert auto == resolved("auto", torch.device("cpu"))
    named = open_engine(EngineOptions(device="cpu", precision="float16")).describe()["precision"]
    assert named == "float16"


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_alpha_differs_by_less_than_two_thousandths_in_the_mean(precision, clip_of):
    clip = clip_of(5, 96, 128)

    def alpha(name):
        engine = open_engine(EngineOptions(device="cpu", precision=name))
        (block,) = blocks(clip.frames)
        sources = clip.plates.__getitem__, clip.trimaps.__getitem__, lambda: False
        (found,) = engine.matte(block, clip.frames, [1003], *sources)
        return found.alpha[found.trimap == 128]

    difference = abs(alpha("float32") - alpha(precision))
    assert 0 < difference.mean() < 0.002
    assert difference.max() < 0.02
