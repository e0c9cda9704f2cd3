"""The desk alone: what hosts' own suites see only by chance."""

import threading
import time
from dataclasses import replace
from typing import ClassVar

import pytest

from host_plugins.client import desk as desks
from host_plugins.client.background import Report, Work
from host_plugins.client.cache import folder_name
from host_plugins.client.desk import Desk, Plan, State
from host_plugins.client.errors import InputError, SetupError
from host_plugins.client.shot import Options, Outputs, shot_id
from tests.client import material


class Alone(Desk):
    """A host that shows nothing."""

    def steps_to_show(self, key, shot):
        return iter(())

    def in_use(self):
        return iter(())

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
    assert desk.state("a").busy and not desk.state("a").failed and not desk.state("a").text


def broken(*_):
    raise InputError("input.x", "it broke", hint="mend it")


def broken_steps():
    yield
    broken()


@pytest.mark.parametrize(
    "begun",
    [
        lambda desk: desk.errand("a", broken, print),
        lambda desk: desk.errand("a", dict, broken),
        lambda desk: desk.take_turns("a", broken_steps()),
    ],
)
def test_what_fails_beside_a_run_is_told_and_the_run_goes_on(desk, begun):
    desk.begin("a", State(what="matte"))
    begun(desk)
    pump(desk, lambda: desk.state("a").text)
    state = desk.state("a")
    assert (state.busy, state.failed, state.text, state.hint) == (True, True, "it broke", "mend it")
    with pytest.raises(InputError, match="being worked on"):
        desk.begin("a", State(what="matte"))
    state.tell("matting 2 of 6")
    assert state.text == "it broke"  # until the run ends, or is cancelled
    desk.cancel("a")
    assert state.stopping and not state.failed and state.text == "cancelling …"


def test_steps_that_belong_to_a_run_end_it_if_they_fail(desk):
    desk.begin("a", State(what="matte"))
    desk.take_turns("a", broken_steps(), of_run=True)
    pump(desk, lambda: not desk.busy())
    assert not desk.state("a").busy and desk.state("a").failed
    assert desk.state("a").text == "it broke"


class Handed:
    """A runner that only takes what it is given, and says what a test has it say."""

    def __init__(self):
        self.works, self.said = [], []

    def submit(self, work):
        self.works.append(work)

    def reports(self):
        said, self.said = self.said, []
        return said

    def busy(self, job=None):
        return False

    def close(self):
        pass


def plan_of(folder, count):
    """Shots with plates of their own, as the views of a node are."""
    cache, shots = folder / "mattes", []
    for view in map(str, range(count)):
        (folder / view).mkdir()
        shots.append(material.make_clip(folder / view).shot(Options(overwrite=True)))
    home = cache / folder_name(shot_id(shots[0]))
    for view, shot in enumerate(shots):
        outputs = Outputs(str(home / str(view) / "alpha.####.exr"))
        shots[view] = replace(shot, outputs=outputs)
    return Plan(cache, shots[0], tuple(Work("a", one, find) for one in shots))


def test_what_cannot_be_noted_of_one_view_does_not_end_the_others(desk, monkeypatch, tmp_path):
    monkeypatch.setattr(desk, "_runner", Handed())
    plan = plan_of(tmp_path, 3)
    desk.begin("a", State(what="matte"))
    desk.submit("a", plan)
    pump(desk, lambda: desk._runner.works)
    monkeypatch.setattr(desks, "note_files", broken)
    desk._runner.said.append(Report("done", "a"))
    pump(desk, lambda: desk.state("a").failed)
    assert desk.state("a").text == "it broke"
    desk._runner.said.append(Report("done", "a"))
    pump(desk, lambda: len(desk._runner.works) == 3)
    assert [one.shot for one in desk._runner.works] == [one.shot for one in plan.works]
    assert desk.state("a").busy


def test_what_is_shown_or_being_made_is_not_trimmed(desk, monkeypatch, tmp_path):
    """The limit is passed by far; what was used longest ago goes, and that alone."""
    monkeypatch.setattr(desk, "_runner", Handed())
    names = {}
    for key in ("old", "shown", "made", "ours"):
        (tmp_path / key).mkdir()
        plan = plan_of(tmp_path / key, 1)
        named = replace(plan.named, name=key)
        home = tmp_path / "mattes" / folder_name(shot_id(named))
        shot = replace(named, outputs=Outputs(str(home / "alpha.####.exr")))
        desk.begin(key, State(what="matte"))
        desk.submit(key, Plan(tmp_path / "mattes", named, (Work(key, shot, find),)))
        names[key] = home
    pump(desk, lambda: len(desk._runner.works) == 4)
    for key in ("old", "shown"):
        desk.end(key, "cancelled")
    monkeypatch.setattr(desk, "in_use", lambda: iter([(), {names["shown"].name}]))
    monkeypatch.setattr(desk, "cache_bytes", lambda key: 1)
    desk._runner.said.append(Report("done", "ours"))
    pump(desk, lambda: not desk.pending("ours"))
    left = {key for key, home in names.items() if home.exists()}
    assert left == {"shown", "made"}  # a host shows its own, too: this one shows nothing
    desk.clear([tmp_path / "mattes"], ())
    pump(desk, lambda: not desk.busy())
    assert names["made"].exists() and not names["shown"].exists(), desk.cleared


def test_a_run_whose_plates_cannot_be_read_ends(desk, tmp_path):
    plan = plan_of(tmp_path, 1)
    for path in (tmp_path / "0").glob("plate.*"):
        path.unlink()
    desk.begin("a", State(what="matte"))
    desk.submit("a", plan)
    pump(desk, lambda: not desk.state("a").busy)
    assert desk.state("a").failed and "plate" in desk.state("a").text


def test_a_run_that_fails_on_the_server_ends(desk, monkeypatch, tmp_path):
    monkeypatch.setattr(desk, "_runner", Handed())
    desk.begin("a", State(what="matte"))
    desk._runner.said.append(Report("failed", "a", "there is no room", "make some"))
    pump(desk, lambda: not desk.state("a").busy)
    assert desk.state("a").failed and desk.state("a").text == "there is no room"


def test_steps_that_fail_are_told_and_others_go_on(desk):
    done = []

    def fine():
        done.append(1)
        yield

    desk.take_turns("a", broken_steps())
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
