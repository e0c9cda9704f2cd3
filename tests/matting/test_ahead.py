"""An iterator that is made ahead: same items, bounded, errors in their place, closed in order."""

from contextlib import closing
from threading import Barrier, Event, current_thread
from threading import enumerate as threads

import pytest

from model.ahead import ahead, several

SECONDS = 20


def test_items_come_in_order_and_from_one_thread():
    def made():
        for i in range(50):
            yield i, current_thread()

    with closing(ahead(made(), name="maker")) as items:
        found = list(items)
    assert [i for i, _ in found] == list(range(50))
    assert {thread.name for _, thread in found} == {"maker_0"}
    assert not [one for one in threads() if one.name.startswith("maker")]


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_than_count_are_made_ahead(count):
    made, far = [], Event()

    def numbers():
        for i in range(100):
            made.append(i)
            if len(made) > 1 + count:
                far.set()
            yield i

    with closing(ahead(numbers(), count)) as items:
        next(items)
        assert not far.wait(0.2)
        assert len(made) == 1 + count
        next(items)
        assert far.wait(SECONDS)


def test_the_next_item_is_made_while_one_is_in_use():
    begun = Event()

    def numbers():
        yield 1
        begun.set()
        yield 2

    with closing(ahead(numbers())) as items:
        assert next(items) == 1
        assert begun.wait(SECONDS)  # and nobody has asked for it
        assert list(items) == [2]


def test_an_error_comes_where_its_item_would_have_come():
    def numbers():
        yield 1
        yield 2
        raise KeyError("three")

    with closing(ahead(numbers(), 5)) as items:
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(KeyError, match="three"):
            next(items)


def test_closing_closes_what_is_made_by_its_own_thread():
    closed = []

    def numbers():
        try:
            yield from range(100)
        finally:
            closed.append(current_thread().name)

    inner = ahead(numbers(), name="inner")
    outer = ahead(inner, name="outer")
    assert next(outer) == 0
    outer.close()
    assert closed == ["inner_0"]
    assert not [one for one in threads() if one.name.startswith(("inner", "outer"))]


def test_several_are_at_work_and_come_in_order():
    both = Barrier(2)

    def work(number):
        both.wait(SECONDS)  # which nobody passes alone
        return -number

    with closing(several(iter(range(8)), work, 2)) as found:
        assert list(found) == [-number for number in range(8)]


def test_one_at_a_time_waits_for_each():
    done = []

    def numbers():
        for number in range(5):
            assert len(done) == number
            yield number

    with closing(several(numbers(), done.append, 1)) as found:
        assert list(found) == [None] * 5


def test_what_is_under_way_comes_before_an_error():
    def numbers():
        yield from range(3)
        raise ValueError("no more")

    found = []
    with pytest.raises(ValueError, match="no more"), closing(several(numbers(), abs, 4)) as made:
        for one in made:
            found.append(one)
    assert found == [0, 1, 2]


def test_an_error_of_the_work_comes_in_its_place():
    found = []
    with (
        pytest.raises(ZeroDivisionError),
        closing(several(iter([1, 2, 0, 4]), lambda x: 4 // x, 2)) as made,
    ):
        for one in made:
            found.append(one)
    assert found == [4, 2]


def test_nothing_is_left_at_work_once_closed():
    begun, go_on, done = Event(), Event(), []

    def work(number):
        begun.set()
        if number:
            go_on.wait(SECONDS)
        done.append(number)

    made = several(iter(range(9)), work, 2, name="closing")
    next(made)
    assert begun.wait(SECONDS)
    go_on.set()
    made.close()
    assert len(done) <= 3
    assert not [one for one in threads() if one.name.startswith("closing")]
