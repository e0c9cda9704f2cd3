"""Several clients, clients that die, slow clients, many workers, a full spool."""

from __future__ import annotations

import time

import numpy as np
import pytest

from host_plugins.client import events
from host_plugins.client import files as client_files
from host_plugins.client.errors import CapacityError, InputError
from host_plugins.client.submission import prepare
from tests.server.serving import in_thread, pixels, wait_for

KEYS = (1001, 1012)


@pytest.fixture
def clip(make_clip):
    return make_clip(12, keys=KEYS)


def submit(session, shot, files):
    """By value, as `run_shot` does it, but step by step."""
    prepared = prepare(shot, files["plates"], files["trimaps"], lambda: None)
    session.hello()
    plates = [one.entry(frame) for frame, one in prepared.plates.items()]
    return session.submit(prepared.shot, plates=plates, parts=prepared.parts), prepared


def send(session, job, prepared, frames):
    for frame in frames:
        session.send_plate(job, client_files.read_part("plate", prepared.plates[frame].path, frame))
        got = session.next_event(10)
        assert isinstance(got, events.Got | events.Matte)


def test_two_clients_attach_to_one_job_and_both_get_everything(start_server, clip):
    server = start_server()
    shot, files = clip.by_value(clip.shot(KEYS, network="slow=0.1"))
    taken: list[dict[int, bytes]] = [{}, {}]

    def run(index):
        def sink(frame, parts):
            taken[index][frame] = bytes(parts[0].data)

        return server.run(shot, sink=sink, **files)

    threads = [in_thread(lambda index=index: run(index)) for index in (0, 1)]
    for thread, found in threads:
        thread.join(60)
        assert getattr(found[0], "frames", None) == 12, found
    assert taken[0] == taken[1] and len(taken[0]) == 12
    assert len(server.events("frame")) == 12  # computed once


def test_a_client_that_dies_is_missed_by_nobody_and_gets_the_rest_later(start_server, clip):
    server = start_server()
    shot, files = clip.by_value(clip.shot(KEYS))
    session = server.session()
    accepted, prepared = submit(session, shot, files)
    assert accepted.need == tuple(clip.frames)
    send(session, accepted.job, prepared, clip.frames[:3])
    session._drop_link()  # without a bye
    assert server.status()["jobs"][0]["state"] == "waiting"
    taken = {}
    with server.session() as again:
        accepted, _ = submit(again, shot, files)
        assert accepted.need == tuple(clip.frames[3:])  # what was sent is kept
    summary = server.run(shot, sink=lambda frame, parts: taken.setdefault(frame, parts), **files)
    assert sorted(taken) == clip.frames and summary.computed == 12


def test_plates_sent_job_goes_on_without_its_client(start_server, clip):
    server = start_server()
    shot, files = clip.by_value(clip.shot(KEYS))
    with server.session() as session:
        accepted, prepared = submit(session, shot, files)
        send(session, accepted.job, prepared, clip.frames)
    wait_for(lambda: server.status()["jobs"][0]["state"] == "done", why=server.why)
    summary = server.run(shot, **files)
    assert (summary.computed, summary.kept) == (0, 12)
    server.run(clip.shot(KEYS, out="path"))
    assert np.array_equal(pixels(clip.out(1006)), pixels(clip.out(1006, "path")))


def test_a_client_that_acknowledges_nothing_holds_up_only_itself(start_server, clip):
    server = start_server(credit=2)
    shot, files = clip.by_value(clip.shot(KEYS))
    with server.session() as slow:
        accepted, prepared = submit(slow, shot, files)
        assert accepted.credit == 2
        mattes = []
        for frame in clip.frames:
            part = client_files.read_part("plate", prepared.plates[frame].path, frame)
            slow.send_plate(accepted.job, part)
            while not isinstance(event := slow.next_event(10), events.Got):
                mattes.append(event)
        wait_for(lambda: server.status()["jobs"][0]["done"] == 12, why=server.why)
        time.sleep(0.3)
        while (event := slow.next_event(0.2)) is not None:
            mattes.append(event)
        assert len(mattes) == 2  # no more than its credit
        assert server.run(shot, **files).kept == 12  # another one is served meanwhile
        slow.acknowledge(mattes[0])
        assert isinstance(slow.next_event(10), events.Matte)


