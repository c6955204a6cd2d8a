"""Recall, precision and F1 of lesions instead of voxels."""

from __future__ import annotations

from typing import NamedTuple


class LesionRates(NamedTuple):
    """Shares of lesions and components that are hits, each in [0, 1], NaN where there is nothing to take a share of."""

    recall: float
    precision: float
    f1: float


def lesion_rates(hits: float, lesions: float, components: float) -> LesionRates:
    """Lesion-wise recall, precision and F1 = 2 hits / (lesions + components), of a volume or of sums over volumes.

    Nothing marked in a volume with lesions is a recall and F1 of 0 and no precision; something marked in one without
    lesions a precision and F1 of 0 and no recall; neither is NaN three times, since nothing was asked.

    Args:
        hits: lesions matched one to one.
        lesions: all of them.
        components: all that were marked.

    Raises:
        ValueError: a count is negative, or there are more hits than lesions or components.
    """
    if not 0 <= hits <= min(lesions, components):
        raise ValueError(f"{hits} hits cannot be among {lesions} lesions and {components} components")
    return LesionRates(_share(hits, lesions), _share(hits, components), _share(2 * hits, lesions + components))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
