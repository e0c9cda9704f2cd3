"""The learned networks, whatever their weights, give on the device what they give on the CPU."""

import copy

import pytest
import torch

from model.networks.st_fam_s import StFamS, StFamSMatting
from model.networks.trimap_memory_s import TrimapMemory, TrimapMemoryS

pytestmark = pytest.mark.gpu


def stirred(network):
    """Weights such that the heads, which begin at zero, say something."""
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor += 0.02 * torch.randn(tensor.shape, generator=g)
    return network


def matte(network, frames, precision=None):
    face = StFamSMatting(network)
    device = frames[0].light.device.type
    priors = [face.prior(f) for f in frames]
    with torch.autocast(device, precision, enabled=precision is not None):
        seen = [face.encode(f, p) for f, p in zip(frames, priors, strict=True)]
        found = face.decode(seen, 2)
    return found.alpha.float().cpu(), found.confidence.float().cpu(), priors[2].alpha.cpu()


def test_st_fam_s(device, clip_of, on):
    network, frames = stirred(StFamS()), clip_of(5)
    alpha, confidence, prior = matte(network, frames)
    alpha, confidence = (t[..., :63, :90] for t in (alpha, confidence))
    assert (alpha - prior).abs().max() > 0.01
    there = copy.deepcopy(network).to(device)
    for precision, bound in ((None, 2e-3), (torch.float16, 5e-3), (torch.bfloat16, 0.1)):
        found = [t[..., :63, :90] for t in matte(there, on(frames, device), precision)]
        assert (found[0] - alpha).abs().mean() < bound
        assert (found[1] - confidence).abs().mean() < bound


@torch.inference_mode()
def test_what_is_replayed_is_what_was_recorded(device, clip_of, on):
    """Frame after frame of a clip, each with its own answer, and of another size in between."""
    face = StFamSMatting(stirred(StFamS()).to(device))
    frames, small = on(clip_of(7), device), on(clip_of(3, 40, 56), device)
    priors = {id(f): face.prior(f) for f in (*frames, *small)}

    def mattes(clip):
        seen = [face.encode(f, priors[id(f)]) for f in clip]
        windows = [seen[max(0, i - 2) : i + 3] for i in range(len(clip))]
        found = [face.decode(w, min(i, 2)) for i, w in enumerate(windows)]
        return torch.stack([torch.cat([one.alpha, one.confidence]) for one in found])

    with torch.autocast(device.type, torch.float16):
        first = mattes(frames)
        card = face._card(device)
        if device.type == "cuda":
            assert card.encode.records and card.decode.records
            card.encode._enabled = card.decode._enabled = False
        right, other = mattes(frames), mattes(small)
        if device.type == "cuda":
            card.encode._enabled = card.decode._enabled = True
        again, second = mattes(frames), mattes(small)
    assert torch.equal(first, right) and torch.equal(again, right) and torch.equal(second, other)
    assert not torch.equal(right[2], right[3])


def test_trimap_memory_s(device, clip_of, on):
    network, answers = stirred(TrimapMemoryS()), []
    for net, frames in (
        (network, clip_of(3)),
        (copy.deepcopy(network).to(device), on(clip_of(3), device)),
    ):
        face = TrimapMemory(net)
        memory = face.start(frames[:1], 0)
        for frame in frames[1:]:
            memory, classes = face.step(memory, frame)
        answers.append(classes)
    right, found = answers
    assert (found.probability.cpu() - right.probability).abs().mean() < 2e-3
    assert (found.confidence.cpu() - right.confidence).abs().mean() < 2e-3


def test_recorded_steps_of_trimap_memory_s(device, clip_of, on):
    network = stirred(TrimapMemoryS()).to(device)
    frames = on(clip_of(6), device)
    recorded, plain = TrimapMemory(network), TrimapMemory(network)
    plain._told = plain._tell
    memories = [face.start(frames[:1], 0) for face in (recorded, plain)]
    for frame in frames[1:]:
        memories[0], found = recorded.step(memories[0], frame)
        memories[1], right = plain.step(memories[1], frame)
        assert (found.added - right.added).abs().max() < 1e-3
        assert found.added.any()
