"""The prior of the learned networks by our kernels gives what plain torch gives on the CPU."""

import dataclasses
import logging

import pytest
import torch
import torch.nn.functional as F

from cuda_ops import nvrtc, variants
from model.classical import on_device
from model.classical.closed_form import solve_alpha
from model.classical.coarse_to_fine import prior_alpha
from model.classical.data_term import DataTerm

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def by_kernels(device, monkeypatch):
    """Kernels or nothing: plain torch on the device is not what is tested here. What they are held
    against is solved further than in use, where kernels are often nearer to the solution."""
    monkeypatch.setattr("model.classical.closed_form._ALIKE_TOLERANCE", 1e-6)
    if device.type != "cuda" or variants.card_refusal(device):
        pytest.skip("needs a CUDA device that our kernels run on")
    yield
    assert not on_device._broken


def widened(frame, pixels):
    """A frame of which more is unknown, by so many pixels around; with grain, for among neighbours
    that are equally near the two implementations may choose differently."""
    grain = torch.rand(frame.light.shape, generator=torch.Generator().manual_seed(9))
    light, picture = frame.light + 0.004 * grain, (frame.picture + 0.004 * grain).clamp(0, 1)
    frame = dataclasses.replace(frame, light=light, picture=picture)
    unknown = (frame.trimap == 0.5).float()
    unknown = F.max_pool2d(unknown, 2 * pixels + 1, 1, pixels) > 0
    return dataclasses.replace(frame, trimap=torch.where(unknown, 0.5, frame.trimap))


def both(frame, device, light="display", picture=None):
    """Alpha of the CPU and of the device."""
    picture = frame.picture if picture is None else picture
    right = prior_alpha(frame.light, frame.trimap, picture, light)
    there = (tensor.to(device) for tensor in (frame.light, frame.trimap, picture))
    found = prior_alpha(*there, light)
    assert found.device.type == device.type and found.dtype == right.dtype
    return right, found.cpu()


def alike(right, found, trimap):
    unknown = trimap == 0.5
    assert torch.equal(found[~unknown], right[~unknown])
    error = (found - right).abs()[unknown]
    assert error.mean() < 2e-3, error.mean()
    assert error.quantile(0.99) < 2e-2, error.quantile(0.99)


@pytest.mark.parametrize("light", ["display", "linear"])
@pytest.mark.parametrize(
    ("size", "more"),
    [((63, 90), 2), ((200, 301), 9), ((541, 963), 12), ((1080, 1920), 40), ((3, 400), 0)],
)
def test_as_on_the_cpu(size, more, light, device, clip_of):
    frame = widened(clip_of(1, *size)[0], more)
    right, found = both(frame, device, light)
    alike(right, found, frame.trimap)


@pytest.mark.parametrize("size", [(200, 301), (541, 963)])
def test_with_what_is_told(size, device, clip_of):
    """A clean plate's or a hint's word goes into the kernels."""
    frame = widened(clip_of(1, *size)[0], 9)
    checks = ((torch.arange(size[0])[:, None] + torch.arange(size[1])) // 9 % 2)[None, None]
    told = DataTerm(checks.float(), 0.02 * torch.ones(1, 1, *size))
    right = prior_alpha(frame.light, frame.trimap, frame.picture, "display", told=told)
    there = (tensor.to(device) for tensor in (frame.light, frame.trimap, frame.picture))
    on_it = DataTerm(told.alpha.to(device), told.weight.to(device))
    alike(right, prior_alpha(*there, "display", told=on_it).cpu(), frame.trimap)


def test_a_frame_solved_as_it_is(device, clip_of):
    """More pixels than `prior_alpha` would solve one by one, and more tiles than are inverted."""
    frame = widened(clip_of(1, 700, 900)[0], 20)
    named = {"composited_in": "display", "tolerance": 1e-6}
    right = solve_alpha(frame.light, frame.trimap, picture=frame.picture, **named)
    there = [t.to(device) for t in (frame.light, frame.trimap, frame.picture)]
    found = solve_alpha(there[0], there[1], picture=there[2], **named).cpu()
    alike(right, found, frame.trimap)


@pytest.mark.parametrize("light", ["display", "linear"])
def test_the_same_in_every_run(light, device, clip_of):
    frame = widened(clip_of(1, 541, 963)[0], 25)
    there = [t.to(device) for t in (frame.light, frame.trimap, frame.picture)]
    first = prior_alpha(*there, light)
    for _ in range(5):
        assert torch.equal(prior_alpha(*there, light), first)


@pytest.mark.parametrize("kept", [0.0, 1.0])
@pytest.mark.parametrize("size", [(63, 90), (541, 963)])
def test_a_class_is_missing(kept, size, device, clip_of):
    frame = clip_of(1, *size)[0]
    trimap = torch.where(frame.trimap == kept, kept, torch.full_like(frame.trimap, 0.5))
    right, found = both(dataclasses.replace(frame, trimap=trimap), device)
    assert torch.equal(right, found)


@pytest.mark.parametrize("size", [(63, 90), (541, 963)])
def test_nothing_is_unknown(size, device, clip_of):
    frame = clip_of(1, *size)[0]
    right, found = both(dataclasses.replace(frame, trimap=frame.trimap.round()), device)
    assert torch.equal(right, found)


@pytest.mark.parametrize("size", [(63, 90), (541, 963)])
def test_a_damaged_plate(size, device, clip_of):
    frame = widened(clip_of(1, *size)[0], 4)
    light = frame.light.clone()
    light[..., 20:23, 30:33] = torch.nan
    light[..., 25, 50:60] = torch.inf
    frame = dataclasses.replace(frame, light=light)
    right, found = both(frame, device, "linear", frame.picture.nan_to_num(0.0))
    assert found.isfinite().all()
    alike(right, found, frame.trimap)


def test_one_colour_everywhere(device, clip_of):
    """All pixels equally near in colour, and functions of it that say nothing."""
    frame = widened(clip_of(1, 200, 301)[0], 6)
    flat = torch.full_like(frame.light, 0.25)
    right, found = both(dataclasses.replace(frame, light=flat, picture=flat), device)
    alike(right, found, frame.trimap)


def test_on_another_stream(device, clip_of):
    frame = widened(clip_of(1, 541, 963)[0], 12)
    there = [t.to(device) for t in (frame.light, frame.trimap, frame.picture)]
    first = prior_alpha(*there, "display")
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        found = prior_alpha(*there, "display")
    stream.synchronize()
    assert torch.equal(found, first)


def test_plain_torch_goes_on_where_kernels_fail(device, clip_of, monkeypatch, caplog):
    frame = clip_of(1)[0]
    there = [t.to(device) for t in (frame.light, frame.trimap, frame.picture)]
    broken = {}
    with monkeypatch.context() as patch:
        patch.setattr(on_device, "_broken", broken)

        def refuses(*_):
            raise nvrtc.KernelError("no")

        patch.setattr(variants, "kernel_on", refuses)
        with caplog.at_level(logging.WARNING, "dvm.kernels"):
            for _ in range(2):
                found = prior_alpha(*there, "display").cpu()
    assert len(caplog.records) == 1 and broken
    right = prior_alpha(frame.light, frame.trimap, frame.picture, "display")
    alike(right, found, frame.trimap)
