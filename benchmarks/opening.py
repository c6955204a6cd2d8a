"""A request, understood: every word has been read and the data are open; a misspelt word ends here.

Nothing here imports PyTorch, so that who has mistyped a name is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..datasets.cohort import Data
from .engine.progress import Reporter
from .plan.preset import Preset
from .plan.request import Request, chosen_folds, fold_numbers, requested_preset, requested_rows
from .plan.suite import SuiteRow
from .sources import known_data_sets, open_data


@dataclass(frozen=True)
class Opened:
    """A request whose words mean something.

    Attributes:
        request: what was asked for.
        rows: the table rows.
        preset: the numbers.
        folds: indices of the folds, which the data have.
        data: the data.
    """

    request: Request
    rows: tuple[SuiteRow, ...]
    preset: Preset
    folds: tuple[int, ...]
    data: Data


def open_request(request: Request, reporter: Reporter) -> Opened:
    """Understand a request: every word is read before the data are opened, whose preparation may take minutes.

    Args:
        request: what somebody wants.
        reporter: where progress goes.

    Raises:
        UserError: a word means nothing, or numbers do not fit together.
        DataError: the data cannot be used as they are.
    """
    folds = fold_numbers(request.folds)
    request.where.require_known()
    if request.where.name == "slurm":
        from .executors.batch.queue import require_slurm
        from .executors.batch.words import read_wish

        read_wish(request.where.slurm)
        require_slurm()
    rows = requested_rows(request.methods, request.scores)
    preset = requested_preset(request.preset, request.changes, rows)
    known_data_sets(request.data_sets)
    if request.device not in ("auto", "cpu"):
        from .engine.environment import choose_device

        choose_device(request.device)  # refuses a word that means nothing, and a GPU that is not there
    data = open_data(
        request.data,
        preset.phantom,
        preset.preparation,
        request.results,
        request.splits,
        reporter,
        request.modality,
        jobs=1 if request.where.is_here else None,
    )
    return Opened(request, rows, preset, chosen_folds(folds, data), data)
