"""A clean plate on its way through the pipeline: its light, where it is known, what it changes."""

import numpy as np
import pytest
import torch

from model.engine import EngineOptions
from model.exposure import ExposureMap
from model.passes import blocks
from model.pipeline import open_engine
from model.plates.holdout import Guides
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.view import LightView

NEVER = lambda: False  # noqa: E731
VIEW = LightView("", "", ExposureMap(), torch.device("cpu"))
LAYERS = ("alpha", "trimap", "confidence", "foreground")
SIZE = (60, 80)


def plate_of(pixels, window=None, channels=("R", "G", "B"), colourspace="lin_rec709"):
    display = Window.of_size(SIZE[1], SIZE[0])
    header = PlateHeader(channels, window or display, display, colourspace=colourspace)
    return Plate(pixels.astype(np.float32), header)


def scene():
    """A soft edge before a background that no estimate could guess."""
    rng = np.random.default_rng(4)
    behind = 0.1 + 0.6 * rng.random((*SIZE, 3))
    alpha = np.clip((50 - np.mgrid[: SIZE[0], : SIZE[1]][1]) / 24 + 0.5, 0, 1)
    front = np.array([0.7, 0.2, 0.05])
    plate = alpha[..., None] * front + (1 - alpha[..., None]) * behind
    trimap = np.full(SIZE, 128, np.uint8)
    trimap[alpha == 1], trimap[:, 66:] = 255, 0
    return plate_of(plate), Trimap(trimap, source="given"), alpha, behind


def matted(clean, **options):
    plate, trimap, _, _ = scene()
    options = {"network": "closed_form", "layers": LAYERS, **options}
    engine = open_engine(EngineOptions(device="cpu", threads=1, **options))
    (block,) = blocks([1])
    sources = (lambda f: plate), (lambda f: trimap), NEVER
    (found,) = engine.matte(block, [1], [1], *sources, lambda f: Guides(clean=clean))
    return found


@pytest.mark.parametrize("network", ["closed_form", "st_fam_s"])
def test_alpha_and_foreground_are_nearer_to_the_truth(network):
    _, trimap, truth, behind = scene()
    unknown = trimap.pixels == 128

    def errors(found):
        light = found.foreground - truth[..., None] * np.array([0.7, 0.2, 0.05])
        return ((found.alpha - truth)[unknown] ** 2).mean(), (light[unknown] ** 2).mean()

    without, given = (errors(matted(one, network=network)) for one in (None, plate_of(behind)))
    assert given[0] < 0.5 * without[0]
    assert given[1] < 0.5 * without[1]


def test_what_is_certain_stays_certain_and_the_plate_is_kept_to_the_bit():
    plate, trimap, _, behind = scene()
    found = matted(plate_of(behind))
    assert (found.alpha[trimap.pixels == 0] == 0).all()
    sure = trimap.pixels == 255
    assert (found.alpha[sure] == 1).all()
    assert np.array_equal(found.foreground[sure], plate.pixels[sure])
    assert np.array_equal(found.trimap, trimap.pixels)


def test_where_its_alpha_is_below_1_it_is_not_known():
    *_, behind = scene()
    opacity = np.ones((*SIZE, 1))
    opacity[:20] = 0
    opacity[20:22] = 0.9
    wrong = np.where(opacity < 1, 5.0, behind)
    half = plate_of(np.concatenate([wrong, opacity], -1), channels=("R", "G", "B", "A"))
    free, part, whole = matted(None), matted(half), matted(plate_of(behind))
    assert np.abs(part.alpha[:12] - free.alpha[:12]).max() < 0.1
    assert np.abs(part.alpha[30:] - whole.alpha[30:]).max() < 0.1


def test_a_data_window_and_holes_are_where_it_is_known():
    plate, trimap, _, behind = scene()
    window = Window(10, 5, 59, 44)
    cut = behind[5:45, 10:60].copy()
    cut[3, 4, 1] = np.nan
    canvas = Window(0, 0, 79, 59)
    frame = VIEW.frame(1, plate, canvas, trimap, clean=plate_of(cut, window))
    known = frame.background_known[0, 0].numpy()
    assert known.sum() == 50 * 40 - 1 and not known[8, 14] and known[5, 10]
    assert torch.isfinite(frame.background).all()
    assert VIEW.frame(1, plate, canvas, trimap).background is None
    crop = frame.crop(slice(0, 9), slice(0, 9))
    assert crop.background is None and crop.background_known is None


def test_it_is_seen_in_the_light_of_the_plate_whatever_it_is_stored_in():
    plate, trimap, _, _ = scene()
    encoded = plate_of(np.full((*SIZE, 3), 0.5), colourspace="sRGB")
    canvas = Window(0, 0, 79, 59)
    frame = VIEW.frame(1, plate, canvas, trimap, clean=encoded)
    assert frame.composited_in == "linear"
    assert frame.background.mean().item() == pytest.approx(0.214, abs=0.002)


def test_in_a_region_only_its_part_is_looked_at():
    *_, behind = scene()
    whole = matted(plate_of(behind))
    part = matted(plate_of(behind), roi=(30, 20, 69, 49))
    assert part.alpha.shape == (30, 40)
    assert np.abs(part.alpha - whole.alpha[20:50, 30:70]).mean() < 0.02
