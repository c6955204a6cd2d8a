"""The Dice that no threshold beats, chosen on the very voxels it is measured on: a ceiling, never a result."""

from __future__ import annotations

import numpy as np

from ..checks import BoolArray, FloatArray
from ..threshold import Threshold, best_threshold
from .histogram import Counts, curve_of


def ceiling_dice(scores: FloatArray, labels: BoolArray) -> Threshold:
    """The best threshold of these voxels and its Dice: of one volume, or of a pool.

    Args:
        scores: post-processed scores, float, any shape.
        labels: True in lesions, bool, the same shape.

    Raises:
        ValueError: a type or shape is wrong, a score is not finite, or no voxel is a lesion.
    """
    return best_threshold(scores, labels)


def ceiling_of(inside: Counts, outside: Counts, edges: FloatArray) -> Threshold:
    """The best edge of a histogram and its Dice; the lowest of equals. Within a bin of the pool's ceiling, never above.

    Args:
        inside: lesion voxels per bin, [E + 1].
        outside: other voxels per bin, [E + 1].
        edges: of the bins, [E].

    Raises:
        ValueError: counts and edges do not belong together.
    """
    curve = curve_of(inside, outside, edges)
    best = int(np.argmax(curve.dice))
    return Threshold(float(curve.thresholds[best]), float(curve.dice[best]))
