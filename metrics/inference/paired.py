"""Two methods on the same volumes: the difference, its interval, and whether it may be chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .draws import Floats, resampled_means
from .intervals import RESAMPLES, IntervalOfMean, interval_around, scored_part

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
        interval: of the difference, by the bootstrap over volumes, and over trainings where there are several.
        p: of the Wilcoxon signed-rank test, two-sided; NaN of no volume, 1 where no volume differs. It knows these
            trainings and no others.
        p_crossed: of a test for which trainings are drawn by chance, too, see `crossed`; NaN where it cannot be made.
        wins: volumes on which the first is better.
        ties: on which both are equal.
        losses: on which the second is better.
        false_claim: probability that whoever claims, by the means, that one is better is wrong; see `paired`.
    """

    n: int
    difference: float
    interval: IntervalOfMean
    p: float
    p_crossed: float
    wins: int
    ties: int
    losses: int
    false_claim: float

    @property
    def p_strict(self) -> float:
        """The larger of both p: what a family's adjustment takes."""
        return float(np.fmax(self.p, self.p_crossed))


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

    Folds share their test volumes and are averaged first; the Wilcoxon signed-rank test then asks whether differences
    lie symmetrically around zero. Zeros, of which two methods that both find nothing have many, take part in the
    ranking and then their ranks are dropped (Pratt 1959, "Remarks on zeros and ties in the Wilcoxon signed rank
    procedures", JASA 54:655), so that p does not jump where a small difference becomes none; SciPy's default leaves
    them out of the ranking.

    `false_claim` is the probability that the method with the worse mean is in truth at least as good, which
    Christodoulou et al. 2025 ("False promises in medical imaging AI?", arXiv:2505.04720) compute as a posterior from
    what papers report; here the scores are known, so it is the share of bootstrap resamples whose mean difference has
    the other sign, one of exactly zero counting half.

    Args:
        first: scores [volumes] or [trainings, volumes]; NaN where there is none.
        second: the other's, of the same folds on the same volumes.
        higher: whether more is better.
        confidence: probability that the interval should cover.
        resamples: how many times volumes and trainings are drawn anew.
        seed: makes the interval repeatable.

    Raises:
        ValueError: they are no two arrays of one such shape, or hold infinity.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim not in (1, 2):
        raise ValueError(f"both must be [trainings, volumes] of one shape, not {one.shape} and {other.shape}")
    differences = scored_part(differences_of(np.atleast_2d(one), np.atleast_2d(other)))
    (found,) = paired_family(differences[None], higher=higher, confidence=confidence, resamples=resamples, seed=seed)
    return found


def paired_family(
    differences: Floats,
    *,
    higher: bool = True,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Paired, ...]:
    """Many comparisons on the same volumes, all on the same resamples; see `paired`.

    Args:
        differences: [pairs, trainings, volumes], see `differences_of`.
        higher: whether more is better.
        confidence: probability that an interval should cover.
        resamples: how many times volumes and trainings are drawn anew.
        seed: makes the intervals repeatable.
    """
    means = (
        resampled_means(differences, resamples, seed) if differences.size else np.full((1, len(differences)), np.nan)
    )
    return tuple(
        _compared(scored_part(one), drawn, higher, confidence) for one, drawn in zip(differences, means.T, strict=True)
    )


def differences_of(first: Floats, second: Floats) -> Floats:
    """Scores of one method less those of another; what rounding alone makes is zero."""
    return np.asarray(np.round(first - second, _DECIMALS))


def _compared(differences: Floats, means: Floats, higher: bool, confidence: float) -> Paired:
    n = int(differences.shape[1])
    if n == 0:
        nothing = IntervalOfMean(math.nan, math.nan, "none", 0)
        return Paired(0, math.nan, nothing, math.nan, math.nan, 0, 0, 0, math.nan)
    by_volume = np.asarray(np.round(np.nanmean(differences, axis=0), _DECIMALS), dtype=np.float64)
    better = by_volume if higher else -by_volume
    wins, losses = int((better > 0).sum()), int((better < 0).sum())
    mean = round(float(np.nanmean(differences)), _DECIMALS)  # as the resamples weigh a volume that a training lacks
    alone = n == 1
    return Paired(
        n=n,
        difference=mean,
        interval=IntervalOfMean(math.nan, math.nan, "none", 1)
        if alone
        else interval_around(differences, means, confidence),
        p=signed_rank(by_volume),
        p_crossed=crossed(differences),
        wins=wins,
        ties=n - wins - losses,
        losses=losses,
        false_claim=math.nan if alone else _false_claim(mean, means),
    )


def crossed(differences: Floats) -> float:
    """Two-sided p of a mean difference where both volumes and trainings are drawn by chance.

    A training has luck that lifts all its volumes, so that on many volumes any two sets of trainings differ, and a test
    that knows volumes alone says so; it does not follow that the methods differ. This is min F' (Clark 1973, "The
    language-as-fixed-effect fallacy", Journal of Verbal Learning and Verbal Behavior 12:335): the squared mean over the
    sum of its variance by volumes and its variance by trainings, with Satterthwaite's degrees of freedom. What noise
    does on single volumes counts twice, so it is a little too careful.

    Args:
        differences: [trainings, volumes], see `scored_part`.

    Returns:
        NaN of fewer than two volumes or trainings; 1 where there is no difference.
    """
    from scipy.stats import t

    if min(differences.shape) < 2:
        return math.nan
    parts = [np.nanmean(differences, axis=axis) for axis in (0, 1)]
    variances = [float(part.var(ddof=1)) / part.size for part in parts]
    mean, variance = float(np.nanmean(differences)), sum(variances)
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    degrees = variance**2 / sum(one**2 / (part.size - 1) for one, part in zip(variances, parts, strict=True))
    return float(2 * t.sf(abs(mean) / math.sqrt(variance), degrees))


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


def _false_claim(mean: float, means: Floats) -> float:
    if mean == 0:
        return 0.5
    other = (np.sign(means) == -np.sign(mean)).mean()
    return float(other + (means == 0).mean() / 2)
