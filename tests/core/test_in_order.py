"""Work in threads beside whoever makes the items: order, bound, errors and context."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from contextvars import ContextVar

import pytest

from uadbench.in_order import in_order


def test_results_come_in_the_order_of_the_items_whichever_is_finished_first() -> None:
    finished: list[int] = []

    def work(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        finished.append(item)
        return item * item

    assert list(in_order(work, range(12), threads=4, ahead=6)) == [item * item for item in range(12)]
    assert finished != sorted(finished)


def test_no_more_items_are_in_memory_than_allowed() -> None:
    made, most = 0, 0
    gate = threading.Semaphore(0)
    taken: list[int] = []

    def items() -> Iterator[int]:
        nonlocal made, most
        for item in range(20):
            made += 1
            most = max(most, made - len(taken))
            gate.release()  # lets one piece of work end for each item that is made
            yield item

    def work(item: int) -> int:
        assert gate.acquire(timeout=5)
        time.sleep(0.001)
        return item

    for result in in_order(work, items(), threads=1, ahead=3):
        taken.append(result)
    assert taken == list(range(20))
    assert most <= 3 + 2  # those that wait, the one that is handed on, and the one that is made


def test_what_was_begun_before_an_item_fails_is_handed_on_first() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise KeyboardInterrupt

    def work(item: int) -> int:
        time.sleep(0.02)
        return item

    taken: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        for result in in_order(work, items(), threads=2, ahead=5):
            taken.append(result)
    assert taken == [0, 1, 2]


def test_an_error_of_the_work_comes_in_its_place_and_ends_it() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            made.append(item)
            yield item

    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    taken: list[int] = []
    with pytest.raises(ValueError, match="two"):
        for result in in_order(work, items(), threads=2, ahead=4):
            taken.append(result)
    assert taken == [0, 1]
    assert len(made) < 20


def test_whoever_stops_taking_ends_the_threads() -> None:
    with closing(in_order(lambda item: item, range(100), threads=2, ahead=4)) as results:
        assert next(results) == 0
        before = threading.active_count()
    assert threading.active_count() < before


def test_the_work_sees_the_context_of_its_item() -> None:
    word: ContextVar[int] = ContextVar("word")

    def items() -> Iterator[int]:
        for item in range(5):
            word.set(item)
            yield item

    assert list(in_order(lambda item: (item, word.get()), items(), threads=2, ahead=3)) == [(i, i) for i in range(5)]
