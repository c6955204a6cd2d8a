"""The beginning of a cell run: the record is made ready, and weights that fit are taken over."""

from __future__ import annotations

from ...files import replacing
from ...own_files import own_file_of
from ..records.reuse import find_donor, take_over
from .environment import describe_environment
from .run_context import CellRun
from .training import restore_history


def begin(run: CellRun) -> None:
    """Put aside what is broken, write what is run and where, and take over weights that fit."""
    for sentence in run.record.put_aside_broken(run.job.cell):
        run.reporter.say(f"  warning: {sentence}")
    if run.record.state.trained and not run.record.history():
        restore_history(run.record)
    run.record.begin(run.job.config(), describe_environment(run.device))
    _keep_source(run)
    _reuse_weights(run)


def _keep_source(run: CellRun) -> None:
    """Keep the text of a method from the user's own file beside its numbers."""
    file = own_file_of(run.job.entry.method)
    if file is not None:
        with replacing(run.record.method_file) as path:
            path.write_bytes(file.text)


def _reuse_weights(run: CellRun) -> None:
    """Take over the weights of a cell that differs only in its scoring, so that nothing is trained twice."""
    if run.record.state.trained:
        return
    donor = find_donor(run.record.folder.parent, run.job.cell)
    if donor is not None:
        take_over(run.record, donor)
        words = f"not trained again, the weights are those of {run.record.state.weights_from}"
        run.reporter.say(f"  {run.job.cell.label}: {words}")
