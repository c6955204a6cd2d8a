"""How long folds and tables will take by what a step and a volume took, and how far that is from finished cells.

The data are the phantom of the preset's size, which has the numbers of the sets it stands for: `paper` those of IXI,
BraTS21 and MSLUB. A fold is its optimiser steps, its validations, of which a slice costs a third of one in a step, and
its reconstructions; what happens beside them (checkpoints, post-processing, figures) is what the forecast leaves out.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...datasets.phantom.subjects import phantom_size, phantom_splits
from ..engine.bill import reconstructed
from ..engine.scoring import scored_scans
from ..engine.slices import Batching
from ..plan.plan import Plan
from ..plan.preset import Preset
from ..plan.suite import SuiteRow
from ..records.record import RunRecord, all_records
from ..records.record_files import RecordError
from .measurement import Measurement
from .workload import Workload, workloads

FORECAST_HEADS = ("row", "training", "scoring", "a fold", "all folds", "finished cells", "forecast − finished")


@dataclass(frozen=True)
class FoldSize:
    """How many volumes a fold has.

    Attributes:
        train: healthy ones to train on.
        validation: healthy ones to validate on.
        healthy: healthy test ones.
        lesions: ones with lesions, of validation and test.
        folds: number of folds.
    """

    train: int
    validation: int
    healthy: int
    lesions: int
    folds: int


@dataclass(frozen=True)
class Forecast:
    """How long a row will take.

    Attributes:
        rows: names of the rows, with commas between them.
        train: seconds of training a fold.
        score: seconds of reconstructions a fold; None where no volume was timed.
        folds: number of folds.
        finished: mean seconds of the finished cells of the same recipe on the same device; None where there is none.
    """

    rows: str
    train: float
    score: float | None
    folds: int
    finished: float | None

    @property
    def fold(self) -> float | None:
        """Seconds of a fold."""
        return None if self.score is None else self.train + self.score

    @property
    def error(self) -> float | None:
        """By how much the forecast differs from finished cells, as a share of these."""
        return None if self.fold is None or not self.finished else self.fold / self.finished - 1


def forecasts(
    entries: Sequence[SuiteRow], preset: Preset, measured: Sequence[Measurement], runs: Path
) -> tuple[Forecast, ...]:
    """Forecast every row that was measured with the preset's batch.

    Args:
        entries: the rows.
        preset: their numbers.
        measured: one measurement for each workload among the rows, in order.
        runs: the folder of run records.

    Raises:
        UserError: a number of the preset is missing, misspelt or out of range.
    """
    records = [record for record in all_records(runs) if record.counts]
    works = workloads(entries, preset)
    return tuple(_forecast(work, preset, line, records) for work, line in zip(works, measured, strict=True))


def fold_size(preset: Preset, plan: Plan) -> FoldSize:
    """How many volumes the first fold of the preset's phantom has."""
    splits = phantom_splits(phantom_size(preset.phantom))
    count = plan.score.test_volumes
    tested = [len(part.val) + len(scored_scans(part.test, count)) for part in splits.lesion.values()]
    fold = splits.folds[0]
    healthy = len(scored_scans(splits.healthy_test, count))
    return FoldSize(len(fold.train), len(fold.val), healthy, sum(tested), len(splits.folds))


def _forecast(work: Workload, preset: Preset, line: Measurement, records: Sequence[RunRecord]) -> Forecast:
    size = fold_size(preset, work.plan)
    volumes = reconstructed(work.plan, size.lesions, size.healthy, size.validation, control=work.method.trainable)
    score = None if line.volume_seconds is None else line.volume_seconds * volumes
    return Forecast(line.rows, _training(work, line, size), score, size.folds, _finished(line, records))


def _training(work: Workload, line: Measurement, size: FoldSize) -> float:
    train = work.plan.train
    if line.step_seconds is None:
        return 0.0
    batching = Batching(size.train, train.batch_size, train.drop_last, train.accumulate)
    slice_seconds = line.step_seconds / line.batch_size
    validated = size.validation * train.validation_slices / train.validation_interval / 3
    return slice_seconds * train.epochs * (batching.steps * batching.size + validated)


def _finished(line: Measurement, records: Sequence[RunRecord]) -> float | None:
    """Mean seconds of finished cells of the phantom with the same recipe and device, which were trained themselves."""
    seconds = []
    for record in records:
        with suppress(RecordError):
            config, state = record.config, record.state
            same = config.recipe == line.recipe and config.data == "phantom"
            if same and state.weights_from is None and record.environment.get("device") == line.device:
                seconds.append(state.seconds)
    return statistics.fmean(seconds) if seconds else None


def forecast_lines(found: Sequence[Forecast]) -> list[tuple[str, ...]]:
    """The forecasts as they are read, in the order of `FORECAST_HEADS`, and all of them together."""
    lines = [_line(one) for one in found]
    whole = [one.fold * one.folds for one in found if one.fold is not None]
    if len(whole) > 1:
        lines.append(("all rows", "", "", "", spoken(sum(whole)), "", ""))
    return lines


def _line(one: Forecast) -> tuple[str, ...]:
    whole = None if one.fold is None else one.fold * one.folds
    seconds = (one.train, one.score, one.fold, whole, one.finished)
    error = "–" if one.error is None else f"{100 * one.error:+.0f} %"
    return one.rows, *("–" if value is None else spoken(value) for value in seconds), error


def spoken(seconds: float) -> str:
    """A time as people say it, to two digits: "45 s", "6.2 min", "3.4 h", "2.1 days"."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds / size < limit:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds / 86400:.2g} days"
