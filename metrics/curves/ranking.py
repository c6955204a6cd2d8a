"""Telling scans (or slices) with a lesion from those without by one score each: AUROC and average precision."""

from __future__ import annotations

import numpy as np

from ..average_precision import average_precision
from ..checks import BoolArray, FloatArray
from ..counts import require_scores


def auroc(scores: FloatArray, labels: BoolArray) -> float:
    """The probability that a scan with a lesion scores higher than one without; a tie counts half (Mann-Whitney).

    Args:
        scores: one per scan, float [N].
        labels: True for a scan with a lesion, bool [N].

    Returns:
        In [0, 1]; NaN if all scans are of one kind.

    Raises:
        ValueError: a type or shape is wrong, or a score is not finite.
    """
    require_scores(scores, labels)
    ill, healthy = scores[labels], np.sort(scores[~labels])
    if not ill.size or not healthy.size:
        return float("nan")
    below = np.searchsorted(healthy, ill, side="left") + np.searchsorted(healthy, ill, side="right")
    return float(below.sum() / (2 * ill.size * healthy.size))


def ap(scores: FloatArray, labels: BoolArray) -> float:
    """Average precision of scans, as `average_precision`; NaN if all scans are of one kind.

    Without a healthy scan it would be 1 whatever the scores.

    Args:
        scores: one per scan, float [N].
        labels: True for a scan with a lesion, bool [N].

    Raises:
        ValueError: a type or shape is wrong, or a score is not finite.
    """
    require_scores(scores, labels)
    if labels.all() or not labels.any():
        return float("nan")
    return average_precision(scores, labels)
