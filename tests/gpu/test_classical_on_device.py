"""The classical solvers give on the device what they give on the CPU."""

import pytest
import torch

from model.classical import trimap_step
from model.classical.closed_form import ClosedForm
from model.classical.foreground import estimate_foreground
from model.classical.trimap_flow import TrimapFlow
from training.prior import exact_priors, quick_priors

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("size", [(63, 90), (200, 301)])
def test_closed_form(size, device, clip_of, on):
    here = clip_of(1, *size)
    there = on(here, device)
    right, found = ClosedForm().prior(here[0]), ClosedForm().prior(there[0])
    assert found.alpha.device.type == device.type
    assert (found.alpha.cpu() - right.alpha).abs().max() < 1e-4
    assert (found.confidence.cpu() - right.confidence).abs().max() < 1e-3
    trimap = there[0].trimap
    assert torch.equal(found.alpha[trimap != 0.5], trimap[trimap != 0.5])


def test_foreground(device, clip_of, on):
    here = clip_of(1)
    alpha = ClosedForm().prior(here[0]).alpha
    right = estimate_foreground(here[0].light, alpha)[0]
    found = estimate_foreground(on(here, device)[0].light, alpha.to(device))[0]
    assert (found.cpu() - right).abs().max() < 1e-3


def test_trimap_flow(device, clip_of, on):
    answers = []
    for frames in (clip_of(3), on(clip_of(3), device)):
        network = TrimapFlow()
        memory = network.start(frames[:1], 0)
        for frame in frames[1:]:
            memory, classes = network.step(memory, frame)
        answers.append(classes)
    right, found = answers
    assert found.probability.device.type == device.type
    assert (found.probability.cpu() != right.probability).float().mean() < 5e-3
    assert (found.confidence.cpu() - right.confidence).abs().mean() < 2e-3


def test_recorded_steps_are_the_same_steps(device, clip_of, on):
    """To the bit: they are hundreds of kernels, replayed from the third frame on."""
    frames = on(clip_of(7), device)
    recorded, plain = TrimapFlow(), TrimapFlow()
    plain._expect, plain._settle = trimap_step.expect, trimap_step.settle
    plain._lay_out = trimap_step.lay_out
    memories = [network.start(frames[:1], 0) for network in (recorded, plain)]
    for frame in frames[1:]:
        memories[0], found = recorded.step(memories[0], frame)
        memories[1], right = plain.step(memories[1], frame)
        assert torch.equal(found.carried, right.carried)
        for one, other in zip(vars(found.clues).values(), vars(right.clues).values(), strict=True):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    if device.type == "cuda":
        for one in (recorded._expect, recorded._settle, recorded._lay_out):
            assert all(made._replayed.records for made in one._recordings.values())


def test_quick_priors(device, clip_of):
    frames = clip_of(4, 96, 120)
    light, trimap = (torch.cat([getattr(f, n) for f in frames]) for n in ("light", "trimap"))
    linear = torch.tensor([False, False, True, True])
    found = quick_priors(light.to(device), trimap.to(device), linear.to(device)).cpu()
    assert (found - quick_priors(light, trimap, linear)).abs().max() < 1e-2
    assert (found - exact_priors(light, trimap, linear)).abs().mean() < 5e-3
