"""Losses on cases small enough to reckon by hand."""

from __future__ import annotations

import pytest
import torch

from training import losses


def flat(value: float, size: int = 8) -> torch.Tensor:
    return torch.full((1, 1, size, size), value)


ALL = torch.ones(1, 1, 8, 8, dtype=torch.bool)


def test_errors_of_a_constant():
    assert float(losses.squared(flat(0.5), flat(0.2), ALL)) == pytest.approx(0.09, abs=1e-6)
    assert float(losses.absolute(flat(0.5), flat(0.2), ALL)) == pytest.approx(0.3, abs=1e-6)
    assert float(losses.gradient(flat(0.5), flat(0.2), ALL)) == 0


def test_pictures_count_alike_whatever_their_bands():
    """One unknown pixel that is wrong by 1, and a picture of 64 that are right: half."""
    alpha = torch.cat([flat(1.0), flat(0.0)])
    unknown = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    unknown[0, 0, 3, 3] = True
    unknown[1] = True
    assert float(losses.squared(alpha, torch.zeros_like(alpha), unknown)) == pytest.approx(0.5)


def test_pictures_without_unknown_pixels_count_nothing():
    nothing = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    assert float(losses.squared(flat(1.0), flat(0.0), nothing)) == 0


def test_the_pyramid_sees_a_smooth_error_only_where_it_is_coarse():
    step = torch.zeros(1, 1, 16, 16)
    step[..., 8:] = 1
    checker = (torch.arange(16)[:, None] + torch.arange(16)) % 2
    region = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    rough = float(losses.pyramid(checker[None, None].float(), torch.zeros(1, 1, 16, 16), region))
    smooth = float(losses.pyramid(step, torch.zeros(1, 1, 16, 16), region))
    assert rough == pytest.approx(0.5, abs=0.01)  # gone after the first halving
    assert smooth > 0.05


def test_temporal_forgives_an_error_that_stays():
    truth = flat(0.2), flat(0.4)
    same = flat(0.5), flat(0.7)
    other = flat(0.5), flat(0.4)
    assert float(losses.temporal(same, truth, ALL)) == pytest.approx(0, abs=1e-10)
    assert float(losses.temporal(other, truth, ALL)) == pytest.approx(0.09, abs=1e-6)


def test_confidence_is_best_where_it_is_true():
    truth, alpha = flat(0.5), flat(0.5)
    alpha[..., 4:] = 0.9
    right = torch.where((alpha - truth).abs() <= 0.1, 4.0, -4.0)
    good = losses.confidence(right, alpha, truth, ALL, 0.1)
    bad = losses.confidence(-right, alpha, truth, ALL, 0.1)
    assert float(good) < 0.05 < float(bad)


def test_confidence_does_not_teach_alpha():
    alpha = flat(0.5).requires_grad_()
    logit = flat(0.0).requires_grad_()
    losses.confidence(logit, alpha, flat(0.2), ALL, 0.1).backward()
    assert alpha.grad is None
    assert logit.grad is not None
