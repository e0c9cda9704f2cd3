"""Deadlines, heartbeats, threads: what a session does when the other end does not."""

import threading
import time
from dataclasses import replace

import pytest
import zmq

from host_plugins.client import wire
from host_plugins.client.connection import Connection
from host_plugins.client.errors import InputError, SetupError
from host_plugins.client.fake_server import FakeServer, Script
from host_plugins.client.run import run_shot
from host_plugins.client.session import NO_ANSWER, SERVER_LOST, Session, Times
from host_plugins.client.sockets import open_dealer, send_now
from host_plugins.client.submission import prepare
from tests.client.material import serving

NOBODY = Connection("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", "x", 1, 0)
QUICK = Times(
    hello=0.6,
    submit=0.8,
    plate=1.0,
    control=0.5,
    heartbeat=0.1,
    silence=1.0,
    reconnect=1.5,
    reconnect_least=0.3,
)


def test_the_deadlines_report_a_dead_server_within_ten_seconds():
    times = Times()
    assert times.heartbeat == 2 and times.silence == 8
    assert times.silence + times.reconnect_least <= times.reconnect < 10


def test_no_server_is_told_within_the_deadline():
    began = time.monotonic()
    with Session(NOBODY, times=QUICK) as session, pytest.raises(SetupError) as caught:
        session.hello()
    assert caught.value.code == "setup.no_server"
    assert "tcp://127.0.0.1:9" in caught.value.message and "dvm serve" in caught.value.hint
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("ask", ["status", "shutdown", "cancel"])
def test_control_requests_have_a_deadline(ask):
    session = Session(NOBODY, times=QUICK)
    with pytest.raises(SetupError) as caught:
        getattr(session, ask)(*(["0" * 64] if ask == "cancel" else []))
    assert caught.value.code == "setup.no_server"


def test_our_own_key_is_kept_when_a_connection_file_is_read_again(tmp_path):
    """It is not in the file."""
    path = tmp_path / "connection.json"
    replace(NOBODY, pid=7).write(path)
    session = Session(replace(NOBODY, client_key="ours", source=str(path)), times=QUICK)
    with pytest.raises(SetupError):
        session.reconnect()
    assert session.connection.pid == 7 and session.connection.client_key == "ours"


def test_another_secret_gets_no_answer_and_a_hint():
    with FakeServer() as server:
        there = server.connection
        wrong = Connection(there.endpoint, there.control, "guess", 1, there.pid)
        with Session(wrong, times=QUICK) as session, pytest.raises(SetupError) as caught:
            session.hello()
        assert caught.value.code == "setup.no_server"
        assert "connection file" in caught.value.hint
        assert {error.code for error in server.refused} == {"setup.protocol"}


def test_a_submit_that_is_not_answered(clip):
    with (
        FakeServer(Script(deaf=True)) as server,
        Session(server.connection, times=QUICK) as session,
    ):
        session.hello()
        with pytest.raises(SetupError) as caught:
            session.submit(clip.shot())
    assert caught.value.code == NO_ANSWER and "the shot 'test " in caught.value.message


def test_a_silent_server_is_lost(clip):
    script = Script(silent_after=2)
    with serving(script, QUICK) as (_server, session):
        began = time.monotonic()
        with pytest.raises(SetupError) as caught:
            run_shot(session, clip.shot(), plates=clip.plates)
        assert caught.value.code == SERVER_LOST
        assert "silent" in caught.value.message and caught.value.hint
        assert time.monotonic() - began < 5
    # What had come is whole, and only that is there.
    assert set(clip.mattes()) <= {"alpha.1001.exr", "alpha.1002.exr"}


def test_a_killed_server_is_lost_with_its_real_deadlines(clip):
    """No times but the product's own: what a host gets."""
    with serving(Script(vanish_after=2)) as (_server, session):
        began = time.monotonic()
        with pytest.raises(SetupError) as caught:
            run_shot(session, clip.shot(), plates=clip.plates)
        assert caught.value.code == SERVER_LOST
        assert "closed the connection" in caught.value.message
        assert time.monotonic() - began < 10


def test_a_host_that_pauses_does_not_lose_a_living_server():
    with serving(None, QUICK) as (server, session):
        session.hello()
        for _ in range(2):
            time.sleep(1.3 * QUICK.silence)
            assert session.next_event(0.1) is None
        assert session.jobs == {}
    assert server.seen.count("ping") >= 2 and server.refused == []


