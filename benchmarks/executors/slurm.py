"""Cells as jobs of a SLURM cluster (`--on slurm`), handed in through submitit as one array.

The driver hands in the cells that nobody sees to, waits, and tells of each as its job ends. It may go away at any
moment: the jobs go on, and the same command takes them up again. A cell that fails ends its own job and no other. A job
that is preempted, whose node is lost or whose time is over is put in the queue again, by SLURM or by itself, and its
cell goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from ...files import locked
from ...workers import signals_held
from ..engine.progress import Reporter
from ..plan.request import Where
from ..records.attempts import last_holder
from ..records.handed_out import SPECS
from ..records.running.progress import forget_progress
from .backlog import Backlog
from .base import CellEnd, Executor, Outcome, record_of_spec
from .batch.arrays import Array, Share, Shelf, shares
from .batch.job import CellTask
from .batch.queue import QueueError, last_line, max_array_size, require_slurm
from .batch.watch import Jobs, Pace, Queued, Verdict, queued_cells
from .batch.words import Wish, read_wish
from .exit_codes import AGAIN, DONE
from .spec import CellSpec
from .watcher import Watcher

if TYPE_CHECKING:
    from submitit import SlurmExecutor

_LOCK = ".lock"
#: How often submitit may put a job in the queue again; a `CellTask` gives up where it gets no further.
_ANY_NUMBER = 1_000_000


class Slurm(Executor):
    """A SLURM cluster that shares the results folder with this machine.

    Args:
        wish: what a job should be.
        device: "cpu" or "cuda", where the wish does not say.
        results: the results folder.
        parallel: cells at a time; 0 leaves it to the queue.
        scratch: see `Where`.
    """

    name = "slurm"
    summary = "jobs of a SLURM cluster, in one array"
    reads = frozenset({"parallel", "slurm", "scratch"})
    #: Runs a cell on a node, followed by the file of its spec.
    command: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "uadbench", "cell")
    pace: ClassVar[Pace] = Pace()

    def __init__(self, wish: Wish, device: str, results: Path, parallel: int = 0, scratch: Path | None = None) -> None:
        self._wish = wish
        self._device = "cuda" if wish.has_gpus else device
        self._results = results.resolve()
        self._parallel = parallel
        self._scratch = scratch
        self.workers = parallel or sys.maxsize  # all of them, as far as the queue lets them

    @classmethod
    def make(cls, where: Where, device: str, results: Path) -> Self:
        """An executor as the user wants it.

        Raises:
            UserError: a word after `--slurm` means nothing, or this machine knows no cluster.
        """
        wish = read_wish(where.slurm)
        require_slurm()
        return cls(wish, device, results, where.parallel, where.scratch)

    def run(self, specs: Sequence[CellSpec], reporter: Reporter) -> Iterator[Outcome]:
        """Hand in cells and yield each as its job ends.

        Raises:
            UserError: SLURM refuses the jobs, or does not answer when they are handed in.
            KeyboardInterrupt: Ctrl-C; the jobs go on.
        """
        campaign = _Campaign(self, specs, reporter)
        try:
            yield from campaign.run()
        except (KeyboardInterrupt, GeneratorExit, QueueError):
            campaign.say_goodbye()
            raise

    def submission(self, labels: Sequence[str]) -> str:
        """The script of the first array, as sbatch would get it."""
        if not labels:
            return ""
        dealt = shares(labels, max_array_size(), self._parallel)
        array = Array(name="uadbench-dry-run", labels=dealt[0].cells)
        submitter = self.submitter(self.shelf.folder_of(array), array, dealt[0].at_a_time)
        more = f"\n# … and {len(dealt) - 1} more arrays like it, as one has at most {max_array_size()} tasks"
        return f"{script_of(submitter, len(array.labels))}{more if len(dealt) > 1 else ''}"

    @property
    def shelf(self) -> Shelf:
        """Where the arrays lie."""
        return Shelf.of(self._results)

    def shares_of(self, specs: Sequence[CellSpec]) -> tuple[Share[CellSpec], ...]:
        """The cells of each array."""
        return shares(specs, max_array_size(), self._parallel)

    def hand_in(self, specs: Sequence[CellSpec], at_a_time: int, after: str = "") -> tuple[Array, str]:
        """Hand in an array of cells.

        Args:
            specs: its cells.
            at_a_time: how many of them may run together.
            after: number of the array that must be over first; "" for none.

        Returns:
            The array and its number.

        Raises:
            QueueError: SLURM refuses it.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        array = Array.of([spec.label for spec in specs])
        self.shelf.write(array)
        submitter = self.submitter(self.shelf.folder_of(array), array, at_a_time, after)
        tasks = [self._task(spec, array) for spec in specs]
        try:
            with signals_held(), _outside_jobs():
                jobs = submitter.submit_array(tasks)
        except (FailedJobError, FailedSubmissionError) as error:
            words = last_line(str(error)).removeprefix("sbatch: error: ")
            raise QueueError(f"SLURM refuses the jobs ({words}); mend what stands after --slurm") from error
        return array, jobs[0].job_id.partition("_")[0]

    def submitter(self, folder: Path, array: Array, at_a_time: int, after: str = "") -> SlurmExecutor:
        """What hands in an array: submitit's executor, told what a job should be."""
        from submitit import SlurmExecutor

        wish = self._wish
        submitter = SlurmExecutor(folder=folder, max_num_timeout=_ANY_NUMBER)
        submitter.update_parameters(
            job_name=array.name,
            time=wish.minutes,
            signal_delay_s=wish.warning,
            array_parallelism=at_a_time,
            dependency=f"afterany:{after}" if after else None,
            setup=[wish.setup] if wish.setup else None,
            srun_args=[f"--cpus-per-task={wish.cores}"] if wish.cores else None,  # srun does not take it from sbatch
            stderr_to_stdout=True,
            wckey=None,
            additional_parameters={**dict(wish.options), "requeue": True},
        )
        return submitter

    def _task(self, spec: CellSpec, array: Array) -> CellTask:
        """What the job of a cell does; a cell whose job has a GPU computes on it."""
        path = spec.model_copy(update={"device": self._device}).write(self._results / SPECS)
        scratch = () if self._scratch is None else ("--scratch", str(self._scratch))
        return CellTask(
            command=(*self.command, str(path), *scratch),
            folder=str(record_of_spec(spec).folder),
            end=str(self.shelf.end_file(array, spec.label)),
            log=str(self.shelf.log_file(array, spec.label)),
            patience=float(self._wish.warning),
        )


