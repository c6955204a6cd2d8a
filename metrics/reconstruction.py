"""Reconstruction error on healthy brains (the paper's l1, section 4)."""

from __future__ import annotations

import numpy as np

from .checks import BoolArray, FloatArray, require_floats, require_mask, require_same_shape


def l1_error(x: FloatArray, x_rec: FloatArray, mask: BoolArray | None = None) -> float:
    """Mean absolute difference of an image and its reconstruction, in the intensity unit (the paper prints it × 10³).

    The protocol's figure averages over all voxels, background included, and so falls with the share of background that
    the image happens to have; with a brain mask it is the error of the brain alone.

    Args:
        x: intensities, float, any shape.
        x_rec: the reconstruction, float, the same shape.
        mask: voxels to average over, bool, the same shape; all voxels if None.

    Raises:
        ValueError: a type or shape is wrong, a value is not finite, or the mask is empty.
    """
    require_floats("x", x)
    require_floats("x_rec", x_rec)
    require_same_shape("x", x, "x_rec", x_rec)
    error = np.abs(x - x_rec)
    if mask is None:
        return float(error.mean(dtype=np.float64))
    require_mask("mask", mask)
    require_same_shape("mask", mask, "x", x)
    if not mask.any():
        raise ValueError("mask marks no voxel, so there is no error to average; pass the brain mask of this volume")
    return float(error[mask].mean(dtype=np.float64))