def test_a_client_that_stays_silent_is_forgotten_and_may_come_again(start_server, clip):
    """Else the mattes it never took would stay in the spool for ever."""
    server = start_server(credit=2, client_seconds=4.0)
    shot, files = clip.by_value(clip.shot(KEYS))
    server.run(shot, sink=lambda frame, parts: None, **files)
    before = server.log().count("silent")  # On a busy machine the first client may have been too.
    with server.session() as silent:
        submit(silent, shot, files)
        mattes = [silent.next_event(10), silent.next_event(10)]
        wait_for(lambda: server.log().count("silent") > before, why=server.why)
        for matte in mattes:
            silent.acknowledge(matte)
        assert silent.next_event(1) is None
    taken = {}
    server.run(shot, sink=lambda frame, parts: taken.setdefault(frame, parts), **files)
    assert sorted(taken) == clip.frames


def test_a_plate_that_is_not_the_one_announced(start_server, clip):
    server = start_server()
    shot, files = clip.by_value(clip.shot(KEYS))
    with server.session() as session:
        accepted, _ = submit(session, shot, files)
        session.send_plate(accepted.job, client_files.read_part("plate", clip.plate(1002), 1001))
        event = session.next_event(10)
        assert isinstance(event, events.Failed) and event.error.code == "setup.protocol"


def test_one_worker_or_two_make_the_same_pixels(start_server, make_clip):
    clip, keys = make_clip(24, keys=(1001, 1012, 1024)), (1001, 1012, 1024)
    start_server("one").run(clip.shot(keys, out="one"))
    two = start_server("two", devices=["cpu", "cpu"])
    wait_for(lambda: {one["state"] for one in two.status()["workers"]} == {"idle"})
    two.run(clip.shot(keys, out="two", network="span_slow=0.02"))
    pids = {one["pid"] for one in two.events("unit")}
    assert len(pids) == 2  # both had work
    for frame in clip.frames:
        assert np.array_equal(pixels(clip.out(frame, "one")), pixels(clip.out(frame, "two")))


def test_the_same_shot_elsewhere_while_it_runs(start_server, clip):
    server = start_server()
    shot = clip.shot(KEYS, network="slow=0.2")
    with server.session() as session:
        session.hello()
        session.submit(shot)
        with pytest.raises(InputError) as caught:
            server.run(clip.shot(KEYS, network="slow=0.2", out="elsewhere"))
    assert caught.value.code == "input.output_elsewhere"


def test_other_plates_for_the_same_shot_take_its_place(start_server, clip):
    """By value the id of a shot does not know its plates; a job on old ones must not go on."""
    server = start_server()
    shot, files = clip.by_value(clip.shot(KEYS))
    with server.session() as session:
        accepted, prepared = submit(session, shot, files)
        send(session, accepted.job, prepared, clip.frames[:3])
        clip.paint_plate(1002, seed=5)
        shot, files = clip.by_value(clip.shot(KEYS))
        assert server.run(shot, **files).computed == 12
        assert isinstance(session.next_event(10), events.Stopped)
    server.run(clip.shot(KEYS, out="path"))
    assert np.array_equal(pixels(clip.out(1002)), pixels(clip.out(1002, "path")))


def test_a_full_spool(start_server, make_clip):
    """Every plate is needed, so nothing can make room: a typed error, and the server goes on."""
    clip = make_clip(12, keys=KEYS)
    size = clip.plate(1001).stat().st_size
    server = start_server(quota_bytes=4 * size)
    shot, files = clip.by_value(clip.shot(KEYS))
    with pytest.raises(CapacityError) as caught:
        server.run(shot, **files)
    assert caught.value.code == "capacity.spool_full" and caught.value.exit_code == 75
    assert str(4 * size) in caught.value.message
    assert server.status()["spool_bytes"] <= 4 * size
    assert server.run(clip.shot((1001,))).computed == 12  # by path needs little room


def test_old_shots_make_room_for_new_ones(start_server, make_clip):
    clip = make_clip(3, keys=(1001,))
    size = clip.plate(1001).stat().st_size
    server = start_server(quota_bytes=16 * size)
    for seed in range(5):
        for frame in clip.frames:
            clip.paint_plate(frame, seed=seed)
        shot, files = clip.by_value(clip.shot((1001,), out=f"out{seed}"))
        assert server.run(shot, **files).computed == 3
        assert server.status()["spool_bytes"] <= (16 + 4) * size
    stranger = server.state / "files" / "not-in-the-manifest.exr"
    stranger.write_bytes(b"somebody put it here")
    for frame in clip.frames:
        clip.paint_plate(frame, seed=9)
    shot, files = clip.by_value(clip.shot((1001,), out="out9"))
    server.run(shot, **files)
    assert stranger.exists()  # what the manifest does not list is not touched