def test_heartbeats_go_on_while_waiting():
    with serving(None, QUICK) as (server, session):
        assert session.jobs is None
        session.hello()  # The first heartbeat goes out with it, and may be answered before it.
        assert session.next_event(1.0) is None
        assert session.jobs == {}
    assert 3 <= server.seen.count("ping") <= 12


def test_goodbye_is_said_and_no_socket_stays():
    with FakeServer() as server:
        with Session(server.connection) as session:
            session.hello()
        with pytest.raises(RuntimeError, match="say hello first"):
            session.next_event(0)
        session.close()
        end = time.monotonic() + 5
        while "bye" not in server.seen and time.monotonic() < end:
            time.sleep(0.01)
    # A heartbeat goes its own way and may be seen after the goodbye.
    assert [one for one in server.seen if one != "ping"] == ["hello", "bye"]


def test_a_session_can_say_hello_again_after_closing():
    with FakeServer() as server:
        session = Session(server.connection)
        for _ in range(2):
            session.hello()
            session.close()
        assert session.welcome is None


def test_sockets_belong_to_one_thread():
    caught = []

    def foreign(call):
        try:
            call()
        except RuntimeError as error:
            caught.append(str(error))

    with serving() as (_server, session):
        session.hello()
        for call in (lambda: session.next_event(0), session.close):
            thread = threading.Thread(target=foreign, args=(call,))
            thread.start()
            thread.join()
        assert len(caught) == 2 and all("belong to the thread" in one for one in caught)
        assert session.next_event(0) is None


def test_cancel_from_another_thread_ends_the_stream(clip):
    prepared = prepare(clip.shot(), clip.plates, clip.trimaps, lambda: None)
    entries = [one.entry(frame) for frame, one in prepared.plates.items()]
    states = []
    with serving() as (_server, session):
        session.hello()
        job = session.submit(prepared.shot, plates=entries, parts=prepared.parts).job
        thread = threading.Thread(target=lambda: states.append(session.cancel(job)))
        thread.start()
        event = session.next_event(10)
        thread.join()
    assert states == ["cancelled"]
    assert type(event).__name__ == "Stopped" and event.job == job


def test_nothing_too_large_is_sent(clip):
    limits = wire.Limits(part_bytes=50, frames=1000)
    with serving(Script(limits=limits)) as (server, session), pytest.raises(InputError) as caught:
        run_shot(session, clip.shot(), plates=clip.plates)
    assert caught.value.code == "input.too_large" and caught.value.hint
    assert "submit" not in server.seen and server.refused == []


def test_a_large_plate_is_named(clip):
    limits = wire.Limits(part_bytes=250, frames=1000)
    clip.plates[1004].write_bytes(b"x" * 251)
    for path in [*clip.trimaps.values(), *(p for f, p in clip.plates.items() if f != 1004)]:
        path.write_bytes(b"x" * 250)
    with serving(Script(limits=limits)) as (_server, session), pytest.raises(InputError) as caught:
        run_shot(session, clip.shot(), plates=clip.plates)
    assert caught.value.code == "input.too_large"
    assert "the plate of frame 1004 has 251 bytes in one file" in caught.value.message


def test_shutdown_is_answered():
    with FakeServer() as server:
        Session(server.connection).shutdown()
        with Session(server.connection, times=QUICK) as session, pytest.raises(SetupError):
            session.hello()


def test_a_server_that_goes_between_asking_and_sending_is_not_waited_for():
    """A socket that could send a moment ago, and has nobody to send to any more."""
    context = zmq.Context()
    there = Connection("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", "secret", 1, 0)
    alone = open_dealer(context, there.endpoint, there, wire.Limits())
    try:
        alone.immediate = True  # a connection that is not up is nobody, as one that was lost
        alone.disconnect(there.endpoint)
        began = time.monotonic()
        assert not send_now(alone, [b"one", b"two"])
        assert time.monotonic() - began < 1
    finally:
        alone.close(linger=0)
        context.term()


def test_a_server_key_turns_curve_on():
    with FakeServer() as server:
        there = server.connection
        # The fake has no CURVE: with a key we must not get through to it in the clear.
        locked = Connection(there.endpoint, there.control, there.secret, 1, 0, "x" * 40)
        with Session(locked, times=QUICK) as session, pytest.raises(SetupError) as caught:
            session.hello()
        assert caught.value.code in ("setup.no_server", "setup.server_address")
        assert server.seen == []


def test_an_address_that_is_none_is_told():
    wrong = Connection("tcp://no port", "tcp://no port", "x", 1, 0)
    with pytest.raises(SetupError) as caught:
        Session(wrong).hello()
    assert caught.value.code == "setup.server_address"
