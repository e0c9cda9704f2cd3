"""What every server of wire version 1 does, fake or real.

A test file inherits `WireContract` and gives it a fixture ``connection`` (to a server that writes
EXR mattes and has a network that is available) and a fixture ``clip`` (`material.make_clip` in a
folder of its own). One server may serve all tests.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from host_plugins.client import control, events, wire
from host_plugins.client.connection import Connection
from host_plugins.client.errors import DvmError, InputError, SetupError, from_wire
from host_plugins.client.run import Progress, run_shot
from host_plugins.client.session import Session
from host_plugins.client.shot import Options, Outputs, shot_id
from host_plugins.client.submission import prepare
from tests.client.material import Clip, Peer, write_plate, write_trimap


def refusal(answer: wire.Message) -> DvmError:
    assert answer.type == "failed", answer
    return from_wire(answer.body["error"])


class WireContract:
    """Inherit from it; see the head of the file."""

    def test_welcome_says_what_a_client_must_know(self, connection: Connection) -> None:
        with Session(connection, client={"host": "tests", "version": "0"}) as session:
            welcome = session.hello()
        assert welcome.protocol == wire.PROTOCOL
        assert welcome.device
        assert welcome.pid > 0
        default = [one for one in welcome.networks if one.default and one.kind == "matting"]
        assert len(default) == 1 and default[0].available

    def test_another_protocol_is_refused_in_a_sentence(self, connection: Connection) -> None:
        with Peer(connection) as peer:
            error = refusal(peer.answer(peer.send("hello", body={"protocols": [7]})))
        assert error.code == "setup.protocol"
        assert "7" in error.message and error.hint

    def test_unknown_fields_are_ignored(self, connection: Connection) -> None:
        with Peer(connection) as peer:
            body = {"protocols": [1, 2], "future": {"x": [1, None, 0.5]}}
            assert peer.answer(peer.send("hello", body=body)).type == "welcome"

    @pytest.mark.parametrize("type", ["submit", "plate", "got"])
    def test_hello_comes_first(self, connection: Connection, type: str) -> None:
        with Peer(connection) as peer:
            assert refusal(peer.answer(peer.send(type, job="0" * 64))).code == "setup.protocol"

    @pytest.mark.parametrize("on_control", [False, True])
    def test_unknown_types_are_refused_and_the_peer_still_served(
        self, connection: Connection, on_control: bool
    ) -> None:
        with Peer(connection, control=on_control) as peer:
            if not on_control:
                assert peer.hello().type == "welcome"
            assert refusal(peer.answer(peer.send("dance"))).code == "setup.protocol"
            known = peer.send("ping") if on_control else peer.send("hello", body={"protocols": [1]})
            assert peer.answer(known).type == ("pong" if on_control else "welcome")

    def test_a_wrong_signature_is_not_answered(self, connection: Connection) -> None:
        with Peer(connection) as stranger, Peer(connection) as peer:
            stranger.key = b"guessed"
            stranger.send("hello", body={"protocols": [1]})
            assert stranger.receive(0.5) is None
            assert peer.hello().type == "welcome"

    def test_a_part_damaged_on_its_way_is_refused(self, connection: Connection) -> None:
        with Peer(connection) as peer:
            peer.hello()
            part = wire.Part("plate", b"plate", ".png", 1)
            message = wire.Message("plate", job="0" * 64, frame=1, parts=(part,))
            header, _ = wire.encode(message, peer.key)
            peer.socket.send_multipart([header, b"plant"])
            answer = peer.receive()
            assert answer is not None and refusal(answer).code == "setup.protocol"

    def test_by_value_writes_every_matte_once(self, connection: Connection, clip: Clip) -> None:
        told: list[Progress] = []
        shot = clip.shot()
        with Session(connection) as session:
            first = run_shot(
                session, shot, plates=clip.plates, trimaps=clip.trimaps, progress=told.append
            )
            files = {p: p.stat().st_mtime_ns for p in clip.folder.glob("*.exr")}
            again = run_shot(session, shot, plates=clip.plates, trimaps=clip.trimaps)
        assert sorted(p.name for p in files) == [f"alpha.{f}.exr" for f in clip.frames]
        assert (first.frames, first.computed, first.kept) == (6, 6, 0)
        assert (again.frames, again.computed, again.kept) == (6, 0, 6)
        assert files == {p: p.stat().st_mtime_ns for p in clip.folder.glob("*.exr")}
        assert not list(clip.folder.glob(".*"))
        assert [one.done for one in told if one.stage == "sending"][-1] == 6
        done = [one.done for one in told if one.stage == "matting"]
        assert done == sorted(done) and done[-1] == 6

    def test_by_path_the_server_writes(self, connection: Connection, clip: Clip) -> None:
        shot = clip.shot()
        with Session(connection) as session:
            first = run_shot(session, shot)
            mattes = clip.mattes()
            again = run_shot(session, shot)
        assert sorted(mattes) == [f"alpha.{f}.exr" for f in clip.frames]
        assert (first.computed, first.kept) == (6, 0)
        assert (again.computed, again.kept) == (0, 6)
        assert clip.mattes() == mattes

    def test_split_outputs_have_a_file_for_each_layer(
        self, connection: Connection, clip: Clip
    ) -> None:
        outputs = Outputs(str(clip.folder / "m.####.exr"), ("alpha", "trimap"), split=True)
        with Session(connection) as session:
            run_shot(session, clip.shot(outputs=outputs), plates=clip.plates)
        expected = [f"m.{f}.exr" for f in clip.frames] + [f"m.trimap.{f}.exr" for f in clip.frames]
        assert sorted(clip.mattes()) == sorted(expected)

    def test_only_what_is_missing_comes_again(self, connection: Connection, clip: Clip) -> None:
        with Session(connection) as session:
            run_shot(session, clip.shot(), plates=clip.plates)
            mattes = clip.mattes()
            (clip.folder / "alpha.1003.exr").unlink()
            again = run_shot(session, clip.shot(), plates=clip.plates)
        assert again.frames == 6
        assert clip.mattes() == mattes

    def test_the_server_keeps_to_its_credit(self, connection: Connection, clip: Clip) -> None:
        prepared = prepare(clip.shot(), clip.plates, clip.trimaps, lambda: None)
        with Session(connection) as session:
            session.hello()
            accepted = session.submit(
                prepared.shot,
                plates=[one.entry(frame) for frame, one in prepared.plates.items()],
                parts=prepared.parts,
            )
            assert accepted.job == shot_id(prepared.shot)
            assert accepted.total == 6 and sorted(accepted.need) == list(clip.frames)
            waiting, under_way = list(accepted.need), 0
            held: list[events.Matte] = []
            acknowledged = idle = 0
            done: events.Done | None = None
            while acknowledged < 6 or done is None:
                while waiting and under_way < accepted.credit:
                    frame = waiting.pop(0)
                    part = wire.Part("plate", clip.plates[frame].read_bytes(), ".png", frame)
                    session.send_plate(accepted.job, part)
                    under_way += 1
                event = session.next_event(0.3)
                idle = idle + 1 if event is None else 0
                assert idle < 100
                if isinstance(event, events.Got):
                    under_way -= 1
                elif isinstance(event, events.Matte):
                    held.append(event)
                    assert len(held) <= accepted.credit
                elif isinstance(event, events.Done):
                    done = event
                elif event is None and held and not waiting:
                    # The server has said all it may without a receipt.
                    for matte in held:
                        session.acknowledge(matte)
                    acknowledged += len(held)
                    held.clear()
        assert (done.total, done.computed, done.kept) == (6, 6, 0)

    def test_somebody_elses_output_is_not_overwritten(
        self, connection: Connection, clip: Clip
    ) -> None:
        foreign = clip.folder / "alpha.1002.exr"
        foreign.write_bytes(b"a week of work")
        with Session(connection) as session:
            for plates in (None, clip.plates):
                with pytest.raises(InputError) as caught:
                    run_shot(session, clip.shot(), plates=plates)
                assert caught.value.code == "input.output_exists"
                assert "1002" in str(caught.value) and caught.value.hint
                assert sorted(clip.mattes()) == ["alpha.1002.exr"]
                assert foreign.read_bytes() == b"a week of work"
            run_shot(session, clip.shot(Options(overwrite=True)), plates=clip.plates)
        assert len(clip.mattes()) == 6 and foreign.read_bytes() != b"a week of work"

    def test_a_repainted_keyframe_is_another_job(self, connection: Connection, clip: Clip) -> None:
        jobs = set()
        for shift in (0, 3):
            write_trimap(clip.trimaps[1001], shift)
            jobs.add(shot_id(prepare(clip.shot(), clip.plates, {}, lambda: None).shot))
        assert len(jobs) == 2

    @pytest.mark.parametrize("by_value", [False, True])
    def test_a_missing_plate_is_named(
        self, connection: Connection, clip: Clip, by_value: bool
    ) -> None:
        clip.plates[1003].unlink()
        with Session(connection) as session, pytest.raises(InputError) as caught:
            run_shot(session, clip.shot(), plates=clip.plates if by_value else None)
        assert caught.value.code == "input.missing_plate"
        assert caught.value.frame == 1003 and "1003" in caught.value.message and caught.value.hint
        assert not clip.mattes()

    def test_a_missing_trimap_is_named(self, connection: Connection, clip: Clip) -> None:
        clip.trimaps[1006].unlink()
        with Session(connection) as session, pytest.raises(InputError) as caught:
            run_shot(session, clip.shot())
        assert caught.value.code == "input.missing_trimap"
        assert "1006" in caught.value.message and caught.value.hint

    def test_an_unknown_network_is_named(self, connection: Connection, clip: Clip) -> None:
        with Session(connection) as session, pytest.raises(SetupError) as caught:
            run_shot(session, clip.shot(Options(network="magic")))
        assert caught.value.code == "setup.unknown_network"
        assert "magic" in caught.value.message and caught.value.hint

    def test_a_checkpoint_that_is_not_there_is_named(
        self, connection: Connection, clip: Clip
    ) -> None:
        options = Options(checkpoint=str(clip.folder / "none.safetensors"))
        with Session(connection) as session, pytest.raises(SetupError) as caught:
            run_shot(session, clip.shot(options))
        assert caught.value.code == "setup.no_checkpoint"
        assert "none.safetensors" in caught.value.message

    def test_a_bad_shot_is_refused_by_field(self, connection: Connection, clip: Clip) -> None:
        shot = {**clip.shot().to_json(), "frames": [[1006, 1001, 1]]}
        with Peer(connection) as peer:
            peer.hello()
            error = refusal(peer.answer(peer.send("submit", body={"shot": shot})))
        assert isinstance(error, InputError) and error.code == "input.bad_shot"
        assert "frames[0]" in error.message

    def test_relative_paths_are_refused(self, connection: Connection, clip: Clip) -> None:
        shot = clip.shot()
        with Session(connection) as session, pytest.raises(InputError):
            run_shot(session, replace(shot, plates=replace(shot.plates, pattern="p.####.png")))

    def test_a_plate_nobody_asked_for_is_refused(self, connection: Connection, clip: Clip) -> None:
        prepared = prepare(clip.shot(), clip.plates, clip.trimaps, lambda: None)
        body = {
            "shot": prepared.shot.to_json(),
            "plates": [one.entry(frame) for frame, one in prepared.plates.items()],
        }
        with Peer(connection) as peer:
            peer.hello()
            accepted = peer.answer(peer.send("submit", body=body, parts=prepared.parts))
            part = wire.Part("plate", b"another picture", ".png", accepted.body["need"][0][0])
            sent = peer.send("plate", job=accepted.job, frame=part.frame, parts=(part,))
            assert refusal(peer.answer(sent)).code in ("setup.protocol", "input.plate_changed")

    def test_cancel_always_has_a_clean_answer(self, connection: Connection, clip: Clip) -> None:
        assert control.cancel(connection, "0" * 64) == "unknown"
        prepared = prepare(clip.shot(), clip.plates, clip.trimaps, lambda: None)
        with Session(connection) as session:
            session.hello()
            job = session.submit(
                prepared.shot,
                plates=[one.entry(frame) for frame, one in prepared.plates.items()],
                parts=prepared.parts,
            ).job
            assert session.cancel(job) == "cancelled"
            assert session.next_event(10) == events.Stopped(job)
            assert session.cancel(job) == "finished"
            # And it can be taken up again.
            assert run_shot(session, clip.shot(), plates=clip.plates).frames == 6

    def test_heartbeats_and_status_tell_of_jobs(self, connection: Connection, clip: Clip) -> None:
        with Session(connection) as session:
            run_shot(session, clip.shot(), plates=clip.plates)
            status = session.status()
        assert {"jobs", "workers", "state_dir", "spool_bytes", "version"} <= set(status)
        job = shot_id(prepare(clip.shot(), clip.plates, clip.trimaps, lambda: None).shot)
        with Peer(connection, control=True) as peer:
            everything = peer.answer(peer.send("ping"))
            pong = peer.answer(peer.send("ping", job=job))
        assert everything.body["jobs"][job] == pong.body["jobs"][job]
        state = pong.body["jobs"][job]
        assert pong.body["busy"] is False
        assert (state["state"], state["done"], state["total"]) == ("done", 6, 6)

    def test_replated_files_come_to_the_matte(self, connection: Connection, clip: Clip) -> None:
        with Session(connection) as session:
            run_shot(session, clip.shot(), plates=clip.plates)
            write_plate(clip.plates[1004], 1999)
            overwrite = clip.shot(Options(overwrite=True))
            summary = run_shot(session, overwrite, plates=clip.plates)
        assert summary.frames == 6 and len(clip.mattes()) == 6

    def test_a_folder_that_is_not_there(self, connection: Connection, clip: Clip) -> None:
        outputs = Outputs(str(Path(clip.folder) / "nowhere" / "a.####.exr"))
        with Session(connection) as session:
            for plates in (None, clip.plates):
                with pytest.raises(InputError) as caught:
                    run_shot(session, clip.shot(outputs=outputs), plates=plates)
                assert caught.value.code == "input.output_unwritable"
                assert "nowhere" in caught.value.message
