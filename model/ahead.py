"""Stages that overlap: an iterator made in a thread of its own, a bounded number of items ahead.

Reading, solving, delivering and writing a clip are iterators over each other; wrapped in `ahead`,
each works on its next frame while the one after it works on this. A stage whose frames need nothing
of each other may have `several` at work. Memory is bounded by the counts.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")
_END: Any = object()


def ahead(
    made: Generator[Item, None, None], count: int = 1, name: str = "ahead"
) -> Generator[Item, None, None]:
    """The same items in the same order, made by a thread while the last one is in use.

    An error comes where its item would have come. Close it (``contextlib.closing``): ``made`` is
    closed then, by its own thread, once the item that is being made is finished.

    Args:
        made: runs in one thread from its first item to its end.
        count: how many items it may be ahead of the one taken last.
        name: of the thread.
    """
    with ThreadPoolExecutor(1, thread_name_prefix=name) as thread:
        asked: deque[Future[Item]] = deque(thread.submit(next, made, _END) for _ in range(count))
        try:
            while (item := asked.popleft().result()) is not _END:
                asked.append(thread.submit(next, made, _END))
                yield item
        finally:
            for one in asked:
                one.cancel()
            thread.submit(made.close).result()


def at_once(cores_each: int, most: int) -> int:
    """How many threads or processes to have for work that keeps so many cores busy each."""
    return min(max((os.cpu_count() or 1) // cores_each, 1), most)


def several(
    items: Iterator[Item], work: Callable[[Item], Made], count: int, name: str = "several"
) -> Generator[Made, None, None]:
    """What ``work`` makes of each item, in their order, by ``count`` threads.

    An error of ``items`` comes after what was made of the items before it; one of ``work`` in the
    place of its item. In either case, and when closed, what is under way is finished.
    """
    with ThreadPoolExecutor(count, thread_name_prefix=name) as threads:
        under_way: deque[Future[Made]] = deque()
        error: Exception | None = None
        while True:
            try:
                item = next(items, _END)
            except Exception as raised:  # noqa: BLE001  to be raised in its turn
                error = raised
                break
            if item is _END:
                break
            under_way.append(threads.submit(work, item))
            if len(under_way) == count:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
        if error is not None:
            raise error
