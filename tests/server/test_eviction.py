"""A spool that is full: what makes room is never what somebody counts on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from host_plugins.client import control, files
from host_plugins.client.errors import CapacityError
from host_plugins.client.shot import Keyframe
from tests.server.serving import Clip, in_thread, pixels, wait_for
from tests.server.test_sharing import send, submit

# A survey that finds something in the spool makes the marker, and lasts until somebody removes it.
SURVEYED_SLOWLY = """
import time
from pathlib import Path
from dvm_server import dispatch
last_look = dispatch.without_damaged

def slowly(*given):
    plan = last_look(*given)
    if plan.carried or plan.ready:
        Path({marker!r}).touch()
        while Path({marker!r}).exists():
            time.sleep(0.02)
    return plan

dispatch.without_damaged = slowly
"""


@pytest.fixture
def clip(make_clip):
    return make_clip(4)


@pytest.fixture
def other(tmp_path) -> Clip:
    """One whose plates fill the spool."""
    clip = Clip(tmp_path / "other", 1001, 12)
    clip.folder.mkdir()
    for frame in clip.frames:
        clip.paint_plate(frame, seed=1)
    clip.paint_trimap(1001, columns=5)
    return clip


def size_of(clip: Clip) -> int:
    """What a clip's plates and its trimap take by value."""
    plates = sum(clip.plate(frame).stat().st_size for frame in clip.frames)
    return plates + clip.trimap(1001).stat().st_size


def announce(session, clip: Clip) -> tuple[str, Callable[[], None]]:
    """Submit a clip by value; returns its job, and what sends its plates."""
    shot, sent = clip.by_value(clip.shot(network="span_slow=1.0"))
    accepted, prepared = submit(session, shot, sent)
    return accepted.job, lambda: send(session, accepted.job, prepared, clip.frames)


@pytest.mark.parametrize("by_value", [False, True])
def test_what_a_survey_counted_on_is_made_again_if_it_has_gone(
    start_server, clip, other, tmp_path, by_value
):
    marker = tmp_path / "surveyed"
    quota = size_of(other) + (size_of(clip) if by_value else 0) + 100
    server = start_server(planted=SURVEYED_SLOWLY.format(marker=str(marker)), quota_bytes=quota)
    shot, rest = clip.by_value(clip.shot((1001,))) if by_value else (clip.shot((1001,)), {})
    taken: dict[int, bytes] = {}

    def run():
        def sink(frame, parts):
            taken[frame] = bytes(parts[0].data)

        return server.run(shot, **({"sink": sink, **rest} if by_value else {}))

    assert run().frames == 4
    right = {f: taken[f] if by_value else pixels(clip.out(f)) for f in clip.frames}
    taken.clear()
    for frame in clip.frames:
        clip.out(frame).unlink(missing_ok=True)
    with server.session() as session:
        job, fill = announce(session, other)
        thread, found = in_thread(run)
        wait_for(marker.exists, why=server.why)
        fill()
        assert not list((server.state / "trimaps").iterdir())
        assert control.cancel(server.connection, job) == "cancelled"
        marker.unlink()
        thread.join(30)
    assert getattr(found[0], "frames", None) == 4, found
    for frame in clip.frames:
        mine = taken[frame] if by_value else pixels(clip.out(frame))
        assert np.array_equal(mine, right[frame])


def test_what_is_found_in_the_spool_counts_as_used(start_server, clip, other):
    """Else the trimaps of a shot that is worked on day by day would go before yesterday's."""
    server = start_server(quota_bytes=size_of(other) + 4000)
    shot = clip.shot((1001,))
    server.run(shot)
    trimaps = set((server.state / "trimaps").iterdir())
    yesterday, sent = other.by_value(replace(other.shot(), frames=((1001, 1006, 1),)))
    sent["plates"] = {f: path for f, path in sent["plates"].items() if f <= 1006}
    server.run(yesterday, sink=lambda frame, parts: None, **sent)
    for frame in clip.frames:
        clip.out(frame).unlink()
    server.run(shot)
    with server.session() as session:
        job, fill = announce(session, other)
        fill()
        assert set((server.state / "trimaps").iterdir()) >= trimaps
        control.cancel(server.connection, job)


def test_trimaps_of_one_shot_do_not_make_room_for_each_other(start_server, clip, other):
    clip.paint_trimap(1004, columns=6)
    keys = {f: clip.trimap(f) for f in (1001, 1004)}
    most = max(path.stat().st_size for path in keys.values())
    server = start_server(quota_bytes=size_of(other) + most)
    parts = tuple(Keyframe(f, part=files.digest(path)) for f, path in keys.items())
    shot = replace(clip.shot(), keyframes=parts)
    with server.session() as session:
        _, fill = announce(session, other)
        fill()
        with pytest.raises(CapacityError) as caught:
            server.run(shot, trimaps=keys)
        assert caught.value.code == "capacity.spool_full"
