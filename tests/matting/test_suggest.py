"""The suggested next keyframe: where an artist would look, from doubts alone."""

import numpy as np
import pytest

from model.plates.plate import Trimap
from model.suggest import LEAST, doubt_of, suggest_keyframe


def trimap(confidence, pixels=None):
    """A 60×90 trimap with an unknown band in the middle."""
    if pixels is None:
        pixels = np.zeros((60, 90), np.uint8)
        pixels[:, 40:50] = 128
        pixels[:, 50:] = 255
    return Trimap(
        pixels, None, "propagated", np.broadcast_to(confidence, (60, 90)).astype(np.uint8)
    )


def steady(frames, rate=0.01, start=0):
    """Doubts that grow evenly from a keyframe at ``start``."""
    return {f: rate * abs(f - start) for f in frames if f != start}


@pytest.mark.parametrize("last", [9, 30, 100])
def test_a_tail_without_events_is_closed_near_its_end(last):
    """What is carried both ways loses a quarter, so of n frames the best is 8/9 n."""
    found = suggest_keyframe(steady(range(1, last + 1)), [0])
    assert abs(found - last * 8 / 9) <= 1
    # And a lead-in is the mirror image of a tail.
    mirrored = suggest_keyframe(steady(range(last), start=last), [last])
    assert abs(mirrored - last / 9) <= 1


def test_between_two_keyframes_without_events_it_is_the_middle():
    doubts = {f: 0.01 * min(f, 40 - f) for f in range(1, 40)}
    assert abs(suggest_keyframe(doubts, [0, 40]) - 20) <= 1


@pytest.mark.parametrize("event", [3, 8, 20, 25])
def test_behind_an_event(event):
    """Something new comes in at a frame, and all that follow lack it."""
    doubts = {f: 0.001 * f + (0.3 if f >= event else 0) for f in range(1, 31)}
    found = suggest_keyframe(doubts, [0])
    assert found >= event
    # Seen from a keyframe at the end it is the frames before the event that lack what was there.
    mirrored = {31 - f: d for f, d in doubts.items()}
    assert abs(31 - suggest_keyframe(mirrored, [31]) - found) <= 1


def test_not_the_most_doubtful_frame():
    """The last frame of a tail is the most doubtful, and a keyframe there helps few others."""
    doubts = steady(range(1, 31), rate=0.02)
    assert max(doubts, key=doubts.get) == 30
    assert 25 <= suggest_keyframe(doubts, [0]) < 30


def test_doubt_that_has_stopped_growing_does_not_pull_the_keyframe_to_where_it_grew():
    """Much was lost in the first three frames of thirty, and doubt says no more after that."""
    doubts = {f: 0.03 * min(f, 3) for f in range(1, 31)}
    assert suggest_keyframe(doubts, [0]) > 15


def test_one_hard_frame_among_easy_ones_is_left_alone():
    """It is blurred, say: painting it helps that frame and no other."""
    doubts = steady(range(1, 31)) | {5: 0.35}
    assert abs(suggest_keyframe(doubts, [0]) - 27) <= 3


def test_the_span_that_needs_it_most():
    calm = {f: 0.001 * min(f, 20 - f) for f in range(1, 20)}
    wild = {f: 0.02 * min(f - 20, 40 - f) for f in range(21, 40)}
    assert abs(suggest_keyframe(calm | wild, [0, 20, 40]) - 30) <= 1
    # A short span in doubt gives way to a long one in as much doubt.
    short = {f: 0.02 * min(f, 6 - f) for f in range(1, 6)}
    long = {f: 0.02 * min(f - 6, 46 - f) / 6 for f in range(7, 46)}
    assert suggest_keyframe(short | long, [0, 6, 46]) > 6


def test_keyframes_and_frames_before_them_are_looked_at_as_they_are():
    doubts = steady(range(40), start=20)
    assert suggest_keyframe(doubts | {20: 9.0}, [20]) in (2, 3, 37, 38)
    assert suggest_keyframe({f: 0.05 * f for f in range(1, 3)}, [0]) in (1, 2)


@pytest.mark.parametrize(
    ("doubts", "keyframes"),
    [
        ({}, [1]),
        ({}, []),
        ({1: 0.5, 2: 0.5}, []),  # nothing to carry from
        ({2: 0.0, 3: 0.0}, [1]),
        (dict.fromkeys(range(2, 9), 0.2 * LEAST), [1]),
    ],
)
def test_nothing_to_suggest(doubts, keyframes):
    assert suggest_keyframe(doubts, keyframes) is None


def test_the_order_of_what_is_given_does_not_matter():
    rng = np.random.default_rng(4)
    frames = list(range(1, 60, 2))
    doubts = {f: float(d) for f, d in zip(frames, np.cumsum(rng.random(30)) / 30, strict=True)}
    straight = suggest_keyframe(doubts, [0, 25])
    shuffled = {f: doubts[f] for f in rng.permutation(frames).tolist()}
    assert suggest_keyframe(shuffled, (25, 0)) == straight
    assert straight in frames


def test_doubt_counts_near_the_unknown_only():
    sure = np.full((60, 90), 250)
    far, near = sure.copy(), sure.copy()
    far[:, :20] = 0
    near[:, 42:48] = 0
    assert doubt_of(trimap(sure)) == 0
    assert doubt_of(trimap(far)) == 0
    assert 0.2 < doubt_of(trimap(near)) < 0.7
    worse = near.copy()
    worse[:, 40:50] = 0
    assert doubt_of(trimap(worse)) > doubt_of(trimap(near))


def test_doubt_does_not_count_what_the_whole_frame_has_lost():
    """A locked shot that is carried far has lost confidence evenly, and needs no keyframe."""
    assert doubt_of(trimap(250)) == doubt_of(trimap(90)) == 0
    assert doubt_of(trimap(0)) == 1


def test_doubt_of_large_trimaps_is_that_of_small_ones():
    near = np.full((60, 90), 250)
    near[:, 42:48] = 60
    small = trimap(near)
    large = Trimap(
        small.pixels.repeat(20, 0).repeat(20, 1), None, "propagated",
        small.confidence.repeat(20, 0).repeat(20, 1),
    )  # fmt: skip
    assert abs(doubt_of(large) - doubt_of(small)) < 0.05


def test_trimaps_that_give_no_doubt():
    assert doubt_of(Trimap(np.full((5, 7), 128, np.uint8))) == 0
    assert doubt_of(trimap(9, np.zeros((60, 90), np.uint8))) == 0
    assert doubt_of(Trimap(*(np.full((1, 1), 128, np.uint8), None, "propagated"),
                           np.full((1, 1), 3, np.uint8))) == 0  # fmt: skip
