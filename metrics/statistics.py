"""What a table prints of many numbers: mean ± standard deviation over folds, and a bootstrap interval over volumes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .checks import require_at_least


class MeanStd(NamedTuple):
    """Mean and sample standard deviation; the latter is NaN for a single value, which has no spread."""

    mean: float
    std: float


class Interval(NamedTuple):
    """A confidence interval, both ends included."""

    low: float
    high: float


def mean_std(values: Iterable[float]) -> MeanStd:
    """Mean and *sample* standard deviation (ddof = 1) of, say, five folds.

    The paper does not say which deviation it prints. Five folds are a sample of the trainings one could have run, so we
    divide by n - 1, as pandas does; dividing by n would be 11 % smaller for five folds.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    numbers = _numbers(values)
    return MeanStd(float(numbers.mean()), float(numbers.std(ddof=1)) if numbers.size > 1 else float("nan"))


def bootstrap_interval(values: Iterable[float], confidence: float, seed: int, resamples: int) -> Interval:
    """Percentile-bootstrap interval of the mean: how far it would move with other volumes from the same population.

    It says nothing about retraining; that is what the deviation over folds is for.

    Args:
        values: one score per volume.
        confidence: probability the interval should cover, in (0, 1), e.g. 0.95.
        seed: makes the interval repeatable.
        resamples: how many times the volumes are drawn anew, with replacement.

    Raises:
        ValueError: there is no value, one is not finite, confidence is not in (0, 1), or resamples < 1.
    """
    numbers = _numbers(values)
    require_at_least("resamples", resamples, 1)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, e.g. 0.95, not {confidence}")
    rng = np.random.default_rng(seed)
    # One resample at a time: a table of 10 000 resamples of 1151 volumes would take 90 MB for nothing.
    means = [numbers[rng.integers(numbers.size, size=numbers.size)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def _numbers(values: Iterable[float]) -> NDArray[np.float64]:
    numbers = np.asarray(list(values), dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0:
        raise ValueError("values must be at least one number in a flat sequence")
    if not np.isfinite(numbers).all():
        raise ValueError("values must be finite, but they hold NaN or infinity")
    return numbers
