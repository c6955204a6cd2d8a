"""What every stage of a cell run is given."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from ...out_of_memory import memory_watched
from ..records.record import RunRecord
from .job import Job
from .memory import Halving, scoring_stage, training_stage
from .progress import Reporter


@dataclass(frozen=True)
class CellRun:
    """One cell on its way to its numbers; all that it has computed lies in the record.

    Attributes:
        job: what is run.
        record: the cell's folder, which this process holds.
        device: "cpu" or "cuda".
        reporter: where progress goes.
        halving: the batch size of reconstructions, which shrinks where memory runs out.
    """

    job: Job
    record: RunRecord
    device: str
    reporter: Reporter
    halving: Halving

    @classmethod
    def of(cls, job: Job, record: RunRecord, device: str, reporter: Reporter) -> CellRun:
        """A run with the preset's batch sizes."""
        return cls(job, record, device, reporter, Halving(job.cell.label, reporter.say))

    def training(self) -> AbstractContextManager[None]:
        """Tell a lack of memory in what trains."""
        job = self.job
        return memory_watched(lambda: training_stage(job.cell.label, "the training", job.entry.method, job.plan))

    def scoring(self, what: str) -> AbstractContextManager[None]:
        """Tell a lack of memory in what reconstructs."""
        return memory_watched(lambda: scoring_stage(self.job.cell.label, what, self.job.plan, self.halving))
