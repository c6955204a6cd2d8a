"""How long a cell will take, before it is begun: from a finished sister fold, or from two timed steps."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path

import torch

from ..methods import Batch, Detector, Scan
from .engine import Job
from .environment import threads_per_worker
from .record import all_records
from .record_files import RecordError
from .reuse import has_weights
from .scoring import score_of


def estimate_seconds(job: Job, runs: Path, device: str, workers: int) -> float:
    """Seconds a cell should take on this machine, while `workers` cells share it.

    A finished cell of the same recipe tells best; without one, a training step and the reconstruction of one volume
    are timed on random images, with the threads that a worker will have. Where weights are there, nothing is trained.
    """
    trained = has_weights(runs, job.cell)
    sister = _sister_seconds(job, runs, trained)
    if sister is not None:
        return sister
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_per_worker(workers))
    try:
        return _timed_seconds(job, device, trained)
    finally:
        torch.set_num_threads(threads)


def _sister_seconds(job: Job, runs: Path, trained: bool) -> float | None:
    for record in all_records(runs):
        config = record.config
        if config.recipe != job.cell.recipe.id or config.fingerprint != job.data.fingerprint or not record.done:
            continue
        with suppress(RecordError):  # the time is no number of the cell; without it a few steps are timed
            if trained == (record.state.weights_from is not None) and record.state.seconds:
                return record.state.seconds
    return None


def _timed_seconds(job: Job, device: str, trained: bool) -> float:
    detector = job.detector().to(device)
    fold = job.data.splits.folds[job.fold]
    depth, height, width = job.slab.depth, *job.data.healthy.store.shape[1:]
    volume = torch.rand(depth, 1, height, width, device=device)
    brain = torch.ones_like(volume, dtype=torch.bool)
    total = 0.0
    if detector.trainable and not trained:
        train = job.plan.train
        size = min(train.batch_size, len(fold.train))
        step = _step_seconds(detector, _random_batch(volume, brain, size, detector.context))
        steps = math.ceil(len(fold.train) / size) * train.epochs
        validated = len(fold.val) * train.validation_slices / size * (train.epochs / train.validate_every)
        total += step * (steps + validated / 3)
    elif not detector.trainable:
        detector.absorb([volume.cpu()])
    scan = Scan(brain_mask=brain, seed=0, batch_size=job.plan.score.batch_size)
    started = time.perf_counter()
    with torch.inference_mode():
        detector.eval().reconstruct(volume, scan)
    volume_seconds = time.perf_counter() - started
    return total + volume_seconds * _reconstructions(job, trained)


def _reconstructions(job: Job, trained: bool) -> int:
    """How many volumes are reconstructed, each as often as the score asks for."""
    splits = job.data.splits
    lesions = sum(len(part.val) + len(part.test) for part in splits.lesion.values())
    healthy = len(splits.healthy_test)
    control = healthy if job.plan.score.untrained_control and job.entry.method.trainable and not trained else 0
    score = score_of(job.plan)
    if score is None:
        return lesions + healthy + control
    learnt = len(splits.folds[job.fold].val) if score.learns else 0
    return (lesions + healthy + learnt) * score.reconstructions + control


def _random_batch(volume: torch.Tensor, brain: torch.Tensor, size: int, context: int) -> Batch:
    index = torch.arange(size, device=volume.device) % len(volume)
    image = volume[index]
    stack = image.expand(-1, 2 * context + 1, -1, -1)
    return Batch(image, brain[index], torch.arange(size, device=volume.device), stack)


def _step_seconds(detector: Detector, batch: Batch) -> float:
    """Time of the second training step; the first pays for caches."""
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        torch.autograd.backward(detector.training_step(batch, 0))
        seconds = time.perf_counter() - started
    detector.zero_grad()
    return seconds
