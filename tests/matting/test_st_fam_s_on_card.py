"""The form of `st_fam_s` for CUDA cards, on the CPU: the same answers as the network's own."""

import pytest
import torch

from cuda_ops import maps, variants
from model.networks.st_fam_s import OnCard, StFamS, StFamSMatting
from tests.gpu.conftest import disc_clip
from tests.ops.cuda_on_cpu import OPERATOR, Emulator, needs_gxx

ODD = (5, 11, 24, 32, 40)  # channels, most of which are no multiple of eight


def stirred(**options):
    """Weights such that the heads, which begin at zero, say something."""
    network = StFamS(channels=ODD, narrow=(16, 24), guide=8, **options)
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor += 0.03 * torch.randn(tensor.shape, generator=g)
    return network


@torch.inference_mode()
def mattes(face, frames, card):
    """Alpha and confidence at the middle of a clip and at its end, by the card's form or not."""
    face._card = lambda device: card
    seen = [face.encode(frame, face.prior(frame)) for frame in frames]
    found = [face.decode(seen, 2), face.decode(seen[2:], 2)]
    return [torch.cat([one.alpha, one.confidence]) for one in found]


@pytest.mark.parametrize("both_ways", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 3e-2)]
)
def test_the_same_answers_in_shapes_for_a_card(dtype, bound, both_ways):
    face, frames = StFamSMatting(stirred(both_ways=both_ways)), disc_clip(5)
    right = mattes(face, frames, None)
    found = mattes(face, frames, OnCard(face.network, dtype, recorded=False))
    for a, b in zip(right, found, strict=True):
        assert a.dtype == b.dtype == torch.float32
        assert (a - b).abs().max() < bound
    assert (right[0] - right[1]).abs().max() > 10 * bound  # windows and what they say differ


@needs_gxx
def test_the_same_answers_by_the_kernels(built, monkeypatch):
    network = StFamS(channels=(5, 8, 16, 16, 24), narrow=(8, 16), guide=8)
    g = torch.Generator().manual_seed(6)
    for tensor in network.parameters():
        tensor.data += 0.03 * torch.randn(tensor.shape, generator=g)
    face, frames = StFamSMatting(network), disc_clip(5, 32, 48)
    right = mattes(face, frames, None)
    emulator = Emulator(built, OPERATOR)
    monkeypatch.setattr(variants, "kernel_on", emulator.kernel_on)
    monkeypatch.setattr(
        maps,
        "takes",
        lambda x, channels, weight=None: (
            channels % 4 == 0 and x.is_contiguous(memory_format=torch.channels_last)
        ),
    )
    found = mattes(face, frames, OnCard(network, torch.float32, recorded=False))
    for a, b in zip(right, found, strict=True):
        assert (a - b).abs().max() < 1e-5
    assert {"finish", "doubled", "matches", "moved"} <= set(emulator.launched)


def test_filled_planes():
    planes = torch.randn(1, 9, 3, 4)
    found = maps.filled(planes)
    assert found.shape == (1, 16, 3, 4)
    assert torch.equal(found[:, :9], planes) and not found[:, 9:].any()
    assert maps.filled(found).shape == found.shape
