"""Reading a volume: the detector reconstructs it, the score makes a map of it, the map is post-processed.

The network's part and the rest are apart, so that other threads can do the rest while the network has the next volume.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from ... import metrics
from ...datasets.cohort import Cohort
from ...datasets.modality import Modality
from ...errors import UserError
from ...methods import Detector, Scan
from ...methods.parts.seeds import derive_seed
from ...metrics.on_device import postprocess_on_device
from ...metrics.scores import HealthyScan, Score
from ...stopwatch import spent
from ..contract.labels import labels_hidden
from ..plan.settings import ScoreSettings
from ..records.checkpoint import load_weights
from ..records.kept import KeptReconstructions
from ..records.record import RunRecord
from .arithmetic import autocast
from .job import Job
from .memory import Halving
from .scoring import Inferred, Reading, score_of
from .slices import Slab


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
        kept: reconstructions on disk, which are taken instead of the network; None knows of none.
    """

    detector: Detector
    slab: Slab
    settings: ScoreSettings
    precision: str
    seed: int
    modality: Modality
    score: Score | None = None
    halving: Halving = field(default_factory=Halving)
    kept: KeptReconstructions | None = None

    def read(self, cohort: Cohort, subject: str) -> Reading:
        """Reconstruct, score and post-process one volume.

        Raises:
            UserError: the method or the score returned another shape or something that is no number.
        """
        return self.finish(self.infer(cohort, subject))

    def infer(self, cohort: Cohort, subject: str) -> Inferred:
        """Let the network do its part on one volume.

        Raises:
            UserError: as `read`.
        """
        seen, raw = self._seen(cohort, subject)
        if raw is None or not raw.is_cuda:
            return seen
        return replace(seen, score_map=self._on_device(raw, seen.brain_mask))

    def _seen(self, cohort: Cohort, subject: str) -> tuple[Inferred, torch.Tensor | None]:
        """What the network makes of a volume, and the method's own map where it lies, see `_infer`."""
        original, mask = self._load(cohort, subject)
        kept = None if self.kept is None else self.kept.read(cohort, subject, self._shape(original))
        seen, raw = self._infer(original, mask, subject, kept)
        return replace(seen, was_kept=kept is not None), raw

    def read_arrays(self, original: np.ndarray, mask: np.ndarray, name: str) -> Reading:
        """Reconstruct, score and post-process a volume that is cut to the slab.

        Args:
            original: prepared volume, float32 [D, H, W].
            mask: its brain, bool [D, H, W].
            name: of the scan; its noise is drawn from it.

        Raises:
            UserError: as `read`.
        """
        return self.finish(self._infer(original, mask, name, None)[0])

    def finish(self, seen: Inferred) -> Reading:
        """Score and post-process what the network made of a volume; another thread may do that.

        Raises:
            UserError: the score returned another shape or something that is no number.
        """
        started = time.perf_counter()
        with spent("reconstruct"), labels_hidden(type(self.detector).__name__):
            raw = _map_of(self.score, seen) if seen.raw is None else seen.raw
        seconds = seen.seconds + time.perf_counter() - started
        with spent("post-process"):
            score_map = self._postprocessed(raw, seen.brain_mask) if seen.score_map is None else seen.score_map
        return Reading(seen.original, seen.reconstruction, score_map, seen.brain_mask, seconds)

    def _postprocessed(self, raw: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return metrics.postprocess(raw, mask, erosion=self.settings.erosion, median=self.settings.median)

    def untrained(self, cohort: Cohort, subjects: Sequence[str]) -> Iterator[Inferred]:
        """Let initial weights do their part on volumes; where they are blind, one slice stands for all of them.

        Raises:
            UserError: as `read`.
        """
        if not self.detector.blind:
            yield from (self._seen(cohort, subject)[0] for subject in subjects)  # nobody looks at the maps
            return
        answer = None
        for subject in subjects:
            original, mask = self._load(cohort, subject)
            if answer is None:
                answer = self._infer(original[:1], mask[:1], subject, None)[0].reconstructions
            yield Inferred(original, np.broadcast_to(answer, (len(answer), *original.shape)), None, mask, 0.0)

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

    def _shape(self, original: np.ndarray) -> tuple[int, ...]:
        """Shape of all reconstructions of a volume."""
        return (1 if self.score is None else self.score.reconstructions, *original.shape)

    def _infer(
        self, original: np.ndarray, mask: np.ndarray, subject: str, kept: np.ndarray | None
    ) -> tuple[Inferred, torch.Tensor | None]:
        """Reconstruct, unless that was kept, and let the method score by itself where no score takes its place.

        Returns:
            What was seen, and the method's own map where it lies, float32 [D, H, W]; None where a score comes later.
        """
        started = time.perf_counter()
        with spent("reconstruct"), labels_hidden(type(self.detector).__name__):
            if self.score is not None:
                found = self._reconstructions(original, mask, subject, self.score) if kept is None else kept
                return Inferred(original, found, None, mask, time.perf_counter() - started), None
            found, raw, there = self._by_itself(original, mask, subject, kept)
        return Inferred(original, found, raw, mask, time.perf_counter() - started), there

    def _by_itself(
        self, original: np.ndarray, mask: np.ndarray, subject: str, kept: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
        """Reconstruction, [1, D, H, W], the method's own anomaly map, and the same on the device."""

        def work(size: int) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
            volume, scan = self._scan(original, mask, subject, size)
            with torch.inference_mode(), autocast(volume.device, self.precision):
                if kept is None:
                    reconstruction = self.detector.reconstruct(volume, scan)
                else:
                    reconstruction = torch.from_numpy(kept[0])[:, None].to(volume.device)
                raw = self.detector.anomaly_score(volume, reconstruction, scan)
            found = self._checked(reconstruction, volume, "reconstruct")[None]
            return found, self._checked(raw, volume, "anomaly_score"), raw.float().squeeze(1)

        return self.halving.run(self.settings.batch_size, work)

    def _on_device(self, raw: torch.Tensor, mask: np.ndarray) -> np.ndarray | None:
        """The map post-processed where it lies, [D, H, W]; None for one that the CPU's way will refuse."""
        with spent("post-process"), torch.inference_mode():
            if bool((raw < 0).any()):
                return None
            brain = torch.from_numpy(mask).to(raw.device)
            return postprocess_on_device(raw, brain, self.settings.erosion, self.settings.median).cpu().numpy()

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


def reader_of(job: Job, record: RunRecord, device: str) -> Reader:
    """A reader with the trained weights of a finished cell."""
    detector = job.detector()
    load_weights(record, detector)
    reader = make_reader(job, detector, device, Halving())
    _, state = record.score_state
    if reader.score is not None and state:
        reader.score.restore(state)
    return reader


def make_reader(job: Job, detector: Detector, device: str, halving: Halving) -> Reader:
    """A reader with the detector's weights as they are."""
    detector = detector.to(device).eval()
    return Reader(
        detector=detector,
        slab=job.slab,
        settings=job.plan.score,
        precision=job.plan.train.precision,
        seed=job.seed,
        modality=job.data.modality,
        score=score_of(job.plan),
        halving=halving,
    )


def _checked(result: torch.Tensor, volume: torch.Tensor, origin: str) -> np.ndarray:
    if result.shape != volume.shape:
        raise UserError(f"{origin} returned shape {tuple(result.shape)} for a volume of shape {tuple(volume.shape)}")
    array = result.float().squeeze(1).cpu().numpy()
    if not np.isfinite(array).all():
        raise UserError(
            f"{origin} returned values that are no numbers (NaN or infinite); the training may have diverged"
        )
    return array


def _map_of(score: Score | None, seen: Inferred) -> np.ndarray:
    if score is None:
        raise ValueError("without a score the method makes its own map")
    name = f"the score {score.info.name}"
    try:
        array = np.asarray(score.map(seen.original, seen.reconstructions, seen.brain_mask), dtype=np.float32)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    if array.shape != seen.original.shape:
        raise UserError(f"{name} returned shape {array.shape} for a volume of shape {seen.original.shape}")
    if not np.isfinite(array).all() or array.min() < 0:
        raise UserError(f"{name} returned values that are negative or no numbers (NaN or infinite)")
    return array
