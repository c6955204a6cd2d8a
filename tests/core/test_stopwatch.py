"""Stages of a stopwatch, with a clock that the test turns."""

import contextvars
import threading

import pytest

from uadbench import stopwatch
from uadbench.stopwatch import Stopwatch, spent


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    return clock


def test_inner_stages_are_taken_off_the_outer_one(clock):
    watch = Stopwatch()
    with watch.running():
        with spent("step"):
            clock.now += 1.0
            with spent("noise"):
                clock.now += 4.0
                with spent("data"):
                    clock.now += 16.0
            clock.now += 2.0
        clock.now += 100.0  # nobody's
        with spent("noise"):
            clock.now += 32.0
    assert watch.seconds == {"step": 3.0, "noise": 36.0, "data": 16.0}


def test_a_stage_that_fails_is_paid_for_and_no_longer_open(clock):
    watch = Stopwatch()
    with watch.running(), spent("step"):
        with pytest.raises(ValueError), spent("noise"):
            clock.now += 5.0
            raise ValueError
        clock.now += 1.0
    assert watch.seconds == {"noise": 5.0, "step": 1.0}


def test_without_a_stopwatch_nothing_is_kept(clock):
    watch = Stopwatch()
    with spent("step"):
        clock.now += 1.0
    with watch.running():
        pass
    with spent("step"):
        clock.now += 1.0
    assert watch.seconds == {}


def test_a_thread_counts_where_it_is_given_the_context(clock):
    watch = Stopwatch()

    def work():
        with spent("metrics"):
            clock.now += 8.0

    with watch.running():
        alone = threading.Thread(target=work)
        alone.start()
        alone.join()
        assert watch.seconds == {}
        with spent("step"):
            given = threading.Thread(target=contextvars.copy_context().run, args=(work,))
            given.start()
            given.join()
    assert watch.seconds == {"metrics": 8.0, "step": 8.0}  # at the same time, so not taken off
