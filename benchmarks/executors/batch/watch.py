"""Watching jobs: which of the driver's cells still run or wait, and how those that do not have ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...engine.progress import Reporter
from ..base import KEPT, CellEnd, record_of_spec
from ..exit_codes import AGAIN, DONE, USER
from ..spec import CellSpec
from .arrays import Array, Shelf
from .job import progress_marks
from .queue import Place, QueueError, Task, tasks

#: What one must know of a job that was ended and is not to be tried again as it is.
_REMEDIES = {
    "CANCELLED": "was cancelled",
    "DEADLINE": "missed its deadline; leave --slurm deadline out",
    "OUT_OF_MEMORY": "took more memory than it has; ask for more, as --slurm mem=32G",
    "TIMEOUT": "ran out of its time before the cell was written down; warn it earlier, as --slurm signal=600",
}


#: Of these, what is worth another job where the cell has got on in the one before.
_GOES_ON = frozenset({"DEADLINE", "TIMEOUT"})


@dataclass(frozen=True)
class Pace:
    """How often the driver does what, in seconds.

    Attributes:
        look: between two looks at how far cells are.
        ask: between two questions to the queue, which belongs to everybody.
        say: between two sentences on how many jobs wait, at the least.
        settle: until a network file system shows what a job has written, and the queue a job that was handed in.
    """

    look: float = 1.0
    ask: float = 15.0
    say: float = 60.0
    settle: float = 60.0


@dataclass(frozen=True)
class Queued:
    """A cell that was handed in.

    Attributes:
        label: of the cell.
        array: its array.
        index: of its task.
        number: of the array, as scancel takes it.
    """

    label: str
    array: Array
    index: int
    number: str

    @property
    def place(self) -> Place:
        """Its task."""
        return Place(self.array.name, self.index)


@dataclass
class _Entry:
    """A cell whose job is watched.

    Attributes:
        spec: the cell.
        queued: its job.
        task: what the queue last said of it; None before it said anything.
        gone: since when the queue knows no such task, or one that is over, by the monotonic clock; None while it runs
            or waits.
        marks: how far the cell was when it was handed in.
    """

    spec: CellSpec
    queued: Queued
    gone: float | None
    marks: Mapping[str, Any]
    task: Task | None = None

    @property
    def folder(self) -> Path:
        """The folder of the cell's record."""
        return record_of_spec(self.spec).folder

    @property
    def has_got_on(self) -> bool:
        """Whether more of the cell is written down than when it was handed in."""
        return progress_marks(self.folder) != self.marks

    @property
    def is_running(self) -> bool:
        """Whether its job holds a node."""
        return self.gone is None and self.task is not None and self.task.is_running


@dataclass(frozen=True)
class Verdict:
    """A cell whose job has ended.

    Attributes:
        spec: the cell.
        end: how it ended.
        has_got_on: whether more of it is written down than when it was handed in.
    """

    spec: CellSpec
    end: CellEnd
    has_got_on: bool


