"""The use case: methods, numbers, data, folds and a seed; checked, announced, run.

    Request → open_request → Opened → prepare → Experiment: check → announce → run → outcomes

`bench run`, `bench score`, `uadbench.run` and `uadbench.score` are its clients. It knows neither a terminal nor a
notebook: progress and remarks go to the client's reporter, and what came out is returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from ..datasets.cohort import Data
from ..errors import UserError
from .engine.environment import choose_device, settle_process
from .engine.job import Job, check_lesions, jobs_for
from .engine.progress import Reporter
from .executors.base import DEFECT, Executor, Outcome, record_of_spec
from .executors.data_file import write_data
from .executors.order import longest_first
from .executors.registry import executor_for
from .executors.spec import CellSpec
from .opening import Opened
from .plan.own import word_of
from .plan.preset import Preset
from .plan.request import Request
from .preflight import preflight
from .records.attempts import HeldError
from .records.handed_out import SPECS
from .records.record import RunRecord, record_of
from .records.reuse import require_weights
from .records.running.system import require_psutil
from .reports.results_line import results_line
from .telling.teller import telling
from .tracking.database import store_uri
from .tracking.store import Uploads


@dataclass(frozen=True)
class Experiment:
    """A request whose every word has been understood: the data are open and the cells are known.

    Attributes:
        request: what was asked for.
        preset: its numbers.
        data: its data.
        jobs: its cells, each once.
        device: "cpu" or "cuda".
        executor: where they run.
    """

    request: Request
    preset: Preset
    data: Data
    jobs: tuple[Job, ...]
    device: str
    executor: Executor

    @property
    def workers(self) -> int:
        """Cells at a time, as far as that is known before they run."""
        return max(1, min(self.executor.workers, len(self.jobs)))

    @property
    def runs(self) -> Path:
        """The folder of run records."""
        return self.request.results / "runs"

    def open_jobs(self) -> tuple[Job, ...]:
        """The cells of which anything is left to do."""
        records = [(job, record_of(self.runs, job.cell)) for job in self.jobs]
        return tuple(job for job, record in records if not record.done or self._is_incomplete(record))

    def incomplete_jobs(self) -> tuple[Job, ...]:
        """Finished cells that a scoring adds to, as they lack what is found in each test volume.

        A run leaves finished cells alone, so that it has none.
        """
        if self.request.train:
            return ()
        records = [(job, record_of(self.runs, job.cell)) for job in self.jobs]
        return tuple(job for job, record in records if record.done and self._is_incomplete(record))

    def _is_incomplete(self, record: RunRecord) -> bool:
        """Whether a finished cell lacks what this request adds to it."""
        return not self.request.train and not record.has_detection

    @cached_property
    def lesion_notes(self) -> tuple[str, ...]:
        """Sentences about scans without a lesion in view; lesion sets are the same in every fold of a recipe.

        Raises:
            UserError: such scans are refused (`score.lesion_free`), or a set has nothing else.
        """
        recipes = {job.cell.recipe.id: job for job in self.open_jobs()}
        return tuple(dict.fromkeys(note for job in recipes.values() for note in check_lesions(job)))

    def check(self, reporter: Reporter) -> None:
        """Try each method on two slices and look at the lesions, so that what cannot work fails before it is trained.

        Raises:
            UserError: a method breaks the contract, or scans without a lesion are refused.
        """
        preflight(self.jobs, self.runs, self.device, reporter)
        self.lesion_notes  # noqa: B018  (raises)

    def run(self, reporter: Reporter, expected: Mapping[str, float] = MappingProxyType({})) -> tuple[Outcome, ...]:
        """Run what is not finished, and let MLflow be told meanwhile; a silent server costs nothing but a warning.

        Args:
            reporter: where progress goes.
            expected: seconds of a cell by id of its recipe, where that is known; the longest are begun first.

        Returns:
            How each cell ended, in the order of `jobs`; see `raise_failures`.

        Raises:
            KeyboardInterrupt: Ctrl-C; the same request goes on.
        """
        found = {}
        for job in self.incomplete_jobs():
            with suppress(HeldError):  # somebody else is adding it
                record_of(self.runs, job.cell).reopen()
        jobs = longest_first(self.jobs, expected) if expected and self.workers > 1 else self.jobs
        specs = self._hand_out(jobs)
        uploads = Uploads(self.request.with_checkpoint, self.request.with_model)
        folders = [record_of_spec(spec).folder for spec in specs]
        with telling(folders, store_uri(self.request.results), uploads, reporter) as teller:
            for number, outcome in enumerate(self.executor.run(specs, reporter), start=1):
                words = f"failed: {outcome.problem}" if outcome.problem else results_line(outcome.record)
                reporter.say(f"[{number}/{len(self.jobs)}] {outcome.spec.short}: {words}")
                if outcome.problem:
                    teller.failed(outcome.record.folder, outcome.problem)
                else:
                    teller.done(outcome.record.folder)
                found[outcome.spec.cell] = outcome
        return tuple(found[job.cell.id] for job in self.jobs)

    def _hand_out(self, jobs: Sequence[Job]) -> tuple[CellSpec, ...]:
        """The cells as plain data, written where `bench status` finds them."""
        place = write_data(self.data, self.request.results / SPECS)
        watched = self.request.system_metrics
        specs = tuple(CellSpec.of(job, place, self.runs, self.device, system_metrics=watched) for job in jobs)
        for spec in specs:
            spec.write(self.request.results / SPECS)
        return specs


def prepare(opened: Opened) -> Experiment:
    """Make the cells of a request, and see where they can run.

    Args:
        opened: the request, understood.

    Raises:
        UserError: weights to score are missing, or there is no such device.
    """
    request, data, preset = opened.request, opened.data, opened.preset
    device = choose_device(request.device)
    settle_process()
    jobs = tuple(jobs_for(opened.rows, opened.folds, data, preset, request.seed))
    executor = executor_for(request.where, device, request.results)
    experiment = Experiment(request, preset, data, jobs, device, executor)
    if request.system_metrics:
        require_psutil()
    if not request.train:
        words = [word_of(job.entry.method, job.entry.row.name.partition("+")[0]) for job in jobs]
        require_weights(list(zip(words, [job.cell for job in jobs], strict=True)), experiment.runs)
    return experiment


def raise_failures(outcomes: Sequence[Outcome]) -> None:
    """Say that cells failed, after all others were run.

    Raises:
        UserError: at least one failed.
        RuntimeError: at least one met a defect of this package; its traceback is in the message.
    """
    defects = [outcome.end.trace or outcome.problem for outcome in outcomes if outcome.end.code == DEFECT]
    if defects:
        count = f"{len(defects)} of {len(outcomes)} cells"
        raise RuntimeError(f"{count} met a defect of uadbench, the others are done; the first:\n{defects[0]}")
    problems = [outcome.problem for outcome in outcomes if outcome.problem]
    if problems:
        raise UserError(
            f"{len(problems)} of {len(outcomes)} cells failed, the others are done; the first: {problems[0]}"
        )
