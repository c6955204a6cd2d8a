"""A cell run: from nothing, or from wherever it was interrupted, to the cell's numbers.

    untrained control → training → thresholds on the lesion validation sets → scores on the test sets → metrics → figure

Each stage looks at the run record first and does only what is missing. The stages know nothing of MLflow.
"""

from __future__ import annotations

import time
from pathlib import Path

from ..records.record import RunRecord, record_of
from .arithmetic import arithmetic
from .begin import begin
from .bill import Count, billed
from .evaluate import evaluate
from .job import Job
from .learn import learn
from .progress import Reporter
from .run_context import CellRun
from .samples import Draw


def run_job(
    job: Job, runs: Path, device: str, reporter: Reporter, draw: Draw | None = None, count: Count | None = None
) -> RunRecord:
    """Run one cell to its end; a finished cell is left alone.

    Args:
        job: what to run.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        reporter: where progress goes.
        draw: draws the cell's figure; None draws none.
        count: counts the arithmetic for the cell's bill, where no sister fold has done so; None leaves it out.

    Raises:
        UserError: something the user can mend; what was computed is kept.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
    """
    record = record_of(runs, job.cell)
    with record.lock(), arithmetic(job.plan.train, device):
        record.remove_leftovers()
        if not record.done:
            _run(CellRun.of(job, record, device, reporter), draw, count)
    return record


def _run(run: CellRun, draw: Draw | None, count: Count | None) -> None:
    """Do what is missing, stage by stage."""
    started = time.monotonic()
    begin(run)
    with billed(run.job, run.record, run.device, started) as bill:
        detector = run.job.detector()
        learn(run, detector)
        bill.save()
        run.record.save_metrics(evaluate(run, detector, draw))
    bill.close(count)
    run.record.finish(run.record.state.seconds + time.monotonic() - started)
