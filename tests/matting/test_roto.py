"""A rough shape becomes a trimap: shrunk, grown, and widened by what moves."""

import numpy as np
import pytest
import torch

from model.classical.edge_motion import edge_motion
from model.engine import EngineOptions
from model.errors import InputError
from model.pipeline import open_engine
from model.plates.plate import Plate, PlateHeader, Window
from model.plates.roto import trimap_of_shape

FOREGROUND, UNKNOWN, BACKGROUND = 255, 128, 0


def square(size=60, edge=20):
    shape = np.zeros((size, size), np.float32)
    shape[edge:-edge, edge:-edge] = 1
    return shape


def band(row):
    """How many unknown pixels there are left of the foreground."""
    return int((row[: np.argmax(row == FOREGROUND)] == UNKNOWN).sum())


@pytest.mark.parametrize(("shrink", "grow"), [(0, 0), (3, 0), (0, 5), (4, 7)])
def test_the_band_is_as_wide_as_it_is_asked_to_be(shrink, grow):
    row = trimap_of_shape(square(), shrink, grow)[30]
    assert (row == FOREGROUND).sum() == 20 - 2 * shrink
    assert (row == BACKGROUND).sum() == 40 - 2 * grow
    assert band(row) == shrink + grow


def test_what_is_soft_is_unknown_and_the_edge_is_counted_from_there():
    shape = square()
    shape[:, 18:20] = np.where(shape[:, 20:21] == 1, 0.5, 0)
    row = trimap_of_shape(shape, 2, 3)[30]
    assert band(row) == 2 + 2 + 3
    assert (row[18:20] == UNKNOWN).all()


def test_the_pictures_border_is_no_edge():
    shape = np.zeros((20, 30), np.float32)
    shape[:, :15] = 1
    found = trimap_of_shape(shape, 4, 4)
    assert (found[:, :11] == FOREGROUND).all() and (found[:, 19:] == BACKGROUND).all()
    assert (trimap_of_shape(np.ones((5, 5), np.float32), 4, 4) == FOREGROUND).all()
    assert (trimap_of_shape(np.zeros((5, 5), np.float32), 4, 4) == BACKGROUND).all()


def test_motion_widens_the_edge_that_moves_and_no_other():
    motion = np.zeros((60, 60), np.float32)
    motion[:, :30] = 5
    row = trimap_of_shape(square(), 2, 3, motion)[30]
    assert band(row) == 2 + 3 + 2 * 5
    assert band(row[::-1]) == 2 + 3


def test_a_shape_that_is_eaten_up_is_named():
    with pytest.raises(InputError, match=r"all of the shape s.exr lies within 10 pixels") as caught:
        trimap_of_shape(square(), 10, 0, frame=7, path="s.exr")
    assert caught.value.code == "input.roto" and caught.value.frame == 7


def textured(height=120, width=160):
    rng = np.random.default_rng(3)
    coarse = torch.from_numpy(rng.random((1, 3, height // 4, width // 4)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def moved(picture, pixels):
    """Something 60 pixels wide that moves over a picture which stands still."""
    thing = textured().flip(2)[..., 30:90, 40:100]
    found = picture.clone()
    found[..., 30:90, 40 + pixels : 100 + pixels] = thing
    return found


def test_the_edge_is_widened_by_half_of_the_way_of_the_faster_neighbour():
    still = textured()
    before, now, after = (moved(still, x) for x in (-2, 0, 6))
    wide = edge_motion(now, [before, after])
    assert wide.shape == (120, 160) and wide.dtype == np.float32
    assert np.median(wide[40:80, 50:90]) == pytest.approx(3, abs=0.5)
    assert np.median(wide[40:80, 50:90]) > np.median(edge_motion(now, [before])[40:80, 50:90]) + 1
    assert np.median(wide[:20]) < 0.3
    assert edge_motion(now, [now, now]).max() < 0.1
    assert (edge_motion(now, []) == 0).all()


def test_in_a_large_plate_the_way_is_in_its_pixels():
    """Solved at working size, told in pixels of the plate."""
    pictures = [moved(textured(), x) for x in (0, 6)]
    large = [torch.nn.functional.interpolate(one, scale_factor=10.0) for one in pictures]
    wide = edge_motion(large[0], large[1:])
    assert wide.shape == (1200, 1600)
    assert np.median(wide[400:800, 500:900]) == pytest.approx(30, abs=5)


def test_the_engine_widens_over_the_plates_own_data_window():
    display = Window.of_size(160, 120)
    crop = Window(30, 20, 119, 99)

    def plate(picture, window):
        rows, columns = window.inside(display)
        pixels = picture[0].permute(1, 2, 0).numpy()[rows, columns]
        return Plate(pixels, PlateHeader(("R", "G", "B"), window, display, colourspace="sRGB"))

    now, after = plate(moved(textured(), 0), crop), plate(moved(textured(), 6), display)
    engine = open_engine(EngineOptions(device="cpu", threads=1, network="closed_form"))
    wide = engine.motion(1, now, [after])
    assert wide.shape == (80, 90)
    assert np.median(wide[20:60, 20:60]) == pytest.approx(3, abs=0.5)
