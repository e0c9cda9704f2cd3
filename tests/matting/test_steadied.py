"""Mattes steadied by the priors of frames beside them, and the flow that brings these there."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from model.classical.lucas_kanade import at_places, flow, looked_up, pyramid
from model.face import Estimate, Frame
from model.networks.alignment import warp
from model.steadied import looks_of, steadied
from model.tiles import Seen, estimate_in_tiles


def texture(height=96, width=128, shift=(0.0, 0.0), channels=3):
    """Smooth waves of several lengths, moved by (x, y) pixels."""
    y, x = torch.meshgrid(torch.arange(height) * 1.0, torch.arange(width) * 1.0, indexing="ij")
    x, y = x - shift[0], y - shift[1]
    planes = [
        0.5 + 0.2 * torch.sin(x / (5 + c) + y / 9) + 0.2 * torch.cos(y / (6 + c) - x / 13)
        for c in range(channels)
    ]
    return torch.stack(planes)[None]


def frame_of(picture, number=1, **fields):
    trimap = torch.full_like(picture[:, :1], 0.5)
    return Frame(number, picture, picture, trimap, "display", **fields)


def estimate_of(alpha, sure=1.0):
    return Estimate(alpha, torch.full_like(alpha, sure))


def inside(planes, border=12):
    return planes[..., border:-border, border:-border]


@pytest.mark.parametrize("shift", [(0, 0), (0.5, -0.25), (3, 2), (-7, 5)])
def test_flow_of_a_picture_that_moves(shift):
    here, there = texture(channels=1), texture(channels=1, shift=shift)
    found = flow(pyramid(here), pyramid(there))
    assert found.shape == (1, 2, 96, 128)
    for axis in (0, 1):
        assert float((inside(found)[:, axis] - shift[axis]).abs().mean()) < 0.15


def test_flow_where_there_is_nothing_to_see_is_none_at_all():
    grey = torch.full((1, 1, 40, 60), 0.3)
    assert float(flow(pyramid(grey), pyramid(grey + 0.1)).abs().max()) == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (17, 33), (45, 80)])
def test_flow_of_any_size(size):
    g = torch.Generator().manual_seed(1)
    here, there = (torch.rand(2, 1, *size, generator=g) for _ in range(2))
    found = flow(pyramid(here), pyramid(there))
    assert found.shape == (2, 2, *size) and bool(found.isfinite().all())


def test_looking_up_is_what_alignment_does():
    g = torch.Generator().manual_seed(2)
    picture, shift = torch.rand(2, 3, 9, 13, generator=g), 4 * torch.randn(2, 2, 9, 13, generator=g)
    assert torch.allclose(looked_up(picture, shift), warp(picture, shift), atol=1e-5)
    corner = at_places(picture, torch.tensor([[[[12.0, 8.0], [-5.0, 3.5]]]]).expand(2, -1, -1, -1))
    assert torch.allclose(corner[:, :, 0, 0], picture[..., 8, 12], atol=1e-5)
    assert torch.allclose(corner[:, :, 0, 1], picture[..., 3:5, 0].mean(-1), atol=1e-5)


def test_where_frames_are_alike_errors_of_priors_are_averaged():
    picture, truth = texture(), texture(channels=1)
    g = torch.Generator().manual_seed(3)
    priors = [estimate_of(truth + 0.05 * torch.randn(truth.shape, generator=g)) for _ in range(3)]
    looks = looks_of(frame_of(picture))
    unknown = torch.zeros_like(truth, dtype=torch.bool)
    unknown[..., 20:70, 30:90] = True
    own, *others = ((one, looks) for one in priors)
    answer = estimate_of(priors[0].alpha + 0.01, 0.7)
    found = steadied(answer, unknown, own, others)
    mean = sum(one.alpha for one in priors) / 3 + 0.01
    assert torch.allclose(found.alpha[unknown], mean[unknown], atol=1e-3)
    assert torch.equal(found.alpha[~unknown], answer.alpha[~unknown])
    assert torch.equal(found.confidence, answer.confidence)
    # The answer itself is left as it was.
    assert torch.equal(answer.alpha, priors[0].alpha + 0.01)


def test_priors_come_along_with_what_moves():
    """Twice as large as what flow is found on, so shifts are of two sizes."""
    size, shift = (240, 480), (8.0, -4.0)
    here = frame_of(texture(*size)), estimate_of(0 * texture(*size, channels=1) + 0.5)
    truth = texture(*size, shift=shift, channels=1)
    there = frame_of(texture(*size, shift=shift)), estimate_of(truth)
    own, other = ((prior, looks_of(frame)) for frame, prior in (here, there))
    assert own[1].square == 2
    everywhere = torch.ones_like(truth, dtype=torch.bool)
    found = steadied(here[1], everywhere, own, [other]).alpha
    wanted = 0.5 * (0.5 + texture(*size, channels=1))
    assert float(inside(found - wanted, 30).abs().mean()) < 0.01
    still = 0.5 * (0.5 + truth)
    assert float(inside(found - still, 30).abs().mean()) > 0.05


def test_where_colours_differ_or_a_prior_knew_nothing_the_own_one_stays():
    picture = texture()
    looks, other = looks_of(frame_of(picture)), looks_of(frame_of(picture + 0.5))
    own, theirs = estimate_of(0 * picture[:, :1] + 0.2), estimate_of(0 * picture[:, :1] + 0.8)
    unknown = torch.ones_like(own.alpha, dtype=torch.bool)
    unsure = estimate_of(theirs.alpha, 0)
    for prior, others in (
        (own, [(theirs, other)]),
        (own, [(unsure, looks)]),
        (own, []),
        (estimate_of(own.alpha, 0), [(theirs, looks)]),
    ):
        found = steadied(own, unknown, (prior, looks), others).alpha
        assert torch.allclose(found, own.alpha, atol=0.01)
    found = steadied(own, unknown, (own, looks), [(theirs, other), (theirs, looks)]).alpha
    assert torch.allclose(found, torch.full_like(found, 0.5), atol=1e-3)


def test_alpha_stays_an_alpha_and_without_unknown_pixels_nothing_is_done():
    picture = texture()
    looks = looks_of(frame_of(picture))
    own, theirs = estimate_of(0 * picture[:, :1]), estimate_of(0 * picture[:, :1] + 1)
    everywhere = torch.ones_like(own.alpha, dtype=torch.bool)
    answer = estimate_of(own.alpha + 0.9)
    assert float(steadied(answer, everywhere, (own, looks), [(theirs, looks)]).alpha.max()) == 1
    assert steadied(answer, ~everywhere, (own, looks), [(theirs, looks)]) is answer


def test_a_part_of_a_frame_looks_as_it_does_in_the_whole():
    whole = frame_of(texture(720, 1280))
    part = frame_of(texture(720, 1280)[..., :360, :640], whole_pixels=720 * 1280)
    looks = looks_of(part)
    assert looks.square == looks_of(whole).square == 4
    assert torch.allclose(
        looks.levels[0][..., :80, :150], looks_of(whole).levels[0][..., :80, :150]
    )


@dataclass(frozen=True)
class Answering:
    """A network that answers with its prior, which is the frame's number ÷ 10."""

    steadied: bool = True
    tiles_itself: bool = False
    halo: int = 0
    multiple: int = 1

    def encode(self, frame, prior):
        return prior

    def decode(self, window, centre, side=0):
        return window[centre]


@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize(
    ("numbers", "centre", "mean"),
    [
        ((1, 2, 3, 4, 9), 2, 0.3),  # of 2, 3 and 4
        ((1, 1, 1, 2, 9), 2, 0.15),  # the first of a shot: it stands for those before
        ((1, 2, 6), 2, 0.4),  # looking back
        ((5, 5, 5, 5, 5), 2, 0.5),
    ],
)
def test_the_frames_before_and_after_it_are(tile, numbers, centre, mean):
    picture = texture(48, 64)
    seen = []
    for number in numbers:
        alpha = torch.full_like(picture[:, :1], number / 10)
        seen.append(Seen(frame_of(picture, number), estimate_of(alpha)))
    kept = {}
    found, _ = estimate_in_tiles(Answering(), seen, centre, kept, tile, "float32")
    assert np.allclose(found.alpha, mean, atol=1e-4)
    again, _ = estimate_in_tiles(Answering(), seen, centre, kept, tile, "float32")
    assert torch.equal(again.alpha, found.alpha)
    plain = replace(Answering(), steadied=False)
    unsteadied, _ = estimate_in_tiles(plain, seen, centre, {}, tile, "float32")
    assert np.allclose(unsteadied.alpha, numbers[centre] / 10)
