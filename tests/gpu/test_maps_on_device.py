"""The kernels for maps give on the device what plain torch gives there."""

import pytest
import torch
import torch.nn.functional as F

from cuda_ops import maps
from model.networks import alignment

pytestmark = pytest.mark.gpu

TYPES = [(torch.float16, 2e-3), (torch.bfloat16, 1.6e-2), (torch.float32, 2e-6)]


@pytest.fixture(params=TYPES, ids=["half", "bfloat", "float"])
def kind(request, device):
    dtype, bound = request.param
    if device.type != "cuda":
        pytest.skip("needs a CUDA device")
    probe = torch.zeros(1, 16, 2, 2, device=device, dtype=dtype)
    with torch.no_grad():
        assert maps.takes(probe.contiguous(memory_format=torch.channels_last), 16)
    assert not maps.takes(probe, 16)  # gradients are wanted
    return dtype, bound


def a_map(device, dtype, *shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = torch.randn(shape, generator=g).to(device, dtype)
    return made.contiguous(memory_format=torch.channels_last)


def alike(found, right, bound):
    assert found.shape == right.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    return (found.double() - right).abs().max() <= bound * right.abs().max()


@torch.no_grad()
def test_finished(kind, device):
    dtype, bound = kind
    x, other = (a_map(device, dtype, 3, 72, 45, 91, seed=i) for i in range(2))
    bias, gate = a_map(device, dtype, 1, 72, 1, 1).flatten(), a_map(device, dtype, 3, 8, 45, 91)
    right = x.double() * gate[:, :1].double().sigmoid()
    right = right + bias.double()[:, None, None] + other[:1].double()
    right = torch.where(right > 0, right, 0.1 * right)
    new = maps.finished(x, bias, slope=0.1, other=other[:1], gate=gate)
    assert alike(new, right, bound)
    same = maps.finished(x, bias, slope=0.1, other=other[:1], gate=gate, in_place=True)
    assert same is x
    assert torch.equal(x, new)


@torch.no_grad()
def test_doubled_and_shuffled(kind, device):
    dtype, bound = kind
    x, onto = a_map(device, dtype, 2, 64, 33, 47), a_map(device, dtype, 2, 64, 66, 94, seed=1)
    up = F.interpolate(x.double(), scale_factor=2, mode="bilinear", align_corners=False)
    assert alike(maps.doubled(x, None, onto), up + onto.double(), bound)
    apart = x.view(2, 4, 16, 33, 47).transpose(1, 2).reshape(2, 64, 33, 47)
    assert torch.equal(maps.shuffled(x), F.pixel_shuffle(apart, 2))


@torch.no_grad()
@pytest.mark.parametrize(("channels", "reach"), [(32, 3), (48, 3), (8, 1), (64, 2)])
def test_matches(channels, reach, kind, device):
    dtype, bound = kind
    a, b = (a_map(device, dtype, 4, channels, 34, 61, seed=i) for i in range(2))
    right = alignment.matches(a.double(), b.double(), reach)
    assert alike(maps.matches(a, b, reach), right, bound)


@torch.no_grad()
def test_moved(kind, device):
    dtype, bound = kind
    x = a_map(device, dtype, 4, 48, 34, 61)
    shift = 9 * torch.randn(4, 2, 34, 61, generator=torch.Generator().manual_seed(4)).to(device)
    assert alike(maps.moved(x, shift), alignment.warp(x.double(), shift), max(bound, 1e-4))


@torch.no_grad()
def test_peaks(kind, device):
    dtype, bound = kind
    x, weight = a_map(device, dtype, 2, 192, 34, 61), a_map(device, dtype, 2, 192, 1, 1, seed=1)
    weighed = x.double() * weight.double()
    right = torch.cat([weighed.mean(1, True), weighed.amax(1, True)], 1)
    found = maps.peaks(x, weight.flatten(1))
    assert alike(found[:, :2].contiguous(memory_format=torch.channels_last), right, bound)
    assert not found[:, 2:].any()
