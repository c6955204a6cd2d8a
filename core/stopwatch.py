"""Where the seconds of a piece of work go, by stage, without handing a clock to everybody who spends them.

Whoever wants the bill starts a `Stopwatch`; whoever does something worth a line of its own says `with spent("noise")`.
Where no stopwatch runs that costs a look-up and nothing is kept. Stages may lie within each other: the time of the
inner one is taken off the outer one, so that the stages of one thread add up to no more than its time. A thread
inherits no stopwatch: give it the caller's context (`contextvars.copy_context().run`). Its time is added beside the
caller's, not taken off it, since both pass at once.

On a GPU a stage holds the time in which this thread was busy or waited; kernels that still run when it ends are paid by
the stage that next waits for the device.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """Seconds by stage.

    Attributes:
        seconds: of each stage so far, without those of the stages within it.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def running(self) -> Iterator[Stopwatch]:
        """Take the time of every stage that is entered in this context."""
        token = _RUNNING.set(_Open(self))
        try:
            yield self
        finally:
            _RUNNING.reset(token)

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage; any thread may."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass
class _Open:
    """A stage that is being timed: its stopwatch, its thread, and the seconds of the stages within it so far."""

    stopwatch: Stopwatch
    within: float = 0.0
    thread: int = field(default_factory=threading.get_ident)


_RUNNING: ContextVar[_Open | None] = ContextVar("running stopwatch", default=None)


@contextmanager
def spent(stage: str) -> Iterator[None]:
    """Put the time until the end of the block down to a stage, on the stopwatch that runs, if one does."""
    outer = _RUNNING.get()
    if outer is None:
        yield
        return
    inner = _Open(outer.stopwatch)
    token = _RUNNING.set(inner)
    started = time.perf_counter()
    try:
        yield
    finally:
        took = time.perf_counter() - started
        _RUNNING.reset(token)
        if outer.thread == inner.thread:
            outer.within += took
        outer.stopwatch.add(stage, took - inner.within)
