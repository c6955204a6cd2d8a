"""How many voxels a threshold catches: the one ranking behind the exact threshold and the average precision.

Both need the same two numbers at every possible cut: lesion voxels caught, and other voxels caught. A cut that adds
only other voxels never improves Dice nor adds recall, so only the distinct scores *of lesion voxels* matter. Lesions
are a few per cent of a brain, and what scores no higher than the lowest lesion voxel (as a rule: the zeros outside the
brain) is counted, not sorted: 50 million voxels take a second or two and little memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import BoolArray, FloatArray, require_floats, require_mask, require_same_shape


@dataclass(frozen=True)
class Counts:
    """Voxels at or above each distinct lesion score.

    Attributes:
        scores: the distinct scores of lesion voxels, ascending, [K].
        lesions: lesion voxels with at least that score, int64 [K]; `lesions[0]` is all of them.
        others: other voxels with at least that score, int64 [K].
    """

    scores: FloatArray
    lesions: NDArray[np.int64]
    others: NDArray[np.int64]


def require_scored_lesions(scores: FloatArray, labels: BoolArray) -> None:
    """Refuse scores and labels that cannot be ranked against each other.

    Args:
        scores: anomaly scores, float, any shape.
        labels: True in lesions, bool, the same shape.

    Raises:
        ValueError: a type or shape is wrong, a score is not finite, or no voxel is a lesion.
    """
    require_scores(scores, labels)
    require_lesions(int(np.count_nonzero(labels)))


def require_scores(scores: FloatArray, labels: BoolArray) -> None:
    """Refuse scores and labels that do not belong together; there may be no lesion.

    Raises:
        ValueError: a type or shape is wrong, or a score is not finite.
    """
    require_floats("scores", scores)
    require_mask("labels", labels)
    require_same_shape("scores", scores, "labels", labels)


def require_lesions(voxels: int) -> None:
    """Refuse a pool without a lesion voxel.

    Raises:
        ValueError: there is none.
    """
    if not voxels:
        raise ValueError(
            "labels mark no lesion voxel, so neither Dice nor precision is defined; score lesion volumes only"
        )


def count_at_lesion_scores(scores: FloatArray, labels: BoolArray) -> Counts:
    """Count lesion and other voxels at or above every distinct lesion score, in one sort, O(n log n).

    Args:
        scores: anomaly scores, float32 or float64, any shape, finite.
        labels: True in lesions, bool, the same shape; at least one lesion voxel.

    Raises:
        ValueError: see `require_scored_lesions`.
    """
    require_scored_lesions(scores, labels)
    lesion = np.sort(scores[labels])
    first_of_tie = np.flatnonzero(np.concatenate([[True], lesion[1:] != lesion[:-1]]))
    distinct = lesion[first_of_tie]
    ranked = _others_above(scores, labels, distinct[0])
    others: NDArray[Any] = ranked.size - np.searchsorted(ranked, distinct, side="left")
    # The lowest cut also takes in the other voxels that tie with the lowest lesion score: usually the zeros.
    others[0] = np.count_nonzero(scores >= distinct[0]) - lesion.size
    return Counts(distinct, lesion.size - first_of_tie, others)


def _others_above(scores: FloatArray, labels: BoolArray, floor: np.floating[Any]) -> FloatArray:
    """Sorted scores of the voxels outside lesions that score above `floor`."""
    chosen = scores > floor
    chosen &= ~labels
    above = scores[chosen]
    above.sort()
    return above
