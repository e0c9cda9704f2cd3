"""The desk alone: what hosts' own suites see only by chance."""

import threading
import time
from typing import ClassVar

import pytest

from host_plugins.client import desk as desks
from host_plugins.client.desk import Desk, State
from host_plugins.client.errors import InputError, SetupError


class Alone(Desk):
    """A host that shows nothing."""

    def steps_to_show(self, key, shot):
        return iter(())

    def in_use(self):
        return set()

    def cache_bytes(self, key):
        return 0


class Slow:
    """A local server that takes its time to end."""

    made: ClassVar[list] = []

    def __init__(self, command, state):
        self.ended, self.asked = threading.Event(), threading.Event()
        self.may_end = threading.Event()
        self.starting = True
        self.made.append(self)

    def start(self):
        self.runs = True

    def is_running(self):
        return not self.ended.is_set()

    def poll(self):
        return "starting"

    def stop(self):
        self.asked.set()
        self.may_end.wait(5)
        self.ended.set()


@pytest.fixture
def desk(monkeypatch):
    monkeypatch.setattr(Slow, "made", [])
    monkeypatch.setattr(desks, "LocalServer", Slow)
    monkeypatch.setattr(desks, "command", lambda program: [program])
    one = Alone("test 1")
    yield one
    for local in Slow.made:
        local.may_end.set()
    one.close()


def pump(desk, until):
    end = time.monotonic() + 5
    while not until():
        assert time.monotonic() < end
        desk.pump()
        time.sleep(0.005)


def find():
    raise SetupError("setup.no_server", "there is none")


def test_a_server_whose_stopping_waits_is_stopped_by_closing(desk, tmp_path):
    """Closing drops errands that have not begun; the server must not be left behind."""
    hold = threading.Event()
    desk.errand("a", lambda: hold.wait(5), lambda _: None)
    desk.start_server("dvm", tmp_path, find)
    (local,) = Slow.made
    desk.stop_server()
    assert not desk.has_local and not local.asked.is_set()
    local.may_end.set()
    hold.set()
    desk.close()
    assert local.ended.is_set()


def test_another_server_is_not_started_while_one_ends(desk, tmp_path):
    desk.start_server("dvm", tmp_path, find)
    desk.stop_server()
    with pytest.raises(SetupError, match="still ending"):
        desk.start_server("dvm", tmp_path, find)
    Slow.made[0].may_end.set()
    pump(desk, Slow.made[0].ended.is_set)
    desk.start_server("dvm", tmp_path, find)
    assert len(Slow.made) == 2
    Slow.made[1].may_end.set()


def test_what_goes_on_does_not_end_because_it_is_asked_for_again(desk):
    desk.begin("a", State(what="matte"))
    with pytest.raises(InputError) as caught:
        desk.begin("a", State(what="matte"))
    desk.fail("a", caught.value)
    assert desk.state("a").busy and not desk.state("a").failed
    desk.fail("a", InputError("input.other", "something else", hint="do it"))
    assert not desk.state("a").busy and desk.state("a").failed


def test_steps_that_fail_are_told_and_others_go_on(desk):
    done = []

    def broken():
        yield
        raise InputError("input.x", "it broke", hint="mend it")

    def fine():
        done.append(1)
        yield

    desk.take_turns("a", broken())
    desk.take_turns("b", fine())
    pump(desk, lambda: not desk.busy())
    assert desk.state("a").text == "it broke" and done == [1]


def test_a_suggestion_comes_from_doubts_where_nothing_was_run(desk):
    with pytest.raises(InputError, match="no further keyframe"):
        desk.suggested("a")
    desk.state("a").doubts.update({1001: 0.1, 1002: 0.7})
    assert desk.suggested("a") == 1002
    desk.states["a"] = State(what="propagate", doubts={1001: 0.1})
    with pytest.raises(InputError):
        desk.suggested("a")


def test_a_disk_error_is_told_with_its_file(desk):
    def full():
        raise OSError(28, "No space left on device", "/plates/x.exr")

    desk.errand("a", full, print)
    pump(desk, lambda: desk.state("a").failed)
    assert desk.state("a").text == (
        "/plates/x.exr cannot be read or written: No space left on device"
    )
