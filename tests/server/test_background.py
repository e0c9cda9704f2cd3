"""Lanes of work beside the loop: in order, and given up at the end if need be."""

from __future__ import annotations

import select
import threading
import time

from dvm_server.background import Background


def never(error: Exception) -> None:
    raise error


def collected(background: Background, found: list[object], count: int) -> None:
    while len(found) < count:
        assert select.select([background.fileno()], [], [], 10)[0]
        background.collect()


def test_a_lane_keeps_its_order_and_lanes_do_not_wait_for_each_other():
    background, found = Background("one", "other"), []
    go = threading.Event()
    background.run("one", lambda: go.wait(10), lambda _: found.append("slow"), never)
    background.run("one", lambda: 1 / 0, never, lambda error: found.append(type(error)))
    background.run("other", lambda: "quick", found.append, never)
    collected(background, found, 1)
    go.set()
    collected(background, found, 3)
    assert found == ["quick", "slow", ZeroDivisionError]
    background.close()


def test_the_end_finishes_what_is_under_way_and_drops_what_is_queued():
    background, done, began = Background("lane"), [], threading.Event()

    def work() -> None:
        began.set()
        time.sleep(0.2)
        done.append("under way")

    background.run("lane", work, lambda _: None, never)
    background.run("lane", lambda: done.append("queued"), lambda _: None, never)
    assert began.wait(10)
    background.close()
    assert done == ["under way"]


def test_the_end_does_not_wait_for_ever():
    """A file on a share that is gone: who reads it hangs, and the server must end all the same."""
    background, began = Background("lane"), threading.Event()
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go.wait()
        ended.set()

    background.run("lane", work, lambda _: None, never)
    assert began.wait(10)
    before = time.monotonic()
    background.close(patience=0.2)
    assert time.monotonic() - before < 5
    assert not ended.is_set()
    go.set()
    assert ended.wait(10)  # and whoever comes back then finds nobody, and says nothing


def test_work_that_never_ends_is_left_alone_and_what_is_queued_goes_on():
    background, found, began = Background("lane", "idle"), [], threading.Event()
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        background.go_on("lane", "a share")
        began.set()
        go.wait()
        ended.set()

    background.run("lane", work, never, found.append)
    background.run("lane", lambda: "queued", found.append, never)
    assert background.silent("idle")[0] == 0
    assert began.wait(10)
    time.sleep(0.05)
    silent, at = background.silent("lane")
    assert 0.04 < silent < 10 and at == "a share"
    gone = OSError("it does not answer")
    background.leave("lane", gone)
    collected(background, found, 2)
    assert found == [gone, "queued"]
    go.set()
    assert ended.wait(10)
    background.run("lane", lambda: "later", found.append, never)
    collected(background, found, 3)
    assert found == [gone, "queued", "later"]  # what was left alone has failed once, for good
    background.leave("lane", gone)  # nothing is under way
    background.run("lane", lambda: "last", found.append, never)
    collected(background, found, 4)
    assert found[3:] == ["last"]
    background.close()
