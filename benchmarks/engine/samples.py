"""What figures show of a cell: a volume of each set as its method saw it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import HEALTHY, Cohort
from ...metrics import dice, l1_error
from ..records.fence import FencedFolder
from ..records.record import FIGURES
from ..records.record_files import RecordError, ThresholdPair, read_arrays, write_arrays
from .job import Job
from .reading import Reader
from .scoring import Reading, binarise, lesion_mask, truth_of

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


@dataclass(frozen=True)
class KeptReadings:
    """What the figure will show, kept on disk from when it is scored until it is drawn.

    Attributes:
        folder: the cell's.
        volumes: whose readings are kept, (name of the cohort, subject).
    """

    folder: FencedFolder
    volumes: Sequence[tuple[str, str]]

    def wants(self, cohort: Cohort, subject: str) -> bool:
        """Whether the figure shows this volume."""
        return (cohort.name, subject) in self.volumes

    def write(self, cohort: Cohort, subject: str, reading: Reading) -> None:
        """Keep a reading.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        arrays = {field.name: np.asarray(getattr(reading, field.name)) for field in fields(reading)}
        write_arrays(self.folder, _name(cohort, subject), arrays)

    def read(self, cohort: Cohort, subject: str) -> Reading | None:
        """A reading; None where it is not kept, or damaged."""
        try:
            found = read_arrays(self.folder.path / _name(cohort, subject))
            seconds = float(found.pop("seconds"))
            return Reading(**found, seconds=seconds)
        except (RecordError, KeyError, TypeError):
            return None

    def remove(self) -> None:
        """Remove whatever was kept."""
        for path in (self.folder.path / FIGURES).glob("*.npz"):
            self.folder.remove(f"{FIGURES}/{path.name}")


def _name(cohort: Cohort, subject: str) -> str:
    return f"{FIGURES}/{cohort.name}-{subject}.npz"


def figure_volumes(job: Job) -> tuple[tuple[str, str], ...]:
    """Of whom figures show a volume: name of the cohort, subject."""
    return tuple((cohort.name, subject) for cohort, subject in _chosen(job))


def figure_samples(
    job: Job, reader: Reader, thresholds: Mapping[str, ThresholdPair], kept: KeptReadings | None = None
) -> list[Sample]:
    """What figures show: the first test volume of each set that shows a lesion, chosen by no score.

    Args:
        job: the cell.
        reader: reads what is not kept.
        thresholds: by key of a lesion set.
        kept: readings from when the cell was scored.
    """
    samples = []
    for cohort, subject in _chosen(job):
        reading = None if kept is None else kept.read(cohort, subject)
        samples.append(_sample(job, reading or reader.read(cohort, subject), cohort, subject, thresholds))
    return samples


def _chosen(job: Job) -> list[tuple[Cohort, str]]:
    chosen = [(cohort, subject) for cohort in job.data.lesions.values() for subject in _first_with_lesion(job, cohort)]
    return [*chosen, (job.data.healthy, job.test_scans(HEALTHY)[0])]


def _first_with_lesion(job: Job, cohort: Cohort) -> Iterator[str]:
    """The first test volume with a lesion in view, if there is one."""
    return islice((s for s in job.test_scans(cohort.key) if lesion_mask(cohort, s, job.slab).any()), 1)


def _sample(
    job: Job, reading: Reading, cohort: Cohort, subject: str, thresholds: Mapping[str, ThresholdPair]
) -> Sample:
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
