"""How sure a number is: intervals of means, paired comparisons, a family's p-values, ranks and their stability."""

from .holm import holm
from .intervals import FEW, RESAMPLES, IntervalOfMean, interval_of_mean, two_level_interval
from .paired import Paired, paired
from .ranks import Ranks, rank_stability

__all__ = [
    "FEW",
    "RESAMPLES",
    "IntervalOfMean",
    "Paired",
    "Ranks",
    "holm",
    "interval_of_mean",
    "paired",
    "rank_stability",
    "two_level_interval",
]
