"""Metrics against figures worked out by hand: a slip here would make every table of ours wrong."""

from __future__ import annotations

import numpy as np
import pytest

from training.judging import metrics

TRIMAP = np.array([[0, 128, 128, 255]], np.uint8)
TRUTH = np.array([[0.0, 0.25, 0.75, 1.0]])
ALPHA = np.array([[0.5, 0.50, 0.50, 1.0]])


def test_unknown_region_is_all_that_is_not_certain() -> None:
    trimap = np.array([[0, 1, 128, 254, 255]], np.uint8)
    assert metrics.unknown_region(trimap).tolist() == [[False, True, True, True, False]]


def test_mse_mad_sad_over_the_unknown_region() -> None:
    region = metrics.unknown_region(TRIMAP)
    assert metrics.mse(ALPHA, TRUTH, region) == pytest.approx(62.5)
    assert metrics.mad(ALPHA, TRUTH, region) == pytest.approx(250.0)
    assert metrics.sad(ALPHA, TRUTH, region) == pytest.approx(0.0005)


def test_mse_mad_sad_over_the_whole_frame() -> None:
    assert metrics.mse(ALPHA, TRUTH) == pytest.approx(1e3 * (0.25 + 2 * 0.0625) / 4)
    assert metrics.mad(ALPHA, TRUTH) == pytest.approx(250.0)
    assert metrics.sad(ALPHA, TRUTH) == pytest.approx(0.001)


def test_an_empty_region_has_no_error() -> None:
    nothing = np.zeros(TRIMAP.shape, bool)
    assert metrics.mse(ALPHA, TRUTH, nothing) == 0.0
    assert metrics.mad(ALPHA, TRUTH, nothing) == 0.0
    assert metrics.dtssd([ALPHA, TRUTH], [TRUTH, TRUTH], [nothing, nothing]) == 0.0


def test_half_arrays_are_summed_in_double() -> None:
    truth = np.zeros((512, 512), np.float16)
    assert metrics.sad(truth + np.float16(0.5), truth) == pytest.approx(512 * 512 * 0.5 / 1e3)


def test_dtssd_ignores_errors_that_stay_and_counts_errors_that_move() -> None:
    truth = np.zeros((2, 2))
    assert metrics.dtssd([truth + 0.3, truth + 0.3], [truth, truth]) == 0.0
    assert metrics.dtssd([truth, truth + 0.3], [truth, truth]) == pytest.approx(30.0)
    assert metrics.dtssd([truth + 0.3], [truth]) == 0.0


def test_dtssd_is_taken_where_either_frame_is_unknown_and_averaged_over_pairs() -> None:
    truth = np.zeros((1, 4))
    jump = np.array([[0.0, 0.4, 0.0, 0.0]])
    regions = [TRIMAP == 0, (TRIMAP == 128), (TRIMAP == 255)]
    # Pair one: pixels 0, 1, 2, one of them off by .4. Pair two: pixels 1, 2, 3, again one.
    assert metrics.dtssd([truth, jump, truth], [truth] * 3, regions) == pytest.approx(
        100 * np.sqrt(0.16 / 3)
    )


def test_dtssd_holds_its_identity_with_mse_and_correlation() -> None:
    rng = np.random.default_rng(1)
    shared, own = rng.normal(size=(2, 300, 300)), rng.normal(size=300 * 300).reshape(300, 300)
    first, second = shared[0] * 0.1, (0.6 * shared[0] + 0.8 * own) * 0.1
    truth = np.zeros((300, 300))
    expected = np.sqrt(2e4 * 0.01 * (1 - 0.6))
    assert metrics.dtssd([first, second], [truth, truth]) == pytest.approx(expected, rel=0.01)


def test_mixed_band_grows_in_a_square_and_stops_at_the_border() -> None:
    truth = np.zeros((7, 9))
    truth[0, 1] = 0.5
    expected = np.zeros((7, 9), bool)
    expected[0:3, 0:4] = True
    assert (metrics.mixed_band(truth) == expected).all()
    assert metrics.mixed_band(np.full((1, 1), 0.5)).all()


def test_trimap_quality_counts_what_its_conventions_say() -> None:
    truth = np.zeros((1, 20))
    truth[0, 10:12] = 0.5
    truth[0, 12:] = 1.0
    trimap = np.full((1, 20), 255, np.uint8)
    trimap[0, :9] = 0
    trimap[0, 9:11] = 128
    quality = metrics.trimap_quality(trimap, truth)
    # The band is 8…13, unknown 9 and 10; one truly mixed pixel (11) is called foreground.
    assert quality.mixed_recall == pytest.approx(2 / 6)
    assert quality.band_width == pytest.approx(2 / 6)
    assert quality.certainly_wrong == pytest.approx(5.0)


@pytest.mark.parametrize(("value", "alpha", "wrong"), [(255, 0.94, 100.0), (255, 0.96, 0.0)])
def test_foreground_is_wrong_below_its_threshold(value: int, alpha: float, wrong: float) -> None:
    for trimap, truth in ((value, alpha), (255 - value, 1 - alpha)):
        quality = metrics.trimap_quality(np.full((3, 3), trimap, np.uint8), np.full((3, 3), truth))
        assert quality.certainly_wrong == wrong


def test_trimap_quality_where_nothing_is_mixed() -> None:
    solid = np.ones((4, 4))
    assert metrics.trimap_quality(np.full((4, 4), 255, np.uint8), solid).band_width == 1.0
    assert metrics.trimap_quality(np.full((4, 4), 128, np.uint8), solid).band_width == np.inf


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.mse(ALPHA, TRUTH[:, :2])
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.trimap_quality(TRIMAP, TRUTH[:, :2])
    with pytest.raises(ValueError, match="must match"):
        metrics.dtssd([ALPHA], [])
