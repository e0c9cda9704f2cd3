"""Spans, blocks and windows."""

from hypothesis import given
from hypothesis import strategies as st

from model.passes import BLOCK_LENGTH, Span, blocks, spans, window


def test_a_shot_is_cut_at_its_keyframes():
    frames = range(1, 11)
    assert spans(frames, [3, 7]) == (
        Span((1, 2, 3), (3,), (1, 2)),
        Span((3, 4, 5, 6, 7), (3, 7), (4, 5, 6)),
        Span((7, 8, 9, 10), (7,), (8, 9, 10)),
    )


def test_given_trimaps_are_not_propagated_to():
    assert spans(range(1, 5), [1], given=[2, 3]) == (Span((1, 2, 3, 4), (1,), (4,)),)
    assert spans(range(1, 5), [1], given=[2, 3, 4]) == ()
    assert spans(range(1, 5), []) == ()


def test_neighbouring_keyframes_leave_no_span_between():
    assert spans([1, 2, 3], [1, 2]) == (Span((2, 3), (2,), (3,)),)


def test_windows_repeat_at_shot_ends():
    assert window([10, 12, 14, 16], 10) == (10, 10, 10, 12, 14)
    assert window([10, 12, 14, 16], 16) == (12, 14, 16, 16, 16)
    assert window([10, 12, 14, 16], 14, causal=True) == (10, 12, 14)


frame_lists = st.sets(st.integers(-500, 500), min_size=1, max_size=120).map(sorted)


@given(frame_lists, st.data())
def test_every_frame_is_wanted_once_or_is_a_keyframe(frames, data):
    keys = data.draw(st.sets(st.sampled_from(frames), min_size=1))
    wanted = [f for span in spans(frames, keys) for f in span.wanted]
    assert sorted(wanted + sorted(keys)) == frames
    for span in spans(frames, keys):
        assert set(span.keyframes) <= {span.frames[0], span.frames[-1]}


@given(frame_lists, st.booleans())
def test_blocks_cover_a_shot_and_read_all_windows(frames, causal):
    found = blocks(frames, causal=causal)
    assert [f for block in found for f in block.frames] == frames
    assert all(len(block.frames) == BLOCK_LENGTH for block in found[:-1])
    for block in found:
        needed = {f for t in block.frames for f in window(frames, t, causal=causal)}
        assert needed == set(block.reads)
