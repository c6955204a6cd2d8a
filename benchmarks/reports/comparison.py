"""Figure 3 of the paper on our own runs: several methods' reconstructions and maps of the same volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import UserError
from ..engine.arithmetic import arithmetic
from ..engine.job import Job
from ..engine.reading import reader_of
from ..engine.samples import figure_samples
from ..figures.reconstructions import comparison_figure
from ..plan.own import word_of
from ..records.record import record_of


def draw_comparison(jobs: Sequence[Job], runs: Path, device: str, path: Path) -> None:
    """Draw the finished cells side by side.

    Args:
        jobs: one cell a method, all of one fold.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        path: the PNG to write.

    Raises:
        UserError: a cell is not finished.
    """
    groups = {}
    for job in jobs:
        record = record_of(runs, job.cell)
        if not record.done:
            raise UserError(
                f"{job.entry.row.title}, fold {job.fold}, is not finished; run "
                f"`bench run --method {word_of(job.entry.method, job.entry.row.name)} --folds {job.fold}` first"
            )
        with arithmetic(job.plan.train, device):
            groups[job.entry.row.title] = figure_samples(job, reader_of(job, record, device), record.thresholds)
    comparison_figure(groups, path)
