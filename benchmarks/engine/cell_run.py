"""A cell run: from nothing, or from wherever it was interrupted, to the cell's numbers.

    untrained control → training → thresholds on the lesion validation sets → scores on the test sets → metrics → figure

Each stage looks at the run record first and does only what is missing. The stages know nothing of MLflow.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import UserError
from ...out_of_memory import is_out_of_memory
from ...own_files import own_file_of
from ...stopping import exit_code
from ..records.attempts import LEASE
from ..records.cost import add_seconds
from ..records.record import ERROR_LOG, METHOD, RunRecord, record_of
from ..records.record_files import RecordError
from ..records.repair import put_aside_broken, put_aside_unreadable
from ..records.reuse import find_donor, take_over
from .arithmetic import arithmetic
from .bill import Count, billed
from .environment import describe_environment
from .evaluate import add_detection, evaluate
from .job import Job
from .learn import learn
from .progress import Reporter
from .run_context import CellRun
from .samples import Draw
from .training import restore_history


def run_job(
    job: Job,
    runs: Path,
    device: str,
    reporter: Reporter,
    draw: Draw | None = None,
    count: Count | None = None,
    lease: float = LEASE,
) -> RunRecord:
    """Run one cell to its end; a finished cell is left alone, unless it was reopened for something to be added.

    Where something unforeseen ends it, the traceback is kept in the record's `error.log`.

    Args:
        job: what to run.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        reporter: where progress goes.
        draw: draws the cell's figure; None draws none.
        count: counts the arithmetic for the cell's bill, where no sister fold has done so; None leaves it out.
        lease: seconds without a sign of life after which another process may take the cell over.

    Raises:
        HeldError: another process runs the cell.
        LostClaimError: another process took it over, as this one gave no sign of life; nothing was changed since.
        UserError: something the user can mend; what was computed is kept.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
    """
    record = record_of(runs, job.cell)
    if record.done:
        record.remove_leftovers()
        return record
    environment = describe_environment(device)
    with record.claimed(environment, lease) as held, arithmetic(job.plan.train, device), _traceback_kept(held):
        run = CellRun.of(job, held, device, reporter)
        if held.is_reopened and held.counts:
            _add(run)
        elif not held.done:  # somebody may have finished it meanwhile
            _run(run, environment, draw, count)
    return record


@contextmanager
def _traceback_kept(record: RunRecord) -> Iterator[None]:
    """Keep the traceback of what nobody has foreseen beside the cell's numbers."""
    try:
        yield
    except BaseException as error:
        if exit_code(error) is None and not isinstance(error, UserError) and not is_out_of_memory(error):
            with suppress(UserError):  # the error itself is told
                record.fenced.write_text(ERROR_LOG, traceback.format_exc())
        raise


def _run(run: CellRun, environment: dict[str, str], draw: Draw | None, count: Count | None) -> None:
    """Do what is missing, stage by stage."""
    started = time.monotonic()
    _begin(run, environment)
    with billed(run.job, run.record, run.device, started) as bill:
        detector = run.job.detector()
        learn(run, detector)
        bill.save()
        run.record.save_metrics(evaluate(run, detector, draw))
    bill.close(count)
    run.record.finish(run.record.state.seconds + time.monotonic() - started)


def _add(run: CellRun) -> None:
    """Add to a finished cell what is found in its test volumes; config, environment and numbers stay as they are."""
    started = time.monotonic()
    for sentence in put_aside_unreadable(run.record):
        run.reporter.say(f"  warning: {sentence}")
    try:
        add_detection(run, run.job.detector())
    except RecordError:  # without its weights nothing can be added, and the cell is as good as before
        run.record.close(added=False)
        raise
    run.record.close(added=True)
    add_seconds(run.record, "detection", time.monotonic() - started)


def _begin(run: CellRun, environment: dict[str, str]) -> None:
    """Put aside what is broken, write what is run and where, and take over weights that fit."""
    for sentence in put_aside_broken(run.record, run.job.cell):
        run.reporter.say(f"  warning: {sentence}")
    if run.record.state.trained and not run.record.history():
        restore_history(run.record)
    run.record.begin(run.job.config(), environment)
    _keep_source(run)
    _reuse_weights(run)


def _keep_source(run: CellRun) -> None:
    """Keep the text of a method from the user's own file beside its numbers."""
    file = own_file_of(run.job.entry.method)
    if file is not None:
        run.record.fenced.write_with(METHOD, lambda path: path.write_bytes(file.text))


def _reuse_weights(run: CellRun) -> None:
    """Take over the weights of a cell that differs only in its scoring, so that nothing is trained twice."""
    if run.record.state.trained:
        return
    donor = find_donor(run.record.folder.parent, run.job.cell)
    if donor is not None:
        take_over(run.record, donor)
        words = f"not trained again, the weights are those of {run.record.state.weights_from}"
        run.reporter.say(f"  {run.job.cell.label}: {words}")
