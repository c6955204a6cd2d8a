"""Work on what comes in by threads while the next is being made, and hand on the results in the order they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")


def in_order(
    work: Callable[[_ItemT], _ResultT], items: Iterable[_ItemT], *, threads: int, ahead: int
) -> Generator[_ResultT, None, None]:
    """The results of `work` for every item, in the items' order, whichever is finished first.

    The items are made one after the other by whoever takes the results; the threads work meanwhile, each in the context
    of that moment. Where making an item fails or is stopped, the results of those before it are handed on first.

    Args:
        work: must let go of Python's lock for most of its time, as NumPy does, or it gains nothing.
        items: as a rule a generator that takes its time.
        threads: that work at a time.
        ahead: items that may wait or be worked on while the next is made; no more of them are in memory.

    Raises:
        Exception: whatever an item or the work on it raises.
    """
    waiting: deque[Future[_ResultT]] = deque()
    source = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                try:
                    item = next(source)
                except StopIteration:
                    break
                except BaseException:
                    yield from _results(waiting, 0)
                    raise
                waiting.append(pool.submit(copy_context().run, work, item))
                del item
                yield from _results(waiting, ahead)
            yield from _results(waiting, 0)
        finally:
            for future in waiting:
                future.cancel()


def _results(waiting: deque[Future[_ResultT]], ahead: int) -> Iterator[_ResultT]:
    """Those that are finished, and as many more as must be so that no more than `ahead` wait."""
    while waiting and (len(waiting) > ahead or waiting[0].done()):
        yield waiting.popleft().result()
