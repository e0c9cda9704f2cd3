"""The classical solvers give on the device what they give on the CPU."""

import pytest
import torch

from model.blend import blend
from model.classical import trimap_step
from model.classical.closed_form import ClosedForm
from model.classical.foreground import estimate_foreground
from model.classical.hindsight import look_back
from model.classical.hints import hint_of
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


@pytest.mark.parametrize("size", [(63, 90), (450, 700)])
def test_two_ways_are_blended_and_looked_back_on(device, clip_of, on, size):
    """All that is made of what was carried, from two keyframes and from one."""
    found = []
    for frames in (clip_of(5, *size), on(clip_of(5, *size), device)):
        network = TrimapFlow()
        forward, backward = network.starts([frames[0], frames[4]], (0, 4))
        ways = []
        for memory, order in ((forward, (1, 2, 3)), (backward, (3, 2, 1))):
            ways.append({})
            for i in order:
                memory, ways[-1][i] = network.step(memory, frames[i])
        answers, behind = [], None
        for i in (3, 2, 1):
            before, after = ways[0][i], ways[1][i]
            trimap, confidence = blend(before, after, i / 4)
            carried = trimap.cpu().numpy()
            hint = hint_of(i, carried, "display", [before.clues, after.clues])
            behind, seen = look_back(behind, before.clues, carried)
            again = hint_of(i, carried, "display", [before.clues, seen])
            answers.append((trimap, confidence, torch.as_tensor(seen.known), hint, again))
        found.append(answers)
    for right, there in zip(*found, strict=True):
        assert (there[0].cpu() != right[0]).float().mean() < 5e-3
        assert (there[1].cpu() - right[1]).abs().mean() < 2e-3
        assert (there[2].cpu() - right[2]).abs().mean() < 1e-2
        for hint, other in zip(right[3:], there[3:], strict=True):
            assert (hint is None) == (other is None)
            assert hint is None or other.weight.device.type == device.type


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
