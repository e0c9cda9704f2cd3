"""Cancelling: at once for the user, within a frame for the worker, and nothing finished is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dvm_server.jobs import Offer
from dvm_server.ledger import Ledger
from dvm_server.outputs import Outputs
from dvm_server.spool import Spool
from dvm_server.survey import Surroundings, survey
from host_plugins.client import control
from host_plugins.client.errors import Cancelled
from host_plugins.client.session import Session
from host_plugins.client.shot import shot_id
from tests.server.serving import begin, in_thread, made, stamps, wait_for

COUNT = 24  # two blocks, two spans
KEYS = (1001, 1012, 1024)


@pytest.fixture
def clip(make_clip):
    return make_clip(COUNT, keys=KEYS)


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
    assert len(begin(server, shot).done) == len(before)


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


def test_a_job_that_waits_its_turn_can_be_cancelled(start_server, clip):
    server = start_server()
    first = clip.shot(KEYS, network="slow=0.1")
    begin(server, first)
    second = clip.shot(KEYS, out="second", window="causal")
    thread, found = in_thread(lambda: server.run(second))
    wait_for(lambda: len(server.status()["jobs"]) == 2, why=server.why)
    assert control.cancel(server.connection, shot_id(second)) == "cancelled"
    thread.join(15)
    assert isinstance(found[0], Cancelled), found
    assert made(clip, "second") == 0
    wait_for(lambda: made(clip) == COUNT, why=server.why)  # the first one is not disturbed


def test_a_survey_can_be_given_up(clip, tmp_path):
    """Hashing a shot's plates may take minutes."""
    looked = []

    def look(path: Path) -> None:
        looked.append(path)
        if len(looked) == 5:
            raise Cancelled()

    spool = Spool(tmp_path, 1 << 20)
    outputs = Outputs(Ledger(tmp_path), lambda path: "", lambda path: "")
    shot = clip.shot(KEYS)
    with pytest.raises(Cancelled):
        survey(Offer(shot_id(shot), shot), {}, {}, Surroundings(spool, (), outputs, look))
    spool.close()


def test_cancel_in_pass_a(start_server, clip):
    server = start_server()
    job = begin(server, clip.shot(KEYS, network="span_slow=0.2")).job
    wait_for(lambda: len(server.events("trimap")) >= 1, why=server.why)
    control.cancel(server.connection, job)
    began = time.monotonic()
    wait_for(lambda: server.status()["workers"][0]["state"] == "idle", why=server.why)
    assert time.monotonic() - began < 1.0
    assert not list((server.state / "scratch").iterdir())
