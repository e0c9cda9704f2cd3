"""Whose motion a pixel has: what it tells, and where it says nothing."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.classical import trimap_step
from model.classical.filters import floats
from model.classical.flow import Motion
from model.classical.layer_motion import LayerMotion, motion_odds, occlusion_odds
from tests.matting.test_filters_on_card import agree
from tests.matting.test_trimap_flow import Scene, carry, levels, texture, trimap_of
from training.judging.metrics import trimap_quality

SIZE = (60, 90)
SQUARE = (slice(20, 40), slice(30, 60))  # the foreground
OF_SQUARE, OF_REST = (5, 0), (-3, 0)  # where each was a frame ago
INSIDE = (slice(24, 36), slice(36, 54))
OUTSIDE = (slice(45, 57), slice(15, 75))
REACHED = (slice(20, 40), slice(30, 38))  # seen from a background that moves 3 px
LEFT = (slice(20, 40), slice(60, 68))


def moved(picture, back):
    """A picture that was where ``back`` says, whole pixels, a frame ago."""
    return np.roll(picture, (-back[1], -back[0]), (0, 1))


def inner(place):
    """Without its border, which colours are blurred across."""
    return tuple(slice(one.start + 3, one.stop - 3) for one in place)


def field(back):
    return np.broadcast_to(np.float32(back), (*SIZE, 2)).copy()


@pytest.fixture
def layers():
    """A square that moves 5 px to the left before a background that moves 3 px to the right, both
    of the same colours."""
    drawn = np.random.default_rng(3).random((2, *SIZE, 3), np.float32)
    is_square = np.zeros(SIZE, bool)
    is_square[SQUARE] = True
    before = np.where(moved(is_square, (-5, 0))[..., None], drawn[0], drawn[1])
    now = np.where(is_square[..., None], moved(drawn[0], OF_SQUARE), moved(drawn[1], OF_REST))
    back = np.where(is_square[..., None], field(OF_SQUARE), field(OF_REST)).astype(np.float32)
    move = Motion(back, -back, np.zeros(SIZE, np.float32))
    return now, before, move, *both(now, before)


def both(now, before):
    """The motions of the square and of the rest, with what they bring of these colours."""
    ways = OF_SQUARE, OF_REST
    return [LayerMotion.along(field(x), floats(True), now, before) for x in ways]


def test_what_moves_with_a_layer_belongs_to_it_whatever_its_colours(layers):
    odds = motion_odds(*layers)
    assert odds.dtype == np.float32 and odds.shape == SIZE and np.abs(odds).max() <= 4
    assert odds[INSIDE].min() > 3.5 and odds[OUTSIDE].max() < -3.5


def test_it_says_nothing_where_it_cannot_know(layers):
    now, before, move, foreground, background = layers
    unsure = replace(move, error=np.full(SIZE, 20, np.float32))
    unseen = replace(foreground, seen=floats(False))
    alike = replace(foreground, back=background.back + np.float32(0.1))
    flat = np.full_like(now, 0.5)  # either motion would bring the same
    other = 1 - now  # neither brings what is seen
    third = replace(move, back=field((30, 30)))  # moves as neither does
    for given in (
        (now, before, unsure, foreground, background),
        (now, before, move, unseen, background),
        (now, before, move, foreground, replace(background, seen=floats(False))),
        (now, before, move, alike, background),
        (flat, flat, move, *both(flat, flat)),
        (other, before, move, *both(other, before)),
        (now, before, third, foreground, background),
    ):
        assert np.abs(motion_odds(*given)).max() < 0.05


@pytest.fixture
def passed(layers):
    """The same with the square's alpha a frame ago; what it has left was nowhere then."""
    move, foreground, background = layers[2:]
    alpha = np.zeros(SIZE, np.float32)
    alpha[SQUARE] = 1
    error = np.zeros(SIZE, np.float32)
    error[LEFT] = 20
    return moved(alpha, (-5, 0)), replace(move, error=error), foreground, background


def test_the_foreground_is_where_it_has_moved_to_and_not_where_it_was(passed):
    odds = occlusion_odds(*passed)
    assert odds.dtype == np.float32 and odds.shape == SIZE and np.abs(odds).max() <= 3
    assert odds[inner(REACHED)].min() > 2 and odds[inner(LEFT)].max() < -2
    elsewhere = np.ones(SIZE, bool)
    elsewhere[REACHED] = elsewhere[LEFT] = False
    assert not odds[elsewhere].any()


