"""Lesion by lesion: what was found, what was missed, what was invented, and whether a reconstruction heals.

The rules, their sources and what the corner cases give stand in metrics/README.md, section "Beside the paper".
"""

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
from .overlaps import Overlaps, overlaps_of
from .rates import LesionRates, lesion_rates
from .sizes import SIZE_EDGES_ML, SIZE_NAMES, size_class
from .surface import SurfaceDistances, hd95, surface_dice, surface_distances

__all__ = [
    "DICE_RULE",
    "IOU_RULE",
    "SIZE_EDGES_ML",
    "SIZE_NAMES",
    "InsideOutside",
    "LesionRates",
    "MatchRule",
    "MatchedComponent",
    "MatchedLesion",
    "Matching",
    "Overlaps",
    "SurfaceDistances",
    "hd95",
    "inside_outside",
    "lesion_rates",
    "match_lesions",
    "match_overlaps",
    "overlaps_of",
    "size_class",
    "ssim_map",
    "surface_dice",
    "surface_distances",
]
