"""From a score map to a mask: the protocol's greedy threshold search, and the exact optimum it should have found.

The paper (section 4) takes the threshold "through a greedy search on the validation dataset", on all voxels pooled. The
search halves an interval and so presumes that Dice has one peak over the threshold. Where it has two, the search may
settle on the lower one and never look at the other; `best_threshold` shows what that cost. The benchmark reports the
exact optimum beside the greedy one, never instead of it.

A voxel counts as lesion if `score > value`, strictly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import BoolArray, FloatArray, require_at_least
from .counts import require_lesions, require_scores
from .dice import dice_from_counts

#: Reads volumes, the scores and the labels of each, anew with every call.
Volumes = Callable[[], Iterable[tuple[FloatArray, BoolArray]]]


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
    require_at_least("steps", steps, 1)
    return _Pool.of(lambda: [(scores, labels)]).greedy(steps)


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
    return _Pool.of(lambda: [(scores, labels)]).best()


def pooled_thresholds(volumes: Volumes, steps: int = 10) -> tuple[Threshold, Threshold]:
    """The greedy and the exact threshold of many volumes, whose voxels are pooled and sorted once.

    The volumes are read twice, one after the other. What stays in memory is the positive scores, in one array that is
    sorted where it lies, and those of lesions: 1.5 GB for 100 volumes of 192 x 192 x 100 voxels if every score is
    positive, a third of that where the brain fills a third.

    Args:
        volumes: called for every pass over the volumes; gives the scores and the labels of each, see
            `greedy_threshold`; a volume may hold no lesion.
        steps: how often the interval of the greedy search is halved.

    Raises:
        ValueError: as `greedy_threshold`; or a pass gives other volumes than the one before.
    """
    require_at_least("steps", steps, 1)
    pool = _Pool.of(volumes)
    return pool.greedy(steps), pool.best()


@dataclass(frozen=True)
class _Pool:
    """The scores of all voxels, as far as they decide on a threshold.

    Attributes:
        lesions: of lesion voxels, ascending.
        others: of other voxels that score above `floor`, ascending.
        floor: 0, or the lowest score of a lesion voxel if that is lower.
        at_floor: other voxels that score as much as `floor`.
        below: the highest score of another voxel below `floor`; -inf if there is none.
        lowest: of all voxels.
    """

    lesions: FloatArray
    others: FloatArray
    floor: float
    at_floor: int
    below: float
    lowest: float

    @classmethod
    def of(cls, volumes: Volumes) -> _Pool:
        """Read volumes twice: to see how much room is needed, and to fill it."""
        lesion_parts, positive, lowest = [], 0, np.inf
        for scores, labels in volumes():
            require_scores(scores, labels)
            lesion_parts.append(scores[labels])
            positive += int(np.count_nonzero(scores > 0))
            lowest = min(lowest, float(scores.min()))
        require_lesions(sum(part.size for part in lesion_parts))
        lesions = np.sort(np.concatenate(lesion_parts))
        del lesion_parts
        floor = min(lesions.dtype.type(0), lesions[0])
        room = positive if floor == 0 else sum(int(np.count_nonzero(scores > floor)) for scores, _ in volumes())
        others = np.empty(room, lesions.dtype)
        filled, at_floor, below = 0, 0, -np.inf
        for scores, labels in volumes():
            rest = scores[~labels]
            above = rest[rest > floor]
            others[filled : filled + above.size] = above
            filled += above.size
            at_floor += int(np.count_nonzero(rest == floor))
            below = max(below, float(np.max(rest, where=rest < floor, initial=-np.inf)))
        others = others[:filled]
        others.sort()
        return cls(lesions, others, float(floor), at_floor, below, lowest)

    def greedy(self, steps: int) -> Threshold:
        """See `greedy_threshold`."""
        if self.lowest < 0:
            raise ValueError(
                "scores hold negative values, which a greedy search over [0, max] would never reach; shift them"
            )
        lo, hi = 0.0, float(max([self.lesions[-1], *self.others[-1:]]))
        best = Threshold(value=0.0, dice=-1.0)  # worse than any point
        for _ in range(steps):
            width = hi - lo
            lower, upper = self._evaluated(lo + width / 4), self._evaluated(lo + 3 * width / 4)
            better = lower if lower.dice >= upper.dice else upper
            if better.dice > best.dice:
                best = better
            middle = lo + width / 2
            lo, hi = (lo, middle) if better is lower else (middle, hi)
        return best

    def best(self) -> Threshold:
        """See `best_threshold`."""
        # Only cuts at the scores of lesion voxels can be best: any other catches more background and no more lesion.
        firsts = np.flatnonzero(np.concatenate([[True], self.lesions[1:] != self.lesions[:-1]]))
        cuts = self.lesions[firsts]
        lesions = self.lesions.size - firsts
        others = self.others.size - np.searchsorted(self.others, cuts, side="left")
        others += np.where(cuts == self.floor, self.at_floor, 0)
        dice = 2 * lesions / (lesions + others + self.lesions.size)
        first = int(np.argmax(dice))  # the first, hence lowest, of equals
        return Threshold(self._largest_below(cuts[first]), float(dice[first]))

    def _evaluated(self, value: float) -> Threshold:
        """What a threshold that is not negative achieves."""
        cut = self.lesions.dtype.type(value)
        overlap = _count_above(self.lesions, cut)
        predicted = overlap + _count_above(self.others, cut)
        return Threshold(float(cut), dice_from_counts(overlap, predicted, self.lesions.size))

    def _largest_below(self, bound: np.floating[Any]) -> float:
        """The largest score below `bound`, or a finite number below all scores if there is none."""
        known = [self.below, *([self.floor] if self.at_floor else [])]
        for ranked in (self.lesions, self.others):
            known += [float(score) for score in ranked[: np.searchsorted(ranked, bound, side="left")][-1:]]
        largest = max((score for score in known if score < bound), default=-np.inf)
        # Not -inf, which JSON cannot hold, nor the next float below zero: a CPU flushing denormals takes that for zero.
        return largest if np.isfinite(largest) else min(-1.0, 2 * float(bound))


def _count_above(ranked: FloatArray, cut: np.floating[Any]) -> int:
    return int(ranked.size - np.searchsorted(ranked, cut, side="right"))
