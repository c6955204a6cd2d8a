"""Ranks against cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from uadbench.metrics.inference import rank_stability


def test_clear_ranks_are_stable_and_the_best_is_first() -> None:
    hard = np.random.default_rng(0).normal(0, 1, 100)
    found = rank_stability(np.stack([hard, hard + 1, hard - 1]))
    assert found.rank == found.mean == found.low == found.high == (2.0, 1.0, 3.0)
    assert found.first == (0.0, 1.0, 0.0)
    assert rank_stability(np.stack([hard, hard + 1, hard - 1]), higher=False).rank == (2.0, 3.0, 1.0)


def test_equal_methods_share_their_ranks() -> None:
    same = np.random.default_rng(1).normal(0, 1, 30)
    found = rank_stability(np.stack([same, same, same - 5]))
    assert found.rank == (1.5, 1.5, 3.0)
    assert found.first == pytest.approx((0.5, 0.5, 0.0))


def test_the_share_of_first_places_is_the_chance_of_a_normal_mean() -> None:
    rng = np.random.default_rng(2)
    one = rng.normal(0, 1, 500)
    other = one + rng.normal(0.04, 1, 500)
    found = rank_stability(np.stack([one, other]), resamples=20_000)
    wanted = stats.norm.cdf((other - one).mean() / ((other - one).std() / math.sqrt(500)))
    assert found.first[1] == pytest.approx(wanted, abs=0.02)
    assert (found.low, found.high) == ((1.0, 1.0), (2.0, 2.0))


def test_trainings_add_to_the_doubt() -> None:
    """On many volumes one is surely better, yet not by more than its trainings differ."""
    hard = np.random.default_rng(3).normal(0, 1, 400)
    trained = hard + np.array([-0.5, 0.0, 0.6])[:, None]
    rival = hard + np.array([-0.6, 0.0, 0.5])[:, None]
    folds = np.stack([trained, rival])
    assert rank_stability(folds.mean(axis=1)).first == (1.0, 0.0)
    assert 0.3 < rank_stability(folds).first[1] < 0.5


def test_volumes_that_one_lacks_are_left_out_for_all() -> None:
    found = rank_stability(np.array([[0.9, 0.1, math.nan], [0.5, 0.5, 0.9]]))
    assert found.rank == (1.5, 1.5)
    fewer = np.array([[[0.9, 0.8], [math.nan, math.nan]], [[0.5, 0.6], [0.5, 0.6]]])
    assert rank_stability(fewer).first == (1.0, 0.0)
    with pytest.raises(ValueError, match="share no volume"):
        rank_stability(np.array([[0.9, math.nan], [math.nan, 0.5]]))
    with pytest.raises(ValueError, match="scores must be"):
        rank_stability([0.1, 0.2])
