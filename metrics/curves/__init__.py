"""Whatever follows from scores alone: histograms, curves, ceilings, thresholds without labels, rankings of scans.

The rules, their sources and what the corner cases give stand in metrics/README.md, section "Beside the paper".
"""

from .ceiling import ceiling_dice, ceiling_of
from .histogram import Curve, ap_of, curve_of, dice_at, histogram, marked_at
from .ranking import ap, auroc
from .rates import score_exceeded_by

__all__ = [
    "Curve",
    "ap",
    "ap_of",
    "auroc",
    "ceiling_dice",
    "ceiling_of",
    "curve_of",
    "dice_at",
    "histogram",
    "marked_at",
    "score_exceeded_by",
]
