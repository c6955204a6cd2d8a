"""Several cells at a time, each in a process of its own.

Small networks do not keep two cores busy together, two cells do. The main process shows progress and tells MLflow; a
worker runs one cell after the other and sends what its reporter hears through a pipe of its own, so that one that is
killed, at whatever moment, holds up nobody. A worker ends when the main process does, however that one ends:
checkpoints are atomic, so nothing is lost and no cell stays locked.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from ..datasets.errors import DataError
from ..datasets.workers import end_with_parent
from .engine import Job, run_job
from .environment import threads_per_worker
from .errors import UserError
from .files import write_text
from .own import OwnFile, explain, own_file_of
from .progress import Bar, Reporter
from .record import RunRecord, record_of

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
    kind: Literal["open", "advance", "note", "close", "say", "done", "crash"]
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
        team = _Team(jobs, runs, device, min(workers, len(jobs)), reporter)
        try:
            yield from team.run()
        finally:
            team.dismiss()


def _run_here(jobs: Sequence[Job], runs: Path, device: str, reporter: Reporter) -> Iterator[Outcome]:
    for job in jobs:
        problem = _attempt(job, runs, device, reporter)
        yield Outcome(job, record_of(runs, job.cell), problem)


def _attempt(job: Job, runs: Path, device: str, reporter: Reporter) -> str:
    """Run a cell and return the sentence of what went wrong, "" where nothing did.

    An error in a method of the user's own is theirs to mend; the traceback lies in the cell's folder.
    """
    try:
        run_job(job, runs, device, reporter)
    except (UserError, DataError) as error:
        return str(error)
    except Exception as error:
        file = own_file_of(job.entry.method)
        if file is None:
            raise
        log = record_of(runs, job.cell).folder / "error.log"
        write_text(log, traceback.format_exc())
        return f"{job.entry.method.__name__} failed: {explain(error, file.path)}; the traceback is in {log}"
    return ""


@dataclass
class _Worker:
    """A worker process as the main process sees it.

    Attributes:
        process: the process.
        pipe: this end of its pipe; it ends when the process does.
        job: the cell it runs; None where it has none.
    """

    process: Any
    pipe: Connection
    job: Job | None = None

    def give(self, job: Job | None) -> None:
        """Hand over the next cell; None lets the worker end. A worker that has died is found out by its pipe."""
        self.job = job
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(job)

    def last_words(self) -> str:
        """What to say of a process that ended before its cell did."""
        self.process.join()
        code = self.process.exitcode
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
        return (
            f"its process {how}, perhaps for lack of memory; what was finished is kept: run the same command again, "
            "with --jobs 1 to need less memory"
        )


class _Team:
    """The workers, and the cells that wait for one of them.

    Args:
        jobs: the cells.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        workers: processes, at most one a cell.
        reporter: where progress goes.
    """

    def __init__(self, jobs: Sequence[Job], runs: Path, device: str, workers: int, reporter: Reporter) -> None:
        self._waiting = deque(jobs)
        self._files = tuple({file for job in jobs if (file := own_file_of(job.entry.method)) is not None})
        self._runs = runs
        self._device = device
        self._size = workers
        self._threads = threads_per_worker(workers)
        self._board = _Board(reporter)
        self._workers: dict[Any, _Worker] = {}

    def run(self) -> Iterator[Outcome]:
        """Run every cell, and yield each as it ends."""
        for worker in [self._hire() for _ in range(self._size)]:
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
            self._bury(worker)
            return None if job is None else Outcome(job, record_of(self._runs, job.cell), worker.last_words())
        if event.kind == "crash":
            raise RuntimeError(f"a worker failed:\n{event.values[0]}")
        if event.kind != "done" or job is None:
            self._board.show(worker, event)
            return None
        worker.give(self._next())
        return Outcome(job, record_of(self._runs, job.cell), event.values[0])

    def dismiss(self) -> None:
        """Stop every worker at once."""
        for worker in self._workers.values():
            worker.process.terminate()
        for worker in self._workers.values():
            worker.process.join()

    def _hire(self) -> _Worker:
        here, there = _SPAWN.Pipe()
        words = (there, self._files, self._runs, self._device, self._threads)
        process = _SPAWN.Process(target=_work, args=words, daemon=True)
        process.start()
        there.close()  # the worker holds the only other end now, so that the pipe ends when the worker does
        self._workers[here] = _Worker(process, here)
        return self._workers[here]

    def _next(self) -> Job | None:
        return self._waiting.popleft() if self._waiting else None

    def _bury(self, worker: _Worker) -> None:
        """Let go of a worker that has ended; while cells wait, another takes its place."""
        del self._workers[worker.pipe]
        worker.pipe.close()
        worker.process.join()
        self._board.clear(worker)
        if self._waiting:
            self._hire().give(self._next())


class _Board:
    """One bar a worker, on the main process's reporter."""

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

    torch.set_num_threads(threads)
    end_with_parent()
    try:
        for file in files:
            file.load()  # their classes are named in the cells, so they must be known before the first one comes
        for job in iter(pipe.recv, None):
            pipe.send(_Event("done", (_attempt(job, runs, device, _PipeReporter(pipe)),)))
    except (KeyboardInterrupt, EOFError):
        return
    except Exception:  # noqa: BLE001  (sent to the main process, which raises it with this traceback)
        pipe.send(_Event("crash", (traceback.format_exc(),)))
