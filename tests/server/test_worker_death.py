"""Workers that are killed, or kill themselves: mended once, reported the second time."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from host_plugins.client.errors import Cancelled, DvmError
from tests.server.serving import in_thread, made, stamps, wait_for

COUNT = 24  # two blocks, two spans
KEYS = (1001, 1012, 1024)


@pytest.fixture
def clip(make_clip):
    return make_clip(COUNT, keys=KEYS)


def test_sigkill_of_the_worker_is_mended(start_server, clip, tmp_path):
    """The unit is given to a fresh worker; what it had finished stays."""
    server = start_server()
    shot = clip.shot(KEYS, network="slow=0.03")
    thread, found = in_thread(lambda: server.run(shot))
    wait_for(lambda: made(clip) >= 10, why=server.why)
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


def test_an_engine_that_kills_workers_as_it_is_opened_fails_its_own_shot_only(
    start_server, clip, tmp_path
):
    """Others are at work, or about to be, in the workers that it kills."""
    server = start_server()
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"poison")
    server.run(clip.shot(KEYS, out="carried"))  # what kills below is never a span
    at_work, of_it = in_thread(lambda: server.run(clip.shot(KEYS, network="slow=0.1")))
    wait_for(lambda: made(clip) >= 1, why=server.why)
    marker = tmp_path / "marker"
    deadly = f"open_slow=0.5 open_dies={marker}"
    poisoned = clip.shot(KEYS, out="poisoned", network=deadly, checkpoint=str(weights))
    fails, failure = in_thread(lambda: server.run(poisoned))
    wait_for(marker.exists, why=server.why)
    beside, of_that = in_thread(
        lambda: server.run(clip.shot(KEYS, out="beside", network="open_slow=0.1"))
    )
    for thread in (fails, at_work, beside):
        thread.join(60)
    assert getattr(failure[0], "code", None) == "server.worker_died", failure
    assert str(weights) in failure[0].message and "open_dies" in failure[0].message
    assert failure[0].hint and failure[0].shot == "clip" and failure[0].exit_code == 70
    assert getattr(of_it[0], "computed", None) == COUNT, of_it
    assert getattr(of_that[0], "computed", None) == COUNT, of_that
    assert server.log().count("is gone") == 2
    assert server.run(clip.shot(KEYS, out="after")).computed == COUNT


def test_nobody_dies_for_a_shot_that_was_cancelled(start_server, clip, tmp_path):
    server = start_server()
    stop = threading.Event()
    marker = tmp_path / "marker"
    shot = clip.shot(KEYS, network=f"open_slow=1.0 open_dies={marker}")
    thread, found = in_thread(lambda: server.run(shot, cancel=stop))
    wait_for(marker.exists, why=server.why)
    stop.set()
    thread.join(30)
    assert isinstance(found[0], Cancelled), found
    wait_for(lambda: "is gone" in server.log(), why=server.why)
    assert server.run(clip.shot(KEYS, out="after", network="open_slow=1.1")).computed == COUNT
    assert server.log().count("is gone") == 1


def test_a_new_shot_is_described_while_another_is_at_work(start_server, clip):
    server = start_server()
    thread, found = in_thread(lambda: server.run(clip.shot(KEYS, network="slow=0.2")))
    wait_for(lambda: made(clip) >= 1, why=server.why)
    with server.session() as session:
        session.hello()
        session.submit(clip.shot(KEYS, out="second", network="slow=0.0"))
    assert made(clip) < 16  # it was accepted within the first block
    thread.join(60)
    assert getattr(found[0], "computed", None) == COUNT, found
