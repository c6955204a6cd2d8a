"""From a score map to a mask: the protocol's greedy threshold search, and the exact optimum it should have found.

The paper (section 4) takes the threshold "through a greedy search on the validation dataset", on all voxels pooled. The
search halves an interval and so presumes that Dice has one peak over the threshold. Where it has two, the search may
settle on the lower one and never look at the other; `best_threshold` shows what that cost. The benchmark reports the
exact optimum beside the greedy one, never instead of it.

A voxel counts as lesion if `score > value`, strictly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import BoolArray, FloatArray, require_at_least
from .counts import count_at_lesion_scores, require_scored_lesions
from .dice import dice_from_counts


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it achieves on the voxels it was chosen on.

    Attributes:
        value: a voxel is lesion if its score is greater. Exactly representable in the type of the scores, so that
            comparing float32 scores with this Python float rounds nothing.
        dice: pooled Dice at that threshold, in [0, 1].
    """

    value: float
    dice: float


def greedy_threshold(scores: FloatArray, labels: BoolArray, steps: int = 10) -> Threshold:
    """The protocol's threshold: halve [0, max] `steps` times towards the better quarter point, return the best seen.

    Each step compares the pooled Dice at lo + w/4 and lo + 3w/4 (w = hi - lo) and keeps the half around the better; on
    a tie the lower. A later point replaces the best only if strictly better. May end in a local optimum.

    Args:
        scores: post-processed scores of all validation volumes, float, any shape, not negative.
        labels: True in lesions, bool, the same shape.
        steps: how often the interval is halved.

    Raises:
        ValueError: a type or shape is wrong, a score is negative or not finite, no voxel is a lesion, or steps < 1.
    """
    require_scored_lesions(scores, labels)
    require_at_least("steps", steps, 1)
    if scores.min() < 0:
        raise ValueError(
            "scores hold negative values, which a greedy search over [0, max] would never reach; shift them"
        )
    pool = _Pool(scores, labels)
    lo, hi = 0.0, float(scores.max())
    best = Threshold(value=0.0, dice=-1.0)  # worse than any point
    for _ in range(steps):
        width = hi - lo
        lower, upper = pool.evaluate(lo + width / 4), pool.evaluate(lo + 3 * width / 4)
        better = lower if lower.dice >= upper.dice else upper
        if better.dice > best.dice:
            best = better
        middle = lo + width / 2
        lo, hi = (lo, middle) if better is lower else (middle, hi)
    return best


def best_threshold(scores: FloatArray, labels: BoolArray) -> Threshold:
    """The threshold of highest pooled Dice among all there are: every distinct score, and one below them all.

    Equal scores cannot be separated, so each cut takes whole ties. Among equally good cuts the lowest is returned. If
    the best is to call every voxel a lesion, the value lies below all scores (-1 unless there are negative scores).

    Args:
        scores: post-processed scores of all validation volumes, float, any shape.
        labels: True in lesions, bool, the same shape.

    Raises:
        ValueError: a type or shape is wrong, a score is not finite, or no voxel is a lesion.
    """
    counts = count_at_lesion_scores(scores, labels)
    dice = 2 * counts.lesions / (counts.lesions + counts.others + counts.lesions[0])
    best = int(np.argmax(dice))  # the first, hence lowest, of equals
    return Threshold(_largest_below(scores, counts.scores[best]), float(dice[best]))


class _Pool:
    """Positive scores, in and outside lesions, for Dice at thresholds that are never negative."""

    def __init__(self, scores: FloatArray, labels: BoolArray) -> None:
        # Zeros are most of a map and lie above no threshold: dropping them once makes each evaluation cheap.
        positive = scores > 0
        self._all = scores[positive]
        self._lesion = scores[positive & labels]
        self._true = int(np.count_nonzero(labels))

    def evaluate(self, value: float) -> Threshold:
        cut = self._all.dtype.type(value)
        overlap = int(np.count_nonzero(self._lesion > cut))
        predicted = int(np.count_nonzero(self._all > cut))
        return Threshold(float(cut), dice_from_counts(overlap, predicted, self._true))


def _largest_below(scores: FloatArray, bound: np.floating[Any]) -> float:
    """The largest score below `bound`, or a finite number below all scores if there is none."""
    largest = float(np.max(scores, where=scores < bound, initial=-np.inf))
    # Not -inf, which JSON cannot hold, nor the next float below zero, which a CPU flushing denormals takes for zero.
    return largest if np.isfinite(largest) else min(-1.0, 2 * float(bound))
