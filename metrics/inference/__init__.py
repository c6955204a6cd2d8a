"""How sure a number is: intervals of means, paired comparisons, a family's p-values, ranks and their stability."""

from .holm import holm
from .intervals import FEW, RESAMPLES, IntervalOfMean, interval_of_mean, two_level_interval
from .paired import Paired, differences_of, paired, paired_family
from .ranks import Ranks, rank_stability

__all__ = [
    "FEW",
    "RESAMPLES",
    "IntervalOfMean",
    "Paired",
    "Ranks",
    "differences_of",
    "holm",
    "interval_of_mean",
    "paired",
    "paired_family",
    "rank_stability",
    "two_level_interval",
]
