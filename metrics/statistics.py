"""What a table prints of many numbers: mean ± standard deviation over folds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class MeanStd(NamedTuple):
    """Mean and sample standard deviation; the latter is NaN for a single value, which has no spread."""

    mean: float
    std: float


def mean_std(values: Iterable[float]) -> MeanStd:
    """Mean and *sample* standard deviation (ddof = 1) of, say, five folds.

    The paper does not say which deviation it prints. Five folds are a sample of the trainings one could have run, so we
    divide by n - 1, as pandas does; dividing by n would be 11 % smaller for five folds.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    numbers = _numbers(values)
    return MeanStd(float(numbers.mean()), float(numbers.std(ddof=1)) if numbers.size > 1 else float("nan"))


def _numbers(values: Iterable[float]) -> NDArray[np.float64]:
    numbers = np.asarray(list(values), dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0:
        raise ValueError("values must be at least one number in a flat sequence")
    if not np.isfinite(numbers).all():
        raise ValueError("values must be finite, but they hold NaN or infinity")
    return numbers
