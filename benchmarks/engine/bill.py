"""The bill of a cell run: seconds by stage, memory and arithmetic, kept in the record as the run goes on."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ...datasets.cohort import HEALTHY
from ...stopwatch import Stopwatch
from ..plan.plan import Plan
from ..records.cost import Arithmetic, CellCost, cost_of, counted_before, save_cost
from ..records.record import RunRecord
from .job import Job
from .scoring import score_of

#: Counts a cell's arithmetic; see `speed.counting`.
Count = Callable[[Job], Arithmetic | None]


@dataclass(frozen=True)
class Bill:
    """What a session of a cell costs, on top of what the earlier ones did.

    Attributes:
        job: the cell.
        record: where the bill is kept.
        device: "cpu" or "cuda".
        before: the bill of the earlier sessions.
        stopwatch: of this session.
        started: when it began, by `time.monotonic`.
    """

    job: Job
    record: RunRecord
    device: str
    before: CellCost
    stopwatch: Stopwatch
    started: float

    def save(self, arithmetic: Arithmetic | None = None) -> None:
        """Write the bill as it is now.

        Args:
            arithmetic: what was counted, once the cell has all its numbers.
        """
        session = CellCost(
            recipe=self.job.cell.recipe.id,
            seconds=dict(self.stopwatch.seconds),
            total=time.monotonic() - self.started,
            sessions=1,
            peak_bytes=_peak(self.device),
            peak_of="GPU" if self.device == "cuda" else "process",
            slice_gflop=None if arithmetic is None else arithmetic.slice_gflop,
            step_gflop=None if arithmetic is None else arithmetic.step_gflop,
            gflop=None if arithmetic is None else _gflop(self.job, self.record, arithmetic),
        )
        save_cost(self.record, self.before.plus(session))

    def close(self, count: Count | None) -> None:
        """Write the bill of a cell that has all its numbers, with its arithmetic where somebody can count it."""
        recipe = self.job.cell.recipe.id
        known = self.before.arithmetic or counted_before(self.record.folder.parent, recipe)
        self.save(known or (None if count is None else count(self.job)))


@contextmanager
def billed(job: Job, record: RunRecord, device: str, started: float) -> Iterator[Bill]:
    """Run a stopwatch over a session of a cell; its bill is written however the session ends.

    Args:
        job: the cell.
        record: its record, which has begun.
        device: "cpu" or "cuda".
        started: when the session began, by `time.monotonic`.
    """
    bill = Bill(job, record, device, cost_of(record) or CellCost(), Stopwatch(), started)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with bill.stopwatch.running():
        try:
            yield bill
        finally:
            bill.save()


def _peak(device: str) -> int:
    """Most bytes at once: of tensors on the GPU since the session began, or of this process since its start."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _gflop(job: Job, record: RunRecord, arithmetic: Arithmetic) -> float:
    """GFLOP of a finished cell: its steps, its validations and its reconstructions."""
    scored = arithmetic.slice_gflop * job.slab.depth * reconstructions(job, trained=_was_trained(record))
    history = record.history()
    if arithmetic.step_gflop is None or not history or _was_trained(record):
        return scored
    train, fold = job.plan.train, job.data.splits.folds[job.fold]
    validated = len(history) * len(fold.val) * train.validation_slices / train.batch_size / 3
    return scored + arithmetic.step_gflop * (history[-1].step + validated)


def _was_trained(record: RunRecord) -> bool:
    """Whether the training was another cell's."""
    return record.state.weights_from is not None


def reconstructions(job: Job, *, trained: bool) -> int:
    """How many volumes a cell reconstructs, each as often as its score asks for.

    Args:
        job: the cell.
        trained: whether its weights are there already, so that no untrained control is measured.
    """
    splits = job.data.splits
    lesions = sum(len(part.val) + len(job.test_scans(key)) for key, part in splits.lesion.items())
    healthy, validation = len(job.test_scans(HEALTHY)), len(splits.folds[job.fold].val)
    return reconstructed(job.plan, lesions, healthy, validation, control=job.entry.method.trainable and not trained)


def reconstructed(plan: Plan, lesions: int, healthy: int, validation: int, *, control: bool) -> int:
    """How many volumes are reconstructed, each as often as the plan's score asks for.

    Args:
        plan: whether an untrained control is measured, and by which score.
        lesions: volumes with lesions, of validation and test.
        healthy: healthy test volumes.
        validation: healthy validation volumes: the thresholds that need no lesion are theirs, and a score may learn
            from them before that.
        control: whether there can be an untrained control.
    """
    untrained = healthy if plan.score.untrained_control and control else 0
    score = score_of(plan)
    scored = lesions + healthy + validation
    if score is None:
        return scored + untrained
    return (scored + (validation if score.learns else 0)) * score.reconstructions + untrained
