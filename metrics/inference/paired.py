"""Two methods on the same volumes: the difference, its interval, and whether it may be chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .draws import Floats, resampled_means
from .intervals import RESAMPLES, IntervalOfMean, interval_around

#: Up to so many volumes the test counts every pattern of signs, ties and zeros included; SciPy's does so without ties.
EXACT_UP_TO = 50
#: Differences are compared by this many decimals: what differs by rounding alone is a tie.
_DECIMALS = 12


@dataclass(frozen=True)
class Paired:
    """A paired comparison of a method with another.

    Attributes:
        n: volumes that both have a score of.
        difference: mean of the first's scores less the second's.
        interval: of the difference, bootstrap over volumes, the trainings being what they are.
        p: of the Wilcoxon signed-rank test, two-sided; NaN of no volume, 1 where no volume differs.
        wins: volumes on which the first is better.
        ties: on which both are equal.
        losses: on which the second is better.
        false_claim: probability that whoever claims, by the means, that one is better is wrong; see `paired`.
    """

    n: int
    difference: float
    interval: IntervalOfMean
    p: float
    wins: int
    ties: int
    losses: int
    false_claim: float


def paired(
    first: ArrayLike,
    second: ArrayLike,
    *,
    higher: bool = True,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Paired:
    """Compare two methods volume by volume.

    The Wilcoxon signed-rank test asks whether differences lie symmetrically around zero. Zeros, of which two methods
    that both find nothing have many, take part in the ranking and then their ranks are dropped (Pratt 1959, "Remarks on
    zeros and ties in the Wilcoxon signed rank procedures", JASA 54:655), so that p does not jump where a small
    difference becomes none; SciPy's default leaves them out of the ranking.

    `false_claim` is the probability that the method with the worse mean is in truth at least as good, which
    Christodoulou et al. 2025 ("False promises in medical imaging AI?", arXiv:2505.04720) compute as a posterior from
    what papers report; here the volumes are known, so it is the share of bootstrap resamples whose mean difference has
    the other sign, one of exactly zero counting half.

    Args:
        first: one score per volume [n], means over folds; NaN where there is none.
        second: the other's on the same volumes.
        higher: whether more is better.
        confidence: probability that the interval should cover.
        resamples: how many times the volumes are drawn anew.
        seed: makes the interval repeatable.

    Raises:
        ValueError: they are no flat sequences of one length, or hold infinity.
    """
    differences = differences_of(first, second)
    n = int(differences.size)
    better = differences if higher else -differences
    wins, losses = int((better > 0).sum()), int((better < 0).sum())
    counts = {"wins": wins, "ties": n - wins - losses, "losses": losses}
    if n == 0:
        nothing = IntervalOfMean(math.nan, math.nan, "none", 0)
        return Paired(n, math.nan, nothing, math.nan, **counts, false_claim=math.nan)
    mean = float(differences.mean())
    if n == 1:
        one = IntervalOfMean(math.nan, math.nan, "none", 1)
        return Paired(n, mean, one, signed_rank(differences), **counts, false_claim=math.nan)
    means = resampled_means(differences, resamples, seed)
    interval = interval_around(mean, means, [differences - mean], confidence, n)
    return Paired(n, mean, interval, signed_rank(differences), **counts, false_claim=_false_claim(mean, means))


def signed_rank(differences: Floats) -> float:
    """Two-sided p of the Wilcoxon signed-rank test with Pratt's zeros; 1 where no difference is left.

    Up to `EXACT_UP_TO` volumes every pattern of signs is counted, which SciPy does for more than 13 volumes only where
    there are neither ties nor zeros; beyond, SciPy's normal approximation.

    Args:
        differences: finite [n].
    """
    if not differences.any():
        return 1.0
    if differences.size <= EXACT_UP_TO:
        return _exact(differences)
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue)


def _exact(differences: Floats) -> float:
    """By the distribution of the sum of positive ranks over all patterns of signs; ranks are doubled to be whole."""
    from scipy.stats import rankdata

    there = differences != 0
    ranks = np.rint(2 * rankdata(np.abs(differences))[there]).astype(int)
    patterns = np.zeros(ranks.sum() + 1)
    patterns[0] = 1.0
    for rank in ranks:  # halved each time: shares, not counts, which would not fit
        patterns[rank:] = patterns[rank:] / 2 + patterns[:-rank] / 2
        patterns[:rank] /= 2
    positive = int(ranks[differences[there] > 0].sum())
    least = min(positive, int(ranks.sum()) - positive)
    return min(1.0, 2 * float(patterns[: least + 1].sum()))


def differences_of(first: ArrayLike, second: ArrayLike) -> Floats:
    """Scores of one method less those of another, of the volumes that both have; what rounding alone makes is zero.

    Raises:
        ValueError: they are no flat sequences of one length, or hold infinity.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise ValueError(f"both must be flat and of one length, not of shapes {one.shape} and {other.shape}")
    if np.isinf(one).any() or np.isinf(other).any():
        raise ValueError("scores must be finite or NaN, but they hold infinity")
    differences = np.round(one - other, _DECIMALS)
    return np.asarray(differences[~np.isnan(differences)])


def _false_claim(mean: float, means: Floats) -> float:
    if mean == 0:
        return 0.5
    other = (np.sign(means) == -np.sign(mean)).mean()
    return float(other + (means == 0).mean() / 2)
