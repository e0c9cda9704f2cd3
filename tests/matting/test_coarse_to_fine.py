"""The prior of large frames, solved on a coarser grid and carried up along colours."""

import pytest
import torch

from model.classical.closed_form import solve_alpha
from model.classical.coarse_to_fine import MOST_PIXELS, _coarse_trimap, prior_alpha
from model.classical.data_term import DataTerm


def soft_disc(height, width, *, texture=0.0, seed=0):
    """Light, trimap and truth of a soft disc of one colour over a ground of another."""
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = torch.hypot(y - height / 2.0, x - width / 2.0)
    wave = 3 * torch.sin(20 * torch.atan2(y - height / 2.0, x - width / 2.0))
    alpha = ((height / 4 + wave - distance) / (height / 12) + 0.5).clamp(0, 1)[None, None]
    front = torch.tensor([0.8, 0.5, 0.1])[None, :, None, None]
    back = torch.tensor([0.1, 0.2, 0.4])[None, :, None, None]
    grain = texture * (torch.rand(1, 3, height, width, generator=g) - 0.5)
    light = alpha * front + (1 - alpha) * back + grain
    trimap = torch.where((alpha > 0) & (alpha < 1), 0.5, alpha)
    return light.clamp_min(0), trimap, alpha


def error(found, truth, trimap):
    return float((found - truth)[trimap == 0.5].abs().mean())


def test_a_small_frame_is_solved_pixel_by_pixel():
    light, trimap, _ = soft_disc(64, 90, texture=0.1)
    found = prior_alpha(light, trimap, light.clamp(0, 1), "display")
    straight = solve_alpha(light, trimap, composited_in="display", picture=light.clamp(0, 1))
    assert torch.equal(found, straight)


@pytest.mark.parametrize("composited_in", ["display", "linear"])
@pytest.mark.parametrize("size", [(180, 240), (179, 241)])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_alpha_that_is_a_function_of_colour_is_found_whatever_the_grid(size, factor, composited_in):
    light, trimap, truth = soft_disc(*size)
    most = size[0] * size[1] // factor**2 + 1
    found = prior_alpha(light, trimap, light.clamp(0, 1), composited_in, most)
    assert error(found, truth, trimap) < 0.015
    assert torch.equal(found[trimap != 0.5], trimap[trimap != 0.5])


def test_details_smaller_than_the_grid_come_back_from_the_colours():
    """Stripes of three pixels on a grid of four: enlarged without colours they would be grey."""
    light, trimap, truth = soft_disc(240, 320)
    stripes = ((torch.arange(320) // 3) % 2).float()[None, None, None, :].expand(1, 1, 240, 320)
    inside = trimap == 0.5
    truth = torch.where(inside, stripes, truth)
    front = torch.tensor([0.8, 0.5, 0.1])[None, :, None, None]
    back = torch.tensor([0.1, 0.2, 0.4])[None, :, None, None]
    light = truth * front + (1 - truth) * back
    found = prior_alpha(light, trimap, light, "display", 240 * 320 // 16)
    assert error(found, truth, trimap) < 0.1
    assert error(torch.full_like(truth, 0.5), truth, trimap) == 0.5


@pytest.mark.parametrize("factor", [2, 3])
def test_a_textured_frame_is_about_as_good_as_pixel_by_pixel(factor):
    light, trimap, truth = soft_disc(240, 320, texture=0.15)
    picture = light.clamp(0, 1)
    fine = prior_alpha(light, trimap, picture, "display")
    coarse = prior_alpha(light, trimap, picture, "display", 240 * 320 // factor**2)
    assert error(coarse, truth, trimap) < 1.3 * error(fine, truth, trimap) + 0.005


def test_the_grid_follows_from_the_size_not_from_what_is_unknown():
    """Else the matte of a shot would change its character from one frame to the next."""
    _, trimap, _ = soft_disc(540, 960)
    narrow = trimap.clone()
    narrow[..., :400] = 0
    assert _coarse_trimap(trimap, MOST_PIXELS)[0] == _coarse_trimap(narrow, MOST_PIXELS)[0] == 2


def test_a_class_too_thin_for_the_grid_makes_it_finer():
    light, trimap, _ = soft_disc(120, 160)
    trimap[trimap == 1] = 0.5
    trimap[..., 60, 70:90] = 1  # a stroke of one pixel
    factor, known = _coarse_trimap(trimap, 120 * 160 // 9)
    assert factor == 2
    assert bool((known == 1).any())
    assert torch.isfinite(prior_alpha(light, trimap, light, "display", 120 * 160 // 9)).all()


def test_a_class_that_the_trimap_has_is_not_lost_to_the_grid_for_a_little_that_is_told():
    light, trimap, truth = soft_disc(180, 240)
    thin = torch.where(trimap == 1, 0.5, trimap)
    thin[0, 0, 60:120, 120] = 1  # the certain foreground is a line of a pixel
    told = DataTerm(torch.zeros_like(thin), torch.zeros_like(thin))
    told.weight[0, 0, 90, 80], told.alpha[0, 0, 90, 80] = 1e-5, 0.5
    named = light, thin, light.clamp(0, 1), "display", 180 * 240 // 9 + 1
    assert error(prior_alpha(*named), truth, thin) < 0.01
    assert error(prior_alpha(*named, told), truth, thin) < 0.01


@pytest.mark.parametrize("composited_in", ["display", "linear"])
def test_damaged_pixels_of_any_value_do_not_stop_a_frame(composited_in):
    light, trimap, truth = soft_disc(90, 120, texture=0.1)
    wild = torch.rand(light.shape[2:], generator=torch.Generator().manual_seed(2)) < 0.02
    light[:, :, wild] = torch.finfo(torch.float32).max
    for most in (90 * 120, 90 * 120 // 4 + 1):
        found = prior_alpha(light, trimap, light.clamp(0, 1), composited_in, most)
        assert torch.isfinite(found).all()
        assert error(found, truth, trimap) < 0.2


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_trimaps_of_one_class(value):
    light, trimap, _ = soft_disc(120, 160)
    found = prior_alpha(light, torch.full_like(trimap, value), light, "display", 1000)
    assert torch.equal(found, torch.full_like(trimap, value))


def test_what_is_no_number_stays_where_it_is():
    light, trimap, truth = soft_disc(120, 160)
    light[:, :, 10:14, 10:14] = torch.nan
    light[:, :, 60, 40] = torch.inf
    found = prior_alpha(light, trimap, light.nan_to_num().clamp(0, 1), "linear", 120 * 160 // 9)
    assert torch.isfinite(found).all()
    assert error(found, truth, trimap) < 0.05
