"""Keys: what changes them, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvm_server.identity import ShotFacts, matte_keys, trimap_keys
from model.passes import window

FRAMES = tuple(range(1001, 1041))
KEYS = (1001, 1012, 1030)


def facts(**changes) -> ShotFacts:
    found = ShotFacts(
        frames=FRAMES,
        keyframes={f: f"painted {f}" for f in KEYS},
        given={},
        plates={f: f"plate {f}" for f in FRAMES},
        carrying={"precision": "float32"},
        matting={"layers": ["alpha"]},
        engine={"engine": "e 1", "network": "n", "checkpoint": "", "device": "cpu", "threads": 2},
    )
    return replace(found, **changes)


def changed(before, after) -> set[int]:
    assert before.keys() == after.keys()
    return {frame for frame in before if before[frame] != after[frame]}


def reads(frames) -> set[int]:
    """Frames whose matte may look at one of these: by its window, or its block's lead-in."""
    found = set()
    for block in facts().blocks():
        lead_in = block.reads[: block.reads.index(block.frames[0])]
        for frame in block.frames:
            if set(frames) & {*window(FRAMES, frame), *lead_in}:
                found.add(frame)
    return found


def test_every_frame_has_its_own_key():
    keys = matte_keys(facts()).values()
    assert len(set(keys)) == len(FRAMES)
    assert len(set(trimap_keys(facts()).values())) == len(FRAMES) - len(KEYS)


def test_another_keyframe_changes_only_its_spans_and_who_reads_them():
    repainted = facts(keyframes={**facts().keyframes, 1030: "painted again"})
    spans = set(range(1013, 1041)) - {1030}
    assert changed(trimap_keys(facts()), trimap_keys(repainted)) == spans
    assert changed(matte_keys(facts()), matte_keys(repainted)) == reads(spans | {1030})
    assert 1001 not in reads(spans)  # the test would be empty otherwise


def test_another_plate_changes_only_its_span_and_who_reads_it():
    rendered = facts(plates={**facts().plates, 1005: "rendered again"})
    span = set(range(1002, 1012))
    assert changed(trimap_keys(facts()), trimap_keys(rendered)) == span
    assert changed(matte_keys(facts()), matte_keys(rendered)) == reads(span)


def test_with_given_trimaps_a_plate_reaches_no_farther_than_the_window():
    given_all = facts(keyframes={}, given={f: f"given {f}" for f in FRAMES})
    rendered = replace(given_all, plates={**given_all.plates, 1005: "rendered again"})
    assert trimap_keys(given_all) == {}
    assert changed(matte_keys(given_all), matte_keys(rendered)) == {1003, 1004, 1005, 1006, 1007}


@pytest.mark.parametrize(
    ("change", "trimaps", "mattes"),
    [
        ({"device": "cuda:0"}, False, False),
        ({"network": "other"}, False, True),
        ({"checkpoint": "other"}, False, True),
        ({"engine": "e 2"}, True, True),
        ({"threads": 3}, True, True),
        ({"ocio": "other"}, True, True),
    ],
)
def test_what_of_the_engine_counts(change, trimaps, mattes):
    other = facts(engine={**facts().engine, **change})
    assert bool(changed(trimap_keys(facts()), trimap_keys(other))) is trimaps
    assert bool(changed(matte_keys(facts()), matte_keys(other))) is mattes


def test_causal_mattes_do_not_look_ahead():
    causal = facts(causal=True)
    rendered = replace(
        causal,
        keyframes=dict.fromkeys(FRAMES, "k"),
        plates={**causal.plates, 1005: "rendered again"},
    )
    before = replace(causal, keyframes=dict.fromkeys(FRAMES, "k"))
    assert changed(matte_keys(before), matte_keys(rendered)) == {1005, 1006, 1007}


def test_a_black_frame_differs_from_a_held_one_and_its_neighbours_do_not():
    held = facts(plates={**facts().plates, 1005: "plate 1004"})
    black = replace(held, black=frozenset({1005}))
    assert changed(matte_keys(held), matte_keys(black)) == {1005}


@settings(max_examples=50, deadline=None)
@given(st.permutations(list(FRAMES)))
def test_the_order_in_which_facts_were_found_does_not_count(order):
    shuffled = facts(
        plates={f: f"plate {f}" for f in order},
        keyframes={f: f"painted {f}" for f in order if f in KEYS},
        engine=dict(reversed(facts().engine.items())),
    )
    assert matte_keys(shuffled) == matte_keys(facts())
    assert trimap_keys(shuffled) == trimap_keys(facts())


def test_keys_are_pinned():
    """A change here makes every finished frame of every shot stale: raise the engine's version."""
    assert matte_keys(facts())[1005][:16] == "d28684805f56570b"
    assert trimap_keys(facts())[1005][:16] == "ee4379b1bd557fa1"
