"""A shot that is submitted while it runs: joined if its files are the same, else begun anew."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from host_plugins.client.errors import Cancelled, InputError
from tests.server.serving import begin, in_thread, made, pixels, wait_for

COUNT = 6
SURVEYED_SLOWLY = """
import time
from pathlib import Path
from dvm_server import dispatch
survey = dispatch.survey

def slowly(offer, *rest):
    found = survey(offer, *rest)
    marker = Path({marker!r})
    if not marker.exists():
        marker.touch()
        time.sleep(2)
    return found

dispatch.survey = slowly
"""


@pytest.fixture
def clip(make_clip):
    return make_clip(COUNT)


def repaint_trimap(clip):
    clip.paint_trimap(1001, columns=6)


def repaint_plate(clip):
    clip.paint_plate(1006, seed=3)


def check(server, clip, **options):
    """The mattes are what they would be if nothing had been there before."""
    server.run(clip.shot(out="undisturbed", network="slow=0.0", **options))
    for frame in clip.frames:
        assert np.array_equal(pixels(clip.out(frame)), pixels(clip.out(frame, "undisturbed")))


@pytest.mark.parametrize("repaint", [repaint_trimap, repaint_plate])
def test_files_that_were_made_anew_under_their_names_take_the_place(start_server, clip, repaint):
    """Whoever submitted has left, and the job goes on with the old ones."""
    server = start_server()
    shot = clip.shot(network="slow=0.5", overwrite=True)
    begin(server, shot)
    wait_for(lambda: made(clip) >= 1, why=server.why)
    repaint(clip)
    assert server.run(shot).computed == COUNT
    check(server, clip, overwrite=True)


def test_mattes_of_the_old_trimap_are_told(start_server, clip):
    server = start_server()
    shot = clip.shot(network="slow=0.5")
    first, found = in_thread(lambda: server.run(shot))
    wait_for(lambda: made(clip) >= 1, why=server.why)
    repaint_trimap(clip)
    with pytest.raises(InputError) as caught:
        server.run(shot)
    assert caught.value.code == "input.trimap_changed" and caught.value.frame == 1001
    first.join(30)
    assert isinstance(found[0], Cancelled), found  # nobody waits for them any more
    assert made(clip) < COUNT


def test_a_checkpoint_that_was_replaced_takes_the_place(start_server, clip, tmp_path):
    server = start_server()
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"one")
    shot = clip.shot(network="slow=0.5", checkpoint=str(weights), overwrite=True)
    begin(server, shot)
    wait_for(lambda: made(clip) >= 1, why=server.why)
    weights.write_bytes(b"another")
    assert server.run(shot).computed == COUNT


def test_a_trimap_repainted_while_the_files_are_looked_at(start_server, clip, tmp_path):
    marker = tmp_path / "marker"
    server = start_server(planted=SURVEYED_SLOWLY.format(marker=str(marker)))
    shot = clip.shot(network="slow=0.0", overwrite=True)
    first, _ = in_thread(lambda: server.run(shot))
    wait_for(marker.exists, why=server.why)
    repaint_trimap(clip)
    assert server.run(shot).frames == COUNT
    first.join(30)
    check(server, clip, overwrite=True)


def test_the_same_files_are_joined_and_nothing_is_done_twice(start_server, clip):
    server = start_server()
    shot = clip.shot(network="slow=0.3")
    threads = [in_thread(lambda: server.run(shot))]
    wait_for(lambda: made(clip) >= 1, why=server.why)
    threads += [in_thread(lambda: server.run(shot)) for _ in range(3)]
    for thread, found in threads:
        thread.join(30)
        assert getattr(found[0], "frames", None) == COUNT, found
    assert len(server.events("submitted")) == 1
    assert len(server.events("frame")) == COUNT


def test_several_who_come_with_newer_files_share_one_job(start_server, clip):
    server = start_server()
    shot = clip.shot(network="slow=0.5", overwrite=True)
    begin(server, shot)
    wait_for(lambda: made(clip) >= 1, why=server.why)
    repaint_trimap(clip)
    together = threading.Barrier(3)

    def run():
        together.wait()
        return server.run(shot)

    for thread, found in [in_thread(run) for _ in range(3)]:
        thread.join(30)
        assert getattr(found[0], "computed", None) == COUNT, found
    assert len(server.events("submitted")) == 2
    check(server, clip, overwrite=True)


def test_who_wants_the_mattes_elsewhere_stops_nobody(start_server, clip):
    server = start_server()
    first, found = in_thread(lambda: server.run(clip.shot(network="slow=0.5")))
    wait_for(lambda: made(clip) >= 1, why=server.why)
    repaint_trimap(clip)
    with pytest.raises(InputError) as caught:
        server.run(clip.shot(network="slow=0.5", out="elsewhere"))
    assert caught.value.code == "input.output_elsewhere"
    first.join(30)
    assert not isinstance(found[0], Cancelled)


def test_who_comes_without_a_trimap_is_told_and_stops_nobody(start_server, clip):
    server = start_server()
    shot = clip.shot((1001,), network="slow=0.5")
    begin(server, shot)
    wait_for(lambda: made(clip) >= 1, why=server.why)
    clip.trimap(1001).unlink()
    with pytest.raises(InputError) as caught:
        server.run(shot)
    assert caught.value.code == "input.missing_trimap"
    wait_for(lambda: made(clip) == COUNT, why=server.why)
