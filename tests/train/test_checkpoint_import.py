"""`dvm-train checkpoint`: a published file becomes one of ours, or a sentence says why not."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch

from model.checkpoint import read_record
from model.networks.r50_published_names import published_name
from model.networks.st_fam_r50 import load_network
from tests.matting.r50_material import NARROW, network_by_rule
from training import cli
from training.checkpoint import main

CPU = torch.device("cpu")


def published(shift: int = 2, refine: bool = True) -> dict[str, torch.Tensor]:
    """As the published code saves it, narrow."""
    state = network_by_rule(NARROW, shift, refine).state_dict()
    return {published_name(name): tensor for name, tensor in state.items()}


def published_by_deconv() -> dict[str, torch.Tensor]:
    """As the published code saves it: with ``rs``, which it has and never uses."""
    state = network_by_rule(NARROW, upsample="deconv").state_dict()
    unused = {name: one for name, one in published().items() if ".rs." in name}
    return {published_name(name): tensor for name, tensor in state.items()} | unused


def saved(folder: Path, content: object) -> Path:
    path = folder / "best_net_Base.pth"
    torch.save(content, path)
    return path


def refused(capsys, *arguments: object) -> str:
    assert main(["import", *map(str, arguments)]) == 20
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("dvm-train: ")
    return said.err


@pytest.mark.parametrize(
    ("shift", "refine", "wrap", "prefix"),
    [
        (2, True, False, ""),
        (2, True, True, "module."),
        (1, True, False, ""),
        (3, False, True, ""),
        (0, True, False, ""),
    ],
)
def test_it_is_brought_over(shift, refine, wrap, prefix, tmp_path, capsys):
    tensors = {prefix + name: one for name, one in published(shift, refine).items()}
    path = saved(tmp_path, {"state_dict": tensors, "epoch": 3} if wrap else tensors)
    assert main(["import", str(path)]) == 0
    out = tmp_path / "best_net_Base.safetensors"
    assert str(out) in capsys.readouterr().out
    record = read_record(out)
    assert record.network == "st_fam_r50"
    assert record.config == {"channels": list(NARROW), "shift": shift, "refine": refine}
    assert "not known to us" in record.licence
    assert record.training == {
        "imported_from": "best_net_Base.pth",
        "imported_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    ours = load_network(out, CPU).state_dict()
    theirs = published(shift, refine)
    assert len(ours) == len(theirs)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[published_name(name)]), name


@pytest.mark.parametrize("with_unused", [True, False])
def test_one_that_enlarges_by_deconv_is_recognised(with_unused, tmp_path, capsys):
    """What it never uses is named, and not brought over."""
    tensors = published_by_deconv()
    assert len(tensors) == 527
    unused = [name for name in tensors if ".rs." in name]
    assert len(unused) == 30
    tensors[unused[0]].fill_(torch.nan)  # nobody looks at it
    if not with_unused:
        tensors = {name: one for name, one in tensors.items() if name not in unused}
    path = saved(tmp_path, tensors)
    assert main(["import", str(path)]) == 0
    said = capsys.readouterr().out
    record = read_record(path.with_suffix(".safetensors"))
    sizes = {"channels": list(NARROW), "shift": 2, "refine": True}
    assert record.config == {**sizes, "upsample": "deconv"}
    assert sorted(record.training.get("left_out", [])) == (sorted(unused) if with_unused else [])
    line = "never uses them: 30 (decoder.deconv0.rs.conv.weight, decoder.deconv0.rs.norm.weight, "
    assert (line in said) == with_unused
    ours = load_network(path.with_suffix(".safetensors"), CPU).state_dict()
    assert len(ours) == 497
    for name, tensor in ours.items():
        assert torch.equal(tensor, tensors[published_name(name)]), name


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("decoder.deconv2.up_deconv.bias", None, "1 missing (decoder.deconv2.up_deconv.bias)"),
        (
            "decoder.deconv2.up_deconv.weight",
            torch.zeros(32, 32, 2, 2),
            "1 of another shape (decoder.deconv2.up_deconv.weight (32, 32, 2, 2) instead of "
            "(32, 32, 4, 4))",
        ),
        (
            "decoder.deconv2.rs.norm.bias",
            torch.zeros(3),
            "1 of another shape (decoder.deconv2.rs.norm.bias (3,) instead of (128,))",
        ),
        ("decoder.deconv5.rs.norm.bias", torch.zeros(3), "1 unknown (decoder.deconv5.rs.norm"),
    ],
)
def test_by_deconv_what_does_not_fit_is_named_as_well(name, change, said, tmp_path, capsys):
    tensors = published_by_deconv()
    if change is None:
        del tensors[name]
    else:
        tensors[name] = change
    assert said in refused(capsys, saved(tmp_path, tensors))
    assert [one.name for one in tmp_path.iterdir()] == ["best_net_Base.pth"]


def test_half_of_the_size(tmp_path):
    """Norms and biases stay exact, and so does what float16 cannot hold."""
    tensors = published()
    tensors["pred_head.weight"][0, 0, 0, 0] = 1e6
    path = saved(tmp_path, tensors)
    for name, options in (("full", []), ("half", ["--half"])):
        assert main(["import", str(path), "--out", str(tmp_path / name), *options]) == 0
    sizes = [(tmp_path / name).stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.7 * sizes[1]
    found = load_network(tmp_path / "half", CPU).state_dict()
    for name, one in found.items():
        right = tensors[published_name(name)]
        small = one.is_floating_point() and one.dim() > 1 and name != "decoder.head.weight"
        assert torch.equal(one, right.half().float() if small else right), name


def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path, capsys):
    tensors = published()
    for name in list(tensors):
        if name.startswith("encoder.layer4.2."):
            del tensors[name]
    tensors["extra.weight"] = torch.zeros(3)
    tensors["decoder.skip0.conv_l1.weight"] = torch.zeros(8, 8, 7, 3)
    said = refused(capsys, saved(tmp_path, tensors))
    assert "of its 517 tensors, 18 missing (encoder.layer4.2.conv1.weight, " in said
    assert "and 15 more)" in said
    assert "1 unknown (extra.weight)" in said
    assert "decoder.skip0.conv_l1.weight (8, 8, 7, 3) instead of (8, 8, 7, 1)" in said
    assert len(said.splitlines()) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["best_net_Base.pth"]


def test_another_shift_in_one_place_does_not_fit(tmp_path, capsys):
    tensors = published(shift=2)
    tensors["fusion.attn0.ca.fc.0.weight"] = published(shift=1)["fusion.attn0.ca.fc.0.weight"]
    said = refused(capsys, saved(tmp_path, tensors))
    assert "of another shape" in said


def test_another_network(tmp_path, capsys):
    said = refused(capsys, saved(tmp_path, {"conv.weight": torch.zeros(2), "b": torch.zeros(1)}))
    assert "is not a checkpoint of st_fam_r50" in said
    assert "it has conv.weight, b" in said


def test_numbers_that_are_none(tmp_path, capsys):
    tensors = published()
    tensors["pred_head.bias"][0] = torch.nan
    assert "not finite in pred_head.bias" in refused(capsys, saved(tmp_path, tensors))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(protocol, tmp_path, capsys):
    went_off = tmp_path / "went_off"
    content = {**published(), "pred_head.bias": Bomb(went_off)}
    path = tmp_path / "bad.pth"
    if protocol == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"bomb": Bomb(went_off)}))
    said = refused(capsys, path)
    assert "could run code" in said
    assert not went_off.exists()


@pytest.mark.parametrize("damage", ["empty", "cut off", "text", "folder", "absent"])
def test_damaged_files(damage, tmp_path, capsys):
    path = saved(tmp_path, published())
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut off":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "text":
        path.write_text("<html>Google Drive: too many downloads</html>")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    said = refused(capsys, path)
    assert str(path) in said
    assert "Traceback" not in said


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {"optimizer": {"a": torch.zeros(1)}}])
def test_a_file_of_something_else(content, tmp_path, capsys):
    assert "is not a dict of named tensors" in refused(capsys, saved(tmp_path, content))


def test_a_file_that_is_there_is_kept(tmp_path, capsys):
    path = saved(tmp_path, published())
    out = tmp_path / "mine.safetensors"
    out.write_text("mine")
    assert "is there already" in refused(capsys, path, "--out", out)
    assert out.read_text() == "mine"
    assert main(["import", str(path), "--out", str(out), "--overwrite"]) == 0
    assert read_record(out).network == "st_fam_r50"
    capsys.readouterr()
    assert "no folder" in refused(capsys, path, "--out", tmp_path / "none" / "x.safetensors")


def test_from_the_command_line(tmp_path, capsys):
    path = saved(tmp_path, published())
    for arguments, code in (
        (["import", path, "--network", "st_fam_r50", "--half"], 0),
        (["show", path.with_suffix(".safetensors")], 0),
        (["import", path, "--network", "st_fam_s"], 2),
        (["show", path], 20),
    ):
        with pytest.raises(SystemExit) as left:
            cli.main(["checkpoint", *map(str, arguments)])
        assert left.value.code == code
        said = capsys.readouterr().out
        if arguments[0] == "show" and code == 0:
            assert json.loads(said)["config"]["channels"] == list(NARROW)
