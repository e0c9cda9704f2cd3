"""The end of a job says which frame is best painted next, whoever carried the trimaps and when."""

from __future__ import annotations

from dvm_server.ledger import Ledger

COUNT = 16


def test_told_at_the_end_and_when_asked_again(start_server, make_clip):
    """With a keyframe at the start it lies near the end of the shot; a restart forgets nothing."""
    server = start_server()
    clip = make_clip(COUNT, keys=(1001,))
    first = server.run(clip.shot())
    assert first.suggest in (1013, 1014, 1015)
    doubts = [one["doubt"] for one in server.events("trimap")]
    assert len(doubts) == COUNT - 1
    assert doubts == sorted(doubts) and doubts[0] > 0
    again = server.run(clip.shot())
    assert (again.kept, again.suggest) == (COUNT, first.suggest)
    server.stop()
    server.start()
    assert server.run(clip.shot()).suggest == first.suggest
    # A keyframe there moves the question to where now most is in doubt.
    clip.paint_trimap(first.suggest)
    further = server.run(clip.shot((1001, first.suggest), out="further"))
    assert further.suggest not in (None, first.suggest)


def test_by_value_it_is_the_same(start_server, make_clip):
    server = start_server()
    clip = make_clip(COUNT, keys=(1001,))
    shot, files = clip.by_value(clip.shot(out="sent"))
    sent = server.run(shot, **files)
    assert sent.suggest == server.run(clip.shot()).suggest is not None


def test_nothing_is_suggested_where_nothing_was_carried(start_server, make_clip):
    server = start_server()
    clip = make_clip(3, keys=(1001, 1002, 1003))
    assert server.run(clip.shot((1001, 1002, 1003))).suggest is None


def test_a_journal_of_before_has_no_doubts(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write("job", {"event": "trimap", "frame": 2, "key": "a"})
    ledger.write("job", {"event": "trimap", "frame": 3, "key": "b", "doubt": 0.25})
    assert Ledger(tmp_path).doubts({2: "a", 3: "b", 4: "c"}) == {3: 0.25}
