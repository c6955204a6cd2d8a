"""Lesion by lesion: what was found, what was missed, what was invented, and whether a reconstruction heals.

The rules, their sources and what the corner cases give stand in metrics/README.md, section "Beside the paper".
"""

from .froc import CPM_AT, Froc, froc_of, mean_sensitivity, sensitivity_at
from .healing import InsideOutside, inside_outside, ssim_map
from .matching import (
    DICE_RULE,
    IOU_RULE,
    MatchedComponent,
    MatchedLesion,
    Matching,
    MatchRule,
    match_lesions,
    match_overlaps,
)
from .operating import OperatingCounts, operating_counts
from .overlaps import Overlaps, overlaps_of
from .rates import LesionRates, lesion_rates
from .sizes import SIZE_EDGES_ML, SIZE_NAMES, size_class
from .surface import SurfaceDistances, hd95, surface_dice, surface_distances

__all__ = [
    "CPM_AT",
    "DICE_RULE",
    "IOU_RULE",
    "SIZE_EDGES_ML",
    "SIZE_NAMES",
    "Froc",
    "InsideOutside",
    "LesionRates",
    "MatchRule",
    "MatchedComponent",
    "MatchedLesion",
    "Matching",
    "OperatingCounts",
    "Overlaps",
    "SurfaceDistances",
    "froc_of",
    "hd95",
    "inside_outside",
    "lesion_rates",
    "match_lesions",
    "match_overlaps",
    "mean_sensitivity",
    "operating_counts",
    "overlaps_of",
    "sensitivity_at",
    "size_class",
    "ssim_map",
    "surface_dice",
    "surface_distances",
]
