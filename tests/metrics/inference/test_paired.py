"""Paired comparisons against SciPy and against all patterns of signs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from uadbench.metrics.inference import differences_of, paired, paired_family
from uadbench.metrics.inference.paired import EXACT_UP_TO, signed_rank


def by_all_patterns(differences: np.ndarray) -> float:
    """Pratt's ranks, every pattern of signs one after the other."""
    ranks = stats.rankdata(np.abs(differences)) * (differences != 0)
    positive = ranks[differences > 0].sum()
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))])
    return min(1.0, 2 * min((sums <= positive + 1e-9).mean(), (sums >= positive - 1e-9).mean()))


@pytest.mark.parametrize("seed", range(8))
def test_ties_and_zeros_are_counted_exactly(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-3, 5, 11) / 10
    assert signed_rank(differences) == pytest.approx(by_all_patterns(differences), abs=1e-12)


@pytest.mark.parametrize("number", [6, 20, EXACT_UP_TO])
def test_without_ties_it_is_scipys_exact_test(number: int) -> None:
    differences = np.random.default_rng(number).normal(0.2, 1, number)
    wanted = stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank(differences) == pytest.approx(wanted, rel=1e-9)


def test_many_volumes_take_scipys_approximation_which_is_close() -> None:
    differences = np.random.default_rng(3).normal(0.15, 1, EXACT_UP_TO + 1)
    assert signed_rank(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, rel=0.05)
    zeros = np.concatenate([differences, np.zeros(30)])
    assert signed_rank(zeros) == stats.wilcoxon(zeros, zero_method="pratt", method="asymptotic").pvalue


def test_volumes_on_which_both_fail_make_it_no_surer() -> None:
    """Six wins and no loss are worth 2 of 64 patterns, however many volumes do not differ."""
    wins = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert signed_rank(np.concatenate([wins, np.zeros(40)])) == pytest.approx(2 / 64)
    assert signed_rank(wins) == pytest.approx(2 / 64)
    assert signed_rank(np.zeros(9)) == 1.0


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    hard = rng.beta(1, 3, 80)
    return np.clip(hard + rng.normal(0.03, 0.05, 80), 0, 1), hard


def test_counts_difference_and_interval(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found = paired(*pair)
    difference = pair[0] - pair[1]
    assert found.n == 80
    assert found.difference == pytest.approx(difference.mean())
    assert (found.wins, found.losses) == ((difference > 0).sum(), (difference < 0).sum())
    assert found.wins + found.ties + found.losses == 80
    wanted = stats.bootstrap((difference,), np.mean, n_resamples=20_000, rng=np.random.default_rng(0))
    low, high = wanted.confidence_interval
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), abs=0.03 * (high - low))
    assert found.p < 0.01
    assert found.false_claim < 0.01


