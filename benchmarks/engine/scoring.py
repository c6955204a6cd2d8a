"""Scoring: from a detector and a volume to residual, post-processed map, threshold and scores.

The same for every method, in the order of the protocol: residual, eroded brain mask, median filter, threshold, small
components. A method only reconstructs; it never sees a lesion mask.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch

from ... import metrics
from ...datasets.cohort import Cohort
from ...datasets.modality import Modality
from ...errors import UserError
from ...files import sha256_of_bytes
from ...methods import Detector, Scan
from ...methods.parts.seeds import derive_seed
from ...metrics.scores import HealthyScan, Score, scores
from ..contract.labels import labels_hidden
from ..plan.plan import Plan
from ..plan.settings import ScoreSettings
from ..records.record_files import ThresholdPair, VolumeScore
from .arithmetic import autocast
from .memory import Halving
from .slices import Slab


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


@dataclass(frozen=True)
class Reader:
    """Applies one detector to the volumes of any cohort.

    Attributes:
        detector: trained, in evaluation mode, on its device.
        slab: the slices that take part.
        settings: post-processing and batch size.
        precision: the training precision; mixed precisions autocast on a GPU.
        seed: the cell's seed; every volume draws its noise from (seed, subject).
        modality: the contrast of the volumes.
        score: the score that takes the place of the method's own; None keeps it.
        halving: halves the batch where memory runs out; the readers of a cell share one.
    """

    detector: Detector
    slab: Slab
    settings: ScoreSettings
    precision: str
    seed: int
    modality: Modality
    score: Score | None = None
    halving: Halving = field(default_factory=Halving)

    def read(self, cohort: Cohort, subject: str) -> Reading:
        """Reconstruct, score and post-process one volume.

        Raises:
            UserError: the method or the score returned another shape or something that is no number.
        """
        return self.read_arrays(*self._load(cohort, subject), subject)

    def read_arrays(self, original: np.ndarray, mask: np.ndarray, name: str) -> Reading:
        """Reconstruct, score and post-process a volume that is cut to the slab.

        Args:
            original: prepared volume, float32 [D, H, W].
            mask: its brain, bool [D, H, W].
            name: of the scan; its noise is drawn from it.

        Raises:
            UserError: as `read`.
        """
        started = time.perf_counter()
        with labels_hidden(type(self.detector).__name__):
            reconstruction, raw = self._infer(original, mask, name)
        seconds = time.perf_counter() - started
        score_map = metrics.postprocess(raw, mask, erosion=self.settings.erosion, median=self.settings.median)
        return Reading(original, reconstruction, score_map, mask, seconds)

    def healthy_scan(self, cohort: Cohort, subject: str) -> HealthyScan:
        """A healthy validation scan with as many reconstructions as the score asks for.

        Raises:
            ValueError: the scan is not of the healthy cohort, or the reader has no score.
            UserError: the method returned another shape or something that is no number.
        """
        if not cohort.is_healthy or self.score is None:
            raise ValueError(f"{cohort.name}: a score learns from healthy scans alone")
        original, mask = self._load(cohort, subject)
        return HealthyScan(original, self._reconstructions(original, mask, subject, self.score), mask)

    def _load(self, cohort: Cohort, subject: str) -> tuple[np.ndarray, np.ndarray]:
        original = np.array(self.slab.of(cohort.store.volume(subject)), dtype=np.float32)
        return original, np.array(self.slab.of(cohort.store.brain_mask(subject)), dtype=bool)

    def _infer(self, original: np.ndarray, mask: np.ndarray, subject: str) -> tuple[np.ndarray, np.ndarray]:
        """Reconstruction and raw anomaly map; of several reconstructions the first, which is the same for any score."""
        if self.score is not None:
            reconstructions = self._reconstructions(original, mask, subject, self.score)
            return reconstructions[0], _checked_map(self.score, original, reconstructions, mask)

        def work(size: int) -> tuple[np.ndarray, np.ndarray]:
            volume, scan = self._scan(original, mask, subject, size)
            with torch.inference_mode(), autocast(volume.device, self.precision):
                reconstruction = self.detector.reconstruct(volume, scan)
                raw = self.detector.anomaly_score(volume, reconstruction, scan)
            return self._checked(reconstruction, volume, "reconstruct"), self._checked(raw, volume, "anomaly_score")

        return self.halving.run(self.settings.batch_size, work)

    def _reconstructions(self, original: np.ndarray, mask: np.ndarray, subject: str, score: Score) -> np.ndarray:
        """As many reconstructions as the score asks for, each with noise of its own, [S, D, H, W]."""

        def work(size: int, number: int) -> np.ndarray:
            volume, scan = self._scan(original, mask, subject, size, number)
            with torch.inference_mode(), autocast(volume.device, self.precision):
                reconstruction = self.detector.reconstruct(volume, scan)
            return self._checked(reconstruction, volume, "reconstruct")

        numbers = range(score.reconstructions)
        return np.stack([self.halving.run(self.settings.batch_size, partial(work, number=n)) for n in numbers])

    def _scan(
        self, original: np.ndarray, mask: np.ndarray, subject: str, size: int, number: int = 0
    ) -> tuple[torch.Tensor, Scan]:
        """The volume on the detector's device, and the seed of its reconstruction of this number.

        Args:
            original: prepared volume, float32 [D, H, W].
            mask: its brain, bool [D, H, W].
            subject: of whom it is.
            size: images per forward pass.
            number: of the reconstruction, from 0.
        """
        device = self.detector.device
        volume = torch.from_numpy(original)[:, None].to(device)
        brain = torch.from_numpy(mask)[:, None].to(device)
        seed = derive_seed(self.seed, "score", subject, *([number] if number else []))
        return volume, Scan(brain_mask=brain, seed=seed, batch_size=size, modality=self.modality.value)

    def _checked(self, result: torch.Tensor, volume: torch.Tensor, part: str) -> np.ndarray:
        return _checked(result, volume, f"{type(self.detector).__name__}.{part}")


def score_of(plan: Plan) -> Score | None:
    """The score that a plan names, nothing learnt yet; None for the method's own."""
    if plan.score_by is None:
        return None
    cls = scores()[plan.score_by.name]
    return cls(cls.Settings.model_validate(plan.score_by.settings))


