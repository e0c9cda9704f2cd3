"""Shots beside a host's main thread: what is reported, what is cancelled, and that it all ends."""

import errno
import gc
import inspect
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from host_plugins.client import background, control, files
from host_plugins.client import connection as connections
from host_plugins.client.background import Report, Runner, Work
from host_plugins.client.connection import Connection
from host_plugins.client.errors import CapacityError, ProtocolError, ServerError, SetupError
from host_plugins.client.fake_server import FakeServer, Script
from host_plugins.client.run import Progress
from host_plugins.client.session import Times
from host_plugins.client.shot import Options, Plates, Trimaps, save
from tests.client.material import make_clip

ROOT = Path(__file__).parents[2]
ENDS = ("done", "failed", "cancelled")
# Deadlines of a server that answers, or does not, on this machine.
SOON = Times(hello=1.5, control=1.5, silence=3.0, reconnect=3.0, heartbeat=0.5)
# What a call from a host's main thread may take, in seconds; generous, for a busy machine.
AT_ONCE = 0.25


class Watched:
    """A runner, and all that it has reported so far."""

    def __init__(self):
        self.runner = Runner({"host": "tests", "version": "0"}, times=SOON)
        self.heard = []

    def wait(self, until, seconds=20.0):
        """Drain reports until a condition on them holds."""
        end = time.monotonic() + seconds
        while not until(self.heard):
            assert time.monotonic() < end, f"waited in vain; heard {self.heard}"
            self.heard += self.runner.reports()
            time.sleep(0.005)
        return self.heard

    def end(self, job="a", seconds=20.0):
        """The report that ends a job."""
        self.wait(lambda heard: any(one.kind in ENDS and one.job == job for one in heard), seconds)
        (end,) = (one for one in self.heard if one.kind in ENDS and one.job == job)
        return end

    def of(self, kind, job="a"):
        return [one for one in self.heard if one.kind == kind and one.job == job]


@pytest.fixture
def watched():
    found = Watched()
    yield found
    assert found.runner.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("dvm ")]


@pytest.fixture
def clips(tmp_path):
    """Three clips, so that there are three shots."""
    found = []
    for name in "abc":
        folder = tmp_path / name / "clip"
        folder.mkdir(parents=True)
        found.append(make_clip(folder))
    return found


def work(clip, server, job="a", by_value=False, **rest):
    find = server if callable(server) else lambda: server.connection
    return Work(job, clip.shot(), find, lambda _: by_value, **rest)


def nobody():
    """Where no server is, but where one could be."""
    return Connection("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", "s", 1, 0)


def quickly(call, *args):
    began = time.perf_counter()
    found = call(*args)
    assert time.perf_counter() - began < AT_ONCE, f"{call} took {time.perf_counter() - began:.3f} s"
    return found


def expected(clip):
    return {f"alpha.{f}.exr": f"matte of frame {f}, alpha".encode() for f in clip.frames}


# Connecting


def test_a_server_says_who_it_is(watched):
    with FakeServer(Script(networks=("st_fam_s", "closed_form"))) as server:
        assert not watched.runner.busy()
        quickly(watched.runner.connect, lambda: server.connection)
        assert watched.runner.busy()
        (report,) = watched.wait(lambda heard: heard)
    assert (report.kind, report.job, report.device) == ("connected", "", "cpu")
    assert report.network == "st_fam_s"
    assert [one.name for one in report.networks] == ["st_fam_s", "closed_form"]
    assert report.text == "connected to server fake on cpu"
    assert not watched.runner.busy()
    assert [one for one in server.seen if one != "ping"] == ["hello", "bye"]


def test_no_server_to_connect_to(watched):
    def find():
        raise SetupError("setup.no_server", "no server has written the file", hint="start one")

    watched.runner.connect(find)
    (report,) = watched.wait(lambda heard: heard)
    assert (report.kind, report.job, report.code) == ("failed", "", "setup.no_server")
    assert (report.text, report.hint) == ("no server has written the file", "start one")


