"""Figure 3 of the paper on our own runs: several methods' reconstructions and maps of the same volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import UserError
from ...metrics.scores import score_named
from ..engine.arithmetic import arithmetic
from ..engine.job import Job
from ..engine.reading import reader_of
from ..engine.samples import figure_samples
from ..figures.reconstructions import MethodMaps, comparison_figure
from ..plan.own import word_of
from ..plan.suite import SuiteRow
from ..records.record import record_of


def draw_comparison(jobs: Sequence[Job], runs: Path, device: str, path: Path) -> tuple[str, ...]:
    """Draw the finished cells side by side.

    Args:
        jobs: one cell per method, all of one fold.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        path: the PNG to write.

    Returns:
        Titles of the rows that are not finished, and so are not drawn.

    Raises:
        UserError: no cell is finished.
    """
    records = {job.cell.id: record_of(runs, job.cell) for job in jobs}
    done = [job for job in jobs if records[job.cell.id].counts]
    if not done:
        words = " ".join(f"--method {word_of(job.entry.method, job.entry.row.name)}" for job in jobs)
        raise UserError(
            f"none of these is finished, so there is nothing to draw; run `bench run {words} --folds {jobs[0].fold}` "
            "first, with the same --data, --preset, --set and --seed"
        )
    methods = []
    for job in done:
        record = records[job.cell.id]
        with arithmetic(job.plan.train, device):
            samples = figure_samples(job, reader_of(job, record, device), record.thresholds)
        methods.append(MethodMaps(job.entry.row.title, kind_of_score(job.entry), tuple(samples)))
    comparison_figure(methods, path)
    return tuple(job.entry.row.title for job in jobs if job not in done)


def kind_of_score(entry: SuiteRow) -> str:
    """What a row's anomaly map is made of: maps of one kind are compared on one scale."""
    if entry.score:
        return score_named(entry.score).info.title
    if entry.card.scores_by_l1:
        return "|scan - reconstruction|"
    return f"score of {entry.card.info.title}"