def _checked(result: torch.Tensor, volume: torch.Tensor, origin: str) -> np.ndarray:
    if result.shape != volume.shape:
        raise UserError(f"{origin} returned shape {tuple(result.shape)} for a volume of shape {tuple(volume.shape)}")
    array = result.float().squeeze(1).cpu().numpy()
    if not np.isfinite(array).all():
        raise UserError(
            f"{origin} returned values that are no numbers (NaN or infinite); the training may have diverged"
        )
    return array


def _checked_map(score: Score, original: np.ndarray, reconstructions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    name = f"the score {score.info.name}"
    try:
        array = np.asarray(score.map(original, reconstructions, mask), dtype=np.float32)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    if array.shape != original.shape:
        raise UserError(f"{name} returned shape {array.shape} for a volume of shape {original.shape}")
    if not np.isfinite(array).all() or array.min() < 0:
        raise UserError(f"{name} returned values that are negative or no numbers (NaN or infinite)")
    return array


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


def score_healthy(reader: Reader, cohort: Cohort, subject: str) -> VolumeScore:
    """The reconstruction errors of a healthy volume."""
    reading = reader.read(cohort, subject)
    return VolumeScore(
        cohort=cohort.name,
        role=cohort.key,
        subject=subject,
        dice=None,
        dice_exact=None,
        auprc=None,
        l1=metrics.l1_error(reading.original, reading.reconstruction),
        l1_brain=metrics.l1_error(reading.original, reading.reconstruction, reading.brain_mask),
        lesion_ml=None,
        seconds=reading.seconds,
    )


def score_lesions(reader: Reader, cohort: Cohort, subject: str, thresholds: ThresholdPair) -> VolumeScore:
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
    truth = truth_of(cohort, subject, reader.slab)
    lesions = truth.counted(truth.lesions)
    if not lesions.any() and reader.settings.lesion_free == "refuse":
        raise UserError(_refusal(cohort, (subject,), reader.slab))
    reading = reader.read(cohort, subject)
    dices = [
        _dice(truth.counted(binarise(reading.score_map, threshold, reader.settings)), lesions, reader.settings)
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
        note=None
        if lesions.any()
        else f"no lesion in {_slices(reader.slab)} (score.lesion_free={reader.settings.lesion_free})",
    )


def _dice(found: np.ndarray, truth: np.ndarray, settings: ScoreSettings) -> float | None:
    """Dice, or what `score.lesion_free` makes of it where there is no lesion (see `score_lesions`)."""
    if truth.any():
        return metrics.dice(found, truth)
    return 0.0 if settings.lesion_free == "zero" and found.any() else None


def binarise(score_map: np.ndarray, threshold: float, settings: ScoreSettings) -> np.ndarray:
    """Score above threshold, without small components (protocol, steps 4 and 5)."""
    return metrics.remove_small_components(score_map > threshold, settings.min_voxels)


def find_thresholds(maps: Sequence[np.ndarray], truths: Sequence[Truth], steps: int) -> ThresholdPair:
    """Greedy and exact threshold of a validation set, all voxels that count pooled."""
    scores = np.concatenate([truth.counted(volume).ravel() for volume, truth in zip(maps, truths, strict=True)])
    labels = np.concatenate([truth.counted(truth.lesions).ravel() for truth in truths])
    greedy = metrics.greedy_threshold(scores, labels, steps=steps)
    exact = metrics.best_threshold(scores, labels)
    return ThresholdPair(greedy.value, greedy.dice, exact.value, exact.dice)
