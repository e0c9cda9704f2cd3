"""Conventions against plain loops that share no code with them, and cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from training.conventions import formulas
from training.conventions.by_name import (
    CONVENTIONS,
    OURS,
    PUBLISHED,
    RVM,
    TCVOM,
    follows_flow,
    judge_by,
    metrics_of,
)
from training.conventions.clip import MatteClip

HEIGHT, WIDTH = 11, 14
FAULTY = "MESSDdt, as published"


def some_clip(seed: int = 0, frames: int = 3, **changes) -> MatteClip:
    """Random alphas near random truths, random trimaps, flow of a few pixels."""
    rng = np.random.default_rng(seed)
    size = frames, HEIGHT, WIDTH
    truths = ndimage.gaussian_filter(rng.random(size), (0, 2, 2)) * 2.4 - 0.7
    truths = np.rint(255 * truths.clip(0, 1)) / 255
    alphas = (truths + rng.normal(0, 0.15, size)).clip(0, 1)
    trimaps = rng.choice(np.array([0, 128, 255], np.uint8), size, p=[0.2, 0.6, 0.2])
    flows = rng.uniform(-3, 3, (frames - 1, HEIGHT, WIDTH, 2))
    given = {
        "places": range(frames),
        "alphas": alphas.astype(np.float32),
        "truths": truths.astype(np.float32),
        "trimaps": trimaps,
        "length": frames,
        "flow": lambda i: flows[i],
    }
    return MatteClip(**(given | changes))


def value(convention: str, metric: str, clip: MatteClip, **how) -> float:
    return judge_by(convention, clip, **how)[0][metric].value


def pixels(clip: MatteClip, i: int):
    """Alpha, truth and trimap of each pixel of a frame."""
    planes = clip.alphas[i].tolist(), clip.truths[i].tolist(), clip.trimaps[i].tolist()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            yield tuple(plane[y][x] for plane in planes)


def errors(clip: MatteClip, i: int, counts) -> list[float]:
    return [a - g for a, g, t in pixels(clip, i) if counts(t)]


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def painted(level: int) -> bool:
    return level == 128


def unknown(level: int) -> bool:
    return 0 < level < 255


def whole(_level: int) -> bool:
    return True


# The formulas that several share.


def slow_gradient(plane: np.ndarray) -> np.ndarray:
    """By a kernel made from the definition, and SciPy's convolution."""

    def bell(x):
        return math.exp(-(x**2) / (2 * 1.4**2)) / (1.4 * math.sqrt(2 * math.pi))

    across = np.array(
        [[bell(v) * -u * bell(u) / 1.4**2 for u in range(-4, 5)] for v in range(-4, 5)]
    )
    across /= math.sqrt(sum(one**2 for one in across.ravel()))
    sides = [
        ndimage.convolve(plane.astype(np.float64), kernel, mode="nearest")
        for kernel in (across, across.T)
    ]
    return np.sqrt(sides[0] ** 2 + sides[1] ** 2)


def test_gradient_is_that_of_its_definition():
    plane = np.random.default_rng(3).random((21, 17))
    assert formulas.gradient(plane) == pytest.approx(slow_gradient(plane), abs=1e-12)
    assert formulas.gradient_kernels()[0].shape == (9, 9)
    # An even slope of 0.01 a pixel: the same everywhere far from the border.
    slope = np.tile(np.arange(30) * 0.01, (30, 1))
    expected = 0.01 * abs((formulas.gradient_kernels()[0] * np.arange(-4, 5)).sum())
    assert formulas.gradient(slope)[10:20, 10:20] == pytest.approx(expected)


