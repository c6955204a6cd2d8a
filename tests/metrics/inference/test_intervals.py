"""Intervals against SciPy's bootstrap and, of two levels, against formulas for their variance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from uadbench.metrics.inference import FEW, interval_of_mean, two_level_interval
from uadbench.metrics.inference.draws import drawn_weights, resampled_means
from uadbench.metrics.inference.intervals import interval_around


@pytest.fixture
def scores() -> np.ndarray:
    """Skewed, as Dice of small lesions is."""
    return np.random.default_rng(8).beta(0.6, 3, 60)


def test_bca_equals_scipys_on_the_same_resamples(scores: np.ndarray) -> None:
    reference = stats.bootstrap((scores,), np.mean, n_resamples=4000, rng=np.random.default_rng(1))
    means = reference.bootstrap_distribution
    found = interval_around(scores[None], means, 0.95)
    assert found.method == "BCa"
    wanted = reference.confidence_interval
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_it_agrees_with_scipy_from_the_scores_on_and_differs_from_percentiles(scores: np.ndarray) -> None:
    found = interval_of_mean(scores, confidence=0.9, resamples=20_000, seed=2)
    words = {"confidence_level": 0.9, "n_resamples": 20_000, "rng": np.random.default_rng(1)}
    bca = stats.bootstrap((scores,), np.mean, method="BCa", **words).confidence_interval
    plain = stats.bootstrap((scores,), np.mean, method="percentile", **words).confidence_interval
    width = bca.high - bca.low
    assert (found.low, found.high) == pytest.approx((bca.low, bca.high), abs=0.02 * width)
    assert min(found.low - plain.low, found.high - plain.high) > 0.02 * width


def test_repeats_with_its_seed_only(scores: np.ndarray) -> None:
    first = interval_of_mean(scores, seed=3, resamples=200)
    assert interval_of_mean(scores.tolist(), seed=3, resamples=200) == first
    assert interval_of_mean(scores, seed=4, resamples=200) != first


def test_more_confidence_is_a_wider_interval(scores: np.ndarray) -> None:
    narrow, wide = (interval_of_mean(scores, confidence=confidence) for confidence in (0.5, 0.99))
    assert wide.low < narrow.low < scores.mean() < narrow.high < wide.high


def test_few_volumes_make_it_doubtful_and_missing_ones_do_not_count(scores: np.ndarray) -> None:
    holes = np.concatenate([scores[: FEW - 1], [math.nan, math.nan]])
    found = interval_of_mean(holes)
    assert (found.n, found.doubtful) == (FEW - 1, True)
    assert found == interval_of_mean(scores[: FEW - 1])
    assert not interval_of_mean(scores[:FEW]).doubtful


def test_one_volume_has_none_and_equal_ones_no_correction() -> None:
    one = interval_of_mean([0.3, math.nan])
    assert (one.method, one.n, math.isnan(one.low)) == ("none", 1, True)
    equal = interval_of_mean([0.0] * 20)
    assert (equal.low, equal.high, equal.method) == (0.0, 0.0, "percentile")


def test_weights_of_many_volumes_are_drawn_in_parts() -> None:
    parts = list(drawn_weights(30_000, 300, 0))
    assert len(parts) > 1
    assert sum(map(len, parts)) == 300
    assert all((part.sum(axis=1) == 30_000).all() for part in parts)


def test_columns_share_their_resamples(scores: np.ndarray) -> None:
    both = resampled_means(np.stack([scores, scores + 0.1])[:, None], 300, 0)
    assert np.allclose(both[:, 1] - both[:, 0], 0.1)
    assert np.allclose(resampled_means(scores[None, None], 300, 0)[:, 0], both[:, 0], rtol=1e-12)


def crossed(trainings: int, volumes: int, spread: tuple[float, float, float], seed: int) -> np.ndarray:
    """Scores with an effect of the training, one of the volume, and noise."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.normal(0, spread[0], (trainings, 1)), rng.normal(0, spread[1], (1, volumes))
    return np.asarray(rows + columns + rng.normal(0, spread[2], (trainings, volumes)))


def half_width(matrix: np.ndarray) -> float:
    found = two_level_interval(matrix, resamples=8000)
    return (found.high - found.low) / 2


def test_volumes_alone_give_the_interval_of_their_means() -> None:
    matrix = crossed(1, 200, (0, 1, 0), 1).repeat(5, axis=0)
    assert half_width(matrix) == pytest.approx(1.96 * matrix[0].std() / math.sqrt(200), rel=0.05)
    one, both = interval_of_mean(matrix[0], resamples=8000), two_level_interval(matrix, resamples=8000)
    assert (both.low, both.high) == pytest.approx((one.low, one.high), abs=0.02)


def test_trainings_alone_have_the_spread_of_their_sample() -> None:
    """The interval of Student's t: of five trainings 40 % wider than the normal one, and 60 % than plain resampling."""
    for trainings in (40, 5):
        matrix = crossed(trainings, 50, (1, 0, 0), 2)
        error = matrix[:, 0].std(ddof=1) / math.sqrt(trainings)
        drawn = resampled_means(matrix[None], 20_000, 0)[:, 0]
        assert drawn.std() == pytest.approx(stats.t.ppf(0.975, trainings - 1) / 1.96 * error, rel=0.03)
    assert half_width(crossed(40, 50, (1, 0, 0), 2)) == pytest.approx(
        stats.t.interval(0.95, 39, scale=crossed(40, 50, (1, 0, 0), 2)[:, 0].std(ddof=1) / math.sqrt(40))[1], rel=0.04
    )


def test_both_kinds_of_chance_add_up() -> None:
    matrix = crossed(40, 300, (0.5, 3, 0), 4)
    trainings = stats.t.ppf(0.975, 39) * matrix.mean(axis=1).std(ddof=1) / math.sqrt(40)
    volumes = 1.96 * matrix.mean(axis=0).std() / math.sqrt(300)
    assert half_width(matrix) == pytest.approx(math.hypot(trainings, volumes), rel=0.05)


def test_a_matrix_with_holes_is_the_mean_of_what_is_there() -> None:
    matrix = crossed(5, 80, (0.2, 1, 0.1), 5)
    matrix[1:, :40] = math.nan
    matrix[:, 40] = math.nan
    found = two_level_interval(matrix)
    assert found.n == 79
    assert found.low < np.nanmean(matrix) < found.high
    whole = crossed(5, 80, (0.2, 1, 0.1), 5)
    assert two_level_interval(np.vstack([whole, np.full((1, 80), math.nan)])) == two_level_interval(whole)


def test_large_tables_give_the_same_in_parts() -> None:
    """The draws do not fit in memory at once: the same formula, part by part, and near the normal interval."""
    matrix = crossed(1, 20_000, (0, 1, 0), 6)
    found = two_level_interval(matrix, resamples=1000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * matrix.std() / math.sqrt(20_000), rel=0.1)


@pytest.mark.parametrize("values", [[math.inf, 0.1], [[0.1, 0.2]]])
def test_refuses_bad_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"must be (finite|a flat)"):
        interval_of_mean(values)


def test_refuses_bad_settings() -> None:
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        interval_of_mean([0.1, 0.2], confidence=95)
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        interval_of_mean([0.1, 0.2], resamples=0)
    with pytest.raises(ValueError, match="scores must be"):
        two_level_interval([0.1, 0.2])
    with pytest.raises(ValueError, match="infinity"):
        two_level_interval([[0.1, math.inf]])
