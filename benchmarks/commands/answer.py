"""What `--json` prints: an experiment and its cells, for programs that start runs and read what came of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from ..announcement import Forecast
from ..engine.job import Job
from ..executors.base import Outcome
from ..experiment import Experiment
from ..records.record import RunRecord, record_of

State = Literal["open", "done", "failed"]


@dataclass(frozen=True)
class CellAnswer:
    """One cell.

    Attributes:
        id: its id.
        folder: its run record.
        row: the table row.
        title: the row's title.
        fold: index of the fold.
        seed: the user's seed.
        state: "open" is not finished, "failed" was tried now and failed.
        problem: why it failed; "" else.
        metrics: its numbers by name as in `metrics.json`, fractions of one; None where a number is none (NaN).
    """

    id: str
    folder: str
    row: str
    title: str
    fold: int
    seed: int
    state: State
    problem: str
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class Answer:
    """A run, or a dry one.

    Attributes:
        data: title of the data.
        preset: name of the preset.
        changes: what was changed in it.
        device: "cpu" or "cuda".
        workers: cells at a time.
        expected_seconds: how long what was open should take, as announced; what could not be measured is left out.
        cells: in the order of methods and folds.
    """

    data: str
    preset: str
    changes: tuple[str, ...]
    device: str
    workers: int
    expected_seconds: float
    cells: tuple[CellAnswer, ...]

    def as_json(self) -> str:
        """The answer as one JSON object."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)


def answer_to(experiment: Experiment, forecast: Forecast, outcomes: Sequence[Outcome] = ()) -> Answer:
    """What to answer after a run; after a dry one there are no outcomes."""
    problems = {outcome.spec.cell: outcome.problem for outcome in outcomes}
    return Answer(
        data=experiment.data.title,
        preset=experiment.preset.name,
        changes=experiment.preset.changed,
        device=experiment.device,
        workers=experiment.workers,
        expected_seconds=round(forecast.seconds, 1),
        cells=tuple(
            _cell(job, record_of(experiment.runs, job.cell), problems.get(job.cell.id, "")) for job in experiment.jobs
        ),
    )


def _cell(job: Job, record: RunRecord, problem: str) -> CellAnswer:
    is_done = record.done
    metrics = record.metrics if is_done else {}
    return CellAnswer(
        id=job.cell.id,
        folder=str(record.folder),
        row=job.entry.row.name,
        title=job.entry.row.title,
        fold=job.fold,
        seed=job.seed,
        state="failed" if problem else "done" if is_done else "open",
        problem=problem,
        metrics={name: value if math.isfinite(value) else None for name, value in metrics.items()},
    )
