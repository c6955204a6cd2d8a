"""From residual to lesion mask: the steps of the protocol between reconstruction and metric (paper, section 4).

Residual inside the eroded brain → 3-D median filter → (threshold) → drop small connected components. They are the same
for every method, and each is worth several points of Dice: errors at the rim of the brain and single bright voxels are
what an imperfect reconstruction leaves behind.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .checks import (
    BoolArray,
    FloatArray,
    require_at_least,
    require_floats,
    require_mask,
    require_same_shape,
    require_volume,
)
from .median import median_filter

TOUCHING_IN_3D = np.ones((3, 3, 3), dtype=bool)


def erode_brain_mask(mask: BoolArray, iterations: int = 3) -> BoolArray:
    """Erode a brain mask slice by slice with a 2-D cross; what lies outside the image counts as background.

    Args:
        mask: True inside the brain, bool [D, H, W].
        iterations: voxels to take off, in city-block distance; 0 takes off none.

    Raises:
        ValueError: the mask is not a bool volume, or iterations < 0.
    """
    require_mask("mask", mask)
    require_volume("mask", mask)
    require_at_least("iterations", iterations, 0)
    eroded = mask.copy()
    # No erosion along the slice axis, where the volume is cut and not bounded by the brain.
    for _ in range(iterations):
        before = np.pad(eroded, [(0, 0), (1, 1), (1, 1)])
        for neighbours in (before[:, 2:, 1:-1], before[:, :-2, 1:-1], before[:, 1:-1, 2:], before[:, 1:-1, :-2]):
            eroded &= neighbours
    return eroded


def postprocess(
    residual: FloatArray, brain_mask: BoolArray, erosion: int = 3, median: int = 5, threads: int = 1
) -> FloatArray:
    """Turn a residual into the score that is thresholded: cut to the eroded brain, then median-filter in 3-D.

    Beyond its borders the volume is mirrored for the filter (SciPy's default), so that lesions in the first and last
    slices keep their score.

    Args:
        residual: |x - x_rec| or another anomaly map, float [D, H, W], not negative: outside the brain it becomes 0,
            which must be the least suspicious score.
        brain_mask: True inside the brain, bool [D, H, W].
        erosion: voxels taken off the brain mask in each slice.
        median: side of the cube of the median filter in voxels, odd; 1 filters nothing.
        threads: how many filter; the result is the same.

    Returns:
        The score, [D, H, W], of the residual's type.

    Raises:
        ValueError: a type, shape or size is wrong, or the residual is negative or not finite somewhere.
    """
    require_floats("residual", residual)
    require_volume("residual", residual)
    require_mask("brain_mask", brain_mask)
    require_same_shape("residual", residual, "brain_mask", brain_mask)
    if residual.min() < 0:
        raise ValueError(
            "residual holds negative values, which would rank below the background's 0; take it absolute or shift it"
        )
    inside = np.where(erode_brain_mask(brain_mask, erosion), residual, residual.dtype.type(0))
    return median_filter(inside, median, threads)


def remove_small_components(mask: BoolArray, min_voxels: int = 7) -> BoolArray:
    """Drop 3-D connected components of fewer than `min_voxels` voxels; voxels that share a corner are connected.

    Args:
        mask: predicted lesions, bool [D, H, W].
        min_voxels: the smallest component that stays; 0 and 1 keep all.

    Raises:
        ValueError: the mask is not a bool volume, or min_voxels < 0.
    """
    require_mask("mask", mask)
    require_volume("mask", mask)
    require_at_least("min_voxels", min_voxels, 0)
    kept = np.zeros_like(mask)
    box = bounding_box(mask)
    labels, _ = ndimage.label(mask[box], TOUCHING_IN_3D)
    keep = np.bincount(labels.ravel(), minlength=1) >= min_voxels
    keep[0] = False  # the background, however small it may be
    kept[box] = keep[labels]
    return kept


def bounding_box(mask: BoolArray) -> tuple[slice, ...]:
    """The smallest box that holds every True voxel; an empty one where there is none."""
    if not mask.any():
        return (slice(0, 0),) * mask.ndim
    axes = range(mask.ndim)
    found = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return tuple(slice(int(places[0]), int(places[-1]) + 1) for places in found)