@dataclass
class Jobs:
    """The jobs of a driver's cells.

    Attributes:
        shelf: where their arrays lie.
        reporter: where sentences go.
        pace: how often what is done.
        entries: the cells that are watched, by label.
    """

    shelf: Shelf
    reporter: Reporter
    pace: Pace
    entries: dict[str, _Entry] = field(default_factory=dict, init=False)
    _asked: float = field(default=-1e9, init=False)
    _said: tuple[float, str] = field(default=(-1e9, ""), init=False)
    _is_answered: bool = field(default=True, init=False)

    def add(self, spec: CellSpec, queued: Queued) -> None:
        """Watch the job of a cell, from now on."""
        marks = progress_marks(record_of_spec(spec).folder)
        self.entries[spec.label] = _Entry(spec, queued, time.monotonic(), marks)

    def look(self) -> Iterator[Verdict]:
        """Ask the queue, where that is due, and let go of the cells whose jobs have ended."""
        if not self.entries:
            return
        if time.monotonic() - self._asked >= self.pace.ask:
            self._ask()
        ended = self.shelf.ended({entry.queued.array.name for entry in self.entries.values()})
        for label, entry in tuple(self.entries.items()):
            array = entry.queued.array
            end = self._judge(entry, self.shelf.end(array, label) if (array.name, label) in ended else None)
            if end is not None:
                del self.entries[label]
                yield Verdict(entry.spec, end, entry.has_got_on)

    def running(self) -> tuple[CellSpec, ...]:
        """The cells whose jobs hold a node."""
        return tuple(entry.spec for entry in self.entries.values() if entry.is_running)

    def numbers(self) -> tuple[str, ...]:
        """The numbers of the arrays, as scancel takes them."""
        return tuple(dict.fromkeys(entry.queued.number for entry in self.entries.values()))

    def _ask(self) -> None:
        """Note what the queue says; a controller that does not answer costs a sentence, the jobs go on."""
        self._asked = time.monotonic()
        try:
            found = tasks()
        except QueueError as error:
            if self._is_answered:
                self.reporter.say(f"warning: {error} The jobs go on, and it is asked again.")
            self._is_answered = False
            return
        self._is_answered = True
        for entry in self.entries.values():
            task = found.get(entry.queued.place)
            entry.task = task or entry.task
            is_there = task is not None and not task.is_over
            entry.gone = None if is_there else entry.gone or time.monotonic()
        self._say_how_many()

    def _say_how_many(self) -> None:
        """Say how many run and wait, and why, when that changes and not all the time."""
        waiting = [entry.task for entry in self.entries.values() if entry.gone is None and not entry.is_running]
        reasons = dict.fromkeys(task.reason for task in waiting if task is not None and task.reason)
        why = f" ({', '.join(reasons)})" if reasons else ""
        words = f"SLURM: {len(self.running())} running, {len(waiting)} waiting{why}"
        when, before = self._said
        if words != before and time.monotonic() - when >= self.pace.say:
            self.reporter.say(f"  {words}")
            self._said = (time.monotonic(), words)

    def _judge(self, entry: _Entry, end: CellEnd | None) -> CellEnd | None:
        """How a cell ended; None while its job runs or waits, or may have ended without our seeing how."""
        if end is not None and end.code != DONE:
            return end
        if (end is not None or self._is_over(entry)) and record_of_spec(entry.spec).done:
            return CellEnd(DONE)
        if entry.gone is None or not self._is_answered or time.monotonic() - entry.gone < self.pace.settle:
            return None
        return self._end_of_lost(entry)

    def _is_over(self, entry: _Entry) -> bool:
        return entry.gone is not None and entry.task is not None

    def _end_of_lost(self, entry: _Entry) -> CellEnd:
        """How a cell ended whose job could not say so any more."""
        state = "" if entry.task is None else entry.task.state
        number = "its job" if entry.task is None else f"its job {entry.task.job}"
        if state in _REMEDIES and not (state in _GOES_ON and entry.has_got_on):
            return CellEnd(USER, f"{number} {_REMEDIES[state]}; {KEPT}")
        how = f"ended as {state}" if entry.task is not None and entry.task.is_over else "is not in the queue any more"
        return CellEnd(AGAIN, f"{number} {how}; what it printed is in {self.shelf.folder_of(entry.queued.array)}")


def queued_cells(shelf: Shelf) -> Iterator[Queued]:
    """Every cell of a results folder that has a job in the queue, whichever driver has handed it in.

    A job that has said how it ended is as good as gone, though the queue may take a while to find out.

    Raises:
        QueueError: the queue does not answer.
    """
    alive = {place: task for place, task in tasks().items() if not task.is_over}
    names = {place.array for place in alive}
    ended = shelf.ended(names)
    for array in (array for array in shelf.arrays() if array.name in names):
        for index, label in enumerate(array.labels):
            task = alive.get(Place(array.name, index))
            if task is not None and (array.name, label) not in ended:
                yield Queued(label, array, index, task.job.partition("_")[0])