def test_the_other_way_round_says_the_same_of_the_other(pair: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = paired(*pair), paired(*pair[::-1])
    assert (one.wins, one.losses, one.p, one.false_claim) == (other.losses, other.wins, other.p, other.false_claim)
    assert one.difference == -other.difference
    assert one.interval.low == pytest.approx(-other.interval.high, abs=5e-4)


def test_where_less_is_better_less_wins(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert paired(*pair, higher=False).wins == paired(*pair).losses


def test_the_false_claim_is_the_posterior_of_a_normal_mean() -> None:
    """Of many volumes the share is what a normal posterior with a flat prior says."""
    difference = np.random.default_rng(7).normal(0.1, 1, 400)
    found = paired(difference, np.zeros(400), resamples=20_000)
    wanted = stats.norm.cdf(-abs(difference.mean()) / (difference.std() / 20))
    assert found.false_claim == pytest.approx(wanted, abs=0.01)


def test_rounding_alone_makes_no_winner() -> None:
    found = paired([0.1 + 0.2, 0.5], [0.3, 0.5])
    assert (found.ties, found.p, found.false_claim) == (2, 1.0, 0.5)


def test_volumes_of_one_alone_do_not_count() -> None:
    found = paired([0.1, math.nan, 0.5, 0.7], [0.2, 0.3, math.nan, 0.1])
    assert (found.n, found.wins, found.losses) == (2, 1, 1)
    nothing = paired([math.nan], [0.2])
    assert (nothing.n, math.isnan(nothing.difference), math.isnan(nothing.p)) == (0, True, True)
    one = paired([0.4], [0.2])
    assert (one.n, one.p, one.interval.method, math.isnan(one.false_claim)) == (1, 1.0, "none", True)


def test_folds_are_averaged_for_the_test_and_drawn_for_the_interval() -> None:
    """Two methods whose every training is lucky or not by more than they differ: many volumes cannot tell."""
    rng = np.random.default_rng(11)
    hard, luck = rng.normal(0, 1, 1000), rng.normal(0, 0.1, (2, 5, 1))
    first, second = hard + luck + rng.normal(0, 0.1, (2, 5, 1000))
    found, averaged = paired(first, second), paired(first.mean(axis=0), second.mean(axis=0))
    assert (found.n, found.p, found.wins, found.losses) == (1000, averaged.p, averaged.wins, averaged.losses)
    assert found.difference == pytest.approx(averaged.difference)
    spread = np.std((luck[0] - luck[1])[:, 0], ddof=1) / math.sqrt(5)
    assert found.interval.high - found.interval.low == pytest.approx(2 * stats.t.ppf(0.975, 4) * spread, rel=0.2)
    assert averaged.interval.high - averaged.interval.low < 0.3 * (found.interval.high - found.interval.low)
    assert averaged.false_claim < found.false_claim
    assert found.p < 0.001 < found.p_crossed == found.p_strict


def test_where_trainings_do_not_differ_the_crossed_test_is_students() -> None:
    rng = np.random.default_rng(13)
    one, other = rng.normal(0.2, 1, (2, 60))
    found = paired(np.stack([one] * 5), np.stack([other] * 5))
    assert found.p_crossed == pytest.approx(stats.ttest_rel(one, other).pvalue)


def test_where_volumes_do_not_differ_it_is_students_of_the_trainings() -> None:
    luck = np.random.default_rng(14).normal(0.2, 1, (2, 5, 1))
    first, second = np.broadcast_to(luck, (2, 5, 30))
    found = paired(first, second)
    assert found.p_crossed == pytest.approx(stats.ttest_rel(luck[0, :, 0], luck[1, :, 0]).pvalue)


def test_min_f_is_what_its_formula_says() -> None:
    rng = np.random.default_rng(15)
    d = np.round(rng.normal(0.3, 1, (5, 1)) + rng.normal(0, 1, (1, 40)) + rng.normal(0, 1, (5, 40)), 12)
    by_training = stats.ttest_1samp(d.mean(axis=1), 0).statistic ** 2
    by_volume = stats.ttest_1samp(d.mean(axis=0), 0).statistic ** 2
    least = by_training * by_volume / (by_training + by_volume)
    degrees = (by_training + by_volume) ** 2 / (by_training**2 / 39 + by_volume**2 / 4)
    assert paired(d, np.zeros_like(d)).p_crossed == pytest.approx(stats.f.sf(least, 1, degrees))


def test_one_training_has_no_crossed_test() -> None:
    found = paired([0.1, 0.5, 0.3], [0.2, 0.1, 0.1])
    assert math.isnan(found.p_crossed)
    assert found.p_strict == found.p
    same = np.full((2, 3), 0.2)
    assert paired(same, same).p_crossed == 1.0


def test_a_family_says_what_each_pair_says() -> None:
    rng = np.random.default_rng(12)
    scores = rng.beta(1, 3, (3, 4, 30))
    pairs = [(0, 1), (0, 2), (1, 2)]
    family = paired_family(np.stack([differences_of(scores[one], scores[other]) for one, other in pairs]))
    for found, (one, other) in zip(family, pairs, strict=True):
        alone = paired(scores[one], scores[other])
        assert (found.p, found.wins, found.n) == (alone.p, alone.wins, alone.n)
        assert found.interval.low == pytest.approx(alone.interval.low, abs=1e-12)
        assert found.false_claim == pytest.approx(alone.false_claim, abs=1e-3)


def test_refuses_what_is_no_pair() -> None:
    with pytest.raises(ValueError, match="of one shape"):
        paired([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="infinity"):
        paired([math.inf], [0.1])
