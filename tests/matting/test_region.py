"""A region of interest: its matte is the crop of the whole one, and little else is solved."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.canvas import region_canvas
from model.classical.coarse_to_fine import MOST_PIXELS, coarseness
from model.engine import EngineOptions
from model.errors import InputError
from model.face import Frame
from model.passes import blocks
from model.pipeline import open_engine
from model.plates.holdout import Guides
from model.plates.input_mattes import InputMatte
from model.plates.mattes import matte_paths, write_matte
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.plates.region import matte_header
from tests.server.serving import header as header_of
from tests.server.serving import pixels as pixels_of

NEVER = lambda: False  # noqa: E731
ROI = (120, 60, 179, 99)  # on the right edge of the disc
LAYERS = ("alpha", "trimap", "confidence", "foreground")


def matted(clip, roi=None, guides=lambda f: Guides(), **options):
    options = {"network": "closed_form", "layers": LAYERS, **options}
    engine = open_engine(EngineOptions(device="cpu", threads=1, roi=roi, **options))
    asked = []
    prior = engine._matting.prior

    def counted(frame):
        asked.append(frame.trimap.numel())
        return prior(frame)

    engine._matting.prior = counted
    (block,) = blocks(clip.frames)
    sources = clip.plates.__getitem__, clip.trimaps.__getitem__, NEVER
    return list(engine.matte(block, clip.frames, clip.frames, *sources, guides)), asked


@pytest.mark.parametrize(("network", "most"), [("closed_form", 0.01), ("st_fam_s", 0.05)])
def test_the_matte_of_a_region_is_the_crop_of_the_whole(network, most, clip_of):
    clip = clip_of(2, 240, 480)
    roi = (230, 90, 289, 149)
    whole, all_of_it = matted(clip, network=network)
    part, solved = matted(clip, roi, network=network)
    cut = np.s_[90:150, 230:290]
    for one, other in zip(whole, part, strict=True):
        assert other.header.data_window == Window(*roi)
        assert other.header.display_window == one.header.display_window
        assert other.alpha.shape == other.trimap.shape == (60, 60)
        assert np.array_equal(other.trimap, one.trimap[cut])
        soft = (one.alpha[cut] > 0.05) & (one.alpha[cut] < 0.95)
        assert soft.sum() > 50
        assert np.abs(other.alpha - one.alpha[cut]).max() < most
        certain = other.alpha == 1
        plate = clip.plates[one.frame].pixels[cut]
        assert np.array_equal(other.foreground[certain], plate[certain])
        # The foreground is estimated from coarse to fine, and the coarsest level differs.
        assert np.abs(other.foreground - one.foreground[cut]).mean() < 0.01
    assert all_of_it == [240 * 480] * 2
    assert sum(solved) < sum(all_of_it) / 2 - 1


def test_a_region_without_a_class_is_widened_until_it_has_one(clip_of):
    """All but the disc's soft rim: there is no certain foreground near."""
    clip = clip_of(1, 300, 300)
    wide = clip.trimaps[1001].pixels.copy()
    rows, columns = np.nonzero(wide == 255)
    wide[wide == 255] = 128
    wide[rows.min() + 60 : rows.min() + 64, columns.min() + 60 : columns.min() + 64] = 255
    clip.trimaps[1001] = Trimap(wide, source="given")
    roi = (int(columns.max()) - 8, 140, int(columns.max()) + 8, 160)
    (found,), (solved,) = matted(clip, roi)
    assert solved < 300 * 300
    (whole,), _ = matted(clip)
    crop = whole.alpha[140:161, roi[0] : roi[2] + 1]
    assert crop.max() > 0.2
    assert np.abs(found.alpha - crop).max() < 0.1  # 0, if it saw no foreground


def test_what_is_solved_begins_and_ends_on_the_grid_of_the_whole():
    canvas, nothing = Window(-7, 3, 992, 802), []
    found = region_canvas(canvas, Window(300, 300, 340, 350), nothing, 64, 48)
    assert found.x0 <= 236 and found.y1 >= 414
    assert ((found.x0 + 7) % 48, (found.y0 - 3) % 48) == (0, 0)
    assert (found.width % 48, found.height % 48) == (0, 0)
    assert region_canvas(canvas, Window(-50, 0, 2000, 900), nothing, 64, 48) == canvas


