"""Whose motion a pixel has: what it tells, and where it says nothing."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.classical import trimap_step
from model.classical.filters import floats
from model.classical.flow import Motion
from model.classical.layer_motion import LayerMotion, motion_odds
from tests.matting.test_filters_on_card import agree
from tests.matting.test_trimap_flow import Scene, carry, levels, texture, trimap_of
from training.judging.metrics import trimap_quality

SIZE = (60, 90)
SQUARE = (slice(20, 40), slice(30, 60))  # the foreground
INSIDE = (slice(24, 36), slice(36, 54))
OUTSIDE = (slice(45, 57), slice(15, 75))


def moved(picture, back):
    """A picture that was where ``back`` says, whole pixels, a frame ago."""
    return np.roll(picture, (-back[1], -back[0]), (0, 1))


def field(back):
    return np.broadcast_to(np.float32(back), (*SIZE, 2)).copy()


@pytest.fixture
def layers():
    """A square that moves 5 px to the left before a background that moves 3 px to the right, both
    of the same colours."""
    drawn = np.random.default_rng(3).random((2, *SIZE, 3), np.float32)
    of_square, of_rest = (5, 0), (-3, 0)
    is_square = np.zeros(SIZE, bool)
    is_square[SQUARE] = True
    before = np.where(moved(is_square, (-5, 0))[..., None], drawn[0], drawn[1])
    now = np.where(is_square[..., None], moved(drawn[0], of_square), moved(drawn[1], of_rest))
    back = np.where(is_square[..., None], field(of_square), field(of_rest)).astype(np.float32)
    move = Motion(back, -back, np.zeros(SIZE, np.float32))
    foreground, background = (LayerMotion(field(x), floats(True)) for x in (of_square, of_rest))
    return now, before, move, foreground, background


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
        (flat, flat, move, foreground, background),
        (other, before, move, foreground, background),
        (now, before, third, foreground, background),
    ):
        assert np.abs(motion_odds(*given)).max() < 0.05


def test_a_layer_goes_on_where_it_is_not_seen():
    move = Motion(field((2, -1)), field((-2, 1)), np.zeros(SIZE, np.float32))
    mask = np.zeros(SIZE, bool)
    mask[SQUARE] = True
    found = LayerMotion.where(mask, move)
    assert found.seen == 1 and np.allclose(found.back, [2, -1], atol=1e-4)
    nowhere = LayerMotion.where(np.zeros(SIZE, bool), move)
    assert nowhere.seen == 0 and np.isfinite(nowhere.back).all()


def test_tensors_give_what_arrays_give(layers):
    now, before, move, foreground, background = layers

    def odds(now, before, back, forth, error, of_foreground, of_background, seen):
        ways = LayerMotion(of_foreground, seen), LayerMotion(of_background, seen)
        return motion_odds(now, before, Motion(back, forth, error), *ways)

    ways = foreground.back, background.back, foreground.seen
    agree(odds, now, before, move.back, move.forth, move.error, *ways)


def test_uncovered_background_of_the_foregrounds_colours_is_found_again(monkeypatch):
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

    def judged():
        found = zip(carry(clip), clip.alphas[1:], strict=True)
        return [trimap_quality(levels(classes), alpha) for classes, alpha in found]

    ours = judged()
    monkeypatch.setattr(trimap_step, "motion_odds", lambda *given: np.zeros_like(given[0][..., 0]))
    without = judged()
    assert sum(q.band_width for q in ours) < 0.85 * sum(q.band_width for q in without)
    assert min(q.mixed_recall for q in ours) > 0.97
