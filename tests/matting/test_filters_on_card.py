"""Images as tensors give what images of numpy's give: the filters, and all that is made of them.

Tensors lie on a CUDA device as a rule; here on the CPU, where the same code runs.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from model.blend import blend
from model.classical import filters
from model.classical.anchor import carried_classes
from model.classical.colour_classifier import Places, bins, lab, whole_model
from model.classical.evidence import shows_background
from model.classical.filters import arrays, fetched, placed
from model.classical.flow import extend, motion_of, stays_inside
from model.classical.guided import follow_edges
from model.classical.hindsight import look_back
from model.classical.hints import hint_of
from model.classical.trimap_flow import TrimapFlow
from model.classical.working_size import WorkingSize
from tests.matting.test_trimap_flow import scene

HERE = torch.zeros(0)
SIZES = [(1, 1), (1, 5), (7, 1), (45, 70)]


def image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def there(value):
    return placed(value, HERE) if isinstance(value, np.ndarray) else value


def agree(function, *given, within=1e-5, **named):
    """That a function gives the same of arrays and of tensors, up to rounding."""
    right = function(*given, **named)
    found = function(*map(there, given), **named)
    assert isinstance(found, torch.Tensor) and tuple(found.shape) == right.shape
    assert fetched(found).dtype == right.dtype
    if right.dtype == np.bool_:
        assert (fetched(found) == right).all()
    else:
        assert np.abs(fetched(found) - right).max() <= within


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_filters(size, channels):
    picture = image(*size, *channels)
    agree(filters.box, picture, 2)
    agree(filters.blur, picture)
    agree(filters.highest, picture, 3)
    for rows, columns in ((1, 1), (size[0], max(size[1] // 3, 1)), (max(size[0] // 2, 1), size[1])):
        agree(filters.resized, picture, rows, columns, by_area=True)
    agree(filters.resized, picture, size[0] + 5, size[1] * 2, by_area=False)


@pytest.mark.parametrize("size", SIZES)
def test_images_are_read_between_pixels(size):
    places = np.random.default_rng(1).uniform(-3, 80, (*size, 2)).astype(np.float32)
    # OpenCV knows places to a 32nd of a pixel.
    agree(filters.sampled, image(*size), np.round(places * 32) / np.float32(32))
    agree(filters.sampled, image(*size, 3), np.round(places * 32) / np.float32(32))
    agree(filters.pixel_places, image(*size))
    agree(stays_inside, places)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("radius", [1, 2, 7, 60])
def test_masks(size, radius):
    mask = image(*size) > 0.97
    agree(filters.grown, mask, radius)
    agree(filters.shrunk, ~mask, radius)
    agree(filters.closed, mask, radius)


def test_regions_that_hold_a_seed():
    mask = image(45, 70) > 0.6
    agree(filters.holding, mask, mask & (image(45, 70, seed=1) > 0.9))
    agree(filters.holding, mask, np.zeros_like(mask))


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
@pytest.mark.parametrize("share", [0, 50, 95, 100])
def test_percentiles(count, share):
    values, mask = image(40, 50), np.zeros(2000, bool)
    mask[np.random.default_rng(1).permutation(2000)[:count]] = True
    mask = mask.reshape(40, 50)
    right = filters.percentile_where(mask, values, share)
    assert right == pytest.approx(np.percentile(values[mask], share) if count else 0)
    assert float(filters.percentile_where(there(mask), there(values), share)) == pytest.approx(
        float(right)
    )


def test_channels():
    picture, other = image(45, 70, 3), image(45, 70, 3, seed=1)
    agree(filters.channels_first, picture)
    agree(filters.chosen, image(45, 70) > 0.5, picture, other)
    agree(filters.channel_sum, picture)
    found = filters.merged([there(picture[..., i]) for i in range(3)])
    assert (fetched(found) == picture).all()


def test_colours():
    picture = image(45, 70, 3)
    agree(lab, picture, within=5e-3)  # OpenCV's is a table
    colours = lab(picture)
    assert (fetched(bins(there(colours))) == bins(colours)).all()
    seen, weight = bins(colours), image(45, 70, seed=1)
    whole = whole_model([(seen, weight > 0.5)])
    agree(Places(45, 70, 16).density, seen, weight, whole, bins(lab(image(45, 70, 3, seed=2))))


def test_the_same_weights_in_another_order_add_up_to_the_same_bit():
    """On a CUDA device the order differs from run to run."""
    which, weight = torch.randint(0, 5, (10_000,)), torch.rand(10_000)
    turned = torch.randperm(10_000)
    counts = filters.card.weighted_counts
    assert torch.equal(counts(which, weight, 5), counts(which[turned], weight[turned], 5))


def test_flow():
    vectors, known = 5 * image(45, 70, 2), (image(45, 70) > 0.8).astype(np.float32)
    agree(extend, vectors, known, within=1e-3)
    agree(lambda back, forth: motion_of(back, forth).error, vectors, -vectors, within=0.2)


def test_evidence_follows_edges():
    picture, evidence, weight = image(45, 70, 3), image(45, 70, seed=1), image(45, 70, seed=2)
    agree(follow_edges, picture, evidence, weight, within=1e-3)


def test_evidence_follows_edges_between_two_flat_colours():
    """There covariances are nearly singular: in float32 some of them are not even positive."""
    cover = (image(45, 70) > 0.5) * np.float32(1)
    picture = cover[..., None] * np.float32([0.9, 0.7, 0.1]) + (1 - cover[..., None]) * 0.2
    picture = np.float32(picture + 1e-3 * image(45, 70, 3, seed=3))
    evidence, weight = image(45, 70, seed=1), 0.02 * image(45, 70, seed=2)
    found = fetched(follow_edges(*map(there, (picture, evidence, weight)), sweeps=3))

    def box(values):
        return ndimage.uniform_filter(values, 3, mode="nearest")

    guide = [picture[..., i].astype(np.float64) for i in range(3)]
    mean = np.stack([box(one) for one in guide], -1)
    spread = [[box(a * b) - box(a) * box(b) for b in guide] for a in guide]
    matrix = np.moveaxis(np.array(spread), (0, 1), (2, 3)) + 1e-5 * np.eye(3)
    values = evidence.astype(np.float64)
    for _ in range(3):
        cross = np.stack([box(one * values) for one in guide], -1) - mean * box(values)[..., None]
        slope = np.linalg.solve(matrix, cross[..., None])[..., 0]
        offset = box(values) - (slope * mean).sum(-1)
        linear = sum(box(slope[..., i]) * guide[i] for i in range(3)) + box(offset)
        values = (linear + weight * evidence) / (1 + weight)
    assert np.abs(found - values.clip(0, 1)).max() < 1e-4


@pytest.fixture
def on_card(monkeypatch):
    """Frames on the CPU taken for frames on a CUDA device: numpy cannot read such tensors."""
    readable = torch.Tensor.__array__

    def unreadable(tensor, *_):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def switch(on: bool) -> None:
        for module in ("classical.working_size", "blend"):
            monkeypatch.setattr(f"model.{module}.stays_there", lambda planes: on)
        monkeypatch.setattr(torch.Tensor, "__array__", unreadable if on else readable)

    return switch


@pytest.mark.parametrize(("scale", "last"), [(1, 4), (3, 2)])
def test_trimaps_are_carried_alike(on_card, scale, last):
    clip = scene(last + 1, scale=scale)
    between = range(1, last)
    size = WorkingSize.of(*clip.alphas[0].shape)
    found = []
    for card in (False, True):
        on_card(card)
        network, answers = TrimapFlow(), []
        keyframes = [clip.frame(i, painted=True) for i in (0, last)]
        ways = []
        for first, order in ((0, between), (last, reversed(between))):
            memory = network.start(keyframes, first)
            way = {}
            for i in order:
                memory, way[i] = network.step(memory, clip.frame(i))
            assert isinstance(memory.state.alpha, torch.Tensor) == card
            ways.append(way)
        behind = None
        for i in reversed(between):
            before, after = ways[0][i], ways[1][i]
            trimap, confidence = blend(before, after, i / last)
            hint = hint_of(i, trimap.numpy(), "display", [before.clues, after.clues])
            behind, clues = look_back(behind, before.clues, trimap.numpy())
            answers.append((trimap, confidence, hint, torch.as_tensor(clues.known)))
        found.append(answers)
    for (trimap, confidence, hint, known), other in zip(*found, strict=True):
        assert (trimap != other[0]).float().mean() < 0.003
        assert (confidence - other[1]).abs().mean() < 2e-3
        assert (known - other[3]).abs().mean() < 5e-3
        assert (hint is None) == (other[2] is None)
        if hint is not None:
            assert (hint.weight - other[2].weight).abs().mean() < 0.05 * hint.weight.mean() + 1e-6
    assert size.rows <= 360


def test_what_is_covered_shows_no_background():
    back = np.zeros((45, 70, 2), np.float32)
    alpha = np.zeros((45, 70), np.float32)
    covered = alpha > 1
    covered[10:20, 10:20] = True
    for x in (there, lambda value: value):
        move = motion_of(x(back), x(back))
        size = WorkingSize.of(45, 70)
        assert fetched(shows_background(x(alpha), None, move, size)).all()
        shown = fetched(shows_background(x(alpha), x(covered), move, size))
        assert not shown[10:20, 10:20].any() and shown[40, 60]


def test_a_carried_trimap_is_reduced_alike(on_card):
    trimap = np.random.default_rng(0).choice(np.uint8([0, 128, 255]), (450, 700))
    small = carried_classes(trimap, WorkingSize.of(450, 700))
    on_card(True)
    found = carried_classes(there(trimap), WorkingSize.of(450, 700))
    assert arrays(found) is torch and (fetched(found) != small).mean() < 1e-3


def test_a_frame_is_reduced_alike(on_card):
    clip = scene(1, scale=3)
    frame = replace(clip.frame(0), trimap=None)
    size = WorkingSize.of(*clip.alphas[0].shape)
    right = size.reduce(frame.picture)
    on_card(True)
    found = size.reduce(frame.picture)
    assert tuple(found.shape) == right.shape and np.abs(fetched(found) - right).max() < 1e-5
