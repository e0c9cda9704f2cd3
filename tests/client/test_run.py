"""A whole shot: plates out, mattes in, through all that may come between."""

import hashlib
import os
import threading
import time
from dataclasses import replace

import pytest

from host_plugins.client import connection as connections
from host_plugins.client import events, fake_job, run
from host_plugins.client.delivery import Delivery
from host_plugins.client.errors import (
    Cancelled,
    CapacityError,
    InputError,
    ProtocolError,
    ServerError,
    SetupError,
)
from host_plugins.client.fake_server import FakeServer, Script
from host_plugins.client.files import digest
from host_plugins.client.guides import Guide, Guides
from host_plugins.client.run import run_shot
from host_plugins.client.session import NO_ANSWER, SERVER_LOST, Session
from host_plugins.client.shot import Options, Outputs, Trimaps, shot_id
from host_plugins.client.wire import Part
from tests.client.material import serving, write_trimap


def expected(clip):
    return {f"alpha.{f}.exr": f"matte of frame {f}, alpha".encode() for f in clip.frames}


def test_mattes_are_written_as_they_came(clip):
    with serving() as (server, session):
        summary = run_shot(session, clip.shot(), plates=clip.plates)
    assert clip.mattes() == expected(clip)
    assert (summary.network, summary.device) == ("closed_form", "cpu")
    assert summary.seconds > 0
    assert server.refused == []


@pytest.mark.parametrize("credit", [1, 3])
def test_credit_is_kept_both_ways(clip, credit):
    script = Script(credit=credit, receipt=0.03)
    with serving(script) as (server, session):
        run_shot(session, clip.shot(), plates=clip.plates)
        until = time.monotonic() + 5  # the last receipt may still be on its way
        while server.seen.count("got") < 6 and time.monotonic() < until:
            time.sleep(0.01)
    # The fake refuses a plate beyond the credit, and one out of the order it asked for.
    assert server.refused == []
    assert server.seen.count("plate") == 6 and server.seen.count("got") == 6
    assert 1 <= server.most_unconfirmed <= credit


def test_a_sink_takes_the_mattes_in_place_of_files(clip):
    taken = {}

    def sink(frame, parts):
        taken[frame] = [(part.layer, bytes(part.data)) for part in parts]

    outputs = Outputs(layers=("alpha", "confidence"), split=True)
    with serving() as (_server, session):
        run_shot(session, clip.shot(outputs=outputs), plates=clip.plates, sink=sink)
    assert list(taken) == list(clip.frames)
    assert [layer for layer, _ in taken[1001]] == ["alpha", "confidence"]
    assert clip.mattes() == {}


def test_what_a_sink_raises_comes_through_and_stops_the_job(clip):
    def sink(frame, parts):
        raise ZeroDivisionError("the host's own")

    with serving() as (server, session):
        with pytest.raises(ZeroDivisionError, match="the host's own"):
            run_shot(session, clip.shot(), plates=clip.plates, sink=sink)
        assert "cancel" in server.seen


@pytest.mark.parametrize("by_value", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        InputError("input.damaged", "p.1003.exr is damaged.", frame=1003, hint="Render it again."),
        SetupError("setup.no_checkpoint", "There is no checkpoint.", hint="Import one."),
        CapacityError("capacity.spool_full", "The spool is full.", hint="Try later."),
        ServerError("server.crash", "The server failed.", report="a17"),
    ],
    ids=lambda e: e.kind,
)
def test_an_error_of_the_job_is_raised_as_it_was(clip, error, by_value):
    with (
        serving(Script(fail={1003: error})) as (_server, session),
        pytest.raises(type(error)) as caught,
    ):
        run_shot(session, clip.shot(), plates=clip.plates if by_value else None)
    assert vars(caught.value) == vars(error)
    assert sorted(clip.mattes()) == ["alpha.1001.exr", "alpha.1002.exr"]


def test_a_refused_submit_is_raised_as_it_was(clip):
    error = CapacityError("capacity.spool_full", "The spool is full.", hint="Try later.")
    with (
        serving(Script(refuse=error)) as (_server, session),
        pytest.raises(CapacityError, match=r"The spool is full\."),
    ):
        run_shot(session, clip.shot())


def test_a_server_that_comes_back_is_gone_on_with(clip):
    script = Script(vanish_after=3, back_after=0.3)
    with serving(script) as (server, session):
        summary = run_shot(session, clip.shot(), plates=clip.plates)
    assert clip.mattes() == expected(clip)
    assert summary.frames == 6 and summary.kept >= 2
    assert server.seen.count("hello") == 2 and server.seen.count("submit") == 2
    assert server.refused == []
    # What we had been given was said to be ours, and was not written again.
    assert 2 <= len(server.submitted[1].body["have"]) <= 3


