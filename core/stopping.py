"""Ctrl-C and SIGTERM, told apart from what foreign code raises: only the user and the scheduler stop a run.

A method that raises SystemExit, KeyboardInterrupt or the like has failed; it has not stopped anybody. So the command's
own handler raises `Stop` and remembers that it did: foreign code may catch it or turn it into something else.

SIGUSR2 is the warning that a queue sends some time before it ends a job. It stops a run, too, but a training first
comes to its next checkpoint (`warning_waits`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What a queue is asked to send before the time of a job is over.
WARNING = signal.SIGUSR2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, WARNING)


class Stop(KeyboardInterrupt):
    """The user pressed Ctrl-C, or somebody sent SIGTERM, as schedulers do.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Handler:
    """Raises `Stop` and remembers the signal; a warning waits where it may, and comes twice in vain.

    A queue sends it to every process of a job, and whoever started this one may pass it on: the second one must not
    disturb what is written down because of the first.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_warned = False
        self.is_patient = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == WARNING:
            is_first, self.is_warned = not self.is_warned, True
            if self.is_patient or not is_first:
                return
        self.stop(number)

    def stop(self, number: int) -> None:
        self.number = number
        raise Stop(number)


@contextmanager
def signals_stop() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a queue's warning raise `Stop` within the block; a signal that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _Handler()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = [number for number, known in before.items() if known not in (signal.SIG_IGN, None)]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is handler:
                signal.signal(number, before[number])


def end_quickly() -> None:
    """The run has stopped and all is said: the next signal ends the process without a word."""
    for number in _SIGNALS:
        if isinstance(signal.getsignal(number), _Handler):
            signal.signal(number, signal.SIG_IGN if number == WARNING else signal.SIG_DFL)


@contextmanager
def warning_waits() -> Iterator[None]:
    """Let a queue's warning wait for `stop_if_warned` within the block, or for its end."""
    handler = _handler()
    if handler is None:
        yield
        return
    handler.is_patient = True
    try:
        yield
    finally:
        handler.is_patient = False
    stop_if_warned()


def is_warned() -> bool:
    """Whether a queue has warned that it will end this process."""
    handler = _handler()
    return handler is not None and handler.is_warned


def stop_if_warned() -> None:
    """Stop where a queue has warned: all is written down.

    Raises:
        KeyboardInterrupt: it has.
    """
    handler = _handler()
    if handler is not None and handler.is_warned:
        handler.stop(WARNING)


def raise_stop(error: BaseException | None = None) -> None:
    """Raise what stops the run, if anything does; else return, and the error is the failure of whoever raised it.

    Args:
        error: what foreign code ended with; None: nothing, but it may have swallowed a stop.

    Raises:
        KeyboardInterrupt: the user or the scheduler wants to stop.
    """
    handler = _handler()
    if handler is not None and handler.number is not None:
        raise Stop(handler.number) from None
    if isinstance(error, Stop) or (isinstance(error, KeyboardInterrupt) and handler is None and _heeds_ctrl_c()):
        raise error


def exit_code(stop: BaseException) -> int | None:
    """What shells expect of a process that a signal stopped, 128 and its number; None where none did.

    Args:
        stop: what the command ended with.
    """
    try:
        raise_stop(stop)
    except KeyboardInterrupt as found:
        return 128 + (found.number if isinstance(found, Stop) else signal.SIGINT)
    return None


def _handler() -> _Handler | None:
    known = (signal.getsignal(number) for number in _SIGNALS)
    return next((handler for handler in known if isinstance(handler, _Handler)), None)


def _heeds_ctrl_c() -> bool:
    """Whether Ctrl-C reaches this process at all: a worker leaves it to its parent."""
    return signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.SIG_DFL)
