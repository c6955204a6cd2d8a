"""What is found in one test volume: the lines that `records.detections` describes, from its reading and its labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .... import metrics
from ....datasets.cohort import Cohort
from ....metrics.curves import ceiling_dice, histogram
from ....metrics.lesions import (
    IOU_RULE,
    Matching,
    inside_outside,
    match_overlaps,
    operating_counts,
    overlaps_of,
    ssim_map,
    surface_distances,
)
from ...plan.settings import ScoreSettings
from ...records.detection_lines import (
    LesionDetection,
    Measured,
    VolumeDetection,
    VolumeFroc,
    VolumeHistogram,
    pack,
)
from ...records.detections import DetectionConfig, SetThresholds
from ..scoring import Reading, Truth, binarise, truth_of
from ..slices import Slab

#: Of surface Dice: distances up to this count as none.
TOLERANCE_MM = 2.0
_TOP_SHARE = 0.01  # of the brain's voxels, whose mean is `score_top`


@dataclass(frozen=True)
class Measurer:
    """Measures the test volumes of a cell.

    Attributes:
        config: thresholds and the histograms' grid.
        slab: the slices that take part.
        settings: the cell's post-processing.
    """

    config: DetectionConfig
    slab: Slab
    settings: ScoreSettings

    @cached_property
    def edges(self) -> np.ndarray:
        """The edges of the histograms."""
        return self.config.edges

    def measure(self, cohort: Cohort, subject: str, reading: Reading) -> Measured:
        """What is found in a volume: a lesion scan's at its own set's thresholds, a healthy one's at each set's."""
        if cohort.is_healthy:
            view = _View.of(reading, Truth(np.zeros(reading.brain_mask.shape, dtype=bool)))
            keys = tuple(self.config.thresholds)
        else:
            view = _View.of(reading, truth_of(cohort, subject, self.slab))
            keys = (cohort.key,)
        found = [self._found(view, key, cohort, subject) for key in keys]
        volumes = tuple(volume for volume, _ in found)
        lesions = volumes[0].lesions if volumes else None
        return Measured(
            volumes=volumes,
            lesions=tuple(line for _, lesions in found for line in lesions),
            froc=tuple(self._froc(view, lesions, cohort, subject)),
            histogram=self._histogram(view, cohort, subject),
        )

    def _found(
        self, view: _View, key: str, cohort: Cohort, subject: str
    ) -> tuple[VolumeDetection, tuple[LesionDetection, ...]]:
        """The line of a volume at the thresholds of a set, and those of its lesions."""
        thresholds, voxel_ml = self.config.thresholds[key], self.config.voxel_mm**3 / 1000
        found = self._marked(view, thresholds.greedy)
        overlaps = overlaps_of(found, view.lesions)
        matching = match_overlaps(overlaps)
        below_01, up_to_1, up_to_10, above_10 = matching.false_sizes(voxel_ml)
        has_lesions = bool(matching.lesions)
        volume = VolumeDetection(
            cohort=cohort.name,
            role=cohort.key,
            subject=subject,
            at=key,
            brain_ml=np.count_nonzero(view.brain) * voxel_ml,
            found_ml=np.count_nonzero(found) * voxel_ml,
            hit_ml=np.count_nonzero(found & view.lesions) * voxel_ml if has_lesions else None,
            components=len(matching.components),
            lesions=len(matching.lesions) if has_lesions else None,
            hits=matching.hits if has_lesions else None,
            hits_iou=match_overlaps(overlaps, IOU_RULE).hits if has_lesions else None,
            merged=matching.merged if has_lesions else None,
            split=matching.split if has_lesions else None,
            false_below_01=below_01,
            false_01_1=up_to_1,
            false_1_10=up_to_10,
            false_above_10=above_10,
            **(self._of_lesions(view, found, thresholds) if has_lesions else dict.fromkeys(_OF_LESIONS)),
            score_mean=view.score_mean,
            score_top=view.score_top,
        )
        return volume, tuple(_lesion_lines(cohort, subject, matching, voxel_ml))

    def _froc(self, view: _View, lesions: int | None, cohort: Cohort, subject: str) -> Iterator[VolumeFroc]:
        """The lines of a volume at each step of the ladder."""
        thresholds = [step.threshold for step in self.config.ladder]
        counts = operating_counts(
            view.reading.score_map, view.lesions, thresholds, self.settings.min_voxels, view.truth.ignored
        )
        for step, one in zip(self.config.ladder, counts, strict=True):
            yield VolumeFroc(
                cohort=cohort.name,
                role=cohort.key,
                subject=subject,
                share=step.share,
                components=one.components,
                false=one.false,
                lesions=lesions,
                hits=None if lesions is None else one.hits,
            )

    def _of_lesions(self, view: _View, found: np.ndarray, thresholds: SetThresholds) -> dict[str, float | None]:
        """The numbers that need a lesion, by name (`_OF_LESIONS`)."""
        distances = surface_distances(found, view.lesions, (self.config.voxel_mm,) * 3)
        error = np.abs(view.reading.original - view.reading.reconstruction)
        similarity = ssim_map(view.reading.original, view.reading.reconstruction)
        l1 = inside_outside(error, view.lesions, view.brain)
        ssim = inside_outside(similarity, view.lesions, view.brain)
        scores, labels = view.counted(view.reading.score_map), view.counted(view.lesions)
        at = [self._at(view, threshold) for threshold in (thresholds.at_1, thresholds.at_5, thresholds.at_10)]
        values = (
            distances.hd95,
            distances.dice_within(TOLERANCE_MM),
            ceiling_dice(scores, labels).dice,
            *(dice for dice, _ in at),
            *(recall for _, recall in at),
            *l1,
            *ssim,
        )
        return {name: _known(value) for name, value in zip(_OF_LESIONS, values, strict=True)}

    def _at(self, view: _View, threshold: float) -> tuple[float, float]:
        """Dice and the share of lesion voxels marked at a threshold, after post-processing."""
        found = self._marked(view, threshold)
        hit, lesions = np.count_nonzero(found & view.lesions), np.count_nonzero(view.lesions)
        return metrics.dice(view.counted(found), view.counted(view.lesions)), hit / lesions

    def _marked(self, view: _View, threshold: float) -> np.ndarray:
        """What a threshold marks; voxels that are ignored are taken out last, as from every other number."""
        found = binarise(view.reading.score_map, threshold, self.settings)
        return found if view.truth.ignored is None else found & ~view.truth.ignored

    def _histogram(self, view: _View, cohort: Cohort, subject: str) -> VolumeHistogram:
        scores, labels = view.counted(view.reading.score_map), view.counted(view.lesions)
        inside, outside = histogram(scores, labels, self.edges)
        return VolumeHistogram(
            cohort=cohort.name,
            role=cohort.key,
            subject=subject,
            inside=pack(inside),
            outside=pack(outside),
            slice_scores=pack(view.slice_scores),
            slice_lesions=pack(view.lesions.sum(axis=(1, 2), dtype=np.int64)),
        )


_OF_LESIONS = (
    *("hd95", "surface_dice", "ceiling_dice"),
    *("dice_at_1", "dice_at_5", "dice_at_10", "recall_at_1", "recall_at_5", "recall_at_10"),
    *("l1_inside", "l1_outside", "ssim_inside", "ssim_outside"),
)


@dataclass(frozen=True)
class _View:
    """A volume as it is measured.

    Attributes:
        reading: what the method made of it.
        truth: what the labels mark.
        lesions: without what is ignored, bool [D, H, W].
        brain: likewise.
    """

    reading: Reading
    truth: Truth
    lesions: np.ndarray
    brain: np.ndarray

    @classmethod
    def of(cls, reading: Reading, truth: Truth) -> _View:
        """A reading and its labels."""
        ignored = truth.ignored
        if ignored is None:
            return cls(reading, truth, truth.lesions, reading.brain_mask)
        return cls(reading, truth, truth.lesions & ~ignored, reading.brain_mask & ~ignored)

    def counted(self, array: np.ndarray) -> np.ndarray:
        """The voxels of an array that count."""
        return self.truth.counted(array)

    @cached_property
    def _scores(self) -> np.ndarray:
        """Of the brain, float32 [N]."""
        scores: np.ndarray = self.reading.score_map[self.brain]
        return scores

    @property
    def score_mean(self) -> float:
        """Mean score of the brain; 0 where there is none."""
        return float(self._scores.mean(dtype=np.float64)) if self._scores.size else 0.0

    @property
    def score_top(self) -> float:
        """Mean of the highest hundredth of the brain's scores; 0 where there is no brain."""
        size = self._scores.size
        if not size:
            return 0.0
        first = size - math.ceil(_TOP_SHARE * size)
        return float(np.partition(self._scores, first)[first:].mean(dtype=np.float64))

    @property
    def slice_scores(self) -> np.ndarray:
        """Mean score of the brain of each slice, float32 [D]; NaN where a slice has none."""
        voxels = self.brain.sum(axis=(1, 2))
        totals = np.where(self.brain, self.reading.score_map, 0).sum(axis=(1, 2), dtype=np.float64)
        means = np.full(len(voxels), np.nan)
        np.divide(totals, voxels, out=means, where=voxels > 0)
        return means.astype(np.float32)


def _lesion_lines(cohort: Cohort, subject: str, matching: Matching, voxel_ml: float) -> Iterator[LesionDetection]:
    for lesion in matching.lesions:
        yield LesionDetection(
            cohort=cohort.name,
            role=cohort.key,
            subject=subject,
            lesion=lesion.number,
            ml=lesion.voxels * voxel_ml,
            dice=lesion.dice,
            iou=lesion.iou,
            touched=lesion.touched,
        )


def _known(value: float) -> float | None:
    """A number; None of one that is none."""
    return None if math.isnan(value) else value
