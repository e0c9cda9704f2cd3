"""Baselines of an evaluation: figures against plain ways of computing the same, and clean cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from model.plates.plate import Plate, PlateHeader, Trimap, Window
from training.judging import baselines
from training.judging.chained_flow import chained
from training.judging.datasets import Item, Judged
from training.judging.kept import Kept

HEIGHT, WIDTH = 64, 80


def texture(shift: float) -> np.ndarray:
    """A smooth grey texture in 0…1 that moves to the right."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    x = x - shift
    return 0.5 + 0.2 * np.sin(x / 3.1 + y / 7) + 0.2 * np.cos(y / 2.7 - x / 5.3)


def disc(shift: float, radius: float = 12.0) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.clip((radius - np.hypot(x - 30 - shift, y - 32)) / 6 + 0.5, 0, 1)


def painted(alpha: np.ndarray) -> np.ndarray:
    mixed = ndimage.binary_dilation((alpha > 0) & (alpha < 1), iterations=3)
    return np.where(mixed, 128, 255 * (alpha > 0.5)).astype(np.uint8)


def clip(pictures, alphas, trimaps=None) -> tuple[Item, dict[int, Judged]]:
    """Frames from 1 on, composited in display light."""
    window = Window.of_size(WIDTH, HEIGHT)
    header = PlateHeader(tuple("RGB"), window, window, colourspace="srgb_rec709_scene")
    frames = {}
    for i, (picture, alpha) in enumerate(zip(pictures, alphas, strict=True)):
        classes = painted(alpha) if trimaps is None else trimaps[i]
        pixels = np.repeat(picture[..., None], 3, 2).astype(np.float32)
        trimap = Trimap(classes, window, "given")
        frames[i + 1] = Judged(Plate(pixels, header), trimap, alpha.astype(np.float32))
    item = Item("disc", "here", tuple(frames), False, "display", False, frames.__getitem__)
    return item, frames


def test_guided_filter_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    light = rng.random((40, 50, 3)).astype(np.float32)
    classes = np.full((40, 50), 128, np.uint8)
    classes[:, :12], classes[:, 38:] = 0, 255

    def mean(values):
        return ndimage.uniform_filter(values, 21, mode="mirror")

    guide = light.mean(2).astype(np.float64)
    target = np.where(classes == 128, 0.5, classes / 255)
    slope = (mean(guide * target) - mean(guide) * mean(target)) / (
        mean(guide * guide) - mean(guide) ** 2 + 1e-4
    )
    expected = mean(slope) * guide + mean(mean(target) - slope * mean(guide))
    found = baselines.guided_filter(light, classes)
    inside = classes == 128
    assert found[inside] == pytest.approx(expected.clip(0, 1)[inside], abs=1e-4)
    assert (found[~inside] == target[~inside]).all()


def answers(alphas, monkeypatch) -> None:
    """Let these stand for pymatting's."""

    def closed_form(item, frames, number, kept, *, encoded):
        return alphas[number - 1].astype(np.float32), number == 3

    monkeypatch.setattr(baselines, "closed_form_of_pymatting", closed_form)


def test_flow_brings_neighbours_here_before_they_are_averaged(monkeypatch):
    shifts = (0.0, 3.0, 6.0)
    alphas = [disc(shift) for shift in shifts]
    item, frames = clip([texture(shift) for shift in shifts], alphas)
    answers(alphas, monkeypatch)
    found, refused = baselines.flow_averaged(item, frames, 2, Kept(None))
    unknown = frames[2].classes == 128
    error = np.abs(found - alphas[1])[unknown].mean()
    unaligned = np.abs(np.mean(alphas, 0) - alphas[1])[unknown].mean()
    assert error < 0.012 < 0.05 < unaligned
    assert refused  # frame 3 was
    assert (found[~unknown] == frames[2].classes[~unknown] / 255).all()


def test_errors_that_differ_from_frame_to_frame_are_averaged_out(monkeypatch):
    rng = np.random.default_rng(1)
    alphas = [0.5 + 0.1 * rng.standard_normal((HEIGHT, WIDTH)) for _ in range(4)]
    still = [texture(0)] * 4
    item, frames = clip(still, alphas, [np.full((HEIGHT, WIDTH), 128, np.uint8)] * 4)
    answers(alphas, monkeypatch)
    for number, around in ((1, (0, 1)), (2, (0, 1, 2)), (4, (2, 3))):
        found, refused = baselines.flow_averaged(item, frames, number, Kept(None))
        expected = np.mean([alphas[i] for i in around], 0)
        assert found == pytest.approx(expected, abs=1e-3)
        assert refused == (number != 1)


def test_knn_is_pymatting_s_and_kept(tmp_path, monkeypatch):
    from pymatting.alpha.estimate_alpha_knn import estimate_alpha_knn

    alpha = disc(0)
    picture = 0.8 * alpha + 0.1 * (1 - alpha) + 0.02 * texture(0)
    item, frames = clip([picture], [alpha])
    found, refused = baselines.knn_of_pymatting(item, frames, 1, Kept(tmp_path))
    seen = np.repeat(picture.astype(np.float32)[..., None], 3, 2).astype(np.float64)
    known = np.where(frames[1].classes == 128, 0.5, frames[1].classes / 255)
    assert found == pytest.approx(estimate_alpha_knn(seen, known), abs=1e-3)
    assert not refused
    assert np.abs(found - alpha).mean() < 0.03

    def fail(*_args, **_named):
        raise AssertionError("computed again")

    import sys

    module = sys.modules["pymatting.alpha.estimate_alpha_knn"]
    monkeypatch.setattr(module, "estimate_alpha_knn", fail)
    again, _ = baselines.knn_of_pymatting(item, frames, 1, Kept(tmp_path))
    assert (again == found).all()


def test_knn_refuses_what_has_no_foreground():
    smoke = 0.4 * disc(0)
    trimap = np.where(smoke > 0, 128, 0).astype(np.uint8)
    item, frames = clip([smoke], [smoke], [trimap])
    found, refused = baselines.knn_of_pymatting(item, frames, 1, Kept(None))
    assert refused
    assert (found == 0).all()


def test_chained_flow_follows_what_moves_from_the_nearest_keyframe():
    shifts = [2.0 * i for i in range(7)]
    pictures = [np.rint(255 * texture(shift)).astype(np.uint8) for shift in shifts]
    trimaps = [painted(disc(shift)) for shift in shifts]
    wrong = np.zeros_like(trimaps[0])
    carried = chained(pictures, {0: trimaps[0], 6: wrong})
    assert list(carried) == [1, 2, 3, 4, 5]
    for i in (1, 2, 3):
        # Its edges blur, which makes more unknown and nothing else wrong.
        assert (carried[i][trimaps[i] == 128] == 128).mean() > 0.97
        assert (carried[i] == trimaps[i]).mean() > 0.93
        assert not ((carried[i] == 255) & (trimaps[i] == 0)).any()
    assert all((carried[i] == 0).all() for i in (4, 5))


def test_chained_flow_goes_both_ways_from_a_keyframe_between():
    pictures = [np.rint(255 * texture(2.0 * i)).astype(np.uint8) for i in range(5)]
    trimaps = [painted(disc(2.0 * i)) for i in range(5)]
    carried = chained(pictures, {2: trimaps[2]})
    assert sorted(carried) == [0, 1, 3, 4]
    for i, trimap in carried.items():
        assert (trimap == trimaps[i]).mean() > 0.93
