"""Pure functions on arrays: the protocol's post-processing, threshold search, metrics and statistics.

Every function takes NumPy arrays, changes none of them, and refuses what it cannot score with a ValueError
of one sentence.
"""

from .average_precision import average_precision
from .components import Component, find_components
from .dice import dice
from .postprocess import erode_brain_mask, postprocess, remove_small_components
from .reconstruction import l1_error
from .statistics import MeanStd, mean_std
from .threshold import Threshold, best_threshold, greedy_threshold, pooled_thresholds

__all__ = [
    "Component",
    "MeanStd",
    "Threshold",
    "average_precision",
    "best_threshold",
    "dice",
    "erode_brain_mask",
    "find_components",
    "greedy_threshold",
    "l1_error",
    "mean_std",
    "pooled_thresholds",
    "postprocess",
    "remove_small_components",
]
