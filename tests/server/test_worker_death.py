"""Workers that are killed, or kill themselves: mended once, reported the second time."""

from __future__ import annotations

import os
import signal

import pytest

from host_plugins.client.errors import DvmError
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
