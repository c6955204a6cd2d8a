"""What every metric asks of its input: one place, one sentence an error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]


def require_floats(name: str, array: FloatArray) -> None:
    """Refuse an array that is not float32 or float64, is empty, or holds a NaN or an infinity.

    Raises:
        ValueError: the array is one of these.
    """
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} must be a float32 or float64 NumPy array, not {_kind(array)}")
    if array.size == 0:
        raise ValueError(f"{name} holds no voxel: its shape is {array.shape}")
    # NaN survives min() and max(): two reductions find every bad value, without an array of flags beside the scores.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise ValueError(f"{name} must be finite, but it holds NaN or infinity")


def require_mask(name: str, array: BoolArray) -> None:
    """Refuse an array that is not boolean: a segmentation with labels 1, 2, 4 is no mask until `> 0` makes it one.

    Raises:
        ValueError: the array's type is not bool.
    """
    if not isinstance(array, np.ndarray) or array.dtype != np.bool_:
        raise ValueError(f"{name} must be a bool NumPy array, not {_kind(array)}; compare it first, e.g. labels > 0")


def require_same_shape(name: str, array: NDArray[Any], other_name: str, other: NDArray[Any]) -> None:
    """Refuse two arrays of different shape, which NumPy would silently broadcast.

    Raises:
        ValueError: the shapes differ.
    """
    if array.shape != other.shape:
        raise ValueError(f"{name} has shape {array.shape} but {other_name} has shape {other.shape}: they must be equal")


def require_volume(name: str, array: NDArray[Any]) -> None:
    """Refuse an array that is not [D, H, W].

    Raises:
        ValueError: the array has not three dimensions.
    """
    if array.ndim != 3:
        raise ValueError(f"{name} must be one volume [D, H, W], but its shape is {array.shape}")


def require_at_least(name: str, number: int, least: int) -> None:
    """Refuse a count below its least sensible value.

    Raises:
        ValueError: the number is smaller.
    """
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")


def _kind(value: object) -> str:
    return f"one of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