def test_of_several_questions_the_last_is_answered(watched):
    held, asked = threading.Event(), []

    def slow():
        asked.append("slow")
        assert held.wait(10)
        raise SetupError("setup.no_server", "the first")

    with FakeServer() as server:
        watched.runner.connect(slow)
        watched.wait(lambda _: asked)
        for _ in range(5):
            watched.runner.connect(slow)
        watched.runner.connect(lambda: server.connection)
        held.set()
        watched.wait(lambda heard: heard and not watched.runner.busy())
    assert asked == ["slow"]
    assert [one.kind for one in watched.heard] == ["connected"]


def test_who_asks_while_a_shot_runs_is_answered_at_once(watched, clip):
    with FakeServer(Script(seconds=0.5)) as server:
        watched.runner.submit(work(clip, server))
        watched.wait(lambda heard: heard)
        watched.runner.connect(lambda: server.connection)
        watched.wait(lambda _: watched.of("connected", ""))
        assert watched.runner.busy("a")
        watched.runner.cancel("a")
        assert watched.end().kind == "cancelled"


# Running


@pytest.mark.parametrize("by_value", [False, True])
def test_a_shot_from_beginning_to_end(watched, clip, by_value):
    with FakeServer(Script(seconds=0.01)) as server:
        quickly(watched.runner.submit, work(clip, server, by_value=by_value))
        assert watched.runner.busy() and watched.runner.busy("a") and not watched.runner.busy("b")
        end = watched.end()
        assert not watched.runner.busy()
    assert server.refused == []
    assert clip.mattes() == expected(clip)
    assert (end.kind, end.done, end.total, end.code, end.hint) == ("done", 6, 6, "", "")
    assert (end.network, end.device, end.suggest) == ("closed_form", "cpu", None)
    assert end.text.startswith("6 of 6 frames computed, in ")
    assert watched.heard[-1] is end and {one.job for one in watched.heard} == {"a"}


@pytest.mark.parametrize("by_value", [False, True])
def test_every_finished_frame_is_reported_once_and_in_order(watched, tmp_path, by_value):
    folder = tmp_path / "long"
    folder.mkdir()
    clip = make_clip(folder, count=60)
    with FakeServer() as server:
        watched.runner.submit(work(clip, server, by_value=by_value))
        watched.end()
    frames = watched.of("frame")
    assert [one.frame for one in frames] == list(clip.frames)
    assert [(one.stage, one.done, one.total) for one in frames] == [
        ("matting", index + 1, 60) for index in range(60)
    ]
    assert frames[2].text == "frame 1003 is finished"
    assert [one.done for one in watched.of("progress")][-1] == 60


@pytest.mark.parametrize("by_value", [False, True])
def test_a_frame_whose_message_was_lost_with_the_connection(watched, clip, monkeypatch, by_value):
    """By path the server need not tell a finished frame again; who shows it must hear of it."""
    plain, lost = FakeServer._send, []

    def loses_one(self, socket, client, message):
        if message.type == "matte" and message.frame == 1003 and not lost:
            lost.append(message)
        else:
            plain(self, socket, client, message)

    monkeypatch.setattr(FakeServer, "_send", loses_one)
    with FakeServer(Script(vanish_after=3, back_after=0.2)) as server:
        watched.runner.submit(work(clip, server, by_value=by_value))
        assert watched.end().kind == "done"
    assert lost and server.seen.count("submit") == 2
    assert sorted(one.frame for one in watched.of("frame")) == list(clip.frames)


def test_frames_that_were_done_before_are_not_reported(watched, clip):
    with FakeServer() as server:
        watched.runner.submit(work(clip, server))
        watched.end()
        watched.heard.clear()
        watched.runner.submit(work(clip, server))
        end = watched.end()
    assert watched.of("frame") == []
    assert end.text.startswith("0 of 6 frames computed, 6 kept, in ")


