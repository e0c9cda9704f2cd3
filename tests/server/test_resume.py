"""Killed and started again: nothing finished is touched, little is repeated, nothing differs."""

from __future__ import annotations

import time

import numpy as np
import pytest

from host_plugins.client.errors import CapacityError
from tests.full_disk import full_disk
from tests.server.serving import begin, in_thread, made, pixels, stamps, wait_for

COUNT = 24  # two blocks, two spans
KEYS = (1001, 1012, 1024)


@pytest.fixture
def clip(make_clip):
    return make_clip(COUNT, keys=KEYS)


@pytest.mark.parametrize("enough", [1, 12])
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


def test_a_checkpoint_replaced_under_its_name_is_another_one(start_server, clip, tmp_path):
    server = start_server()
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"one")
    shot = clip.shot(KEYS, checkpoint=str(weights), overwrite=True)
    assert server.run(shot).computed == COUNT
    assert server.run(shot).computed == 0
    weights.write_bytes(b"another")
    assert server.run(shot).computed == COUNT  # without a new start of the server


def test_sigkill_in_pass_a_repeats_at_most_that_span(start_server, clip):
    server = start_server()
    shot = clip.shot(KEYS, network="span_slow=0.05")
    begin(server, shot)
    wait_for(lambda: len(server.events("trimap")) >= 14, why=server.why)
    server.kill()
    time.sleep(0.3)
    left = list((server.state / "scratch").iterdir())
    spooled = set((server.state / "trimaps").glob("*.npz"))
    times = {path: path.stat().st_mtime_ns for path in spooled}
    server.start()
    server.run(shot)
    assert {path: path.stat().st_mtime_ns for path in spooled} == times
    assert len(left) == 1 and not list((server.state / "scratch").iterdir())
    first = [one["frame"] for one in server.events("trimap") if one["frame"] < 1012]
    assert len(first) == 10  # the finished span was not carried again
    units = [one for one in server.events("unit") if one["kind"] == "span"]
    assert [one["index"] for one in units] == [0, 1, 1]


def test_sigkill_by_value(start_server, clip):
    server = start_server()
    sent, files = clip.by_value(clip.shot(KEYS, network="slow=0.05"))
    thread, found = in_thread(lambda: server.run(sent, **files))
    wait_for(lambda: made(clip) >= 8, why=server.why)
    server.kill()
    before = stamps(clip.folder / "out")
    server.start()
    thread.join(60)
    assert not thread.is_alive()
    assert getattr(found[0], "frames", None) == COUNT, found  # it reconnected by itself
    assert stamps(clip.folder / "out").items() >= before.items()
    frames = [one["frame"] for one in server.events("frame")]
    assert len(frames) == len(set(frames)) == COUNT
    assert len(server.events("trimap")) == 21
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
    journal.write_bytes(b"".join(line for line in lines if line not in frames[12:]))
    before = stamps(clip.folder / "out")
    server.start()
    assert server.run(shot).computed == 0
    assert stamps(clip.folder / "out") == before
    adopted = [one for one in server.events("frame") if one.get("adopted")]
    assert len(adopted) == 12


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
    assert len(server.events("trimap")) == 21  # its trimap lay in the spool


@pytest.mark.parametrize("enough", [0, 3])
def test_a_server_outlives_a_full_disk_and_goes_on_when_there_is_room(start_server, clip, enough):
    server = start_server()
    shot = clip.shot(KEYS, network="slow=0.05")
    if enough:
        begin(server, shot)
        wait_for(lambda: made(clip) >= enough, why=server.why)
    with full_disk(1000, server.process.pid), pytest.raises(CapacityError) as caught:
        server.run(shot)
    assert caught.value.code == "capacity.disk_full" and str(server.state) in caught.value.message
    assert server.run(shot).frames == COUNT, "the same server, asked again"
    assert made(clip) == COUNT


@pytest.mark.parametrize("junk", [b"junk", b""])
@pytest.mark.parametrize("by_value", [False, True])
def test_damaged_trimaps_in_the_spool_are_carried_again(start_server, clip, junk, by_value):
    server = start_server()
    shot = clip.shot(KEYS)
    server.run(shot)
    right = pixels(clip.out(1003))
    trimaps = sorted((server.state / "trimaps").iterdir())
    assert len(trimaps) == COUNT - len(KEYS)
    for path in trimaps:
        path.write_bytes(junk)
    clip.out(1003).unlink()
    sent, files = clip.by_value(shot) if by_value else (shot, {})
    assert server.run(sent, **files).computed == 1
    assert np.array_equal(pixels(clip.out(1003)), right)
    left = sum(path.read_bytes() == junk for path in trimaps)
    assert 0 < left < 10, "those that no block to be done reads are left alone"
