"""The straightforward way to measure a volume: SciPy and scikit-learn as their documentation has it.

What `bench speed` and `tests/trials/measuring_trial.py` put beside our own, in one run: the same numbers, none of the
short cuts. Nothing here is used to score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

_CROSS_IN_SLICE = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], dtype=bool)
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class Measured:
    """The numbers of one volume: Dice at a threshold, and average precision, both in [0, 1]."""

    dice: float
    average_precision: float


def postprocess(residual: Floats, brain_mask: Mask, erosion: int = 3, median: int = 5) -> Floats:
    """Cut a residual to the eroded brain and filter it.

    Args:
        residual: float [D, H, W].
        brain_mask: bool [D, H, W].
        erosion: voxels taken off the mask in each slice; 0 takes off none.
        median: side of the cube in voxels, odd.
    """
    eroded = ndimage.binary_erosion(brain_mask, _CROSS_IN_SLICE, iterations=erosion) if erosion else brain_mask
    filtered: Floats = ndimage.median_filter(residual * eroded, size=median)
    return filtered


def components(mask: Mask, min_voxels: int = 7) -> Mask:
    """Drop the connected components of fewer voxels than `min_voxels`, bool [D, H, W]."""
    labels, count = ndimage.label(mask, _TOUCHING)
    sizes = ndimage.sum_labels(mask, labels, index=np.arange(1, count + 1))
    kept: Mask = np.isin(labels, 1 + np.flatnonzero(sizes >= min_voxels))
    return kept


def average_precision(scores: Floats, labels: Mask) -> float:
    """scikit-learn's average precision over all voxels; scores and labels of any one shape."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels.ravel(), scores.ravel()))


def dice(found: Mask, truth: Mask) -> float:
    """2 |P ∩ T| / (|P| + |T|) of masks that are not both empty."""
    return float(2 * np.sum(found & truth) / (np.sum(found) + np.sum(truth)))


def measure_volume(residual: Floats, brain_mask: Mask, lesions: Mask, threshold: float) -> Measured:
    """From residual to numbers, as the protocol has it: erosion 3, median 5, components of at least 7 voxels.

    Args:
        residual: not negative, float [D, H, W].
        brain_mask: bool [D, H, W].
        lesions: at least one voxel, bool [D, H, W].
        threshold: score above it is lesion.
    """
    score_map = postprocess(residual, brain_mask)
    found = components(score_map > threshold)
    return Measured(dice(found, lesions), average_precision(score_map, lesions))