def test_a_server_that_comes_back_elsewhere_is_found_by_its_file(clip, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    second = FakeServer(state=state, secret="another one")

    def start_again(progress):
        if (progress.stage, progress.done) == ("matting", 1):
            second.start()

    shot = clip.shot(Options(overwrite=True))
    with FakeServer(Script(vanish_after=3), state=state):
        with Session(connections.find(None, state)) as session:
            summary = run_shot(session, shot, plates=clip.plates, progress=start_again)
        second.stop()
    assert summary.frames == 6 and clip.mattes() == expected(clip)
    assert [one for one in second.seen if one != "ping"][:2] == ["hello", "submit"]


def test_a_server_that_dies_twice_in_a_row_is_given_up(clip, monkeypatch):
    with serving() as (_server, session):
        session.hello()
        said = []

        def lost(*_, **__):
            said.append("submit")
            raise SetupError(SERVER_LOST, "gone", hint="h")

        monkeypatch.setattr(session, "submit", lost)
        with pytest.raises(SetupError, match="gone"):
            run_shot(session, clip.shot())
        assert len(said) == 2


def test_cancel_from_another_thread(clip):
    pressed = threading.Event()
    script = Script(seconds=0.2)
    with serving(script) as (server, session):

        def press(progress):
            if progress.stage == "matting" and progress.done == 2:
                threading.Thread(target=pressed.set).start()

        with pytest.raises(Cancelled) as caught:
            run_shot(session, clip.shot(), plates=clip.plates, progress=press, cancel=pressed)
        assert server.seen.count("cancel") == 1
        assert caught.value.exit_code == 130
        assert 2 <= len(clip.mattes()) < 6
        # The session is fit for use: the same shot again gets the rest.
        summary = run_shot(session, clip.shot(), plates=clip.plates)
        assert summary.frames == 6 and summary.kept >= 2
    assert server.refused == []


def test_cancel_before_anything_is_sent(clip):
    pressed = threading.Event()
    pressed.set()
    with serving() as (server, session), pytest.raises(Cancelled):
        run_shot(session, clip.shot(), plates=clip.plates, cancel=pressed)
    assert "submit" not in server.seen


def test_cancel_while_the_server_looks_at_a_submit(clip):
    pressed = threading.Event()
    with serving(Script(deaf=True)) as (server, session):
        threading.Timer(0.3, pressed.set).start()
        began = time.monotonic()
        with pytest.raises(Cancelled):
            run_shot(session, clip.shot(), plates=clip.plates, cancel=pressed)
        assert time.monotonic() - began < 3
    assert "cancel" in server.seen


def test_somebody_elses_cancel_ends_it(clip):
    with serving(Script(seconds=0.2)) as (server, session):

        def elsewhere(progress):
            if progress.stage == "matting" and progress.done == 1:
                shot = server.submitted[0].body["shot"]
                job = shot_id(type(clip.shot()).from_json(shot))
                assert Session(server.connection).cancel(job) == "cancelled"

        with pytest.raises(Cancelled):
            run_shot(session, clip.shot(), plates=clip.plates, progress=elsewhere)


def test_progress_is_told_by_stage_and_never_falls(clip):
    told = []
    with serving() as (_server, session):
        run_shot(session, clip.shot(), plates=clip.plates, progress=told.append)
    for stage, last in (("sending", 6), ("matting", 6)):
        done = [one.done for one in told if one.stage == stage]
        assert done == sorted(done) and done[-1] == last
        assert {one.total for one in told if one.stage == stage} == {6}
    assert [one.frame for one in told if one.stage == "matting"] == [*clip.frames, None]


def test_a_file_that_comes_up_meanwhile_is_not_overwritten(clip):
    foreign = clip.folder / "alpha.1004.exr"

    def somebody(progress):
        if progress.stage == "matting" and progress.done == 1:
            foreign.write_bytes(b"theirs")

    with serving(Script(seconds=0.05)) as (server, session):
        with pytest.raises(InputError) as caught:
            run_shot(session, clip.shot(), plates=clip.plates, progress=somebody)
        assert "cancel" in server.seen
    assert caught.value.code == "input.output_exists" and caught.value.frame == 1004
    assert foreign.read_bytes() == b"theirs"
    assert len(clip.mattes()) == 4 and not list(clip.folder.glob(".*"))


def test_a_file_that_is_changed_meanwhile_is_not_overwritten(clip):
    """The server was told of it, and said that it may be made again; but not of what is there."""
    path = clip.folder / "alpha.1001.exr"
    path.write_bytes(b"ours")
    delivery = Delivery(clip.shot(), by_value=True, sink=None)
    (told,) = delivery.have(lambda: None)
    part = Part("matte", b"new", ".exr", 1001, "alpha", hashlib.sha256(b"new").hexdigest())
    matte = events.Matte("id", "job", 1001, 0.0, "painted", "", False, (part,))
    path.write_bytes(b"theirs")
    with pytest.raises(InputError) as caught:
        delivery.take(matte)
    assert caught.value.code == "input.output_exists" and path.read_bytes() == b"theirs"
    path.write_bytes(b"ours")
    assert told["sha256"] == hashlib.sha256(b"ours").hexdigest()
    delivery.take(matte)
    assert path.read_bytes() == b"new"


def test_a_plate_that_changes_while_it_is_submitted(clip, monkeypatch):
    with serving() as (_server, session):
        session.hello()
        submit = session.submit

        def and_render_again(*args, **rest):
            accepted = submit(*args, **rest)
            clip.plates[1005].write_bytes(b"rendered again")
            return accepted

        monkeypatch.setattr(session, "submit", and_render_again)
        with pytest.raises(InputError) as caught:
            run_shot(session, clip.shot(), plates=clip.plates)
    assert caught.value.code == "input.plate_changed" and caught.value.frame == 1005


def test_plates_under_way_share_the_line(clip, monkeypatch):
    """Each has its time from the receipt of the one before it, and all are sent at once."""
    plain = fake_job.Job.plate

    def one_by_one(self, message, script):
        plain(self, message, script)
        before = [when for when, _ in self.receipts[:-1]]
        when = max([time.monotonic(), *before]) + script.receipt
        self.receipts[-1] = (when, message)

    monkeypatch.setattr(fake_job.Job, "plate", one_by_one)
    monkeypatch.setattr(run, "_PLATE_DEADLINE", 2.0)
    with serving(Script(credit=6, receipt=0.5)) as (_server, session):
        summary = run_shot(session, clip.shot(), plates=clip.plates)
    assert summary.seconds > 2 and clip.mattes() == expected(clip)


def test_a_server_that_confirms_no_plate_is_given_up(clip, monkeypatch):
    monkeypatch.setattr(run, "_PLATE_DEADLINE", 0.5)
    with (
        serving(Script(receipt=1000)) as (_server, session),
        pytest.raises(SetupError, match=r"not confirmed the plate of frame 1001") as caught,
    ):
        run_shot(session, clip.shot(), plates=clip.plates)
    assert caught.value.code == NO_ANSWER


def test_missing_plates_are_left_to_the_servers_policy(clip):
    clip.plates[1003].unlink()
    shot = clip.shot(Options(missing="hold"))
    with serving() as (server, session):
        assert run_shot(session, shot, plates=clip.plates).frames == 6
    assert len(server.submitted[0].body["plates"]) == 5


def test_given_trimaps_go_by_value_beside_keyframes(clip):
    given = clip.folder / "given.png"
    write_trimap(given)
    with serving() as (server, session):
        run_shot(session, clip.shot(), plates=clip.plates, trimaps={**clip.trimaps, 1003: given})
    (submit,) = server.submitted
    assert submit.body["shot"]["trimaps"] == {"by_value": True}
    assert sorted(part.frame for part in submit.parts) == [1001, 1003, 1006]
    assert {part.role for part in submit.parts} == {"trimap"}
    assert server.refused == []


def test_trimaps_may_go_by_value_while_plates_go_by_path(clip):
    with serving() as (server, session):
        run_shot(session, clip.shot(), trimaps=clip.trimaps)
    assert clip.mattes() == expected(clip)
    assert server.submitted[0].body["plates"] == [] and len(server.submitted[0].parts) == 2


def test_given_trimaps_by_pattern_cannot_go_by_value_unnamed(clip):
    shot = replace(clip.shot(), trimaps=Trimaps("t.####.png"))
    with serving() as (server, session), pytest.raises(InputError) as caught:
        run_shot(session, shot, plates=clip.plates)
    assert caught.value.code == "input.missing_trimap" and "hello" not in server.seen


def test_a_missing_keyframe_trimap_is_named_before_anything_is_sent(clip):
    clip.trimaps[1006].unlink()
    with serving() as (server, session), pytest.raises(InputError) as caught:
        run_shot(session, clip.shot(), plates=clip.plates)
    assert caught.value.code == "input.missing_trimap" and caught.value.frame == 1006
    assert server.seen == []


def test_a_server_that_lies_about_the_end_is_found_out(clip, monkeypatch):
    plain = fake_job.Job.attach

    def forgets_a_frame(self, *args):
        answer = plain(self, *args)
        self.to_send.remove(1003)
        return answer

    monkeypatch.setattr(fake_job.Job, "attach", forgets_a_frame)
    with (
        serving() as (_server, session),
        pytest.raises(ProtocolError, match="has not sent frame 1003"),
    ):
        run_shot(session, clip.shot(), plates=clip.plates)


def test_in_a_thread_of_a_host(clip):
    found = []

    def work(connection):
        with Session(connection) as session:
            found.append(run_shot(session, clip.shot(), plates=clip.plates))

    with FakeServer() as server:
        thread = threading.Thread(target=work, args=(server.connection,))
        thread.start()
        thread.join(20)
    assert found[0].computed == 6 and not thread.is_alive()


def guided(clip, **guides):
    return replace(clip.shot(), guides=Guides(**{r: Guide(str(p)) for r, p in guides.items()}))


def test_guides_go_as_parts_where_plates_go_by_value(clip):
    one = clip.folder / "garbage.png"
    write_trimap(one)
    for frame in clip.frames:
        write_trimap(clip.folder / f"core.{frame}.png", shift=frame % 3)
    shot = guided(clip, garbage=one, core=clip.folder / "core.%d.png")
    with serving() as (server, session):
        run_shot(session, shot, plates=clip.plates, trimaps=clip.trimaps)
    (message,) = server.submitted
    sent = [(part.role, part.frame) for part in message.parts if part.role != "trimap"]
    assert sent == [("garbage", None), *(("core", frame) for frame in clip.frames)]
    assert message.parts[-1].sha256 == digest(clip.folder / f"core.{clip.frames[-1]}.png")
    assert message.body["shot"]["guides"] == {
        "garbage": {"by_value": True},
        "core": {"by_value": True},
    }


def test_a_guide_that_is_not_there_is_named_before_anything_is_sent(clip):
    with serving() as (server, session):
        with pytest.raises(
            InputError, match=r"the clean plate .*none.png cannot be read"
        ) as caught:
            run_shot(session, guided(clip, clean=clip.folder / "none.png"), plates=clip.plates)
        assert caught.value.code == "input.missing_guide"
    assert not server.submitted


def test_a_server_of_the_first_release_is_not_asked_for_what_it_would_ignore(clip):
    with serving(Script(inputs=())) as (server, session):
        with pytest.raises(SetupError, match="does not know roi, handles"):
            run_shot(session, replace(clip.shot(), roi=(0, 0, 3, 3), handles=2))
        assert not server.submitted
        assert run_shot(session, clip.shot()).frames == len(clip.frames)


def made_from(clip, kind):
    """A shot that may overwrite, its trimaps, and one of the files it is made from."""
    shot, other = clip.shot(Options(overwrite=True)), clip.folder / "other.1003.png"
    write_trimap(other)
    if kind == "guide":
        shot = replace(shot, guides=Guides(clean=Guide(str(other))))
    trimaps = {**clip.trimaps, 1003: other} if kind == "given" else {}
    own = {"plate": clip.plates[1001], "keyframe": clip.trimaps[1001]}.get(kind, other)
    return shot, trimaps, own


@pytest.mark.parametrize("kind", ["plate", "keyframe", "given", "guide"])
@pytest.mark.parametrize("link", ["none", "folder", "file", "hard"])
def test_nothing_that_is_sent_is_written_over(clip, kind, link):
    shot, trimaps, own = made_from(clip, kind)
    before, folder = own.read_bytes(), clip.folder / "out"
    if link == "none":
        folder = clip.folder
    elif link == "folder":
        folder.symlink_to(clip.folder)
    else:
        folder.mkdir()
        (os.link if link == "hard" else os.symlink)(own, folder / own.name)
    pattern = folder / f"{own.name.split('.')[0]}.####.png"
    shot = replace(shot, outputs=Outputs(str(pattern)))
    with serving() as (server, session):
        with pytest.raises(InputError, match="would be overwritten") as caught:
            run_shot(session, shot, plates=clip.plates, trimaps=trimaps)
        assert server.seen == []
    assert caught.value.code == "input.output_is_input"
    assert str(own) in caught.value.message and str(caught.value.frame) in own.name
    assert own.read_bytes() == before


def test_trimaps_that_are_sent_alone_are_not_written_over_either(clip):
    """The server writes where the shot says, and does not know where they came from."""
    outputs = Outputs(str(clip.folder / "key.####.png"))
    with serving() as (server, session):
        with pytest.raises(InputError, match=r"key\.1001\.png is one of the shot's own"):
            run_shot(session, clip.shot(Options(overwrite=True), outputs), trimaps=clip.trimaps)
        assert server.seen == []


def test_a_sink_writes_nothing_over(clip):
    taken = []
    outputs = Outputs(str(clip.folder / "plate.####.png"))
    with serving() as (_server, session):
        run_shot(
            session,
            clip.shot(outputs=outputs),
            plates=clip.plates,
            sink=lambda frame, _parts: taken.append(frame),
        )
    assert tuple(taken) == clip.frames
