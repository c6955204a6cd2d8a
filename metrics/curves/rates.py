"""Thresholds that need no lesion: the scores that a given share of healthy voxels exceeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..checks import FloatArray, require_floats

#: 0.29 of 100 voxels are 29, whatever a product of two binary fractions says.
_ROUNDING = 1e-9


def score_exceeded_by(volumes: Iterable[FloatArray], shares: Sequence[float]) -> tuple[float, ...]:
    """For each share the smallest float32 that at most this share of all voxels exceeds, the volumes pooled.

    The volumes are read once, one after the other; what stays is a copy of their scores: 26 MB for 44 scans of
    150,000 brain voxels.

    Args:
        volumes: scores of the brain voxels of healthy scans, float [N] each.
        shares: of voxels, each in (0, 1), e.g. 0.01.

    Raises:
        ValueError: a share is not in (0, 1), there is no volume, or a score is not finite or no float.
    """
    for share in shares:
        if not 0 < share < 1:
            raise ValueError(f"a share of voxels must lie between 0 and 1, e.g. 0.01, not {share}")
    parts = []
    for scores in volumes:
        require_floats("scores", scores)
        parts.append(scores.ravel().copy())
    if not parts:
        raise ValueError("no healthy volume was given, so no share of healthy voxels is known")
    pool = np.concatenate(parts)
    del parts
    # So many voxels may score more; the next one is the threshold.
    places = [pool.size - 1 - math.floor(share * pool.size + _ROUNDING) for share in shares]
    if places:
        pool.partition(places)
    return tuple(_rounded_up(float(pool[place])) for place in places)


def _rounded_up(value: float) -> float:
    """The smallest float32 that is not below a number."""
    near = np.float32(value)
    return float(near if float(near) >= value else np.nextafter(near, np.float32(np.inf)))
