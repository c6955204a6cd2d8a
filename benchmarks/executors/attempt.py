"""Running one cell in this process, whatever may go wrong with it, and saying how it ended."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...errors import DataError, UserError
from ...out_of_memory import MemoryShortageError, Stage, free_memory, is_out_of_memory
from ...own_files import explain, file_of
from ...stopping import raise_stop
from ..engine.cell_run import run_job
from ..engine.job import Job
from ..engine.memory import Halving, scoring_stage, training_stage
from ..engine.progress import Bar, Reporter
from ..engine.samples import Draw
from ..plan.own import source_of
from ..records.attempts import HeldError
from ..records.claims import LostClaimError
from ..records.progress import RecordReporter, read_progress
from ..records.record import ERROR_LOG, RunRecord, record_of
from ..records.record_files import RecordError
from ..records.running.system import EVERY, watched
from ..speed.memory import count_job
from .base import AGAIN, DEFECT, DONE, KEPT, USER, CellEnd
from .spec import CellSpec

#: What a cell is at, by the first word of its bar's title and by the status of its record.
_WORK = {
    "untrained": "the untrained control",
    "train": "the training",
    "training": "the training",
    "learn": "learning the score",
    "threshold": "the search for thresholds",
    "score": "the scoring",
    "scoring": "the scoring",
}


def run_spec(spec: CellSpec, reporter: Reporter, scratch: Path | None = None) -> CellEnd:
    """Run the cell of a spec; it says in its folder how far it is.

    Args:
        spec: the cell.
        reporter: where progress goes, too.
        scratch: a folder on a disk of this machine, to which the volume stores are copied once; None leaves them.

    Raises:
        KeyboardInterrupt: Ctrl-C, or a scheduler that wants the machine back; what was computed is kept.
    """
    try:
        job = spec.job(scratch)
    except (UserError, DataError) as error:
        return CellEnd(USER, str(error))
    runs = Path(spec.runs)
    folder = runs / spec.label
    with RecordReporter(folder) as written, watched(folder, EVERY if spec.system_metrics else None):
        end = _attempt(job, runs, spec.device, _Both(reporter, written))
    free_memory()
    return end


def _attempt(job: Job, runs: Path, device: str, reporter: Reporter) -> CellEnd:
    """Run a cell and say how it ended.

    An error in a method that is not of this package is its author's to mend; the traceback lies in the cell's folder.
    What would end the program (SystemExit and the like, EOFError) ends the cell, whoever's method raised it.
    """
    try:
        run_job(job, runs, device, reporter, _figure_drawer(), count_job)
    except HeldError as error:
        return CellEnd(AGAIN, f"{error.holder.words} is running this cell")
    except LostClaimError as error:
        return CellEnd(AGAIN, str(error))
    except MemoryShortageError as error:
        return CellEnd(USER, f"{error}; {KEPT}")
    except (UserError, DataError) as error:
        return CellEnd(USER, str(error))
    except BaseException as error:  # noqa: BLE001  (foreign code; what stops the run is raised again)
        raise_stop(error)
        return _end_of(error, job, runs)
    return CellEnd(DONE)


def _end_of(error: BaseException, job: Job, runs: Path) -> CellEnd:
    """How a cell ended by an error that is none of ours to expect."""
    record = record_of(runs, job.cell)
    if is_out_of_memory(error):
        return CellEnd(USER, f"{stage_of(job, record).sentence(error)}; {KEPT}")
    method, trace = job.entry.method, traceback.format_exc()
    words = f"{explain(error, file_of(method))}; the traceback is in {record.folder / ERROR_LOG}"
    if isinstance(error, Exception) and not isinstance(error, EOFError) and not source_of(method):
        return CellEnd(DEFECT, f"a defect of uadbench: {words}", trace)
    return CellEnd(USER, f"{method.__name__} failed: {words}")


def _figure_drawer() -> Draw | None:
    """Draws a cell's figure where matplotlib is installed: a bare GPU node has none."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from ..figures.reconstructions import reconstruction_figure

    return reconstruction_figure


def stage_of(job: Job, record: RunRecord) -> Stage:
    """What a cell was at when memory ran out or its process died, by its last words or else by its record."""
    sign = read_progress(record.folder)
    word = "" if sign is None else sign.progress.at.title.partition(" ")[0]
    with suppress(RecordError):
        word = word or record.state.status
    what = _WORK.get(word, "its start")
    if what in (_WORK["train"], "its start"):
        return training_stage(job.cell.label, what, job.entry.method, job.plan)
    return scoring_stage(job.cell.label, what, job.plan, Halving())


class _Both:
    """A reporter that passes everything on to two."""

    def __init__(self, one: Reporter, other: Reporter) -> None:
        self._reporters = (one, other)

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        """Open a bar on both."""
        with ExitStack() as stack:
            yield _BothBars([stack.enter_context(one.bar(title, total, done)) for one in self._reporters])

    def say(self, text: str) -> None:
        """Say it to both."""
        for one in self._reporters:
            one.say(text)


class _BothBars:
    def __init__(self, bars: list[Bar]) -> None:
        self._bars = bars

    def advance(self, steps: int = 1) -> None:
        for bar in self._bars:
            bar.advance(steps)

    def note(self, text: str) -> None:
        for bar in self._bars:
            bar.note(text)
