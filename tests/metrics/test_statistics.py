"""Statistics against pandas."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uadbench.metrics import mean_std


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


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf], [[0.1, 0.2]]])
def test_refuses_bad_values(values):
    with pytest.raises(ValueError, match=r"^values must be"):
        mean_std(values)
