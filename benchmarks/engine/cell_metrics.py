"""The numbers of a cell: means over its test volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...datasets.cohort import Cohort
from ...methods import Detector
from ..records.record import RunRecord
from ..records.record_files import VolumeScore
from .job import Job


def cell_metrics(
    job: Job, record: RunRecord, scores: Sequence[VolumeScore], detector: Detector, val_loss: float
) -> dict[str, float]:
    """The cell's numbers: means over test volumes, by data set.

    A scan that stands twice in a published test list counts twice, as published.
    """
    by_volume = {(score.cohort, score.subject): score for score in scores}
    tested = [by_volume[cohort.name, subject] for cohort, subject in tested_volumes(job)]
    result = {
        "parameters": float(sum(weight.numel() for weight in detector.parameters())),
        "seconds_score": sum(score.seconds for score in scores),
    }
    if job.entry.method.trainable:
        result["val_loss"] = val_loss
        result["seconds_train"] = record.state.seconds_train
    if record.untrained:
        result[f"{job.data.healthy.name}/l1_untrained"] = record.untrained["l1"]
    for cohort in (job.data.healthy, *job.data.lesions.values()):
        own = [score for score in tested if score.cohort == cohort.name]
        names = ("l1", "l1_brain") if cohort.is_healthy else ("dice", "dice_exact", "auprc")
        result |= {f"{cohort.name}/{name}": _mean_of(own, name) for name in names}
        result |= {f"{cohort.name}/{name}": float(count) for name, count in _counts(job, cohort, own).items()}
    return result


def _counts(job: Job, cohort: Cohort, scores: Sequence[VolumeScore]) -> dict[str, int]:
    """How many scans stand behind a set's numbers, how many its test list has, and how many show no lesion."""
    splits = job.data.splits
    healthy = cohort.is_healthy
    whole = splits.healthy_test if healthy else splits.lesion[cohort.key].test
    counts = {"scans_scored": len({score.subject for score in scores}), "scans_in_test": len(set(whole))}
    return counts if healthy else {**counts, "scans_lesion_free": len({s.subject for s in scores if not s.lesion_ml})}


def tested_volumes(job: Job) -> list[tuple[Cohort, str]]:
    """Every test volume of every set, as often as it stands in the test list."""
    cohorts = (job.data.healthy, *job.data.lesions.values())
    return [(cohort, subject) for cohort in cohorts for subject in job.test_scans(cohort.key)]


def untrained_metrics(scores: Sequence[VolumeScore]) -> dict[str, float]:
    """Healthy l1 of initial weights, with and without the background."""
    return {name: _mean_of(scores, name) for name in ("l1", "l1_brain")}


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _mean_of(scores: Sequence[VolumeScore], name: str) -> float:
    """Mean of the scores that there are: a volume without a lesion may have none."""
    values = [getattr(score, name) for score in scores]
    return _mean(value for value in values if value is not None)