def slow_connectivity(alpha: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixel by pixel: the region by flood fill, the level by walking up the thresholds."""
    height, width = alpha.shape

    def largest(threshold):
        left = {
            (y, x)
            for y in range(height)
            for x in range(width)
            if min(alpha[y, x], truth[y, x]) >= threshold
        }
        best: set = set()
        for start in sorted(left):
            if start not in left:
                continue
            region, open_ends = {start}, [start]
            left.discard(start)
            while open_ends:
                y, x = open_ends.pop()
                for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                    if near in left:
                        left.discard(near)
                        region.add(near)
                        open_ends.append(near)
            if len(region) > len(best):
                best = region
        return best

    regions = [largest(np.float32(step / 10)) for step in range(1, 11)]
    found = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            level = 1.0
            for step, region in enumerate(regions):
                if (y, x) not in region:
                    level = step / 10
                    break
            phis = []
            for one in (alpha[y, x], truth[y, x]):
                distance = float(one) - level
                phis.append(1 - distance if distance >= 0.15 else 1.0)
            found[y, x] = abs(phis[0] - phis[1])
    return found


def test_connectivity_is_that_of_its_definition():
    clip = some_clip(5)
    for alpha, truth in zip(clip.alphas, clip.truths, strict=True):
        found = formulas.connectivity_errors(alpha, truth)
        assert found == pytest.approx(slow_connectivity(alpha, truth), abs=1e-6)
        assert found.max() > 0.2


def test_a_spot_apart_is_not_connected():
    truth = np.zeros((5, 9), np.float32)
    truth[1:4, 1:4] = 1
    alpha = truth.copy()
    alpha[2, 7] = 0.6
    # At level 0 the spot's alpha lies 0.6 above; the truth does not.
    found = formulas.connectivity_errors(alpha, truth)
    assert found[2, 7] == pytest.approx(0.6, abs=1e-6)
    assert found.sum() == pytest.approx(0.6, abs=1e-6)
    both = truth.copy()
    both[2, 7] = 0.6
    assert formulas.connectivity_errors(both, both).sum() == 0
    faint = truth.copy()
    faint[2, 7] = 0.14
    assert formulas.connectivity_errors(faint, truth).sum() == 0
    # Touching by a corner alone does not connect: of two regions the larger counts.
    corner = truth.copy()
    corner[4, 4] = 0.5
    assert formulas.connectivity_errors(corner, truth)[4, 4] == pytest.approx(0.5, abs=1e-6)


def slow_read(plane: np.ndarray, x: float, y: float, *, border: bool) -> float:
    """Bilinear by hand."""
    height, width = plane.shape
    if border:
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    left, top = math.floor(x), math.floor(y)
    total = 0.0
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                total += down * across * plane[row, column]
    return total


@pytest.mark.parametrize("beyond", ["border", "zeros"])
def test_flow_is_followed_bilinearly(beyond):
    rng = np.random.default_rng(1)
    plane, flow = rng.random((6, 8)), rng.uniform(-4, 4, (6, 8, 2))
    found = formulas.followed(plane, flow, beyond=beyond)
    for y in range(6):
        for x in range(8):
            dx, dy = flow[y, x]
            expected = slow_read(plane, x + dx, y + dy, border=beyond == "border")
            assert found[y, x] == pytest.approx(expected, abs=1e-9)


# published-dvm


def test_published_metrics_of_frames():
    clip = some_clip(7)
    frames = range(3)
    inside = [errors(clip, i, painted) for i in frames]
    expected = {
        "SAD": mean(sum(map(abs, one)) / 1000 for one in inside),
        "MSE": mean(sum(e * e for e in one) / (len(one) + 1) for one in inside),
        "SSDA": mean(math.sqrt(sum(e * e for e in one)) for one in inside),
        "Grad": mean(
            sum(
                (a - g) ** 2
                for a, g, t in zip(
                    slow_gradient(clip.alphas[i]).ravel(),
                    slow_gradient(clip.truths[i]).ravel(),
                    clip.trimaps[i].ravel(),
                    strict=True,
                )
                if t == 128
            )
            for i in frames
        ),
        "Conn": mean(
            slow_connectivity(clip.alphas[i], clip.truths[i])[clip.trimaps[i] == 128].sum()
            for i in frames
        ),
    }
    for metric, figure in expected.items():
        assert value(PUBLISHED, metric, clip) == pytest.approx(figure, rel=1e-5), metric


def test_published_metrics_by_hand():
    truth = np.zeros((1, 4), np.float32)
    alphas = [
        np.array([[0, 0.5, 0.1, 0.9]], np.float32),
        np.array([[0, 0.2, 0.5, 0.9]], np.float32),
    ]
    trimaps = [np.array([[0, 128, 128, 255]], np.uint8), np.array([[0, 128, 255, 255]], np.uint8)]
    clip = MatteClip([0, 1], alphas, [truth] * 2, trimaps, 2)
    found, frames = judge_by(PUBLISHED, clip)
    assert found["SAD"].value == pytest.approx((0.6 + 0.2) / 2 / 1000)
    assert found["MSE"].value == pytest.approx((0.26 / 3 + 0.04 / 2) / 2)
    assert found["SSDA"].value == pytest.approx((math.sqrt(0.26) + 0.2) / 2)
    # Over the earlier frame's two pixels: −0.3 and 0.4.
    assert found["dtSSD"].value == pytest.approx(0.5)
    assert frames["dtSSD"] == {1: pytest.approx(0.5)}
    assert "MESSDdt" not in found  # there is no flow


def test_published_pairs():
    clip = some_clip(8)
    changes, followed = [], []
    for i in (0, 1):
        now, after = clip.error(i), clip.error(i + 1)
        masks = [(clip.trimaps[j] == 128).astype(float) for j in (i, i + 1)]
        change = error = 0.0
        for y in range(HEIGHT):
            for x in range(WIDTH):
                change += masks[0][y, x] * (after[y, x] - now[y, x]) ** 2
                dx, dy = clip.flow(i)[y, x]
                there = slow_read(after, x + dx, y + dy, border=True) ** 2
                share = slow_read(masks[1], x + dx, y + dy, border=True)
                error += abs(now[y, x] ** 2 * masks[0][y, x] - there * share)
        changes.append(math.sqrt(change))
        followed.append(error)
    assert value(PUBLISHED, "dtSSD", clip) == pytest.approx(mean(changes), rel=1e-6)
    assert value(PUBLISHED, "MESSDdt", clip) == pytest.approx(mean(followed), rel=1e-6)


def moved_error() -> MatteClip:
    """An error of 0.5 in one pixel, which moves two to the right and one down."""
    truths = [np.zeros((6, 8), np.float32)] * 2
    alphas = [np.zeros((6, 8), np.float32) for _ in range(2)]
    alphas[0][2, 3] = alphas[1][3, 5] = 0.5
    trimaps = [np.full((6, 8), 128, np.uint8)] * 2
    flow = np.zeros((6, 8, 2)) + np.array([2, 1])
    return MatteClip([0, 1], alphas, truths, trimaps, 2, lambda i: flow)


def test_an_error_that_moves_with_what_it_is_on_costs_nothing_but_as_published():
    clip = moved_error()
    found, _ = judge_by(PUBLISHED, clip, as_published=True)
    assert found["MESSDdt"].value == pytest.approx(0, abs=1e-12)
    still = MatteClip(
        clip.places, clip.alphas, clip.truths, clip.trimaps, 2, lambda i: np.zeros((6, 8, 2))
    )
    assert value(PUBLISHED, "MESSDdt", still) == pytest.approx(2 * 0.25)
    # Its own flow finds nothing in an empty truth. Pixel (3, 5) of the later frame is looked up at
    # row 5, column 3 alone: rows and columns have changed places.
    assert found[FAULTY].value == pytest.approx(2 * 0.25)
    assert FAULTY not in judge_by(PUBLISHED, clip)[0]


def test_as_published_has_all_three_faults():
    clip = some_clip(9, frames=4)
    expected = []
    for i in range(3):
        flow = formulas.farneback_of_truth(clip.truths[i], clip.truths[i + 1])
        total = 0.0
        for y in range(HEIGHT):
            for x in range(WIDTH):
                row = min(max(x + int(flow[y, x, 0]), 0), HEIGHT - 1)
                column = min(max(y + int(flow[y, x, 1]), 0), WIDTH - 1)
                place = row * WIDTH + column
                # Frame 1, whichever pair it is.
                then = clip.error(1).ravel()[place] ** 2 * (clip.trimaps[1].ravel()[place] == 128)
                now = clip.error(i)[y, x] ** 2 * (clip.trimaps[i][y, x] == 128)
                total += abs(now - then)
        expected.append(total)
    found, frames = judge_by(PUBLISHED, clip, as_published=True)
    assert list(frames[FAULTY].values()) == pytest.approx(expected)
    assert found[FAULTY].value == pytest.approx(mean(expected))
    assert found[FAULTY].value != pytest.approx(found["MESSDdt"].value, rel=0.05)


def test_constant_errors_cost_nothing_by_the_formula_and_something_as_published():
    """Zero flow, nothing changes: only the transposed look-up makes a figure."""
    rng = np.random.default_rng(4)
    alpha = rng.random((5, 7)).astype(np.float32)
    nothing = [np.zeros((5, 7), np.float32)] * 2
    trimaps = [np.full((5, 7), 128, np.uint8)] * 2
    still = np.zeros((5, 7, 2))
    clip = MatteClip([0, 1], [alpha] * 2, nothing, trimaps, 2, lambda i: still)
    found, _ = judge_by(PUBLISHED, clip, as_published=True)
    assert found["MESSDdt"].value == pytest.approx(0, abs=1e-12)
    square = alpha.astype(np.float64) ** 2
    turned = np.array([[square[min(x, 4), min(y, 6)] for x in range(7)] for y in range(5)])
    assert found[FAULTY].value == pytest.approx(np.abs(square - turned).sum())


# tcvom


def test_tcvom_metrics_of_frames():
    clip = some_clip(10)
    inside = [errors(clip, i, unknown) for i in range(3)]
    assert value(TCVOM, "mSAD", clip) == pytest.approx(
        1e3 * mean(mean(map(abs, one)) for one in inside)
    )
    assert value(TCVOM, "MSE", clip) == pytest.approx(
        1e3 * mean(mean(e * e for e in one) for one in inside)
    )
    assert value(TCVOM, "SSDA", clip) == pytest.approx(
        mean(math.sqrt(sum(e * e for e in one)) for one in inside)
    )


def test_tcvom_pairs_leave_out_unknown_flow_and_count_the_last_frame_as_0():
    clip = some_clip(11)
    flows = [clip.flow(i).copy() for i in (0, 1)]
    flows[0][3:6] = np.nan
    clip = some_clip(11, flow=lambda i: flows[i])
    changes, squares, first_powers = [], [], []
    for i in (0, 1):
        now, after = clip.error(i), clip.error(i + 1)
        change = square = power = 0.0
        for y in range(HEIGHT):
            for x in range(WIDTH):
                if not unknown(clip.trimaps[i][y, x]):
                    continue
                change += (now[y, x] - after[y, x]) ** 2
                if i == 0 and 3 <= y < 6:
                    continue
                dx, dy = flows[i][y, x]
                then = slow_read(after, x + dx, y + dy, border=False)
                square += abs(now[y, x] ** 2 - then**2)
                power += abs(now[y, x] - then)
        changes.append(math.sqrt(change))
        squares.append(square)
        first_powers.append(power)
    for metric, pairs in (
        ("dtSSD", changes),
        ("MESSDdt", squares),
        ("MESSDdt_fix", first_powers),
    ):
        assert value(TCVOM, metric, clip) == pytest.approx(sum(pairs) / 3, rel=1e-6), metric
        later = judge_by(TCVOM, clip)[1][metric]
        assert later == {1: pytest.approx(pairs[0]), 2: pytest.approx(pairs[1])}
    assert np.isnan(flows[0]).any()  # what was given is not written into


def test_frames_that_were_left_out_do_not_change_the_share_of_pairs():
    clip = some_clip(12, frames=4, places=[0, 1, 6, 7], length=12)
    found, frames = judge_by(TCVOM, clip)
    assert sorted(frames["dtSSD"]) == [1, 3]
    assert found["dtSSD"].value == pytest.approx(mean(frames["dtSSD"].values()) * 11 / 12)


def test_a_frame_without_unknown_pixels_counts_0():
    clip = some_clip(13, frames=1, trimaps=np.full((1, HEIGHT, WIDTH), 255, np.uint8))
    assert value(TCVOM, "MSE", clip) == 0
    assert value(PUBLISHED, "MSE", clip) == 0


# rvm


def test_rvm_metrics():
    clip = some_clip(14)
    frames = range(3)
    everywhere = [errors(clip, i, whole) for i in frames]
    pairs = [
        math.sqrt(mean((b - a) ** 2 for a, b in zip(everywhere[i], everywhere[i + 1], strict=True)))
        for i in (0, 1)
    ]

    def stretched(plane):
        plane = plane.astype(np.float64)
        return (plane - plane.min()) / (plane.max() - plane.min())

    expected = {
        "MAD": 1e3 * mean(mean(map(abs, one)) for one in everywhere),
        "MSE": 1e3 * mean(mean(e * e for e in one) for one in everywhere),
        "Grad": mean(
            np.square(
                slow_gradient(stretched(clip.alphas[i])) - slow_gradient(stretched(clip.truths[i]))
            ).sum()
            / 1000
            for i in frames
        ),
        "Conn": mean(
            slow_connectivity(clip.alphas[i], clip.truths[i]).sum() / 1000 for i in frames
        ),
        # The first frame has nothing before it and counts 0.
        "dtSSD": 100 * sum(pairs) / 3,
    }
    for metric, figure in expected.items():
        assert value(RVM, metric, clip) == pytest.approx(figure, rel=1e-5), metric


def test_rvm_stretches_before_it_compares_gradients():
    truth = np.zeros((9, 9), np.float32)
    truth[:, 5:] = 1
    clip = MatteClip([0], [0.5 * truth], [truth], [np.full((9, 9), 128, np.uint8)], 1)
    assert value(RVM, "Grad", clip) == pytest.approx(0, abs=1e-12)
    assert value(PUBLISHED, "Grad", clip) > 0.1
    even = MatteClip([0], [0 * truth + 0.5], [truth], [np.full((9, 9), 128, np.uint8)], 1)
    assert value(RVM, "Grad", even) == pytest.approx(np.square(slow_gradient(truth)).sum() / 1000)


# What each of them has.


def test_each_convention_has_its_own_metrics_and_no_others():
    assert {name: list(metrics_of(name)) for name in CONVENTIONS} == {
        OURS: ["MSE", "MAD", "SAD", "dtSSD"],
        PUBLISHED: ["SAD", "MSE", "Grad", "Conn", "SSDA", "dtSSD", "MESSDdt", FAULTY],
        TCVOM: ["mSAD", "MSE", "SSDA", "dtSSD", "MESSDdt", "MESSDdt_fix"],
        RVM: ["MAD", "MSE", "Grad", "Conn", "dtSSD"],
    }
    assert [name for name in CONVENTIONS if follows_flow(name)] == [PUBLISHED, TCVOM]


def test_the_same_name_is_not_the_same_quantity():
    clip = some_clip(15)
    for metric in ("MSE", "dtSSD"):
        found = [value(name, metric, clip) for name in (PUBLISHED, TCVOM, RVM)]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert found[one] != pytest.approx(found[other], rel=0.01), metric


def test_a_still_has_no_pairs():
    for name in (PUBLISHED, TCVOM, RVM):
        found, _ = judge_by(name, some_clip(16, frames=1), as_published=True)
        assert not {"dtSSD", "MESSDdt", "MESSDdt_fix", FAULTY} & set(found)
        assert "MSE" in found


def test_shapes_that_differ_are_refused():
    clip = some_clip(17, alphas=np.zeros((3, HEIGHT, WIDTH - 1), np.float32))
    with pytest.raises(ValueError, match="differ in shape"):
        judge_by(RVM, clip)
    with pytest.raises(KeyError):
        judge_by("imaginary", some_clip())