def test_progress_is_coalesced_and_its_last_is_told(watched):
    """10 000 reports a second go in; a host that asks all the time gets 20 a second."""
    runner, heard = watched.runner, []
    began = time.monotonic()
    for number in range(1, 5001):
        runner._tell("a", Progress("propagating", number, 5000, number))
        heard += runner.reports()
    while not heard or heard[-1].done != 5000:
        heard += runner.reports()
    seconds = time.monotonic() - began
    assert len(heard) <= seconds * 20 + 2
    assert {one.kind for one in heard} == {"progress"}
    assert heard[-1].text == "propagating 5000 of 5000" and heard[-1].frame == 5000


def test_a_host_that_does_not_ask_is_told_the_newest(watched):
    for number in range(1, 5001):
        watched.runner._tell("a", Progress("matting", number, 5000, number))
    found = watched.runner.reports()
    assert [one.frame for one in found if one.kind == "frame"] == list(range(1, 5001))
    assert [one.done for one in found if one.kind == "progress"] == [5000]


def test_shots_run_one_after_the_other(watched, clips):
    with FakeServer() as server:
        for name, clip in zip("abc", clips):
            watched.runner.submit(work(clip, server, name))
        for name in "abc":
            assert watched.end(name).kind == "done"
    assert [one.job for one in watched.heard if one.kind in ENDS] == ["a", "b", "c"]
    order = [one.job for one in watched.heard if one.kind == "frame"]
    assert order == sorted(order) and len(order) == 18


def test_whether_files_travel_is_asked_of_the_server_that_was_found(watched, clip):
    asked = []

    def by_value(connection):
        asked.append((connection, threading.current_thread()))
        return True

    with FakeServer() as server:
        watched.runner.submit(Work("a", clip.shot(), lambda: server.connection, by_value))
        assert watched.end("a").kind == "done"
        assert [one for one, _ in asked] == [server.connection]
    assert asked[0][1] is not threading.current_thread()
    assert clip.mattes() == expected(clip)


def test_a_movie_that_would_travel_is_refused_before_it_is_read(watched, clip, monkeypatch):
    movie = clip.folder / "clip.mov"
    movie.write_bytes(b"a movie")
    shot = replace(clip.shot(), plates=Plates(str(movie)))

    def read(*_):
        raise AssertionError("the movie was read")

    monkeypatch.setattr(files, "digest", read)
    monkeypatch.setattr(files, "read_part", read)
    with FakeServer() as server:
        watched.runner.submit(Work("a", shot, lambda: server.connection, lambda _: True))
        end = watched.end("a")
    assert (end.kind, end.code) == ("failed", "input.movie")
    assert "clip.mov" in end.text and "by path" in end.hint and "image sequence" in end.hint


# Cancelling


def test_a_running_shot_is_cancelled_here_and_on_the_server(watched, clip):
    with FakeServer(Script(seconds=0.3)) as server:
        watched.runner.submit(work(clip, server))
        watched.wait(lambda _: watched.of("frame"))
        quickly(watched.runner.cancel, "a")
        end = watched.end(seconds=5)
        assert (end.kind, end.code) == ("cancelled", "cancelled")
        assert server.seen.count("cancel") == 1
        assert 1 <= len(clip.mattes()) < 6
        # And it goes on where it was.
        watched.heard.clear()
        server.script = Script()
        watched.runner.submit(work(clip, server))
        assert watched.end().kind == "done"


def test_a_waiting_shot_is_cancelled_before_it_begins(watched, clips):
    with FakeServer(Script(seconds=0.2)) as server:
        for name, clip in zip("abc", clips):
            watched.runner.submit(work(clip, server, name))
        watched.wait(lambda _: watched.of("frame"))
        quickly(watched.runner.cancel, "b")
        assert not watched.runner.busy("b") and watched.runner.busy("c")
        end = watched.end("b", seconds=1)
        assert end.kind == "cancelled" and "before it began" in end.text
        watched.runner.cancel("c")
        watched.runner.cancel("a")
        assert watched.end("a").kind == "cancelled" and watched.end("c").kind == "cancelled"
        assert len(server.submitted) == 1
    assert clips[1].mattes() == {} and not watched.runner.busy()


