"""The published losses, on cases small enough to reckon by hand."""

from __future__ import annotations

import math

import pytest
import torch

from model.exposure import ExposureMap, to_picture
from training.published import losses

N = 8 * 8


def flat(value: float, frames: int = 1) -> torch.Tensor:
    return torch.full((frames, 1, 8, 8), value)


def half(frames: int = 1) -> torch.Tensor:
    region = torch.zeros(frames, 1, 8, 8, dtype=torch.bool)
    region[..., 4:] = True
    return region


def test_difference_weighs_the_unknown_and_the_certain_apart():
    found = losses.difference(flat(0.5), flat(0.2), half(), soft=1.0, hard=0.5)
    part = 0.3 * 32 / 33
    assert float(found) == pytest.approx(part + 0.5 * part, rel=1e-5)


@pytest.mark.parametrize("linear", [False, True])
def test_the_true_alpha_of_straight_layers_makes_the_plate(linear):
    g = torch.Generator().manual_seed(1)
    alpha = torch.rand(2, 1, 8, 8, generator=g)
    foreground, background = (torch.rand(2, 3, 8, 8, generator=g) for _ in range(2))
    light = alpha * foreground + (1 - alpha) * background
    about = light, foreground, background, half(2)
    assert float(losses.composite(alpha, *about, linear=linear)) < 2e-6
    # What is on disk in the published format is premultiplied: no alpha makes that right.
    wrong = light, alpha * foreground, background, half(2)
    assert float(losses.composite(alpha, *wrong, linear=linear)) > 0.1


def test_a_composite_is_in_units_of_imagenets_spread():
    light, foreground = torch.full((1, 3, 8, 8), 0.2), torch.full((1, 3, 8, 8), 0.7)
    black = torch.zeros(1, 3, 8, 8)
    found = losses.composite(flat(1.0), light, foreground, black, half(), linear=False)
    wanted = sum(0.5 / s for s in (0.229, 0.224, 0.225)) / 3 * 32 / 33
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    linear = losses.composite(flat(1.0), light, foreground, black, half(), linear=True)
    seen = to_picture(foreground, ExposureMap()) - to_picture(light, ExposureMap())
    assert float(linear) == pytest.approx(float(seen.mean()) * wanted / 0.5, rel=1e-5)


def test_sobel_of_a_ramp_is_its_slope():
    ramp = 0.1 * torch.arange(8.0).expand(1, 1, 8, 8)
    inner = losses.sobel(ramp)[..., 1:-1]
    assert torch.allclose(inner, torch.full_like(inner, math.sqrt(0.01 + 1e-6)))


def test_the_published_gradient_loss_learns_nothing_through_sobel():
    ramp = 0.1 * torch.arange(8.0).expand(1, 1, 8, 8)
    alpha = flat(0.4).requires_grad_()
    whole = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    found = losses.gradient(alpha, ramp, whole, reweighs=True)
    (slope,) = torch.autograd.grad(found, alpha)
    weight = 2 * (losses.sobel(ramp) - losses.sobel(flat(0.4))).abs()
    wanted = (weight * (flat(0.4) - ramp).abs()).sum() / (weight.sum() + 1)
    assert float(found.detach()) == pytest.approx(float(wanted), rel=1e-6)
    assert torch.allclose(slope, weight / (weight.sum() + 1) * (0.4 - ramp).sign(), atol=1e-7)


def test_the_gradient_loss_forgives_a_constant_error():
    ramp = 0.1 * torch.arange(8.0).expand(1, 1, 8, 8)
    assert float(losses.gradient(ramp + 0.2, ramp, half())) < 1e-6
    assert float(losses.gradient(ramp + 0.2, ramp, half(), reweighs=True)) < 1e-5
    steeper = float(losses.gradient(2 * ramp, ramp, half()))
    assert steeper == pytest.approx(0.1 * 32 / 33, rel=0.2)


def test_divergence_is_that_of_kullback_and_leibler():
    g = torch.Generator().manual_seed(2)
    alpha, truth = (torch.rand(1, 1, 8, 8, generator=g) for _ in range(2))
    p = (alpha + 1e-10) / (alpha.sum() + 1e-5)
    a = (truth + 1e-10) / (truth.sum() + 1e-5)
    wanted = float((a * (a.log() - p.log())).sum())
    assert float(losses.divergence(alpha, truth, half(), whole=True)) == pytest.approx(wanted)
    assert abs(float(losses.divergence(truth, truth, half()))) < 1e-6
    # What is certain does not count, unless whole frames do.
    other = torch.where(half(), truth, 1 - truth)
    assert abs(float(losses.divergence(other, truth, half()))) < 1e-6
    assert float(losses.divergence(other, truth, half(), whole=True)) > 0.05


def test_divergence_of_an_exact_zero_has_a_bounded_slope():
    alpha = flat(0.0).requires_grad_()
    losses.divergence(alpha, flat(0.5), half(), least=1e-3).backward()
    assert alpha.grad is not None
    assert float(alpha.grad.abs().max()) < 1e3


def test_temporal_forgives_an_error_that_stays():
    truth = torch.cat([flat(0.2), flat(0.4)])
    assert float(losses.temporal(truth + 0.3, truth, half(2))) < 1e-10
    other = torch.cat([flat(0.5), flat(0.4)])
    part = 0.09 * 32 / 33
    assert float(losses.temporal(other, truth, half(2))) == pytest.approx(part, rel=1e-5)
    assert float(losses.temporal(other, truth, half(2), whole=True)) == pytest.approx(0.09)
    assert float(losses.temporal(flat(0.5), flat(0.1), half())) == 0
