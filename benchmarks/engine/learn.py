"""The learning of a cell run: the untrained control, then the training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ...datasets.cohort import HEALTHY
from ...methods import Detector
from ..contract.labels import labels_hidden
from ..records.checkpoint import save_weights
from .cell_metrics import untrained_metrics
from .reading import make_reader
from .run_context import CellRun
from .scoring import score_healthy
from .training import train


def learn(run: CellRun, detector: Detector) -> None:
    """Measure what the initial weights are worth, then train, or go on training, unless that is finished.

    Raises:
        LabelError: the method looked at a lesion mask.
        MemoryShortageError: memory ran out.
    """
    with run.scoring("the untrained control"):
        _measure_untrained(run, detector)
    with run.training(), labels_hidden(f"{type(detector).__name__}, training,"):
        _train(run, detector)


def _measure_untrained(run: CellRun, detector: Detector) -> None:
    """Healthy l1 of the initial weights: what a training must beat to have learned anything."""
    wanted = run.job.plan.score.untrained_control and run.job.entry.method.trainable
    if not wanted or run.record.untrained:
        return
    # the score has learnt nothing yet, and l1 needs none
    reader = replace(make_reader(run.job, detector, run.device, run.halving), score=None)
    subjects = run.job.test_scans(HEALTHY)
    with run.reporter.bar(f"untrained control {run.job.cell.label}", len(subjects)) as bar:
        scores = []
        healthy = run.job.data.healthy
        for subject, seen in zip(subjects, reader.untrained(healthy, subjects), strict=True):
            scores.append(score_healthy(healthy, subject, seen))
            bar.advance()
    run.record.save_untrained(untrained_metrics(scores))
    detector.cpu().train()


def _train(run: CellRun, detector: Detector) -> None:
    """Train, or go on training, unless the training is finished."""
    job, record = run.job, run.record
    if record.state.trained:
        return
    fold = job.data.splits.folds[job.fold]
    store = job.data.healthy.store
    record.set_state("training")
    if not record.last_checkpoint.exists():
        detector.absorb(torch.from_numpy(np.array(job.slab.of(store.volume(s))))[:, None] for s in fold.train)
    if job.entry.method.trainable:
        train(
            detector,
            store,
            job.slab,
            (fold.train, fold.val),
            job.plan.train,
            record,
            seed=job.fold_seed,
            device=run.device,
            reporter=run.reporter,
        )
    else:
        save_weights(record, detector.state_dict(), epoch=0, val_loss=0.0)
    record.set_state("training", trained=True)
