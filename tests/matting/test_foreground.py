"""Foreground estimation: exact where nothing is mixed, elsewhere near truth and pymatting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from model.classical.foreground import estimate_foreground


def scene(height: int = 60, width: int = 80, gain: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """A soft-edged disc of smooth colour over another smooth colour: light, alpha, foreground."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = torch.hypot(y - height / 2, x - width / 2)
    alpha = ((height / 3 + 5 - distance) / 10).clamp(0, 1)[None, None]
    ramp = torch.stack([x / width, y / height, 1 - x / width])[None]
    foreground = 0.6 + 0.3 * ramp
    background = 0.1 + 0.2 * ramp.flip(1)
    return gain * (alpha * foreground + (1 - alpha) * background), alpha, gain * foreground


def test_finds_the_colours_of_a_smooth_scene() -> None:
    light, alpha, truth = scene()
    foreground, background = estimate_foreground(light, alpha)
    mixed = ((alpha > 0.02) & (alpha < 0.98)).expand_as(light)
    assert ((foreground - truth) * alpha)[mixed].abs().mean() < 0.01
    again = alpha * foreground + (1 - alpha) * background
    assert (again - light)[mixed].abs().max() < 0.02


def test_certain_pixels_keep_the_plate_to_the_bit() -> None:
    light, alpha, _ = scene()
    light[0, :, 0, 0] = torch.tensor([-0.25, 1e4, 3.0])
    light[0, :, 30, 40] = torch.tensor([900.0, -1.0, 0.5])
    foreground, background = estimate_foreground(light, alpha)
    assert torch.equal(
        foreground[(alpha == 1).expand_as(light)], light[(alpha == 1).expand_as(light)]
    )
    assert torch.equal(
        background[(alpha == 0).expand_as(light)], light[(alpha == 0).expand_as(light)]
    )
    assert (foreground * alpha)[(alpha == 0).expand_as(light)].abs().max() == 0


def test_light_has_no_ceiling_and_scales() -> None:
    light, alpha, _ = scene()
    bright, _, _ = scene(gain=1024.0)
    ordinary = estimate_foreground(light, alpha)[0]
    scaled = estimate_foreground(bright, alpha)[0] / 1024
    assert torch.allclose(ordinary, scaled, atol=1e-4)


def test_a_highlight_behind_the_edge_stays_out_of_the_foreground() -> None:
    light, alpha, truth = scene()
    mixed = (alpha > 0.02) & (alpha < 0.98)
    lamp = torch.zeros_like(alpha)
    lamp[..., 5:12, 35:45] = 500.0
    foreground, _ = estimate_foreground(light + (1 - alpha) * lamp, alpha)
    assert ((foreground - truth) * alpha)[mixed.expand_as(light)].abs().median() < 0.02
    assert foreground.min() >= 0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (33, 65)])
def test_any_size(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    light = torch.rand(1, 3, *size, generator=generator)
    alpha = torch.rand(1, 1, *size, generator=generator)
    for colours in estimate_foreground(light, alpha):
        assert colours.shape == light.shape
        assert colours.dtype == torch.float32
        assert torch.isfinite(colours).all()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_alpha_of_one_value(value: float) -> None:
    light = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(4))
    for colours in estimate_foreground(light, torch.full((1, 1, 20, 30), value)):
        assert torch.isfinite(colours).all()


