"""What rows made of a few volumes, read from what their runs kept: nothing is computed by a network here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .....datasets.cohort import Cohort, Data
from .....errors import UserError
from ....records.record import RunRecord
from ..study import SetOf, Study, StudyRow
from .volumes import best_rows

if TYPE_CHECKING:
    from ....engine.reading import Reader
    from ....engine.scoring import Reading


@dataclass(frozen=True, eq=False)
class Seen:
    """A volume as a row saw it."""

    row: StudyRow
    reading: Reading
    found: np.ndarray
    threshold: float
    dice: float


def readings_of_set(study: Study, one: SetOf, data: Data, subjects: Sequence[str], most: int) -> dict[str, list[Seen]]:
    """By scan, what the rows made of the chosen volumes of a set; rows that kept nothing are left out."""
    seen: dict[str, list[Seen]] = {subject: [] for subject in subjects}
    shown = 0
    for place in best_rows(study, one, len(study.rows)):
        row = study.rows[place]
        found = list(_seen_by(study, row, data, data.lesions[one.key], subjects)) if row.records else []
        for subject, sight in found:
            seen[subject].append(sight)
        shown += bool(found)
        if shown == most:
            break
    return seen


def _seen_by(
    study: Study, row: StudyRow, data: Data, cohort: Cohort, subjects: Sequence[str]
) -> Iterator[tuple[str, Seen]]:
    from ....engine.scoring import binarise

    record = row.records[0]
    reader = _reader(study, row, record, data)
    threshold = record.thresholds.get(cohort.key)
    if reader is None or reader.kept is None or threshold is None:
        return
    _, height, width = cohort.store.shape
    count = 1 if reader.score is None else reader.score.reconstructions
    scores = {(score.role, score.subject): score.dice for score in record.scores()}
    for subject in subjects:
        if reader.kept.read(cohort, subject, (count, reader.slab.stop - reader.slab.start, height, width)) is None:
            continue
        reading = reader.read(cohort, subject)
        found = binarise(reading.score_map, threshold.greedy, reader.settings)
        dice = scores.get((cohort.key, subject))
        yield subject, Seen(row, reading, found, threshold.greedy, float("nan") if dice is None else dice)


def _reader(study: Study, row: StudyRow, record: RunRecord, data: Data) -> Reader | None:
    """A reader of what a cell kept; None where it kept nothing, or where weights are gone that its map needs."""
    from dataclasses import replace

    from ....engine.job import Job
    from ....engine.reading import reader_of
    from ....plan.plan import plan_for
    from ....records.kept import FOLDER
    from ....records.reuse import kept_reconstructions

    if not (record.folder / FOLDER).is_dir() and not row.entry.score:
        return None
    preset = study.question.preset
    plan = plan_for(preset, row.entry.card, row.entry.row, row.entry.score)
    job = Job(row.entry, preset.label, plan, data, record.config.fold, study.question.seed)
    try:
        kept = kept_reconstructions(record.folder.parent, job.cell)
        return None if kept is None else replace(reader_of(job, record, "cpu"), kept=kept)
    except UserError:
        return None
