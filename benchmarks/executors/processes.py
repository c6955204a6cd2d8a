"""Several cells at a time, each in a process of its own.

Small networks do not keep two cores busy together, two cells do. The main process shows progress and tells MLflow; a
worker runs one cell after the other and sends what its reporter hears through a pipe of its own, so that one that is
killed, at whatever moment, holds up nobody. A worker ends when the main process does, however that one ends:
checkpoints are atomic, so nothing is lost and no cell stays locked.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import signal
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from ...allocator import keep_freed_memory
from ...errors import DataError, UserError
from ...out_of_memory import MemoryShortageError, Stage, free_memory, is_out_of_memory
from ...own_files import OwnFile, explain, file_of, own_file_of
from ...stopping import raise_stop
from ...workers import SECONDS_TO_BE_STOPPED, end_with_parent, leave_ctrl_c_to_parent, signals_held
from ..engine.cell_run import run_job
from ..engine.environment import threads_per_worker
from ..engine.job import Job
from ..engine.memory import Halving, scoring_stage, training_stage
from ..engine.progress import Bar, Reporter
from ..engine.samples import Draw
from ..plan.own import source_of
from ..records.record import ERROR_LOG, RunRecord, record_of
from ..records.record_files import RecordError
from ..speed.memory import count_job

_KEPT = "what was finished is kept: the same command goes on"
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
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        job: the cell.
        record: its run record.
        problem: the sentence of a user error; "" where all went well.
    """

    job: Job
    record: RunRecord
    problem: str


@dataclass(frozen=True)
class _Event:
    kind: Literal["open", "advance", "note", "close", "say", "done", "refusal", "crash"]
    values: tuple[Any, ...] = ()


def run_jobs(jobs: Sequence[Job], runs: Path, device: str, workers: int, reporter: Reporter) -> Iterator[Outcome]:
    """Run cells, `workers` at a time, and yield each as it ends; a cell that fails does not stop the others.

    Args:
        jobs: what to run.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        workers: processes; 1 runs everything in this one.
        reporter: where progress goes.

    Raises:
        RuntimeError: a worker met a defect of ours; its traceback is in the message.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
    """
    if workers == 1 or len(jobs) == 1:
        yield from _run_here(jobs, runs, device, reporter)
    else:
        team = _Workers(jobs, runs, device, min(workers, len(jobs)), reporter)
        try:
            yield from team.run()
        finally:
            team.stop()


def _run_here(jobs: Sequence[Job], runs: Path, device: str, reporter: Reporter) -> Iterator[Outcome]:
    for job in jobs:
        problem = _attempt(job, runs, device, reporter)
        yield Outcome(job, record_of(runs, job.cell), problem)


def _attempt(job: Job, runs: Path, device: str, reporter: Reporter) -> str:
    """Run a cell, give back its memory, and return the sentence of what went wrong, "" where nothing did."""
    problem = _problem_of(job, runs, device, reporter)
    free_memory()
    return problem


def _problem_of(job: Job, runs: Path, device: str, reporter: Reporter) -> str:
    """Run a cell and return the sentence of what went wrong, "" where nothing did.

    An error in a method that is not of this package is its author's to mend; the traceback lies in the cell's folder.
    What would end the program (SystemExit and the like, EOFError) ends the cell, whoever's method raised it.
    """
    try:
        run_job(job, runs, device, reporter, _figure_drawer(), count_job)
    except MemoryShortageError as error:
        return f"{error}; {_KEPT}"
    except (UserError, DataError) as error:
        return str(error)
    except BaseException as error:
        raise_stop(error)
        if is_out_of_memory(error):
            return f"{_stage_of(job, runs).sentence(error)}; {_KEPT}"
        method = job.entry.method
        if isinstance(error, Exception) and not isinstance(error, EOFError) and not source_of(method):
            raise
        log = record_of(runs, job.cell).folder / ERROR_LOG
        return f"{method.__name__} failed: {explain(error, file_of(method))}; the traceback is in {log}"
    return ""