def test_the_same_to_the_bit_every_time() -> None:
    light, alpha, _ = scene()
    first, second = estimate_foreground(light, alpha), estimate_foreground(light, alpha)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_agrees_with_pymatting_and_is_no_worse() -> None:
    module = pytest.importorskip("pymatting.foreground.estimate_foreground_ml")
    light, alpha, truth = scene(90, 120)
    noise = 0.05 * torch.rand(light.shape, generator=torch.Generator().manual_seed(5))
    light = (light + noise).clamp(0, 1)
    ours = estimate_foreground(light, alpha)[0]
    array = light[0].permute(1, 2, 0).double().numpy()
    theirs = module.estimate_foreground_ml(array, alpha[0, 0].double().numpy())
    theirs = torch.from_numpy(theirs.astype(np.float32)).permute(2, 0, 1)[None]
    mixed = ((alpha > 0.02) & (alpha < 0.98)).expand_as(light)
    sad_ours = ((ours - truth).abs() * alpha)[mixed].sum()
    sad_theirs = ((theirs - truth).abs() * alpha)[mixed].sum()
    assert ((ours - theirs).abs() * alpha)[mixed].mean() < 0.02
    assert sad_ours <= 1.05 * sad_theirs


def test_a_wrong_alpha_lets_little_background_in() -> None:
    """Green behind grey, and an alpha that is too high: what is more shows no green, nor light."""
    y, x = torch.meshgrid(torch.arange(60), torch.arange(80), indexing="ij")
    alpha = ((40 - x) / 16 + 0.5).clamp(0, 1)[None, None]
    noise = 0.01 * torch.randn(1, 3, 60, 80, generator=torch.Generator().manual_seed(6))
    shading = 0.3 + 0.2 * torch.sin(y / 3.0)
    front = shading.expand(1, 3, -1, -1)
    green = torch.tensor([0.05, 0.8, 0.1]).view(1, 3, 1, 1).expand(-1, -1, 60, 80)
    light = alpha * front + (1 - alpha) * green + noise
    mixed = ((alpha > 0.1) & (alpha < 0.9)).expand_as(light)
    wrong = torch.where((alpha > 0) & (alpha < 1), (alpha + 0.15).clamp(0, 0.98), alpha)
    told = torch.where(wrong == alpha, 1.0, 0.2)
    found = estimate_foreground(light, wrong, told)[0]
    error = (wrong * found - alpha * front)[mixed].square().mean()
    trusting = estimate_foreground(light, wrong)[0]
    spilt = (wrong * trusting - alpha * front)[mixed].square().mean()
    assert error < 0.6 * spilt
    tint = (wrong * (found[:, 1:2] - found[:, :1]))[mixed[:, :1]].mean()
    unaware = light - (1 - wrong) * green  # what is left when the alpha is believed
    tint_of_unaware = (unaware[:, 1:2] - unaware[:, :1])[mixed[:, :1]].mean()
    assert tint < 0.3 * tint_of_unaware


def test_a_clean_plate_is_taken_at_its_word_where_it_is_known() -> None:
    generator = torch.Generator().manual_seed(7)
    light, alpha, truth = scene()
    behind = torch.rand(light.shape, generator=generator)  # no estimate could guess this
    plate = alpha * truth + (1 - alpha) * behind
    known = torch.ones_like(alpha, dtype=torch.bool)
    known[..., :20] = False
    mixed = (alpha > 0.1) & (alpha < 0.9)

    def error(where: Tensor, **given: Tensor) -> float:
        found = estimate_foreground(plate, alpha, **given)[0]
        return float((alpha * (found - truth))[where.expand_as(light)].square().mean())

    inside, outside = mixed & known, mixed & ~known
    assert error(inside, background=behind) < 0.25 * error(inside)
    both = error(inside, background=behind, known=known)
    assert both == pytest.approx(error(inside, background=behind), rel=0.02)
    nonsense = torch.where(known, behind, 9.0)
    assert error(outside, background=nonsense, known=known) < 1.1 * error(outside)


def test_where_nothing_of_a_layer_is_seen_it_has_the_colour_it_has_nearby() -> None:
    light, alpha, truth = scene()
    foreground, background = estimate_foreground(light, alpha)
    just_outside = (alpha == 0) & (torch.nn.functional.max_pool2d(alpha, 5, 1, 2) > 0)
    assert just_outside.any()
    error = (foreground - truth).abs()[just_outside.expand_as(light)]
    assert error.max() < 0.15
    assert background[(alpha == 1).expand_as(light)].max() < 0.5