def test_of_what_was_passed_it_says_nothing_where_it_cannot_know(passed, layers):
    alpha, move, foreground, background = passed
    now, before = layers[:2]
    unseen = replace(foreground, seen=floats(False))
    alike = replace(foreground, back=background.back)
    for given in (
        (np.zeros_like(alpha), move, foreground, background),
        (alpha, move, unseen, background),
        (alpha, move, foreground, replace(background, seen=floats(False))),
        (alpha, move, alike, background),
    ):
        assert not occlusion_odds(*given).any()
    other = occlusion_odds(alpha, move, *both(1 - now, before))
    assert np.abs(other[REACHED]).max() < 0.05  # the square would have brought what is not seen
    found = replace(move, error=np.zeros(SIZE, np.float32))
    assert not occlusion_odds(alpha, found, foreground, background)[LEFT].any()
    flat = np.full_like(now, 0.5)  # who knows whether it has left
    assert not occlusion_odds(alpha, move, *both(flat, flat))[LEFT].any()


def test_a_layer_goes_on_where_it_is_not_seen():
    move = Motion(field((2, -1)), field((-2, 1)), np.zeros(SIZE, np.float32))
    mask = np.zeros(SIZE, bool)
    mask[SQUARE] = True
    now, before = np.zeros((2, *SIZE, 3), np.float32)
    found = LayerMotion.where(mask, move, now, before)
    assert found.seen == 1 and np.allclose(found.back, [2, -1], atol=1e-4)
    nowhere = LayerMotion.where(np.zeros(SIZE, bool), move, now, before)
    assert nowhere.seen == 0 and np.isfinite(nowhere.back).all()


def test_tensors_give_what_arrays_give(layers):
    now, before, move, foreground, background = layers

    def asked(now, before, back, forth, error, of_foreground, of_background, seen):
        backs = of_foreground, of_background
        ways = [LayerMotion.along(one, seen, now, before) for one in backs]
        return Motion(back, forth, error), *ways

    def odds(now, before, *others):
        return motion_odds(now, before, *asked(now, before, *others))

    def passing(alpha, *given):
        return occlusion_odds(alpha, *asked(*given))

    given = now, before, move.back, move.forth, move.error
    ways = foreground.back, background.back, foreground.seen
    agree(odds, *given, *ways)
    agree(passing, now[..., 0], *given, *ways)


@pytest.fixture(scope="module")
def sliding():
    """A square of the background's own colours moves off, and what it uncovers stays."""
    colours = (0.1, 0.1, 0.1), (0.9, 0.9, 0.9)
    ground, square = texture(120, 240, 1, *colours), texture(60, 60, 2, *colours)
    clip = Scene([], [], [])
    for i in range(12):
        picture, alpha = ground.copy(), np.zeros(ground.shape[:2], np.float32)
        there = slice(30, 90), slice(20 + 8 * i, 80 + 8 * i)
        picture[there], alpha[there] = square, 1
        alpha = cv2.blur(alpha, (3, 3))
        clip.pictures.append(picture)
        clip.alphas.append(alpha)
        clip.trimaps.append(trimap_of(alpha, 5))
    return clip


def judged(clip):
    found = zip(carry(clip), clip.alphas[1:], strict=True)
    return [trimap_quality(levels(classes), alpha) for classes, alpha in found]


@pytest.fixture(scope="module")
def ours(sliding):
    return judged(sliding)


def test_uncovered_background_of_the_foregrounds_colours_is_found_again(sliding, ours, monkeypatch):
    monkeypatch.setattr(trimap_step, "motion_odds", lambda *given: np.zeros_like(given[0][..., 0]))
    without = judged(sliding)
    assert sum(q.band_width for q in ours) < 0.85 * sum(q.band_width for q in without)
    assert min(q.mixed_recall for q in ours) > 0.97


def test_what_was_just_uncovered_is_doubted_less(sliding, ours, monkeypatch):
    monkeypatch.setattr(trimap_step, "occlusion_odds", lambda alpha, *given: np.zeros_like(alpha))
    without = judged(sliding)
    assert sum(q.band_width for q in ours) < 0.85 * sum(q.band_width for q in without)