def test_cancelling_what_is_not_there_does_nothing(watched, clip):
    watched.runner.cancel("a")
    with FakeServer() as server:
        watched.runner.submit(work(clip, server))
        watched.runner.cancel("b")
        assert watched.end().kind == "done"


def test_a_cancel_that_the_server_does_not_hear(watched, clip, monkeypatch):
    """It is silent and the connection is open: the worst there is. The host is told what is so."""
    plain, asked = control.cancel, []

    def counted(*args):
        asked.append(args[1])
        return plain(*args)

    monkeypatch.setattr(control, "cancel", counted)
    with FakeServer(Script(silent_after=2)) as server:
        watched.runner.submit(work(clip, server))
        watched.wait(lambda _: len(watched.of("frame")) == 2)
        quickly(watched.runner.cancel, "a")
        end = watched.end()
    assert end.kind == "cancelled" and end.code == "setup.no_server"
    assert "the server could not be told" in end.text and end.hint
    assert len(asked) == 1  # and it is not waited for once more


# Failing


def other_protocol(self, client, message):
    raise ProtocolError("this server speaks 2", "install the plug-in of the server's release")


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("absent", "setup.no_server"),
        ("killed", "setup.server_lost"),
        ("protocol", "setup.protocol"),
        ("disk", "capacity.disk_full"),
        ("plates", "input.missing_plate"),
        ("server", "server.crash"),
        ("network", "setup.unknown_network"),
    ],
)
def test_what_fails_is_told_and_the_runner_goes_on(watched, clips, monkeypatch, case, code):
    clip, good = clips[0], clips[1]
    script, by_value, find = Script(), False, None
    with monkeypatch.context() as patch:
        if case == "absent":
            find = nobody
        elif case == "killed":
            script = Script(vanish_after=2)
        elif case == "protocol":
            patch.setattr(FakeServer, "_hello", other_protocol)
        elif case == "disk":
            by_value = True

            def full(_handle):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr(os, "fsync", full)
        elif case == "plates":
            clip.plates[1003].unlink()
        elif case == "server":
            crash = ServerError("server.crash", "the server failed", frame=1003, report="a17")
            script = Script(fail={1003: crash})
        with FakeServer(script) as server:
            one = work(clip, find or server, by_value=by_value)
            if case == "network":
                one = replace(one, shot=clip.shot(Options(network="none_such")))
            watched.runner.submit(one)
            end = watched.end(seconds=15)
    assert (end.kind, end.code) == ("failed", code)
    assert end.text and end.hint and "\n" not in end.text
    if case == "plates":
        assert end.frame == 1003 and "1003" in end.text
    if case == "disk":
        assert "no space left" in end.text and clip.mattes() == {}
    if case == "server":
        assert "report a17" in end.hint and end.frame == 1003
    if case == "protocol":
        assert end.hint == "install the plug-in of the server's release"
    with FakeServer() as server:
        watched.runner.submit(work(good, server, "b"))
        assert watched.end("b").kind == "done"
    assert good.mattes() == expected(good)


def test_the_next_shot_runs_though_one_before_it_failed(watched, clips):
    refuse = CapacityError("capacity.spool_full", "the spool is full", hint="try later")
    with FakeServer(Script(refuse=refuse)) as full, FakeServer() as server:
        watched.runner.submit(work(clips[0], full, "a"))
        watched.runner.submit(work(clips[1], server, "b"))
        assert (watched.end("a").text, watched.end("a").hint) == ("the spool is full", "try later")
        assert watched.end("b").kind == "done"


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit, MemoryError])
def test_a_fault_of_ours_is_told_and_logged(watched, clip, caplog, kind):
    def find():
        raise kind("of ours")

    with caplog.at_level(logging.ERROR, "dvm.client"):
        watched.runner.submit(work(clip, find))
        end = watched.end()
        watched.runner.connect(find)
        watched.wait(lambda _: watched.of("failed", ""))
    assert (end.kind, end.code) == ("failed", "server.client_fault")
    assert end.text == f"the plug-in failed with {kind.__name__}: of ours" and end.hint
    assert watched.of("failed", "")[0].code == "server.client_fault"
    assert [record.exc_info[0] for record in caplog.records] == [kind, kind]


