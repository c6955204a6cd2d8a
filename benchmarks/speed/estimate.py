"""How long a cell will take, before it is begun: from a finished sister fold, or from two timed steps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from ...methods import Detector
from ...out_of_memory import MemoryShortageError, Stage, free_memory, memory_watched
from ..engine.arithmetic import arithmetic
from ..engine.bill import reconstructions
from ..engine.environment import threads_per_worker
from ..engine.job import Job
from ..engine.memory import Halving, scoring_stage, training_stage
from ..engine.slices import Batching
from ..plan.settings import TrainSettings
from ..records.record import all_records
from ..records.record_files import RecordError
from ..records.reuse import has_weights
from .timing import time_steps, time_volume
from .workload import random_volume


@dataclass(frozen=True)
class Estimate:
    """How long cells of one recipe should take each.

    Attributes:
        seconds: of one cell; 0 where that could not be found out.
        problem: why not, in a sentence; "" where it could.
    """

    seconds: float
    problem: str = ""


def estimates(jobs: Mapping[str, Job], runs: Path, device: str, workers: int) -> dict[str, Estimate]:
    """Estimate a cell of each recipe; one that needs more memory than there is holds up no other.

    Args:
        jobs: a cell by recipe.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        workers: cells that will share the machine.
    """
    return {key: _estimate(job, runs, device, workers) for key, job in jobs.items()}


def _estimate(job: Job, runs: Path, device: str, workers: int) -> Estimate:
    try:
        found = Estimate(estimate_seconds(job, runs, device, workers))
    except MemoryShortageError as error:
        found = Estimate(0.0, str(error))
    free_memory()  # the cells may run in other processes
    return found


def estimate_seconds(job: Job, runs: Path, device: str, workers: int) -> float:
    """Seconds a cell should take on this machine, while `workers` cells share it.

    A finished cell of the same recipe tells best; without one, a training step and the reconstruction of one volume
    are timed on random images, with the threads that a worker will have. Where weights are there, nothing is trained.

    Raises:
        MemoryShortageError: memory ran out.
    """
    trained = has_weights(runs, job.cell)
    sister = _sister_seconds(job, runs, trained)
    if sister is not None:
        return sister
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_per_worker(workers))
    try:
        with arithmetic(job.plan.train, device):
            return _timed_seconds(job, device, trained)
    finally:
        torch.set_num_threads(threads)


def _sister_seconds(job: Job, runs: Path, trained: bool) -> float | None:
    for record in all_records(runs):
        config = record.config
        if config.recipe != job.cell.recipe.id or config.fingerprint != job.data.fingerprint or not record.counts:
            continue
        with suppress(RecordError):  # the time is no number of the cell; without it a few steps are timed
            if trained == (record.state.weights_from is not None) and record.state.seconds:
                return record.state.seconds
    return None


def _stage(job: Job) -> Stage:
    return training_stage(job.cell.label, "the training step of the estimate", job.entry.method, job.plan)


def _timed_seconds(job: Job, device: str, trained: bool) -> float:
    detector = job.detector().to(device)
    fold = job.data.splits.folds[job.fold]
    depth, side = job.slab.depth, job.data.healthy.store.shape[-1]
    total = 0.0
    if detector.trainable and not trained:
        train = job.plan.train
        batching = Batching(len(fold.train), train.batch_size, train.drop_last, train.accumulate)
        with memory_watched(lambda: _stage(job)):
            step = _step_seconds(detector, train, batching.size, side)
        validated = len(fold.val) * train.validation_slices / batching.size / train.validation_interval
        total += step * train.epochs * (batching.steps + validated / 3)
    elif not detector.trainable:
        detector.absorb([random_volume(depth, side, 0, torch.device("cpu"))])
    halving = Halving()
    with memory_watched(lambda: scoring_stage(job.cell.label, "the reconstruction of the estimate", job.plan, halving)):
        volume = halving.run(
            job.plan.score.batch_size,
            lambda size: time_volume(detector, job.plan.train.precision, size, side, depth=depth, seed=0),
        )
    return total + volume.seconds * reconstructions(job, trained=trained)


def _step_seconds(detector: Detector, train: TrainSettings, size: int, side: int) -> float:
    """Time of the second optimiser step, when the device has done it; the first pays for caches."""
    step = time_steps(detector, train, size, side, steps=1, seed=0, advance=lambda: None)
    detector.zero_grad()  # a reconstruction has no gradients beside it
    return step.seconds
