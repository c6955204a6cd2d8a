"""SIGUSR2, by which a queue warns a job: it stops at once, or where all is written down, and comes twice in vain."""

from __future__ import annotations

import signal

import pytest

from uadbench.stopping import (
    WARNING,
    Stop,
    end_quickly,
    exit_code,
    is_warned,
    raise_stop,
    signals_stop,
    stop_if_warned,
    warning_waits,
)


def test_a_warning_stops_at_once() -> None:
    with signals_stop(), pytest.raises(Stop, match="SIGUSR2") as stop:
        signal.raise_signal(WARNING)
    assert exit_code(stop.value) == 140


def test_a_warning_waits_until_all_is_written_down() -> None:
    with signals_stop():
        with pytest.raises(Stop, match="SIGUSR2"), warning_waits():
            assert not is_warned()
            stop_if_warned()
            signal.raise_signal(WARNING)
            raise_stop()  # what asks after every step whether somebody has stopped the run does not stop it
            assert is_warned()
            stop_if_warned()
            pytest.fail("it goes on")
        with pytest.raises(Stop):
            raise_stop()  # from now on nobody can swallow it


def test_a_warning_waits_for_the_end_of_the_block_at_most() -> None:
    done = []
    with signals_stop(), pytest.raises(Stop, match="SIGUSR2"):
        with warning_waits():
            signal.raise_signal(WARNING)
            done.append("all")
        pytest.fail("it goes on")
    assert done == ["all"]


@pytest.mark.usefixtures("ending_process")
def test_the_second_warning_does_not_disturb_what_the_first_one_has_begun() -> None:
    with signals_stop():
        with pytest.raises(Stop):
            signal.raise_signal(WARNING)
        signal.raise_signal(WARNING)
        end_quickly()
        signal.raise_signal(WARNING)
    assert signal.getsignal(WARNING) in (signal.SIG_DFL, signal.SIG_IGN)


def test_ctrl_c_and_sigterm_do_not_wait() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with signals_stop(), pytest.raises(Stop, match=number.name), warning_waits():
            signal.raise_signal(number)


def test_nobody_is_warned_outside() -> None:
    with warning_waits():
        assert not is_warned()
        stop_if_warned()
