"""Weights of another cell: what a training gave is used again wherever only the scoring differs.

Training depends on the method, its settings, the data, the fold and the seed, not on the score or the post-processing.
So a cell that has no weights of its own takes over those of a finished training that differs in nothing else, and an
ablation of the scoring costs no training. Which cells these are is read from the content in each record's
`config.json`, so that records of older versions count.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..plan.cell import Cell, training_content
from .kept import FOLDER as RECONSTRUCTIONS
from .kept import KeptReconstructions
from .origin import without_weights
from .record import BEST, CONFIG, RunRecord, record_of
from .record_files import CellConfig, RecordError, archive_problem, file_digest


def find_donor(runs: Path, cell: Cell) -> RunRecord | None:
    """A record whose training is that of this cell and is over, its weights whole; None where there is none.

    Args:
        runs: the folder of run records.
        cell: the cell that wants weights; its own record never counts.
    """
    return next(filter(_is_whole, _donors(runs, cell)), None)


def _donors(runs: Path, cell: Cell) -> Iterator[RunRecord]:
    """The other records whose training is that of this cell and is over, whether their weights can be read or not."""
    own = record_of(runs, cell).folder
    for record in _of_training(runs, cell):
        with suppress(RecordError):  # what is wrong with it is said where it is listed
            if record.folder != own and _is_trained(record):
                yield record


def _of_training(runs: Path, cell: Cell) -> Iterator[RunRecord]:
    """The records whose training is that of this cell, its own too."""
    wanted = training_content(cell.recipe.content())
    siblings = f"{cell.label.rpartition('-')[0]}-*/{CONFIG}"
    for path in sorted(runs.glob(siblings)):
        record = RunRecord(path.parent)
        try:
            if _same_training(record.config, cell, wanted):
                yield record
        except RecordError:
            continue  # what is wrong with it is said where it is listed


def kept_reconstructions(runs: Path, cell: Cell) -> KeptReconstructions | None:
    """The reconstructions that this cell, or one with the same weights, has kept; None where there are none.

    Args:
        runs: the folder of run records.
        cell: the cell that wants them; its weights are there.
    """
    own = record_of(runs, cell)
    folders = [record.folder / RECONSTRUCTIONS for record in (own, *_donors(runs, cell))]
    folders = [folder for folder in folders if folder.is_dir()]
    return KeptReconstructions(file_digest(own.best_checkpoint), folders) if folders else None


def has_weights(runs: Path, cell: Cell) -> bool:
    """Whether a cell needs no training: its own is over, or another cell has weights for it."""
    try:
        own = _is_trained(record_of(runs, cell))
    except RecordError:
        own = False
    return own or next(_donors(runs, cell), None) is not None


def require_weights(cells: Sequence[tuple[str, Cell]], runs: Path) -> None:
    """See that scoring needs no training.

    Args:
        cells: the cells to score, each with what `--method` takes for its training.
        runs: the folder of run records.

    Raises:
        UserError: a cell was never trained, or elsewhere and came without its weights.
    """
    missing: dict[str, list[str]] = {}
    for word, cell in cells:
        folds = missing.setdefault(word, [])
        if str(cell.fold) not in folds and not has_weights(runs, cell):
            _refuse_bare(runs, cell)
            folds.append(str(cell.fold))
    commands = [f"bench run --method {word} --folds {','.join(folds)}" for word, folds in missing.items() if folds]
    if commands:
        raise UserError(
            f"there are no trained weights to score; train first, with the same --data, --preset, --set and --seed: "
            f"{'; '.join(commands)}"
        )


def _refuse_bare(runs: Path, cell: Cell) -> None:
    """Say that a training is over and its weights are not here: to run its cell would do nothing, as it is finished.

    Raises:
        UserError: so it is.
    """
    for record in _of_training(runs, cell):
        if record.done and not record.best_checkpoint.exists():
            raise UserError(f"there are no trained weights to score: {without_weights(record)}")


def take_over(record: RunRecord, donor: RunRecord) -> None:
    """Give a record the weights, history and untrained control of another; repeating it after a kill is harmless."""
    record.fenced.write_with(BEST, lambda partial: _link_or_copy(donor.best_checkpoint, partial))
    record.save_history(donor.history())
    if donor.untrained and _same_test_volumes(donor, record):
        record.save_untrained(donor.untrained)
    origin = donor.state.weights_from or donor.folder.name
    record.set_state("training", trained=True, seconds_train=donor.state.seconds_train, weights_from=origin)


def _same_test_volumes(donor: RunRecord, record: RunRecord) -> bool:
    """Whether both score the same healthy test scans, on which the untrained control is measured."""
    counts = [one.config.content.get("score", {}).get("test_volumes") for one in (donor, record)]
    return bool(counts[0] == counts[1])


def _same_training(config: CellConfig, cell: Cell, wanted: Mapping[str, Any]) -> bool:
    if config.fold != cell.fold or config.fingerprint != cell.fingerprint:
        return False
    return training_content(config.content) == wanted


def _is_whole(donor: RunRecord) -> bool:
    """Whether all that is taken over can be read."""
    try:
        return (
            donor.untrained is not None and donor.history() is not None and not archive_problem(donor.best_checkpoint)
        )
    except RecordError:
        return False


def _is_trained(record: RunRecord) -> bool:
    return record.state.trained and record.best_checkpoint.exists()


def _link_or_copy(source: Path, partial: Path) -> None:
    """A second name for the same file costs no space; some file systems know no such thing."""
    partial.unlink()
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
