"""Before anything is trained: each method is tried on two slices, so that what cannot work fails in a second.

A mistake in a method would otherwise show after hours: at the first validation, or at the first lesion scan. Each
recipe is checked once, in the main process, with a detector that is thrown away and on healthy training slices; no
random state is left changed. Where memory runs out, the method has broken nothing: that is said, and its cells are run
all the same, as what took the memory may be gone by then.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch

from ..errors import UserError
from ..methods import Batch, Detector, Scan
from ..methods.parts.seeds import derive_seed
from ..out_of_memory import MemoryShortageError, free_memory, memory_watched
from ..own_files import explain, file_of, own_file_of, shown
from .contract.checks import ContractError, check_reconstruction, check_training, quiet, running
from .engine.job import Job
from .engine.memory import preflight_stage
from .engine.progress import Reporter
from .engine.slices import SliceKey, SliceSet
from .plan.own import checked_class
from .records.record import record_of

_SLICES = 2


def preflight(jobs: Sequence[Job], runs: Path, device: str, reporter: Reporter) -> None:
    """Check the method of every cell that is not finished, once for each set of numbers.

    Args:
        jobs: what is going to run.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        reporter: where progress goes.

    Raises:
        UserError: a method breaks the contract; one sentence.
    """
    tried = {_numbers(job): job for job in jobs if not record_of(runs, job.cell).done}
    with reporter.bar("check methods", len(tried)) as bar:
        for job in tried.values():
            try:
                with random_state_kept(), quiet(), _exact(device):
                    _try(job, device)
            except MemoryShortageError as error:
                reporter.say(f"  warning: {error}; its cells are run unchecked")
            free_memory()  # the cells may run in other processes
            bar.advance()


def _numbers(job: Job) -> tuple[type[Detector], str]:
    return job.entry.method, json.dumps(job.plan.method, sort_keys=True)


def _try(job: Job, device: str) -> None:
    cls = job.entry.method
    file = file_of(cls)
    checked_class(cls, shown(file) if file is not None else cls.__module__)
    with memory_watched(lambda: preflight_stage(job.cell.label, job.plan, _SLICES)):
        detector = _made(job)
        slices = _slices(job, detector.context)
        with running(cls, "absorb"):
            detector.absorb([slices.image])
        detector, batch = detector.to(device), Batch(*(part.to(device) for part in slices))
        if cls.trainable:
            check_training(detector, batch)
        scan = Scan(
            brain_mask=batch.brain_mask,
            seed=0,
            batch_size=job.plan.score.batch_size,
            modality=job.data.modality.value,
        )
        check_reconstruction(detector, batch.image, scan)


def _made(job: Job) -> Detector:
    """The cell's detector; an error in the constructor of the user's own file names the line."""
    cls = job.entry.method
    try:
        with running(cls, "the constructor"):
            return job.detector()
    except UserError as error:
        file = own_file_of(cls)
        if file is None or not isinstance(error.__cause__, ValueError):
            raise
        raise ContractError(f"{cls.__name__}: the constructor failed: {explain(error.__cause__, file.path)}") from error


def _slices(job: Job, context: int) -> Batch:
    """The middle slices of two training scans: a batch, and as good as a volume whose slices differ."""
    subjects = (job.data.splits.folds[job.fold].train * _SLICES)[:_SLICES]
    known = SliceSet(job.data.healthy.store, job.slab, context)
    keys = [SliceKey(s, job.slab.depth // 2, derive_seed(job.seed, "preflight", n)) for n, s in enumerate(subjects)]
    return known[keys]


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the random generators of Python, NumPy and torch as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (a method may draw from the global one)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def _exact(device: str) -> Iterator[None]:
    """No TF32 in convolutions: its rounding depends on the batch size by more than the tolerance."""
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if device == "cuda" else nullcontext()
    with exact:
        yield
