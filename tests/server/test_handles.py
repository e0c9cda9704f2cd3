"""Handles: frames beyond the ends of a shot that are read and get no matte."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dvm_server.identity import matte_keys, trimap_keys
from host_plugins.client.errors import InputError
from host_plugins.client.shot import Keyframe, Trimaps
from model.passes import blocks, with_handles
from tests.server.serving import pixels
from tests.server.test_identity import FRAMES, facts


def test_what_of_the_handles_is_read():
    frames, before, after = (10, 11), (6, 7, 8, 9), (12, 13, 14, 15)
    assert with_handles(frames, before, after, []) == (8, 9, 10, 11, 12, 13)
    assert with_handles(frames, before, after, [], causal=True) == (8, 9, 10, 11)
    assert with_handles(frames, before, after, [6, 12]) == (6, 7, 8, 9, 10, 11, 12, 13)
    assert with_handles(frames, before, after, [15], causal=True) == (8, *range(9, 16))
    assert with_handles(frames, before[3:], (), []) == (9, 10, 11)
    assert with_handles(frames, (), (), [3]) == frames


def test_blocks_count_from_the_first_frame_whatever_the_handles():
    frames, context = tuple(range(1, 21)), tuple(range(-1, 23))
    plain, held = blocks(frames), blocks(frames, context=context)
    assert [one.frames for one in plain] == [one.frames for one in held]
    assert held[0].reads == tuple(range(-1, 19)) and held[1].reads == tuple(range(15, 23))
    assert blocks(frames, causal=True, context=context)[1].reads == tuple(range(15, 21))


def test_handles_change_the_keys_of_frames_whose_windows_reach_them():
    context = (999, 1000, *FRAMES, 1041, 1042)
    plates = {f: f"plate {f}" for f in context}
    held = facts(context=context, plates=plates)
    before, after = matte_keys(facts()), matte_keys(held)
    assert after.keys() == before.keys()
    # The first block's lead-in is new, and the two last windows; trimaps of both end spans.
    assert {f for f in FRAMES if before[f] != after[f]} == {*range(1001, 1017), *range(1029, 1041)}
    assert set(trimap_keys(held)) - set(trimap_keys(facts())) == {999, 1000, 1041, 1042}


def test_trimaps_are_carried_to_those_handles_that_are_read():
    context = tuple(range(990, 1043))
    held = facts(
        context=context,
        keyframes={990: "painted", 1012: "painted"},
        plates={f: f"plate {f}" for f in context},
    )
    assert min(trimap_keys(held)) == 999 and max(trimap_keys(held)) == 1042


@pytest.mark.parametrize("by_value", [False, True])
def test_a_shot_with_handles_is_the_middle_of_a_longer_one(by_value, start_server, make_clip):
    clip, server = make_clip(24, keys=(1001, 1012, 1024)), start_server()
    server.run(clip.shot((1001, 1012, 1024)))
    keys = (1001, 1012, 1024)
    shot = replace(clip.shot(keys, out="held"), frames=((1005, 1016, 1),), handles=8)
    files = {}
    if by_value:
        shot, files = clip.by_value(shot)
    assert server.run(shot, **files).computed == 12
    names = {path.name for path in (clip.folder / "held").glob("*.exr")}
    assert names == {f"alpha.{f}.exr" for f in range(1005, 1017)}
    for frame in range(1005, 1017):
        assert np.array_equal(pixels(clip.out(frame)), pixels(clip.out(frame, "held")))
    assert server.run(shot, **files).computed == 0


def test_without_handles_the_ends_are_repeated(start_server, make_clip):
    clip, server = make_clip(8), start_server()
    server.run(clip.shot((1001, 1008)))
    shot = replace(clip.shot((1003,), out="cut"), frames=((1003, 1006, 1),))
    clip.paint_trimap(1003)
    server.run(shot)
    assert not np.array_equal(pixels(clip.out(1003)), pixels(clip.out(1003, "cut")))


def test_handles_that_are_not_there_are_named(start_server, make_clip):
    clip, server = make_clip(6, keys=(1001,)), start_server()
    with pytest.raises(InputError, match="frame 999, a handle, is not there") as caught:
        server.run(replace(clip.shot(), handles=2))
    assert "fewer handles" in caught.value.hint
    held = clip.shot(missing="hold")
    assert server.run(replace(held, handles=2)).computed == 6


def test_given_trimaps_must_reach_into_the_handles_that_are_read(start_server, make_clip):
    clip, server = make_clip(8), start_server()
    for frame in range(1003, 1008):
        clip.paint_trimap(frame)
    clip.trimap(1001).unlink()
    clip.trimap(1008).unlink()
    given = Trimaps(str(clip.folder / "key.####.png"))
    shot = replace(clip.shot(), keyframes=(), trimaps=given, frames=((1004, 1006, 1),), handles=2)
    with pytest.raises(InputError, match="frame 1002 has no trimap"):
        server.run(shot)
    assert server.run(replace(shot, handles=1)).computed == 3


def test_a_keyframe_beyond_the_handles_is_none(start_server, make_clip):
    clip, server = make_clip(8, keys=(1001,)), start_server()
    shot = replace(
        clip.shot(), frames=((1005, 1006, 1),), keyframes=(Keyframe(1001, str(clip.trimap(1001))),)
    )
    with pytest.raises(InputError, match="no keyframe within the shot's frames and handles"):
        server.run(replace(shot, handles=2))
    assert (
        server.run(replace(shot, handles=4, options=replace(shot.options, missing="hold"))).computed
        == 2
    )
