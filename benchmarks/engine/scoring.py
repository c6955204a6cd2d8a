"""Scoring: from what a method makes of a volume and from what the labels mark to thresholds and scores.

The same for every method, in the order of the protocol: residual, eroded brain mask, median filter, threshold, small
components. A method only reconstructs (see `reading`); it never sees a lesion mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ... import metrics
from ...datasets.cohort import Cohort
from ...errors import UserError
from ...files import sha256_of_bytes
from ...metrics.scores import Score, scores
from ..plan.plan import Plan
from ..plan.settings import ScoreSettings
from ..records.record_files import ThresholdPair, VolumeScore
from .slices import Slab


@dataclass(frozen=True)
class Inferred:
    """What a network makes of one volume, all [D, H, W]; the rest needs no network.

    Attributes:
        original: the prepared volume, float32.
        reconstructions: with noise of its own each, float32 [S, D, H, W].
        raw: the method's own anomaly map, float32; None where a score takes its place.
        brain_mask: bool.
        seconds: that it took.
        score_map: the map after erosion and median filter, float32, where that was done on the device; else None.
        was_kept: the reconstructions were not made now but lay on disk.
    """

    original: np.ndarray
    reconstructions: np.ndarray
    raw: np.ndarray | None
    brain_mask: np.ndarray
    seconds: float
    score_map: np.ndarray | None = None
    was_kept: bool = False

    @property
    def reconstruction(self) -> np.ndarray:
        """The healthy reference: of several the first, which is the same for any score."""
        return self.reconstructions[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Reading:
    """What a detector makes of one volume, all float32 [D, H, W].

    Attributes:
        original: the prepared volume.
        reconstruction: the healthy reference.
        score_map: the anomaly map after erosion and median filter.
        brain_mask: bool.
        seconds: time of reconstruction and raw score.
    """

    original: np.ndarray
    reconstruction: np.ndarray
    score_map: np.ndarray
    brain_mask: np.ndarray
    seconds: float


def score_of(plan: Plan) -> Score | None:
    """The score that a plan names, nothing learnt yet; None for the method's own."""
    if plan.score_by is None:
        return None
    cls = scores()[plan.score_by.name]
    return cls(cls.Settings.model_validate(plan.score_by.settings))


def scored_scans(scans: Sequence[str], count: int | Literal["all"]) -> tuple[str, ...]:
    """The scans of a test list that are scored, in the list's order: all, or `count` of them.

    Those are the first by the SHA-256 of their names, whatever the list's order, the fold and the seed. A scan that
    stands twice in a published list counts as one of them and keeps both its places.
    """
    if count == "all":
        return tuple(scans)
    first = set(sorted(set(scans), key=lambda scan: sha256_of_bytes(scan.encode()))[:count])
    return tuple(scan for scan in scans if scan in first)


@dataclass(frozen=True)
class Truth:
    """What the labels mark in a volume, both bool [D, H, W].

    Attributes:
        lesions: what is to be found; there may be none.
        ignored: what is neither lesion nor background, such as another pathology: whatever is said there costs nothing
            and earns nothing. None where there is no such voxel.
    """

    lesions: np.ndarray
    ignored: np.ndarray | None = None

    def counted(self, array: np.ndarray) -> np.ndarray:
        """The voxels of an array [D, H, W] that count: the array itself, or those that are not ignored in a row."""
        return array if self.ignored is None else array[~self.ignored]

    def within(self, mask: np.ndarray | None) -> np.ndarray | None:
        """The voxels of a mask that count; None, which is all voxels, where all of all voxels do."""
        if self.ignored is None:
            return mask
        return ~self.ignored if mask is None else mask & ~self.ignored


def lesion_mask(cohort: Cohort, subject: str, slab: Slab) -> np.ndarray:
    """The lesions of a volume within the slab, bool [D, H, W]; it may hold none."""
    return np.array(slab.of(cohort.store.lesion_mask(subject)), dtype=bool)


def truth_of(cohort: Cohort, subject: str, slab: Slab) -> Truth:
    """What the labels of a volume mark within the slab."""
    ignored = np.array(slab.of(cohort.store.ignored_mask(subject)), dtype=bool)
    return Truth(lesion_mask(cohort, subject, slab), ignored if ignored.any() else None)


def lesion_free_scans(
    cohort: Cohort, subjects: Sequence[str], slab: Slab, settings: ScoreSettings, part: Literal["validation", "test"]
) -> tuple[str, ...]:
    """Those scans of an unhealthy set's validation or test part that have no lesion voxel within the slab.

    Raises:
        UserError: there are some and `score.lesion_free` refuses them; or no scan of the part has a lesion, so that
            there is nothing to choose a threshold on, or no score.
    """
    free = tuple(s for s in dict.fromkeys(subjects) if not lesion_mask(cohort, s, slab).any())
    if free and settings.lesion_free == "refuse":
        raise UserError(_refusal(cohort, free, slab))
    if len(free) == len(set(subjects)):
        missing = "threshold" if part == "validation" else "score"
        scored = "" if part == "validation" or settings.test_volumes == "all" else " that are scored"
        raise UserError(
            f"{cohort.title}: none of the {len(free)} {part} scans{scored} has a lesion voxel in {_slices(slab)}, "
            f"hence no {missing}; {_more_slices(cohort, free)}{_more_scans(scored)}correct the segmentations or take "
            "the set out of the data"
        )
    return free