@pytest.mark.parametrize(("width", "height"), [(640, 360), (1280, 720), (1920, 1080), (3996, 2160)])
def test_a_part_of_a_frame_is_solved_on_the_grid_of_all_of_it(width, height):
    """Also where the frame has just so many pixels that the next grid begins."""
    light = torch.zeros(1, 3, 304, 400)
    part = Frame(1, light, light, light[:, :1], "linear", whole_pixels=width * height)
    most = math.ceil(MOST_PIXELS * part.share)
    assert coarseness(304 * 400, most) == coarseness(width * height)


def test_windows_that_change_and_regions_partly_outside(clip_of):
    clip = clip_of(5, 48, 64)
    display = Window.of_size(64, 48)
    crops = {1001: Window(0, 0, 63, 47), 1002: Window(0, 0, 9, 9), 1004: Window(20, 7, 63, 40)}
    for f, plate in list(clip.plates.items()):
        window = crops.get(f, display)
        pixels = plate.pixels[window.y0 : window.y1 + 1, window.x0 : window.x1 + 1]
        clip.plates[f] = Plate(pixels, PlateHeader(("R", "G", "B"), window, display))
    found, _ = matted(clip, (30, 10, 80, 60))
    windows = {one.frame: one.header.data_window for one in found}
    assert windows[1001] == Window(30, 10, 63, 47)
    assert windows[1002] == Window(30, 10, 30, 10)  # nothing of it: one black pixel
    assert windows[1004] == Window(30, 10, 63, 40)
    for one in found:
        shape = one.header.data_window.height, one.header.data_window.width
        assert one.alpha.shape == one.trimap.shape == one.confidence.shape == shape
        assert one.foreground.shape == (*shape, 3)
    assert found[1].alpha[0, 0] == 0 and (found[1].foreground == 0).all()


def test_limits_hold_in_a_region(clip_of):
    clip = clip_of(1, 160, 240)
    garbage = np.zeros((160, 240), np.float32)
    garbage[:80] = 1
    garbage[80:84] = 0.5
    (found,), _ = matted(clip, ROI, lambda f: Guides(InputMatte(garbage)))
    assert (found.alpha[:20] == 0).all() and found.alpha[20:24].max() <= 0.5
    assert found.alpha[24:].max() > 0.9


def test_where_only_trimaps_are_asked_for_they_are_cut_too(clip_of):
    clip = clip_of(1, 160, 240)
    (found,), solved = matted(clip, ROI, layers=("trimap",))
    assert np.array_equal(found.trimap, clip.trimaps[1001].pixels[60:100, 120:180])
    assert solved == []


def test_a_region_beside_the_plate_is_named(clip_of):
    clip = clip_of(1, 48, 64)
    with pytest.raises(InputError, match=r"region \(64, 0\)–\(70, 9\) lies outside.*\(63, 47\)"):
        matted(clip, (64, 0, 70, 9))


def test_the_file_says_where_it_lies_and_what_it_was_cut_from(clip_of, tmp_path):
    clip = clip_of(1, 160, 240)
    (found,), _ = matted(clip, ROI)
    paths = matte_paths(tmp_path / "a.####.exr", 1001, LAYERS, False)
    write_matte(paths, found, layers=LAYERS, split=False)
    header = header_of(paths["alpha"])
    assert header.data_window == Window(*ROI)
    assert header.display_window == Window.of_size(240, 160)
    assert tuple(np.ravel(header.metadata["originalDataWindow"])) == (0, 0, 239, 159)
    assert pixels_of(paths["alpha"]).shape == (40, 60, 6)


def test_a_region_that_holds_the_plate_changes_nothing(clip_of):
    header = clip_of(1).plates[1001].header
    assert matte_header(header, Window(-5, -5, 900, 900), 1) is header
    assert matte_header(replace(header), None, 1) == header
