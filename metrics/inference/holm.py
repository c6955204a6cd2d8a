"""Several tests at once: p-values of a family, so that chance makes one false alarm in twenty families."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def holm(p_values: Iterable[float]) -> NDArray[np.float64]:
    """Adjusted p-values of a family of tests, however they depend on each other.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6:65.

    Args:
        p_values: [m]; NaN of a test that could not be made, which is no member of the family.

    Returns:
        [m] in their order; NaN stays.

    Raises:
        ValueError: one is not in [0, 1].
    """
    values = np.asarray(list(p_values), dtype=np.float64)
    made = np.flatnonzero(~np.isnan(values))
    if ((values[made] < 0) | (values[made] > 1)).any():
        raise ValueError("p-values must lie between 0 and 1")
    order = made[np.argsort(values[made], kind="stable")]
    steps = values[order] * np.arange(order.size, 0, -1)
    adjusted = np.full(values.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
