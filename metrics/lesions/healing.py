"""Does a reconstruction heal? Its difference from the scan inside lesions, against that in the brain outside them.

A method that works as it is meant to changes lesions and leaves healthy tissue alone: more l1 and less SSIM inside than
outside. One that does the same everywhere finds lesions by their brightness, as a threshold would.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..checks import BoolArray, FloatArray, require_floats, require_mask, require_same_shape, require_volume
from ..postprocess import bounding_box
from ..scores.ssim import structural_similarity

#: The window of Wang et al. 2004, voxels: its standard deviation, and how far it reaches.
_SIGMA, _REACH = 1.5, 5


class InsideOutside(NamedTuple):
    """Means over two parts of a brain; NaN where a part has no voxel."""

    inside: float
    outside: float


def inside_outside(values: FloatArray, lesions: BoolArray, brain: BoolArray) -> InsideOutside:
    """The mean of a map inside lesions, and in the brain outside them.

    Lesion voxels outside the brain mask count in neither: there scan and reconstruction are both 0.

    Args:
        values: a map, e.g. |x - x_rec|, float, any shape.
        lesions: True in lesions, bool, the same shape.
        brain: True in the brain, bool, the same shape.

    Raises:
        ValueError: a type or shape is wrong, or a value is not finite.
    """
    require_floats("values", values)
    for name, mask in (("lesions", lesions), ("brain", brain)):
        require_mask(name, mask)
        require_same_shape(name, mask, "values", values)
    return InsideOutside(_mean(values[brain & lesions]), _mean(values[brain & ~lesions]))


def ssim_map(x: FloatArray, y: FloatArray) -> FloatArray:
    """SSIM of two volumes around each voxel, slice by slice, in one Gaussian window (Wang et al. 2004).

    The window has a standard deviation of 1.5 voxels and ends after 5; slices are mirrored beyond their borders; the
    range of the data is 1. It is 1 where both are 0 all around.

    Args:
        x: scan, float [D, H, W].
        y: its reconstruction, the same shape.

    Returns:
        SSIM in [-1, 1], float64 [D, H, W].

    Raises:
        ValueError: a type or shape is wrong, or a value is not finite.
    """
    require_floats("x", x)
    require_volume("x", x)
    require_floats("y", y)
    require_same_shape("x", x, "y", y)
    similarity = np.ones(x.shape)
    box = _widened(bounding_box((x != 0) | (y != 0)), x.shape)
    if x[box].size:
        similarity[box] = structural_similarity(
            x[box].astype(np.float64), y[box].astype(np.float64), _SIGMA, axes=(1, 2)
        )
    return similarity


def _widened(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A box with a margin in each slice as wide as the window reaches: there the mirrored zeros are the true ones."""
    depth, *sides = box
    ends = zip(sides, shape[1:], strict=True)
    return (depth, *(slice(max(side.start - _REACH, 0), min(side.stop + _REACH, end)) for side, end in ends))


def _mean(values: FloatArray) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")