def _figure_drawer() -> Draw | None:
    """Draws a cell's figure where matplotlib is installed: a bare GPU node has none."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from ..figures.reconstructions import reconstruction_figure

    return reconstruction_figure


def _stage_of(job: Job, runs: Path, title: str = "") -> Stage:
    """What a cell was at when memory ran out, by the title of its bar or else by its record."""
    word = title.partition(" ")[0]
    with suppress(RecordError):
        word = word or record_of(runs, job.cell).state.status
    what = _WORK.get(word, "its start")
    if what in (_WORK["train"], "its start"):
        return training_stage(job.cell.label, what, job.entry.method, job.plan)
    return scoring_stage(job.cell.label, what, job.plan, Halving())


@dataclass
class _Worker:
    """A worker process as the main process sees it.

    Attributes:
        process: the process.
        pipe: this end of its pipe; it ends when the process does.
        job: the cell it runs; None where it has none.
        title: of the bar that it shows; "" where it shows none.
    """

    process: Any
    pipe: Connection
    job: Job | None = None
    title: str = ""

    def give(self, job: Job | None) -> None:
        """Hand over the next cell; None lets the worker end. A worker that has died is found out by its pipe."""
        self.job, self.title = job, ""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(job)

    def last_words(self) -> str:
        """What to say of a process that ended before its cell did."""
        self.process.join()
        code = self.process.exitcode
        if code == -signal.SIGTERM:
            time.sleep(SECONDS_TO_BE_STOPPED)
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
        return f"its process {how}"


class _Workers:
    """The workers, and the cells that wait for one of them.

    Args:
        jobs: the cells.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        workers: processes, at most one per cell.
        reporter: where progress goes.
    """

    def __init__(self, jobs: Sequence[Job], runs: Path, device: str, workers: int, reporter: Reporter) -> None:
        self._waiting = deque(jobs)
        self._files = tuple({file for job in jobs if (file := own_file_of(job.entry.method)) is not None})
        self._runs = runs
        self._device = device
        self._size = workers
        self._threads = threads_per_worker(workers)
        self._reporter = reporter
        self._board = _Board(reporter)
        self._tried: set[str] = set()
        self._workers: dict[Any, _Worker] = {}

    def run(self) -> Iterator[Outcome]:
        """Run every cell, and yield each as it ends."""
        for worker in [self._start() for _ in range(self._size)]:
            worker.give(self._next())
        while self._workers:
            for pipe in wait(list(self._workers)):
                outcome = self._hear(self._workers[pipe])
                if outcome is not None:
                    yield outcome

    def _hear(self, worker: _Worker) -> Outcome | None:
        """Take in what a worker says; an outcome where its cell has ended, one way or another."""
        job = worker.job
        try:
            event = worker.pipe.recv()
        except (EOFError, OSError):
            return self._lose(worker)
        if event.kind == "crash":
            raise RuntimeError(f"a worker failed:\n{event.values[0]}")
        if event.kind == "refusal":
            raise UserError(event.values[0])
        if event.kind in ("open", "close"):
            worker.title = event.values[0] if event.values else ""
        if event.kind != "done" or job is None:
            self._board.show(worker, event)
            return None
        worker.give(self._next())
        return Outcome(job, record_of(self._runs, job.cell), event.values[0])

    def _lose(self, worker: _Worker) -> Outcome | None:
        """Let go of a worker; a cell that it leaves unfinished is tried once more, with one worker fewer from then on.

        Its checkpoint goes with it, and what it lacked was memory, most likely. The second time is the last.
        """
        job, outcome = worker.job, None
        how = worker.last_words()
        if job is not None:
            outcome = self._try_again(job, how, _stage_of(job, self._runs, worker.title))
        self._drop(worker)
        return outcome

    def _try_again(self, job: Job, how: str, stage: Stage) -> Outcome | None:
        """Put a cell whose process has died first in the line; an outcome where that happened before."""
        words = f"{job.cell.label}: {how} at {stage.what} with {stage.batch}, perhaps for lack of memory"
        if job.cell.id in self._tried:
            problem = f"{words}, for the second time; less is needed with {stage.advice}; {_KEPT}"
            return Outcome(job, record_of(self._runs, job.cell), problem)
        self._tried.add(job.cell.id)
        self._waiting.appendleft(job)
        self._size = max(1, self._size - 1)
        pace = "one cell at a time" if self._size == 1 else f"{self._size} cells at a time"
        self._reporter.say(f"  {words}; it is tried once more from its checkpoint, {pace} now")
        return None

    def stop(self) -> None:
        """Stop every worker at once, whatever it does: all it writes is written whole or not at all."""
        with signals_held():
            for worker in self._workers.values():
                worker.process.kill()
            for worker in self._workers.values():
                worker.process.join()

    def _start(self) -> _Worker:
        here, there = _SPAWN.Pipe()
        words = (there, self._files, self._runs, self._device, self._threads)
        process = _SPAWN.Process(target=_work, args=words, daemon=True)
        with signals_held():
            process.start()
            there.close()  # the worker holds the only other end now, so that the pipe ends when the worker does
            self._workers[here] = _Worker(process, here)
        return self._workers[here]

    def _next(self) -> Job | None:
        return self._waiting.popleft() if self._waiting else None

    def _drop(self, worker: _Worker) -> None:
        """Close the pipe of a worker that has ended; while cells wait, another takes its place."""
        del self._workers[worker.pipe]
        worker.pipe.close()
        worker.process.join()
        self._board.clear(worker)
        while self._waiting and len(self._workers) < self._size:
            self._start().give(self._next())


class _Board:
    """One bar per worker, on the main process's reporter."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._contexts: dict[int, Any] = {}
        self._bars: dict[int, Bar] = {}

    def show(self, worker: _Worker, event: _Event) -> None:
        key = id(worker)
        if event.kind == "open":
            self._contexts[key] = self._reporter.bar(*event.values)
            self._bars[key] = self._contexts[key].__enter__()
        elif event.kind == "close":
            self.clear(worker)
        elif event.kind == "advance":
            self._bars[key].advance(*event.values)
        elif event.kind == "note":
            self._bars[key].note(*event.values)
        else:
            self._reporter.say(*event.values)

    def clear(self, worker: _Worker) -> None:
        """Take the worker's bar away, if it has one."""
        self._bars.pop(id(worker), None)
        context = self._contexts.pop(id(worker), None)
        if context is not None:
            context.__exit__(None, None, None)


