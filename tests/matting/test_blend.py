"""Two directions made one trimap."""

from dataclasses import replace

import pytest
import torch

from model.blend import blend, likeliest
from model.trimap_classes import Classes

BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255


def classes(*values: int, confidence: float = 0.8) -> Classes:
    """A row of pixels that are certain of what they are."""
    planes = [[float(v == level) for v in values] for level in (BACKGROUND, UNKNOWN, FOREGROUND)]
    row = torch.tensor(planes)[None, :, None]
    sure = torch.full((1, 1, 1, len(values)), confidence)
    return Classes(torch.cat([row, sure], 1), 1, len(values))


def with_confidence(found: Classes, confidence: torch.Tensor) -> Classes:
    return replace(found, carried=torch.cat([found.carried[:, :3], confidence], 1))


def test_one_direction_is_taken_as_it_is_wherever_the_frame_lies():
    only = classes(BACKGROUND, UNKNOWN, FOREGROUND)
    for position in (0.0, 0.3, 1.0):
        for pair in ((only, None), (None, only)):
            trimap, confidence = blend(*pair, position)
            assert trimap.dtype == torch.uint8
            assert trimap.tolist() == [[BACKGROUND, UNKNOWN, FOREGROUND]]
            assert confidence[0].tolist() == pytest.approx([0.8] * 3)


@pytest.mark.parametrize("position", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_certain_of_opposite_things_is_unknown_whatever_the_weights(position):
    trimap, _ = blend(
        classes(FOREGROUND, BACKGROUND, confidence=1.0),
        classes(BACKGROUND, FOREGROUND, confidence=0.01),
        position,
    )
    assert trimap.tolist() == [[UNKNOWN, UNKNOWN]]


def test_the_nearer_keyframe_decides_between_certain_and_unknown():
    ahead, behind = classes(FOREGROUND), classes(UNKNOWN)
    assert blend(ahead, behind, 0.2)[0].item() == FOREGROUND
    assert blend(ahead, behind, 0.8)[0].item() == UNKNOWN


def test_confidence_outweighs_distance():
    sure, doubtful = classes(FOREGROUND, confidence=0.9), classes(UNKNOWN, confidence=0.1)
    assert blend(sure, doubtful, 0.8)[0].item() == FOREGROUND


def test_a_crack_between_the_unknowns_of_two_directions_is_closed():
    """Each of them is sure of its own side."""
    left = classes(BACKGROUND, UNKNOWN, UNKNOWN, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND)
    right = classes(BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND, UNKNOWN, UNKNOWN, BACKGROUND)
    sure = torch.tensor([[[[0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.9]]]])
    pair = with_confidence(left, sure), with_confidence(right, sure.flip(3))
    closed = [BACKGROUND, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, BACKGROUND]
    assert blend(*pair, 0.5)[0][0].tolist() == closed


def test_a_crack_that_a_direction_has_itself_stays():
    painted = classes(UNKNOWN, UNKNOWN, BACKGROUND, UNKNOWN, UNKNOWN)
    assert blend(painted, painted, 0.5)[0][0].tolist() == [128, 128, 0, 128, 128]
    for pair in ((painted, None), (None, painted)):
        assert blend(*pair, 0.5)[0][0].tolist() == [128, 128, 0, 128, 128]


def test_confidence_is_less_where_directions_disagree():
    agreed = blend(classes(FOREGROUND), classes(FOREGROUND), 0.5)[1].item()
    disputed = blend(classes(FOREGROUND), classes(UNKNOWN), 0.4)[1].item()
    clash = blend(classes(FOREGROUND), classes(BACKGROUND), 0.5)[1].item()
    assert agreed == pytest.approx(0.8)
    assert clash < disputed < agreed


def test_no_confidence_at_all_still_counts_by_distance():
    ahead, behind = (classes(c, confidence=0.0) for c in (FOREGROUND, UNKNOWN))
    assert blend(ahead, behind, 0.2)[0].item() == FOREGROUND
    assert torch.isfinite(blend(ahead, behind, 0.2)[1]).all()


def test_time_reversed_is_the_same():
    torch.manual_seed(1)
    one, other = (
        Classes(torch.cat([torch.rand(1, 3, 5, 7).softmax(1), torch.rand(1, 1, 5, 7)], 1), 5, 7)
        for _ in range(2)
    )
    there, back = blend(one, other, 0.25), blend(other, one, 0.75)
    assert torch.equal(there[0], back[0])
    assert torch.allclose(there[1], back[1])


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="neither"):
        blend(None, None, 0.5)
    with pytest.raises(ValueError, match="position"):
        blend(classes(UNKNOWN), None, 1.5)


def test_the_likeliest_is_the_first_of_the_largest():
    g = torch.Generator().manual_seed(3)
    few = torch.randint(0, 4, (2, 3, 40, 50), generator=g) / 3  # most have an equal
    assert torch.equal(likeliest(few), few.argmax(1))
    assert torch.equal(likeliest(few[0]), few[0].argmax(0))
