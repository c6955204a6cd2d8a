"""What figures show of a cell: a volume of each set as its method saw it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import HEALTHY, Cohort
from ...metrics import dice, l1_error
from ..records.record_files import ThresholdPair
from .job import Job
from .scoring import Reader, binarise, lesion_mask, truth_of

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """One volume as a method saw it.

    Attributes:
        title: words at the left; may hold line breaks.
        original: intensities in [0, 1], [D, H, W].
        reconstruction: the healthy reference, [D, H, W].
        score_map: anomaly score after post-processing, [D, H, W].
        truth: lesion mask, [D, H, W]; None for a healthy volume.
        threshold: score above it is lesion; None where no threshold belongs to the volume.
    """

    title: str
    original: Volume
    reconstruction: Volume
    score_map: Volume
    truth: Mask | None
    threshold: float | None

    @property
    def slice_index(self) -> int:
        """The slice with the most lesion; the middle one of a healthy volume."""
        if self.truth is None or not self.truth.any():
            return int(self.original.shape[0] // 2)
        return int(np.argmax(self.truth.sum(axis=(1, 2))))


#: Draws samples into a PNG; components below so many voxels are dropped from the prediction.
Draw = Callable[[Sequence[Sample], Path, int], None]


def figure_samples(job: Job, reader: Reader, thresholds: Mapping[str, ThresholdPair]) -> list[Sample]:
    """What figures show: the first test volume of each set that shows a lesion, chosen by no score."""
    chosen = [(cohort, _first_with_lesion(job, cohort)) for cohort in job.data.lesions.values()]
    chosen.append((job.data.healthy, job.test_scans(HEALTHY)[0]))
    return [_sample(job, reader, cohort, subject, thresholds) for cohort, subject in chosen]


def _first_with_lesion(job: Job, cohort: Cohort) -> str:
    return next(s for s in job.test_scans(cohort.key) if lesion_mask(cohort, s, job.slab).any())


def _sample(job: Job, reader: Reader, cohort: Cohort, subject: str, thresholds: Mapping[str, ThresholdPair]) -> Sample:
    reading = reader.read(cohort, subject)
    pair = thresholds.get(cohort.key)
    truth = None if cohort.is_healthy else truth_of(cohort, subject, job.slab)
    if truth is None or pair is None:
        error = l1_error(reading.original, reading.reconstruction)
        words = f"l1 {error * 1e3:.1f}e-3"
    else:
        found = binarise(reading.score_map, pair.greedy, job.plan.score)
        words = f"Dice {dice(truth.counted(found), truth.counted(truth.lesions)) * 100:.1f} %"
    return Sample(
        title=f"{cohort.title}\n{subject}\n{words}",
        original=reading.original,
        reconstruction=reading.reconstruction,
        score_map=reading.score_map,
        truth=None if truth is None else truth.lesions,
        threshold=None if pair is None else pair.greedy,
    )
