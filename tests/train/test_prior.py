"""The quick prior of a batch against the exact one of single frames."""

from __future__ import annotations

import pytest
import torch

from training.prior import exact_priors, quick_priors

CPU = torch.device("cpu")


def pictures(
    count: int, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Soft discs over a smooth background: light, true alpha, trimap."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    lights, alphas = [], []
    g = torch.Generator().manual_seed(0)
    for i in range(count):
        away = ((y - height / 2) ** 2 + (x - width / 2 - 3 * i) ** 2).sqrt()
        alpha = ((height / 4 + 6 - away) / 12).clamp(0, 1)[None]
        grain = 0.02 * torch.randn(3, height, width, generator=g)
        front = torch.tensor([0.8, 0.3, 0.2])[:, None, None] + 0.1 * torch.sin(x / 5)
        back = torch.tensor([0.1, 0.3, 0.6])[:, None, None] + 0.1 * torch.cos(y / 7)
        lights.append(alpha * front + (1 - alpha) * back + grain)
        alphas.append(alpha)
    alpha = torch.stack(alphas)
    soft = torch.nn.functional.max_pool2d(((alpha > 0) & (alpha < 1)).float(), 5, 1, 2) > 0
    return torch.stack(lights), alpha, torch.where(soft, 0.5, (alpha > 0.5).float())


@pytest.mark.parametrize(("height", "width"), [(96, 120), (97, 111), (40, 50)])
def test_close_to_the_exact_solution(height, width):
    """What is left is small against the prior's own error."""
    light, alpha, trimap = pictures(3, height, width)
    linear = torch.tensor([False, True, False])
    unknown = trimap == 0.5
    exact, quick = exact_priors(light, trimap, linear), quick_priors(light, trimap, linear)
    assert quick.shape == exact.shape
    apart = (quick - exact)[unknown].square().mean().sqrt()
    error = (exact - alpha)[unknown].square().mean().sqrt()
    assert apart < 0.02
    assert apart < 0.5 * error
    assert torch.equal(quick[~unknown], trimap[~unknown])


def test_frames_do_not_touch_each_other():
    """A frame's prior is its own, whatever lies above and below it in the batch."""
    light, _, trimap = pictures(3, 96, 100)
    linear = torch.tensor([True, True, True])
    together = quick_priors(light, trimap, linear, iterations=400)
    alone = quick_priors(light[1:2], trimap[1:2], linear[1:2], iterations=400)
    assert (together[1:2] - alone).abs().max() < 5e-3


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_a_frame_that_knows_one_class_is_that_class(known):
    light, _, trimap = pictures(2, 90, 90)
    trimap[0][trimap[0] != known] = 0.5
    linear = torch.tensor([False, False])
    for solve in (exact_priors, quick_priors):
        assert (solve(light, trimap, linear)[0] - known).abs().max() < 1e-3


def test_nothing_unknown():
    light, alpha, _ = pictures(2, 90, 90)
    certain = (alpha > 0.5).float()
    assert torch.equal(quick_priors(light, certain, torch.tensor([True, False])), certain)
