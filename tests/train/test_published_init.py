"""What networks begin with: no zero that is meant is lost, and nothing is loaded in silence."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet50

from model.errors import SetupError
from model.networks.r50_published_names import published_name
from model.networks.st_fam_r50 import StFamR50
from model.networks.st_fam_s import StFamS
from training.published.init import initialise, load_backbone

WIDTHS = (8, 16, 32, 64, 128)


@pytest.fixture(scope="module")
def backbone():
    """A ResNet-50 as torchvision names it, narrow."""
    torch.manual_seed(3)
    state = StFamR50(WIDTHS).encoder.state_dict()
    found = {}
    for name, one in state.items():
        theirs = published_name(f"encoder.{name}").removeprefix("encoder.")
        found[theirs] = torch.randn_like(one) if one.is_floating_point() else one
    found["conv1.weight"] = found["conv1.weight"][:, :3]
    return found


def test_torchvisions_names_are_those_of_the_encoder():
    with torch.device("meta"):
        theirs = resnet50().state_dict()
        ours = StFamR50().encoder.state_dict()
    named = {
        published_name(f"encoder.{n}").removeprefix("encoder."): one for n, one in ours.items()
    }
    other = {n for n in named if theirs[n].shape != named[n].shape}
    assert other == {"conv1.weight"}
    assert set(theirs) - set(named) == {"fc.weight", "fc.bias"}


def test_xavier_keeps_zeros_and_norms():
    torch.manual_seed(1)
    network = StFamR50(WIDTHS)
    before = {name: one.clone() for name, one in network.state_dict().items()}
    (line,) = initialise(network, {"type": "xavier", "gain": 1.0})
    after = network.state_dict()
    assert "4 that begin at 0 kept" in line  # the offsets of four levels
    for level in range(4):
        assert not after[f"align.{level}.taps.weight"].any()
    norms = [n for n in before if "norm" in n and n.endswith(("weight", "bias"))]
    assert norms
    assert all(torch.equal(before[n], after[n]) for n in norms)
    kernel = after["decoder.wide.4.left1.weight"]
    fan = 128 * 7
    assert float(kernel.std()) == pytest.approx((2 / (2 * fan)) ** 0.5, rel=0.05)
    assert not after["decoder.wide.4.left1.bias"].any()
    assert not torch.equal(before["align.0.weight"], after["align.0.weight"])


def test_our_network_still_answers_its_prior():
    torch.manual_seed(1)
    network = StFamS((4, 6, 8, 8, 8), (4, 4), 4)
    heads = [name for name, one in network.named_parameters() if one.dim() > 1 and not one.any()]
    initialise(network, {"type": "kaiming"})
    after = dict(network.named_parameters())
    assert heads
    assert not any(after[name].any() for name in heads)


def test_an_unknown_type_is_refused():
    with pytest.raises(SetupError, match="'uniform' is not known"):
        initialise(StFamR50(WIDTHS), {"type": "uniform"})


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.encoder."])
def test_a_backbone_is_taken_whole_and_the_trimap_begins_at_nothing(prefix, backbone, tmp_path):
    file = tmp_path / "res50.pth"
    extra = {} if prefix else {"fc.weight": torch.zeros(4, 4)}
    named = {**{prefix + name: one for name, one in backbone.items()}, **extra}
    torch.save({"state_dict": named}, file)
    network = StFamR50(WIDTHS)
    lines = load_backbone(network, file)
    assert "318 of 318 tensors of the encoder, 3 of 4 planes" in lines[0]
    assert ("fc.weight" in lines[-1]) == bool(extra)
    stem = network.encoder.conv.weight
    assert torch.equal(stem[:, :3], backbone["conv1.weight"])
    assert not stem[:, 3].any()
    deep = network.encoder.stages[3][2].norm3.running_var
    assert torch.equal(deep, backbone["layer4.2.bn3.running_var"])


def test_what_does_not_fit_is_named_and_nothing_is_changed(backbone, tmp_path):
    file = tmp_path / "res50.pth"
    torch.save({n: one for n, one in backbone.items() if "layer4.2" not in n}, file)
    network = StFamR50(WIDTHS)
    before = network.encoder.conv.weight.clone()
    with pytest.raises(SetupError, match=r"15 missing \(encoder.layer4.2.conv1.weight"):
        load_backbone(network, file)
    torch.save(backbone | {"layer1.0.conv1.weight": torch.zeros(3, 3, 1, 1)}, file)
    with pytest.raises(SetupError, match=r"1 of another shape \(encoder.layer1.0.conv1.weight"):
        load_backbone(network, file)
    assert torch.equal(before, network.encoder.conv.weight)


def test_a_file_by_deconv_is_taken_but_for_what_it_never_uses(tmp_path):
    """As the published code saves it, ``rs`` and all."""
    torch.manual_seed(4)
    state = {**StFamR50(WIDTHS).state_dict(), **StFamR50(WIDTHS, upsample="deconv").state_dict()}
    file = tmp_path / "latest_net_Base.pth"
    torch.save({published_name(name): one for name, one in state.items()}, file)
    network = StFamR50(WIDTHS, upsample="deconv")
    lines = load_backbone(network, file)
    assert "not used: 30 tensors (decoder.deconv0.rs.conv.weight, " in lines[-1]
    for name, one in network.state_dict().items():
        assert torch.equal(one, state[name]), name


def test_transposed_kernels_are_drawn_as_well():
    torch.manual_seed(1)
    network = StFamR50(WIDTHS, upsample="deconv")
    initialise(network, {"type": "xavier", "gain": 1.0})
    state = network.state_dict()
    weight = state["decoder.rise.4.enlarge.weight"]
    right = (2 / (16 * sum(weight.shape[:2]))) ** 0.5
    assert float(weight.std()) == pytest.approx(right, rel=0.05)
    assert not state["decoder.rise.4.enlarge.bias"].any()


def test_only_the_network_that_has_one_takes_a_backbone(tmp_path):
    with pytest.raises(SetupError, match="no part of this network"):
        load_backbone(StFamS((4, 6, 8, 8, 8), (4, 4), 4), tmp_path / "res50.pth")