def test_what_fails_because_the_interpreter_ends_is_no_fault(watched, clip, caplog, monkeypatch):
    """pyzmq refuses to send then, a moment before the runner is closed."""

    def find():
        raise RuntimeError("zmq gc socket requested during shutdown")

    ended = threading.Thread()
    monkeypatch.setattr(threading, "main_thread", lambda: ended)
    with caplog.at_level(logging.WARNING, "dvm.client"):
        watched.runner.submit(work(clip, find))
        assert watched.end().kind == "cancelled"
        watched.runner.connect(find)
        watched.wait(lambda _: watched.of("failed", ""))
    assert caplog.records == []


# The main thread


def test_the_main_thread_is_never_held_up(watched, clips):
    """Neither by a server that does not answer, nor by one that does."""
    with FakeServer(Script(deaf=True)) as deaf:
        quickly(watched.runner.connect, nobody)
        quickly(watched.runner.submit, work(clips[0], deaf, "a", by_value=True))
        quickly(watched.runner.submit, work(clips[1], nobody, "b"))
        for _ in range(100):
            quickly(watched.runner.reports)
            assert quickly(watched.runner.busy)
            assert quickly(watched.runner.busy, "b")
            time.sleep(0.005)
        quickly(watched.runner.cancel, "b")
        quickly(watched.runner.cancel, "a")
        assert watched.end("a").kind == "cancelled"
    assert "cancel" in deaf.seen


def test_sockets_are_never_touched_by_the_thread_that_asks(watched, clip, monkeypatch):
    threads = set()
    plain = background.Session.__init__

    def notes(self, *args, **rest):
        threads.add(threading.current_thread().name)
        plain(self, *args, **rest)

    monkeypatch.setattr(background.Session, "__init__", notes)
    with FakeServer() as server:
        watched.runner.connect(lambda: server.connection)
        watched.runner.submit(work(clip, server))
        watched.end()
        watched.wait(lambda _: watched.of("connected", ""))
    assert threads == {"dvm hello", "dvm shots"}


# The end


def test_a_runner_without_work_has_no_thread(clip):
    runner = Watched()
    before = threading.active_count()
    with FakeServer() as server:
        runner.runner.submit(work(clip, server))
        runner.end()
        end = time.monotonic() + 5
        while [one for one in threading.enumerate() if one.name == "dvm shots"]:
            assert time.monotonic() < end
    assert threading.active_count() == before
    assert runner.runner.close()


def test_closed_during_a_shot(clips):
    watched = Watched()
    with FakeServer(Script(seconds=0.3)) as server:
        watched.runner.submit(work(clips[0], server, "a"))
        watched.runner.submit(work(clips[1], server, "b"))
        watched.wait(lambda _: watched.of("frame"))
        began = time.monotonic()
        assert watched.runner.close(5.0)
        assert time.monotonic() - began < 4
        assert not [one for one in threading.enumerate() if one.name.startswith("dvm ")]
        assert "cancel" in server.seen
        end = time.monotonic() + 5
        while "bye" not in server.seen:  # the session has been closed in order
            assert time.monotonic() < end
            time.sleep(0.01)
    # What has happened can still be asked, and a second call does nothing.
    assert watched.end("a").kind == "cancelled" and watched.end("b").kind == "cancelled"
    assert watched.runner.close() and not watched.runner.busy()
    with pytest.raises(RuntimeError, match="closed"):
        watched.runner.submit(work(clips[2], nobody))
    with pytest.raises(RuntimeError, match="closed"):
        watched.runner.connect(nobody)


