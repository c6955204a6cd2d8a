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
from .draws import Floats, drawn_weights, resampled_means

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
    _check(confidence, resamples)
    numbers = _numbers(list(values))
    if numbers.size < 2:
        return IntervalOfMean(math.nan, math.nan, "none", int(numbers.size))
    means = resampled_means(numbers, resamples, seed)
    return interval_around(float(numbers.mean()), means, [numbers - numbers.mean()], confidence, int(numbers.size))


def two_level_interval(
    matrix: ArrayLike, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> IntervalOfMean:
    """How far a mean would move with other volumes *and* other trainings, both drawn anew and independently.

    Folds share their test volumes, so they are no larger sample of volumes: rows and columns of the matrix are drawn
    each for itself (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1:386). Of F trainings F - 1
    are drawn (Rao and Wu 1988, "Resampling inference with complex survey data", JASA 83:231): drawing F of so few
    would make their spread 1/F too small. The acceleration is that of a statistic of two samples.

    Args:
        matrix: scores [trainings, volumes]; NaN where a training did not score a volume.
        confidence: probability the interval should cover, in (0, 1).
        resamples: how many times both are drawn anew.
        seed: makes the interval repeatable.

    Raises:
        ValueError: the matrix is none or holds infinity, confidence is not in (0, 1), or resamples < 1.
    """
    _check(confidence, resamples)
    scores = np.asarray(matrix, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(f"matrix must be [trainings, volumes], not of shape {scores.shape}")
    if np.isinf(scores).any():
        raise ValueError("matrix must be finite or NaN, but it holds infinity")
    known = np.isfinite(scores)
    scores, known = scores[known.any(axis=1)][:, known.any(axis=0)], known[known.any(axis=1)][:, known.any(axis=0)]
    if scores.shape[0] < 2:
        return interval_of_mean(scores.ravel(), confidence=confidence, resamples=resamples, seed=seed)
    if scores.shape[1] < 2:
        return IntervalOfMean(math.nan, math.nan, "none", int(scores.shape[1]))
    filled = np.where(known, scores, 0.0)
    means = _crossed_means(filled, known.astype(np.float64), resamples, seed)
    return interval_around(
        float(filled.sum() / known.sum()),
        means[np.isfinite(means)],
        [_influences(filled, known, axis) for axis in (0, 1)],
        confidence,
        int(scores.shape[1]),
    )


def interval_around(
    mean: float, means: Floats, influences: Sequence[Floats], confidence: float, number: int
) -> IntervalOfMean:
    """The interval that a bootstrap distribution gives.

    Args:
        mean: of the scores.
        means: of the resamples.
        influences: by sample that was drawn from, what each of its members moves the mean by, times their number.
        confidence: probability the interval should cover.
        number: of volumes.
    """
    from scipy.special import ndtr, ndtri

    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    bias = ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
    acceleration = _acceleration(influences)
    shifted = bias + ndtri(tails)
    room = 1 - acceleration * shifted
    method: Method = "percentile"
    if np.isfinite(shifted).all() and (room > 0).all() and math.isfinite(acceleration):
        method, tails = "BCa", ndtr(bias + shifted / room)
    low, high = np.quantile(means, tails)
    return IntervalOfMean(float(low), float(high), method, number)


def _acceleration(influences: Sequence[Floats]) -> float:
    """How a mean's spread changes with the mean; of several samples as in SciPy's `bootstrap`. NaN of no spread."""
    cubes = sum(float((one**3).sum()) / one.size**3 for one in influences)
    squares = sum(float((one**2).sum()) / one.size**2 for one in influences)
    return cubes / (6 * squares**1.5) if squares > 0 else math.nan


def _influences(filled: Floats, known: np.ndarray, axis: int) -> Floats:
    """What leaving out each line (axis 0) or column (axis 1) does to the mean, times their number."""
    sums, counts = filled.sum(axis=1 - axis), known.sum(axis=1 - axis)
    left = (filled.sum() - sums) / np.maximum(known.sum() - counts, 1)
    return np.asarray((left.size - 1) * (left.mean() - left))


def _crossed_means(filled: Floats, known: Floats, resamples: int, seed: int) -> Floats:
    """Means of resamples of both trainings and volumes; NaN of one in which no score is known."""
    trainings, volumes = filled.shape
    rows = np.concatenate(list(drawn_weights(trainings, resamples, seed + 1, trainings - 1)))
    sums, counts = [], []
    for columns in drawn_weights(volumes, resamples, seed):
        sums.append(columns @ filled.T)
        counts.append(columns @ known.T)
    numbers = (np.concatenate(counts) * rows).sum(axis=1)
    totals = (np.concatenate(sums) * rows).sum(axis=1)
    return np.divide(totals, numbers, out=np.full(resamples, math.nan), where=numbers > 0)


def _check(confidence: float, resamples: int) -> None:
    require_at_least("resamples", resamples, 1)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, e.g. 0.95, not {confidence}")


def _numbers(values: ArrayLike) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"values must be a flat sequence, not of shape {numbers.shape}")
    if np.isinf(numbers).any():
        raise ValueError("values must be finite or NaN, but they hold infinity")
    return numbers[~np.isnan(numbers)]
