"""The arithmetic of a cell for its bill: a training step and a slice of a volume, counted on the meta device."""

from __future__ import annotations

import torch

from ..engine.job import Job
from ..records.cost import Arithmetic
from .counting import FlopCounter, count_cost
from .timing import Stepper
from .workload import Workload, batch_of, random_volume


def count_step(workload: Workload, batch_size: int) -> float | None:
    """FLOPs of a training step; None for a method without one, or that looks at values.

    Args:
        workload: the method and its numbers.
        batch_size: slices of a step.
    """
    if not workload.method.trainable:
        return None
    workload = workload.uncompiled()
    meta, train = torch.device("meta"), workload.plan.train
    with torch.random.fork_rng(devices=[]), FlopCounter() as counter:
        try:
            with meta:
                detector = workload.detector().to(meta).train()
            batch = batch_of(random_volume(batch_size, workload.side, 0, meta), detector.context)
            Stepper(detector, "32-true", batch, train.accumulate)(0)  # the meta device casts nothing by itself
        except (RuntimeError, TypeError):  # what the meta device answers to a look at values, and to NumPy
            return None
    return float(counter.get_total_flops())


def count_job(job: Job) -> Arithmetic | None:
    """What a cell's bill says of its arithmetic; None where it cannot be counted, which costs the cell nothing."""
    work = Workload(job.entry.method, job.plan, (job.entry.row,))
    try:
        step = count_step(work, job.plan.train.batch_size)
        return Arithmetic(count_cost(work).slice_flop / 1e9, None if step is None else step / 1e9)
    except Exception:  # noqa: BLE001  (a method of the user's own, on slices that are no brains)
        return None