@pytest.mark.parametrize("script", [Script(silent_after=1), Script(vanish_after=1)])
def test_closed_while_the_server_is_gone(clip, script):
    watched = Watched()
    with FakeServer(script) as server:
        watched.runner.submit(work(clip, server, by_value=True))
        # A connection that closes comes before what was sent over it, so on a busy machine the
        # first frame may be lost with the server, and the job be over by itself.
        watched.wait(lambda _: watched.of("frame") or watched.of("failed"))
        over = watched.of("failed")
        began = time.monotonic()
        assert watched.runner.close()
        assert time.monotonic() - began < SOON.reconnect + 1
    assert watched.end().kind == ("failed" if over else "cancelled")


def test_a_server_that_is_gone_is_given_up_before_a_close_is():
    """With the deadlines that hosts have: the longest that a shot may take to end is this."""
    times, patience = Times(), inspect.signature(Runner.close).parameters["timeout"].default
    assert max(times.reconnect, times.hello, times.control) + 0.5 < patience
    assert Runner({})._times == times


def test_a_close_that_has_no_time_says_so(clip):
    watched = Watched()
    with FakeServer(Script(seconds=0.3)) as server:
        entered, held = threading.Event(), threading.Event()

        def find():
            entered.set()
            assert held.wait(10)
            return server.connection

        one = work(clip, find)
        # Of given trimaps nothing is read here: there is nothing else that would notice.
        given = Trimaps(str(clip.folder / "given.####.png"))
        watched.runner.submit(replace(one, shot=replace(one.shot, keyframes=(), trimaps=given)))
        assert entered.wait(10)
        assert not watched.runner.close(0.05)
        held.set()
        assert watched.runner.close(5.0)
        assert "submit" not in server.seen
    assert watched.end().kind == "cancelled"


def test_a_closed_runner_is_held_by_nobody(clip):
    watched = Watched()
    with FakeServer() as server:
        watched.runner.submit(work(clip, server))
        watched.end()
        assert watched.runner.close()
    left = weakref.ref(watched.runner)
    del watched
    gc.collect()
    assert left() is None


def test_closed_before_anything():
    runner = Runner({})
    assert runner.close() and runner.close()
    assert runner.reports() == []


SCRIPT = """
import sys, time
from pathlib import Path
from host_plugins.client import connection
from host_plugins.client.background import Runner, Work
from host_plugins.client.session import Times
from host_plugins.client.shot import load

state, shot = map(Path, sys.argv[1:3])
runner = Runner({"host": "tests", "version": "0"}, times=Times(control=2.0))
found = load(shot)
by_value = sys.argv[3] == "value"
runner.connect(lambda: connection.find(None, state))
runner.submit(Work("a", found, lambda: connection.find(None, state), lambda _: by_value))
runner.submit(Work("b", found, lambda: connection.find(None, state)))
until = time.monotonic() + 10
while not any(one.kind == "frame" for one in runner.reports()):
    assert time.monotonic() < until
    time.sleep(0.01)
"""


@pytest.mark.parametrize("sends", ["path", "value"])
@pytest.mark.parametrize("after", [None, 1], ids=["serving", "silent"])
def test_a_host_that_never_closes_it_can_end(clip, tmp_path, sends, after):
    """The script falls off its end while a shot runs: the interpreter waits for nobody."""
    shot = tmp_path / "shot.json"
    state = tmp_path / "state"
    state.mkdir()
    for path in clip.plates.values():  # large enough for pyzmq to send without copying
        path.write_bytes(path.read_bytes() + bytes(1 << 20))
    save(clip.shot(), shot)
    with FakeServer(Script(seconds=1.0, silent_after=after), state=state) as server:
        assert connections.find(None, state) == server.connection
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, state, shot, sends],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        seconds = time.monotonic() - began
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert seconds < 30  # not the deadline of a server that is silent, nor that of its job
        if after is None:
            assert "cancel" in server.seen


def test_the_kinds_of_reports_are_what_hosts_know(watched, clip):
    with FakeServer() as server:
        watched.runner.connect(lambda: server.connection)
        watched.runner.submit(work(clip, server))
        watched.end()
        watched.wait(lambda _: watched.of("connected", ""))
    assert {one.kind for one in watched.heard} == {"connected", "progress", "frame", "done"}
    assert all(isinstance(one, Report) and one.text for one in watched.heard)
