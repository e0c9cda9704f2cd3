"""What trimap propagation is made of, against the plain way to get the same."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from model.classical.colour_classifier import _blurred
from model.classical.filters import box, channel_sum, channels_first, chosen, merged, pixel_places
from model.classical.guided import GuidedFilter
from model.classical.working_size import WorkingSize
from model.networks.trimap_memory_s import _closed

SIZES = [(1, 1), (1, 5), (7, 1), (45, 70)]


def image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def same_bits(one, other):
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [2, 3])
def test_channels_are_added_taken_apart_and_put_together(size, channels):
    picture = image(*size, channels)
    assert same_bits(channel_sum(picture), picture.sum(2))
    planes = channels_first(picture)
    assert same_bits(planes, np.ascontiguousarray(picture.transpose(2, 0, 1)))
    assert same_bits(merged(list(planes)), picture)
    assert same_bits(channels_first(picture[::-1, ::-1]), planes[:, ::-1, ::-1].copy())


@pytest.mark.parametrize("size", SIZES)
def test_one_of_two_images_is_chosen(size):
    one, other, mask = image(*size, 3), image(*size, 3, seed=1), image(*size, seed=2) > 0.5
    kept = one.copy(), other.copy()
    assert same_bits(chosen(mask, one, other), np.where(mask[..., None], one, other))
    assert same_bits(one, kept[0]) and same_bits(other, kept[1])


def test_places_are_shared_and_cannot_be_changed():
    places = pixel_places(image(3, 4))
    assert places[2, 1].tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        places += 1


@pytest.mark.parametrize(
    "planes",
    [
        torch.rand(1, 3, 45, 70).contiguous(memory_format=torch.channels_last),
        torch.rand(1, 3, 90, 99)[..., 20:65, 5:75],
        torch.rand(1, 3, 45, 70).half(),
    ],
)
def test_frames_are_read_however_they_lie_in_memory(planes):
    found = WorkingSize.of(45, 70).reduce(planes)
    assert same_bits(found, np.ascontiguousarray(planes[0].float().permute(1, 2, 0).numpy()))


def test_the_guided_filter_is_that_of_its_source():
    """With the covariances inverted as whole matrices, 3×3 at each pixel."""
    guide, values, epsilon = image(45, 70, 3), image(45, 70, seed=1), 1e-3
    found = GuidedFilter(guide, 2, epsilon)(values)
    wide, mean = guide.astype(np.float64), cv2.blur(guide, (5, 5), borderType=cv2.BORDER_REPLICATE)

    def spread(one, other):
        return box(one * other, 2) - box(one, 2) * box(other, 2)

    channels = [wide[..., i] for i in range(3)]
    covariance = np.stack([np.stack([spread(a, b) for b in channels], 2) for a in channels], 2)
    cross = np.stack([spread(a, values.astype(np.float64)) for a in channels], 2)
    slope = np.linalg.solve(covariance + epsilon * np.eye(3), cross[..., None])[..., 0]
    offset = box(values, 2) - (slope * mean).sum(2)
    linear = sum(box(slope[..., i].copy(), 2) * guide[..., i] for i in range(3))
    assert np.abs(found - (linear + box(offset, 2))).max() < 1e-4


@pytest.mark.parametrize("share", [0, 0.0005, 0.5])
def test_counts_are_blurred_as_if_nothing_was_left_out(share):
    counts = image(3, 4, 16, 16, 16) * (image(3, 4, 16, 16, 16, seed=1) < share)
    expected = counts
    for axis, middle in enumerate((1, 1, 0.5, 0.5, 0.5)):
        weights = (middle / 2, middle, middle / 2)
        expected = ndimage.correlate1d(expected, weights, axis=axis, mode="constant")
    assert same_bits(_blurred(counts.astype(np.float64)), expected)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (48, 80)])
def test_cracks_are_closed_by_three_by_three_pixels(size):
    lead = torch.randn(2, 1, *size)
    highest = F.max_pool2d(lead, 3, 1, 1)
    assert torch.equal(_closed(lead), -F.max_pool2d(-highest, 3, 1, 1))
