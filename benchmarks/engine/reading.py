"""Readers: a cell's network with its weights, ready to reconstruct and score."""

from __future__ import annotations

from ...methods import Detector
from ..records.checkpoint import load_weights
from ..records.record import RunRecord
from .job import Job
from .memory import Halving
from .scoring import Reader, score_of


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