class _Campaign:
    """One run of the driver.

    Args:
        slurm: hands in arrays.
        specs: the cells.
        reporter: where progress goes.
    """

    def __init__(self, slurm: Slurm, specs: Sequence[CellSpec], reporter: Reporter) -> None:
        self._slurm = slurm
        self._reporter = reporter
        self._backlog = Backlog(specs)
        self._watcher = Watcher(reporter)
        self._jobs = Jobs(slurm.shelf, reporter, slurm.pace)
        self._is_first = True
        self._not_before = 0.0

    def run(self) -> Iterator[Outcome]:
        """Hand in, watch, and hand in again, until every cell has ended."""
        while self._backlog or self._jobs.entries:
            yield from self._hand_in()
            for verdict in self._jobs.look():
                yield from self._settle(verdict)
            self._watcher.look(record_of_spec(spec).folder for spec in self._jobs.running())
            if self._jobs.entries or self._backlog:
                time.sleep(self._slurm.pace.look)
        self._watcher.look(())

    def say_goodbye(self) -> None:
        """Say what goes on without the driver."""
        count, numbers = len(self._jobs.entries), " ".join(self._jobs.numbers())
        if count:
            self._reporter.say(
                f"What waits or runs on SLURM ({_cells(count)}) goes on without this terminal: `bench status` shows "
                f"it, the same command takes it up again, `scancel {numbers}` ends it"
            )

    def _hand_in(self) -> Iterator[Outcome]:
        """Tell of the cells that are done, and hand in those that nobody sees to."""
        waiting = []
        while time.monotonic() >= self._not_before and (spec := self._backlog.take()) is not None:
            if record_of_spec(spec).done:
                yield self._outcome(spec, CellEnd(DONE))
            else:
                waiting.append(spec)
        if self._is_first or any(not _is_held(spec) for spec in waiting):
            waiting = self._give_to_queue(waiting)
        for spec in waiting:
            self._postpone(spec)

    def _give_to_queue(self, specs: Sequence[CellSpec]) -> list[CellSpec]:
        """Take up the cells whose jobs go on and hand in the others; returns those that other processes run.

        Two drivers do so one after the other: the second finds the jobs of the first.
        """
        shelf = self._slurm.shelf
        shelf.folder.mkdir(parents=True, exist_ok=True)
        with locked(shelf.folder / _LOCK):
            queued = {one.label: one for one in queued_cells(shelf)} if specs else {}
            self._is_first = False
            for spec in specs:
                if spec.label in queued:
                    self._jobs.add(spec, queued[spec.label])
            others = [spec for spec in specs if spec.label not in queued]
            if len(others) < len(specs):
                self._reporter.say(f"SLURM: {_cells(len(specs) - len(others))} already in the queue")
            held = [spec for spec in others if _is_held(spec)]
            self._submit([spec for spec in others if spec not in held])
        return held

    def _submit(self, specs: Sequence[CellSpec]) -> None:
        """Hand in cells; where SLURM has jobs of ours and takes no more of them, the others are handed in later."""
        numbers: list[str] = []
        handed_in: list[CellSpec] = []
        try:
            for share in self._slurm.shares_of(specs) if specs else ():
                after = "" if share.after is None else numbers[share.after]
                array, number = self._slurm.hand_in(share.cells, share.at_a_time, after)
                numbers.append(number)
                handed_in += share.cells
                for index, spec in enumerate(share.cells):
                    self._jobs.add(spec, Queued(spec.label, array, index, number))
        except QueueError as error:
            if not self._jobs.entries:
                raise
            self._put_back([spec for spec in specs if spec not in handed_in], error)
        if numbers:
            arrays = "job" if len(handed_in) == 1 else "array" if len(numbers) == 1 else "arrays"
            self._reporter.say(f"SLURM: {_cells(len(handed_in))} handed in, {arrays} {', '.join(numbers)}")

    def _put_back(self, specs: Sequence[CellSpec], error: QueueError) -> None:
        self._reporter.say(f"warning: {error}; {_cells(len(specs))} to be handed in later")
        self._not_before = time.monotonic() + self._slurm.pace.say
        for spec in specs:
            self._backlog.postpone(spec)

    def _settle(self, verdict: Verdict) -> Iterator[Outcome]:
        """What becomes of a cell whose job has ended: it is told of, waited for or handed in again."""
        spec, end = verdict.spec, verdict.end
        if end.code == AGAIN and _is_held(spec):
            self._postpone(spec)
        elif end.code == AGAIN and verdict.has_got_on:
            self._backlog.postpone(spec)
            self._reporter.say(f"  {spec.short}: {end.problem}; it has got further, and is handed in again")
        elif end.code == AGAIN and self._backlog.try_again(spec):
            self._reporter.say(f"  {spec.short}: {end.problem}; it is handed in once more")
        else:
            yield self._outcome(spec, end)

    def _postpone(self, spec: CellSpec) -> None:
        if self._backlog.postpone(spec):
            self._reporter.say(f"  {spec.short}: another process runs this cell; it is looked at again")

    def _outcome(self, spec: CellSpec, end: CellEnd) -> Outcome:
        outcome = Outcome.of(spec, end)
        forget_progress(outcome.record.folder)
        return outcome


def _cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"


def _is_held(spec: CellSpec) -> bool:
    """Whether a process runs the cell."""
    holder = last_holder(record_of_spec(spec).folder)
    return holder is not None and holder.is_alive


def script_of(submitter: SlurmExecutor, tasks: int) -> str:
    """The script that sbatch gets for an array."""
    if tasks > 1:
        submitter.parameters["map_count"] = tasks
    return str(submitter._make_submission_file_text(submitter._submitit_command_str, "dry-run"))


@contextmanager
def _outside_jobs() -> Iterator[None]:
    """Where the driver runs in a job itself: its jobs take over nothing of that one but where the cluster is."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    from submitit.helpers import clean_env

    kept = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    with clean_env():
        os.environ.update(kept)
        yield
