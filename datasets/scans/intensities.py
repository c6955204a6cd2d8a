"""Grey values that do not depend on the scanner's scale, its offset or what was written outside the brain.

Magnetic resonance has no unit of intensity, and packages write 0, -1024, a small negative number or not-a-number around
a stripped brain. So everything that computes with grey values gets them in one form, made of the brain's own voxels
alone: the 1st percentile of the brain becomes 0.1 and the 99th 1.1, nothing in it is below 0.01, and outside is 0. On
T2 scans whose background is true zero the 1st percentile lies at 0.03 to 0.15 of that span, so the form is near to
what the scanner measured; N4, which takes logarithms, needs that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

LOW = 0.1  # what the brain's 1st percentile becomes
CLEAR_OF_BACKGROUND = 0.5  # the same for registration, which aligns the edge of the brain, too
_FLOOR = 0.01  # of a brain voxel; N4 takes logarithms
_PERCENTILES = (1.0, 99.0)
_OUTER = (0.5, 99.5)  # percentiles of the brain beyond which a background lies outside of its grey values
_SAMPLE = 100_000  # voxels that are enough to see which value is the most common
_MORE_FREQUENT = 3  # than its neighbours: no grey value
_WIDE_GAP = 1.5  # usual gaps: two neighbours of a missing grey value are two apart
_NEAREST = 50  # distinct grey values on either side that tell how far apart such values lie
_HEAD_PERCENTILES = (0.1, 99.9)
_HEAD_TOP = 1000.0  # what the upper one becomes
_PADDED = 0.3  # of the six faces, from which on one value is what a scan was padded with

Array = NDArray[np.float32]


def canonical(image: Array, brain: NDArray[np.bool_], low: float = LOW) -> Array:
    """The image in the form that the module's text describes.

    Args:
        image: any scale and offset; outside the brain anything, not-a-number included.
        brain: bool of the same shape, not empty.
        low: what the brain's 1st percentile becomes.

    Raises:
        DataError: not-a-number inside the brain, or a brain of one grey value.
    """
    inside = image[brain].astype(np.float64)
    empty = without_signal(inside, common_value(image[~brain]))
    values = inside[~empty]
    if not np.isfinite(values).all():
        raise DataError("the image holds not-a-number or infinite values inside the brain; export this scan again")
    if not values.size or values.min() == values.max():
        value = values[0] if values.size else inside[0]
        raise DataError(f"the image is constant inside the brain (value {value:g}); this scan cannot be normalised")
    first, last = np.percentile(values, _PERCENTILES)
    if not last > first:
        first, last = values.min(), values.max()
    scaled = (np.where(empty, first, inside) - first) / (last - first) + low
    result = np.zeros(image.shape, dtype=np.float32)
    result[brain] = np.where(empty, _FLOOR, np.maximum(scaled, _FLOOR))
    return result


def without_signal(inside: NDArray[np.floating[Any]], background: float | None) -> NDArray[np.bool_]:
    """Which voxels of a brain hold the background: where a mask is generous, or a package blanked a pocket in it.

    A background among the brain's grey values is told from them by what lies next to it: it is more frequent, or it
    stands between two neighbours in a row of evenly spaced ones.

    Args:
        inside: the grey values of the brain, flat.
        background: the value outside; not-a-number for any that is not finite, None for none.
    """
    if background is None:
        return np.zeros(inside.shape, dtype=np.bool_)
    if np.isnan(background):
        return np.asarray(~np.isfinite(inside))
    same = np.asarray(inside == np.float32(background))
    others = inside[~same & np.isfinite(inside)]
    if not same.any() or not others.size:
        return same
    low, high = np.percentile(others, _OUTER)
    if low < background < high and _is_grey_value(background, int(same.sum()), others):
        return np.zeros(inside.shape, dtype=np.bool_)
    return same


def _is_grey_value(value: float, times: int, others: NDArray[np.floating[Any]]) -> bool:
    """Whether a value that occurs so many times is one of the grey values around it."""
    known, counts = np.unique(others, return_counts=True)
    place = int(np.searchsorted(known, value))
    usual = np.median(np.diff(known[max(0, place - _NEAREST) : place + _NEAREST]))
    gap = known[place] - known[place - 1]
    return bool(times <= _MORE_FREQUENT * counts[place - 1 : place + 1].max() and gap > _WIDE_GAP * usual)


def common_value(values: Array, share: float = 0.5) -> float | None:
    """The value that so large a share of an array has; not-a-number and infinite count as one; None if none has.

    Args:
        values: any shape; of a large array every n-th is looked at.
        share: of the values.
    """
    flat = values.ravel()
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    if not sample.size:
        return None
    known, counts = np.unique(sample[np.isfinite(sample)], return_counts=True)
    strange = sample.size - int(counts.sum())
    most = int(counts.max()) if counts.size else 0
    if max(most, strange) < share * sample.size:
        return None
    return float("nan") if strange > most else float(known[np.argmax(counts)])


def canonical_head(image: Array) -> Array:
    """A head with its skull, as a learned stripper gets it: padding and not-a-number are 0 as its darkest voxels are.

    Args:
        image: any scale and offset, [Z, Y, X].

    Raises:
        DataError: a constant image.
    """
    padding = common_value(faces_of(image), _PADDED)
    known = np.isfinite(image)
    if padding is not None and np.isfinite(padding):
        known &= image != np.float32(padding)
    values = image[known].astype(np.float64)
    low, high = np.percentile(values, _HEAD_PERCENTILES) if values.size else (0.0, 0.0)
    if not high > low:
        raise DataError("the image is constant but for its padding; export it again")
    scaled = (np.where(known, image, low) - low) * (_HEAD_TOP / (high - low))
    return np.maximum(scaled, 0).astype(np.float32)


def without_background(image: Array, brain: NDArray[np.bool_]) -> Array:
    """For a picture: the background and what is not a number become as dark as the darkest voxel of the brain.

    Args:
        image: any scale and offset.
        brain: bool of the same shape; may be empty.
    """
    background = common_value(image[~brain])
    empty = ~np.isfinite(image)
    if background is not None:
        empty |= ~brain & (image == np.float32(background))
    empty[brain] |= without_signal(image[brain], background)
    signal = image[brain & ~empty] if (brain & ~empty).any() else image[~empty]
    return np.where(empty, signal.min() if signal.size else np.float32(0), image).astype(np.float32)


def faces_of(image: Array) -> Array:
    """The voxels of the six faces of an array, one after another."""
    return np.concatenate([face.ravel() for axis in range(3) for face in (image.take(0, axis), image.take(-1, axis))])