def _refusal(cohort: Cohort, free: Sequence[str], slab: Slab) -> str:
    others = f" and {len(free) - 1} more" if len(free) > 1 else ""
    return (
        f"{cohort.title}, {free[0]}{others}: no lesion voxel in {_slices(slab)}, hence no score; "
        f"{_more_slices(cohort, free)}let score.lesion_free say what becomes of it "
        "(--set score.lesion_free=exclude) or take it out of the split"
    )


def _slices(slab: Slab) -> str:
    return f"slices {slab.start} to {slab.stop - 1}"


def _more_slices(cohort: Cohort, free: Sequence[str]) -> str:
    """Advice to use all slices, where that shows a lesion: scans that show one already are not among these."""
    if not any(cohort.store.lesion_mask(subject).any() for subject in free):
        return ""
    return f"use more slices (--set data.slices={cohort.store.shape[0]}), "


def _more_scans(scored: str) -> str:
    return "score more of them (--set score.test_volumes=all), " if scored else ""


def score_healthy(cohort: Cohort, subject: str, seen: Inferred) -> VolumeScore:
    """The reconstruction errors of a healthy volume; they need no post-processing."""
    return VolumeScore(
        cohort=cohort.name,
        role=cohort.key,
        subject=subject,
        dice=None,
        dice_exact=None,
        auprc=None,
        l1=metrics.l1_error(seen.original, seen.reconstruction),
        l1_brain=metrics.l1_error(seen.original, seen.reconstruction, seen.brain_mask),
        lesion_ml=None,
        seconds=seen.seconds,
    )


def score_lesions(
    cohort: Cohort, subject: str, reading: Reading, thresholds: ThresholdPair, slab: Slab, settings: ScoreSettings
) -> VolumeScore:
    """The detection scores of an unhealthy volume, at thresholds found on the validation set.

    Without a lesion in view neither Dice nor average precision means anything, and `score.lesion_free` chooses. "zero"
    is the convention of the published code (Behrendt et al. 2023, commit da14cd0, src/utils/utils_eval.py): its Dice
    divides by the marked and the lesion voxels, so it is 0 where anything is marked and no number where nothing is; its
    average precision, by the scikit-learn 1.0.1 that it pins, divides by the lesion voxels and is no number; and its
    means (nanmean in `_test_end`) leave out what is no number. So no such scan ever counts as 1.

    What the labels ignore is left out of every number, after the post-processing of the whole map: removing voxels
    before it would tear components and change the median beside them.

    Raises:
        UserError: there is no lesion in view and `score.lesion_free` is "refuse".
    """
    truth = truth_of(cohort, subject, slab)
    lesions = truth.counted(truth.lesions)
    if not lesions.any() and settings.lesion_free == "refuse":
        raise UserError(_refusal(cohort, (subject,), slab))
    dices = [
        _dice(truth.counted(binarise(reading.score_map, threshold, settings)), lesions, settings)
        for threshold in (thresholds.greedy, thresholds.exact)
    ]
    return VolumeScore(
        cohort=cohort.name,
        role=cohort.key,
        subject=subject,
        dice=dices[0],
        dice_exact=dices[1],
        auprc=metrics.average_precision(truth.counted(reading.score_map), lesions) if lesions.any() else None,
        l1=metrics.l1_error(reading.original, reading.reconstruction, truth.within(None)),
        l1_brain=metrics.l1_error(reading.original, reading.reconstruction, truth.within(reading.brain_mask)),
        lesion_ml=float(lesions.sum()) * cohort.store.voxel_ml,
        seconds=reading.seconds,
        note=None if lesions.any() else f"no lesion in {_slices(slab)} (score.lesion_free={settings.lesion_free})",
    )


def _dice(found: np.ndarray, truth: np.ndarray, settings: ScoreSettings) -> float | None:
    """Dice, or what `score.lesion_free` makes of it where there is no lesion (see `score_lesions`)."""
    if truth.any():
        return metrics.dice(found, truth)
    return 0.0 if settings.lesion_free == "zero" and found.any() else None


def binarise(score_map: np.ndarray, threshold: float, settings: ScoreSettings) -> np.ndarray:
    """Score above threshold, without small components (protocol, steps 4 and 5)."""
    return metrics.remove_small_components(score_map > threshold, settings.min_voxels)


def find_thresholds(
    maps: Callable[[], Iterable[np.ndarray]], truths: Callable[[], Iterable[Truth]], steps: int
) -> ThresholdPair:
    """Greedy and exact threshold of a validation set, all voxels that count pooled.

    Args:
        maps: reads the score maps, one after the other; called more than once, so that few of them are in memory.
        truths: reads what the labels mark in them, likewise.
        steps: halvings of the greedy search.
    """

    def volumes() -> Iterable[tuple[np.ndarray, np.ndarray]]:
        for score_map, truth in zip(maps(), truths(), strict=True):
            yield truth.counted(score_map), truth.counted(truth.lesions)

    greedy, exact = metrics.pooled_thresholds(volumes, steps)
    return ThresholdPair(greedy.value, greedy.dice, exact.value, exact.dice)
