"""How test volumes are measured beside the paper's numbers: thresholds and the grid of the histograms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ....datasets.cohort import Cohort
from ....metrics.curves import score_exceeded_by
from ...records.detections import BINS, DETECTION_VERSION, DetectionConfig, LadderStep, SetThresholds
from ...records.record_files import ThresholdPair
from ..job import Job

#: Shares of the brain voxels of healthy validation scans that a threshold lets through.
SHARES = (0.01, 0.05, 0.10)
#: Likewise, of the ladder of operating points: from a component or none per scan to where components grow together.
LADDER = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)

#: Reads the score map of a validation volume, float32 [D, H, W].
ReadMap = Callable[[Cohort, str], np.ndarray]


def validation_sets(job: Job) -> list[tuple[Cohort, tuple[str, ...]]]:
    """Every cohort of a cell with its validation scans, the healthy one last."""
    splits = job.data.splits
    lesions = [(cohort, splits.lesion[key].val) for key, cohort in job.data.lesions.items()]
    return [*lesions, (job.data.healthy, splits.folds[job.fold].val)]


def detection_config(job: Job, thresholds: Mapping[str, ThresholdPair], read: ReadMap) -> DetectionConfig:
    """How the test volumes of a cell are measured, from its validation volumes alone.

    Args:
        job: the cell.
        thresholds: by key of a lesion set.
        read: gives the score map of a validation volume.
    """
    top = max(
        float(read(cohort, name).max()) for cohort, names in validation_sets(job) for name in dict.fromkeys(names)
    )
    at_1, at_5, at_10, *ladder = score_exceeded_by(_healthy_scores(job, read), (*SHARES, *LADDER))
    return DetectionConfig(
        version=DETECTION_VERSION,
        thresholds={
            key: SetThresholds(greedy=pair.greedy, exact=pair.exact, at_1=at_1, at_5=at_5, at_10=at_10)
            for key, pair in thresholds.items()
        },
        top=top,
        bins=BINS,
        voxel_mm=job.data.healthy.store.voxel_mm,
        ladder=tuple(LadderStep(share=share, threshold=one) for share, one in zip(LADDER, ladder, strict=True)),
    )


def belongs_to(config: DetectionConfig, thresholds: Mapping[str, ThresholdPair]) -> bool:
    """Whether lines were measured at the thresholds that a cell has, by the rules of today."""
    measured = {key: (one.greedy, one.exact) for key, one in config.thresholds.items()}
    return config.version == DETECTION_VERSION and measured == {
        key: (pair.greedy, pair.exact) for key, pair in thresholds.items()
    }


def _healthy_scores(job: Job, read: ReadMap) -> Iterator[np.ndarray]:
    """The scores of the brain voxels of each healthy validation scan."""
    healthy = job.data.healthy
    for name in dict.fromkeys(job.data.splits.folds[job.fold].val):
        brain = np.array(job.slab.of(healthy.store.brain_mask(name)), dtype=bool)
        yield read(healthy, name)[brain]
