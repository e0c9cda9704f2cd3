"""Killed and started again: nothing finished is touched, little is repeated, nothing differs."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from host_plugins.client.errors import DvmError
from host_plugins.client.session import Session
from tests.server.serving import in_thread, pixels, stamps, wait_for

COUNT = 40  # three blocks, two spans
KEYS = (1001, 1020, 1040)


@pytest.fixture
def clip(make_clip):
    return make_clip(COUNT, keys=KEYS)


def begin(server, shot):
    """Submit by path and leave: the server goes on by itself."""
    with server.session() as session:
        session.hello()
        return session.submit(shot)


def made(clip, out="out"):
    return len(list((clip.folder / out).glob("*.exr")))


@pytest.mark.parametrize("enough", [1, 20])
def test_sigkill_in_pass_b(start_server, clip, enough):
    server = start_server()
    shot = clip.shot(KEYS, network="slow=0.05")
    begin(server, shot)
    wait_for(lambda: made(clip) >= enough, why=server.why)
    server.kill()
    time.sleep(0.3)  # the worker dies with it: nothing is written from here on
    before = stamps(clip.folder / "out")
    assert enough <= len(before) < COUNT
    server.start()
    summary = server.run(shot)
    assert (summary.frames, summary.kept) == (COUNT, len(before))
    assert stamps(clip.folder / "out").items() >= before.items()
    assert not list((clip.folder / "out").glob(".*"))  # no half-written file stays
    # Every frame is made once, but for at most one that was written and not yet announced.
    frames = [one["frame"] for one in server.events("frame")]
    assert sorted(frames) == sorted(set(frames)) and len(frames) == COUNT
    trimaps = [one["frame"] for one in server.events("trimap")]
    assert len(trimaps) == len(set(trimaps))  # pass A is not repeated
    server.run(clip.shot(KEYS, out="undisturbed", network="slow=0.0"))
    for frame in clip.frames:
        assert np.array_equal(pixels(clip.out(frame)), pixels(clip.out(frame, "undisturbed")))


def test_sigkill_in_pass_a_repeats_at_most_that_span(start_server, clip):
    server = start_server()
    shot = clip.shot(KEYS, network="span_slow=0.05")
    begin(server, shot)
    wait_for(lambda: len(server.events("trimap")) >= 22, why=server.why)
    server.kill()
    time.sleep(0.3)
    spooled = set((server.state / "trimaps").glob("*.npz"))
    times = {path: path.stat().st_mtime_ns for path in spooled}
    server.start()
    server.run(shot)
    assert {path: path.stat().st_mtime_ns for path in spooled} == times
    first = [one["frame"] for one in server.events("trimap") if one["frame"] < 1020]
    assert len(first) == 18  # the finished span was not carried again
    units = [one for one in server.events("unit") if one["kind"] == "span"]
    assert [one["index"] for one in units] == [0, 1, 1]


def test_sigkill_by_value(start_server, clip):
    server = start_server()
    sent, files = clip.by_value(clip.shot(KEYS, network="slow=0.05"))
    thread, found = in_thread(lambda: server.run(sent, **files))
    wait_for(lambda: made(clip) >= 15, why=server.why)
    server.kill()
    before = stamps(clip.folder / "out")
    server.start()
    thread.join(60)
    assert not thread.is_alive()
    assert getattr(found[0], "frames", None) == COUNT, found  # it reconnected by itself
    assert stamps(clip.folder / "out").items() >= before.items()
    frames = [one["frame"] for one in server.events("frame")]
    assert len(frames) == len(set(frames)) == COUNT
    assert len(server.events("trimap")) == 37
    server.run(clip.shot(KEYS, out="undisturbed", network="slow=0.0"))
    for frame in clip.frames:
        assert np.array_equal(pixels(clip.out(frame)), pixels(clip.out(frame, "undisturbed")))


def test_a_file_that_was_written_but_not_journalled_is_adopted(start_server, clip):
    """The server dies between the two."""
    server = start_server()
    shot = clip.shot(KEYS)
    server.run(shot)
    server.kill()
    (journal,) = server.state.glob("jobs/*/journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    frames = [line for line in lines if b'"event":"frame"' in line]
    journal.write_bytes(b"".join(line for line in lines if line not in frames[20:]))
    before = stamps(clip.folder / "out")
    server.start()
    assert server.run(shot).computed == 0
    assert stamps(clip.folder / "out") == before
    adopted = [one for one in server.events("frame") if one.get("adopted")]
    assert len(adopted) == 20


def test_a_damaged_journal_is_said_so_and_repeats_nothing(start_server, clip):
    server = start_server()
    shot = clip.shot(KEYS)
    server.run(shot)
    server.kill()
    (journal,) = server.state.glob("jobs/*/journal.jsonl")
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size - 5)
    server.start()
    assert server.run(shot).computed == 0
    assert "cut short" in server.log()


def test_a_second_run_repeats_nothing(start_server, clip):
    server = start_server()
    server.run(clip.shot(KEYS))
    before, events = stamps(clip.folder / "out"), len(server.events("unit"))
    summary = server.run(clip.shot(KEYS))
    assert (summary.computed, summary.kept) == (0, COUNT)
    assert stamps(clip.folder / "out") == before and len(server.events("unit")) == events


def test_a_removed_output_is_made_again_and_only_that(start_server, clip):
    server = start_server()
    server.run(clip.shot(KEYS))
    before = stamps(clip.folder / "out")
    clip.out(1010).unlink()
    assert server.run(clip.shot(KEYS)).computed == 1
    after = stamps(clip.folder / "out")
    assert {name for name in after if after[name] != before[name]} == {"alpha.1010.exr"}
    assert len(server.events("trimap")) == 37  # its trimap lay in the spool


def test_sigkill_of_the_worker_is_mended(start_server, clip, tmp_path):
    """The unit is given to a fresh worker; what it had finished stays."""
    server = start_server()
    shot = clip.shot(KEYS, network="slow=0.03")
    thread, found = in_thread(lambda: server.run(shot))
    wait_for(lambda: made(clip) >= 20, why=server.why)
    before = stamps(clip.folder / "out")
    os.kill(server.worker_pid(), signal.SIGKILL)
    thread.join(60)
    assert getattr(found[0], "computed", None) == COUNT, found
    assert stamps(clip.folder / "out").items() >= before.items()
    assert len(server.events("frame")) == COUNT
    assert "is gone" in server.log()


def test_a_unit_that_kills_its_worker_once_and_always(start_server, clip, tmp_path):
    server = start_server()
    once = clip.shot(KEYS, network=f"once={tmp_path / 'marker'}")
    assert server.run(once).computed == COUNT
    with pytest.raises(DvmError) as caught:
        server.run(clip.shot(KEYS, out="always", network="always"))
    assert caught.value.code == "server.worker_died"
    assert made(clip, "always") == 0
    assert server.run(clip.shot(KEYS, out="after")).computed == COUNT  # the server goes on


def test_cancel_is_seen_within_a_frame_and_keeps_what_is_done(start_server, clip):
    server = start_server()
    shot = clip.shot(KEYS, network="slow=0.4")
    job = begin(server, shot).job
    wait_for(lambda: made(clip) >= 2, why=server.why)
    with Session(server.connection) as session:
        assert session.cancel(job) == "cancelled"
    began = time.monotonic()
    wait_for(lambda: server.status()["workers"][0]["state"] == "idle", why=server.why)
    assert time.monotonic() - began < 1.2  # a frame takes 0.4 s
    before = stamps(clip.folder / "out")
    time.sleep(0.6)
    assert stamps(clip.folder / "out") == before
    assert server.run(shot).kept == len(before)


def test_cancelled_and_submitted_again_at_once(start_server, clip):
    """The worker may be at a frame still; nothing is written twice all the same."""
    server = start_server()
    shot = clip.shot(KEYS, network="slow=0.1")
    for _ in range(3):
        job = begin(server, shot).job
        wait_for(lambda: server.status()["workers"][0]["state"] == "busy", why=server.why)
        with Session(server.connection) as session:
            session.cancel(job)
    assert server.run(shot).frames == COUNT
    frames = [one["frame"] for one in server.events("frame")]
    assert len(frames) == len(set(frames)) == COUNT
