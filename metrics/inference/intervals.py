"""Intervals of means by the bootstrap: over volumes, and over volumes and trainings at once.

BCa, bias-corrected and accelerated (Efron 1987, "Better bootstrap confidence intervals", JASA 82:171), since Dice is
skewed and the plain percentiles of a skewed score lie too far to one side. SciPy's `bootstrap` computes the same and is
what the tests compare with; here the draws are shared by all that stands on the same volumes (see `draws`), and the
jackknife of a mean, which SciPy computes in n² steps, is written down: a report needs hundreds of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..checks import require_at_least
from .draws import Floats, resampled_means

#: Below so many volumes an interval of a skewed score is too narrow: see the simulations in `benchmarks/judgement`.
FEW = 50
#: Enough that the ends of a 95 % interval do not move in the digits that a table prints.
RESAMPLES = 5000

Method = Literal["BCa", "percentile", "none"]


@dataclass(frozen=True)
class IntervalOfMean:
    """A confidence interval of a mean.

    Attributes:
        low: its lower end, included; NaN where there is none.
        high: its upper end.
        method: "BCa", "percentile" where the correction cannot be had (all scores equal, say), "none" of fewer than
            two volumes.
        n: volumes behind it.
    """

    low: float
    high: float
    method: Method
    n: int

    @property
    def doubtful(self) -> bool:
        """Whether fewer than `FEW` volumes stand behind it: it then covers the truth less often than it says."""
        return self.n < FEW


def interval_of_mean(
    values: Iterable[float], *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> IntervalOfMean:
    """How far a mean would move with other volumes of the same population, the trainings being what they are.

    Args:
        values: one score per volume [n]; NaN where a volume has none.
        confidence: probability the interval should cover, in (0, 1).
        resamples: how many times the volumes are drawn anew, with replacement.
        seed: makes the interval repeatable.

    Raises:
        ValueError: the values are no flat sequence or hold infinity, confidence is not in (0, 1), or resamples < 1.
    """
    numbers = np.asarray(list(values), dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"values must be a flat sequence, not of shape {numbers.shape}")
    return two_level_interval(numbers[None], confidence=confidence, resamples=resamples, seed=seed)


def two_level_interval(
    matrix: ArrayLike, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> IntervalOfMean:
    """How far a mean would move with other volumes *and* other trainings, both drawn anew and independently.

    See `draws.resampled_means` for how. Trainings that do not differ add nothing.

    Args:
        matrix: scores [trainings, volumes]; NaN where a training did not score a volume.
        confidence: probability the interval should cover, in (0, 1).
        resamples: how many times both are drawn anew.
        seed: makes the interval repeatable.

    Raises:
        ValueError: the matrix is none or holds infinity, confidence is not in (0, 1), or resamples < 1.
    """
    require_at_least("resamples", resamples, 1)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, e.g. 0.95, not {confidence}")
    scores = scored_part(np.asarray(matrix, dtype=np.float64))
    if scores.shape[1] < 2:
        return IntervalOfMean(math.nan, math.nan, "none", int(scores.shape[1]))
    return interval_around(scores, resampled_means(scores[None], resamples, seed)[:, 0], confidence)


def scored_part(matrix: Floats) -> Floats:
    """The rows and columns of [trainings, volumes] that hold a score.

    Raises:
        ValueError: it is no matrix, or holds infinity.
    """
    if matrix.ndim != 2:
        raise ValueError(f"scores must be [trainings, volumes], not of shape {matrix.shape}")
    if np.isinf(matrix).any():
        raise ValueError("scores must be finite or NaN, but they hold infinity")
    known = np.isfinite(matrix)
    return np.asarray(matrix[known.any(axis=1)][:, known.any(axis=0)])


def interval_around(scores: Floats, means: Floats, confidence: float) -> IntervalOfMean:
    """The interval that a bootstrap distribution gives.

    Args:
        scores: [trainings, volumes], see `scored_part`.
        means: of the resamples.
        confidence: probability the interval should cover.
    """
    from scipy.special import ndtr, ndtri

    mean = float(np.nanmean(scores))
    means = means[np.isfinite(means)]
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    bias = ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
    acceleration = _acceleration([_influences(scores, axis) for axis in (0, 1)])
    shifted = bias + ndtri(tails)
    room = 1 - acceleration * shifted
    method: Method = "percentile"
    if np.isfinite(shifted).all() and (room > 0).all() and math.isfinite(acceleration):
        method, tails = "BCa", ndtr(bias + shifted / room)
    low, high = np.quantile(means, tails)
    return IntervalOfMean(float(low), float(high), method, int(scores.shape[1]))


def _acceleration(influences: Sequence[Floats]) -> float:
    """How a mean's spread changes with the mean; of several samples as in SciPy's `bootstrap`. NaN of no spread."""
    cubes = sum(float((one**3).sum()) / one.size**3 for one in influences)
    squares = sum(float((one**2).sum()) / one.size**2 for one in influences)
    return cubes / (6 * squares**1.5) if squares > 0 else math.nan


def _influences(scores: Floats, axis: int) -> Floats:
    """What leaving out each training (axis 0) or volume (axis 1) does to the mean, times their number."""
    sums, counts = np.nansum(scores, axis=1 - axis), np.isfinite(scores).sum(axis=1 - axis)
    left = (sums.sum() - sums) / np.maximum(counts.sum() - counts, 1)
    return np.asarray((left.size - 1) * (left.mean() - left))