class _PipeReporter:
    """A reporter that sends everything to the main process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def _send(self, kind: Any, *values: Any) -> None:
        self._pipe.send(_Event(kind, values))

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        self._send("open", title, total, done)
        try:
            yield self
        finally:
            self._send("close")

    def advance(self, steps: int = 1) -> None:
        self._send("advance", steps)

    def note(self, text: str) -> None:
        self._send("note", text)

    def say(self, text: str) -> None:
        self._send("say", text)


def _work(pipe: Connection, files: Sequence[OwnFile], runs: Path, device: str, threads: int) -> None:
    """What a worker process does: cells, until it is told that there are no more."""
    import torch

    leave_ctrl_c_to_parent()
    signal.signal(signal.SIGTERM, _end_at_once)
    torch.set_num_threads(threads)
    keep_freed_memory()
    end_with_parent()
    try:
        for file in files:
            file.load()  # their classes are named in the cells, so they must be known before the first one comes
        for job in _given(pipe):
            pipe.send(_Event("done", (_attempt(job, runs, device, _PipeReporter(pipe)),)))
    except UserError as error:
        pipe.send(_Event("refusal", (str(error),)))
    except BaseException:  # noqa: BLE001  (sent to the main process, which raises it with this traceback)
        with suppress(OSError):  # nobody is left to hear it
            pipe.send(_Event("crash", (traceback.format_exc(),)))


def _given(pipe: Connection) -> Iterator[Job]:
    """The cells that the main process hands over, until there are no more or it has ended."""
    with suppress(EOFError):
        yield from iter(pipe.recv, None)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """End by a signal as if nobody had a handler for it: Lightning has one that waits for the end of a step."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
