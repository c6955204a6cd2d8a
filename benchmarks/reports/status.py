"""How the cells stand that were handed out: read from their folders, wherever and by whomever they are run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Literal

from ..records.attempts import Holder, attempts_of, last_holder
from ..records.handed_out import HandedOut, handed_out
from ..records.record import RunRecord
from ..records.record_files import RecordError
from ..records.running.progress import CellProgress, read_progress

State = Literal["running", "failed", "waiting", "done"]
#: In which order states are told.
STATES: tuple[State, ...] = ("running", "failed", "waiting", "done")


@dataclass(frozen=True)
class CellStatus:
    """How a cell stands.

    Attributes:
        label: name of its folder.
        title: of its table row.
        fold: index of its fold.
        state: "running": a process gives signs of life; "failed": the last attempt ended by an error; "done": all its
            numbers are there; "waiting": none of these.
        words: what it is at, or what went wrong.
        seconds_left: until what it is at is done; None where nobody knows.
        seconds: spent on it, if it is done; else None.
    """

    label: str
    title: str
    fold: int
    state: State
    words: str
    seconds_left: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Status:
    """How all cells of a results folder stand.

    Attributes:
        cells: in order of state, then of name.
    """

    cells: tuple[CellStatus, ...]

    def count(self, state: State) -> int:
        """How many are in a state."""
        return sum(cell.state == state for cell in self.cells)

    @property
    def seconds_left(self) -> float | None:
        """Until all that runs and waits is done, if as many run at a time as now; None where nobody can know.

        A cell is taken to last as long as the finished ones of its row.
        """
        lengths = [self._length_of(cell.title) for cell in self.cells if cell.state in ("running", "waiting")]
        known = [length for length in lengths if length is not None]
        if not known or len(known) < len(lengths) or not self.count("running"):
            return None
        spent = sum(cell.seconds or 0.0 for cell in self.cells if cell.state == "running")
        return max(0.0, sum(known) - spent) / self.count("running")

    def _length_of(self, title: str) -> float | None:
        found = [cell.seconds for cell in self.cells if cell.title == title and cell.state == "done" and cell.seconds]
        return mean(found) if found else None


def status_of(results: Path) -> Status:
    """How the cells stand that were handed out from a results folder."""
    found = [_cell_status(results / "runs" / one.label, one) for one in handed_out(results)]
    return Status(tuple(sorted(found, key=lambda cell: STATES.index(cell.state))))


def _cell_status(folder: Path, cell: HandedOut) -> CellStatus:
    record, sign = RunRecord(folder), read_progress(folder)
    holder = last_holder(folder)
    progress = sign.progress if sign is not None else CellProgress()
    if record.done:
        return CellStatus(cell.label, cell.title, cell.fold, "done", "", None, _spent(record))
    if holder is not None and holder.is_alive:
        words = f"{_at(progress)}, by {_who(holder)}"
        return CellStatus(cell.label, cell.title, cell.fold, "running", words, progress.seconds_left, _spent(record))
    attempts = attempts_of(folder)
    last = attempts[-1] if attempts else None
    if last is not None and last.how == "failed":
        return CellStatus(cell.label, cell.title, cell.fold, "failed", last.problem)
    return CellStatus(cell.label, cell.title, cell.fold, "waiting", _why_it_waits(holder, len(attempts)))


def _spent(record: RunRecord) -> float | None:
    try:
        return record.state.seconds
    except RecordError:
        return None


def _at(progress: CellProgress) -> str:
    """What a cell is at, and how fast."""
    at = progress.at
    if not at.title:
        return "between two steps"
    what = at.title.rpartition(" ")[0] or at.title  # the cell's own name is told already
    made, took = at.done - at.begun, progress.now - progress.since
    rate = f", {made / took:.3g} per second" if made > 0 and took > 0 else ""
    return f"{what} {at.done} of {at.total}{rate}" + (f", {at.note}" if at.note else "")


def _who(holder: Holder) -> str:
    if holder.attempt is None:
        return "an unknown process"
    return f"process {holder.attempt.process.pid} on {holder.attempt.process.host}"


def _why_it_waits(holder: Holder | None, attempts: int) -> str:
    if holder is None:
        return ""
    if holder.attempt is None or holder.attempt.how is None:
        return f"interrupted: {holder.loss}"
    return f"{holder.attempt.how} in attempt {attempts}"
