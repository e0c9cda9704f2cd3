"""Clients that wait longer for mattes than they may take to acknowledge one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dvm_server import delivery
from dvm_server.delivery import Attachment
from host_plugins.client.errors import DvmError

PATIENCE, LONGER = 4.0, 5.0


@pytest.fixture
def clip(make_clip):
    return make_clip(2)


def test_who_waits_for_the_server_is_not_silent(start_server, clip):
    """For the first matte, and as long again for the next one."""
    server = start_server(client_seconds=PATIENCE)
    assert server.run(clip.shot((1001,), network=f"slow={LONGER}")).computed == 2
    assert "silent" not in server.log()


def test_who_has_waited_long_is_told_of_a_failure(start_server, clip):
    server = start_server(client_seconds=PATIENCE)
    with pytest.raises(DvmError) as caught:
        server.run(clip.shot((1001,), network=f"span_slow={LONGER} broken"))
    assert caught.value.code == "server.fault"
    assert len(server.events("submitted")) == 1  # told, not found out by submitting again


def test_time_is_counted_while_there_is_something_to_acknowledge(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(delivery, "time", SimpleNamespace(monotonic=lambda: now[0]))
    client = Attachment(b"peer", credit=8, owed={1, 2, 3}, heard=now[0])
    client.made([1, 2, 3])
    for second, message in ((700, "a"), (900, "b")):
        now[0] = second
        client.sent(message, client.next_frame())
    assert client.heard == 700  # a second one gives no more time for the first
    now[0] = 1000
    assert client.got("a") and client.heard == 1000
    now[0] = 1100
    client.sent("c", client.next_frame())
    assert client.heard == 1000  # "b" is still owed
    assert client.got("b") and client.got("c") and client.drained
