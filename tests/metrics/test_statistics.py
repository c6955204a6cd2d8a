"""Statistics against pandas and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from uadbench.metrics import bootstrap_interval, mean_std


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20))
def test_mean_std_equals_pandas(values):
    mean, std = mean_std(values)
    series = pd.Series(values)
    assert mean == pytest.approx(series.mean(), abs=1e-9)
    assert std == pytest.approx(series.std(), abs=1e-9)


def test_divides_by_n_minus_one():
    assert mean_std([1.0, 3.0]) == (2.0, math.sqrt(2.0))


def test_one_value_has_no_spread():
    mean, std = mean_std([0.4])
    assert mean == 0.4
    assert math.isnan(std)


@pytest.fixture
def scores():
    return np.random.default_rng(8).beta(2, 3, 60)


def test_bootstrap_agrees_with_scipy(scores):
    reference = stats.bootstrap(
        (scores,), np.mean, confidence_level=0.9, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = bootstrap_interval(scores, 0.9, seed=2, resamples=20_000)
    width = reference.high - reference.low
    assert found.low == pytest.approx(reference.low, abs=0.03 * width)
    assert found.high == pytest.approx(reference.high, abs=0.03 * width)


def test_bootstrap_repeats_with_its_seed_only(scores):
    first = bootstrap_interval(scores, 0.95, seed=3, resamples=200)
    assert bootstrap_interval(scores.tolist(), 0.95, seed=3, resamples=200) == first
    assert bootstrap_interval(scores, 0.95, seed=4, resamples=200) != first


def test_more_confidence_is_a_wider_interval(scores):
    narrow = bootstrap_interval(scores, 0.5, seed=0, resamples=500)
    wide = bootstrap_interval(scores, 0.99, seed=0, resamples=500)
    assert wide.low < narrow.low < scores.mean() < narrow.high < wide.high


def test_one_volume_gives_a_point():
    assert bootstrap_interval([0.3], 0.95, seed=0, resamples=10) == (0.3, 0.3)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf], [[0.1, 0.2]]])
def test_refuses_bad_values(values):
    with pytest.raises(ValueError, match=r"^values must be"):
        mean_std(values)
    with pytest.raises(ValueError, match=r"^values must be"):
        bootstrap_interval(values, 0.95, seed=0, resamples=10)


def test_refuses_bad_settings():
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        bootstrap_interval([0.1], 95, seed=0, resamples=10)
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        bootstrap_interval([0.1], 0.95, seed=0, resamples=0)
