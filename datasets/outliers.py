"""What stands out among alike values, by the modified z-score (Iglewicz and Hoaglin 1993)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

OUTLIER = 3.5  # modified z-score, as Iglewicz and Hoaglin advise
FEWEST_TO_COMPARE = 5


def modified_z(values: Mapping[str, float], smallest_spread: float) -> dict[str, float]:
    """0.6745 (x - median) / MAD; all 0 where there are too few to compare.

    Args:
        values: by name.
        smallest_spread: taken where the MAD is smaller: what alike values differ by.
    """
    if len(values) < FEWEST_TO_COMPARE:
        return dict.fromkeys(values, 0.0)
    numbers = np.array(list(values.values()))
    spread = max(float(np.median(np.abs(numbers - np.median(numbers)))), smallest_spread)
    scores = 0.6745 * (numbers - np.median(numbers)) / spread
    return dict(zip(values, scores.tolist(), strict=True))
