"""Ctrl-C and SIGTERM, told apart from what foreign code raises: only the user and the scheduler stop a run.

A method that raises SystemExit, KeyboardInterrupt or the like has failed; it has not stopped anybody. So the command's
own handler raises `Stop` and remembers that it did: foreign code may catch it or turn it into something else.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop(KeyboardInterrupt):
    """The user pressed Ctrl-C, or somebody sent SIGTERM, as schedulers do.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Handler:
    """Raises `Stop` and remembers the signal."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        raise Stop(number)


@contextmanager
def signals_stop() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise `Stop` until the end of the block; a signal that is ignored stays so."""
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
            signal.signal(number, signal.SIG_DFL)


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
