"""Holm's adjustment against its definition: the closed test of Bonferroni's over every subset of the family."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uadbench.metrics.inference import holm


def closed(values: list[float]) -> list[float]:
    """Each p-value is the greatest of min(1, size × least) over the subsets that hold it."""
    members = range(len(values))
    subsets = [set(some) for size in members for some in itertools.combinations(members, size + 1)]
    bounds = [min(1.0, len(some) * min(values[one] for one in some)) for some in subsets]
    return [max(bound for some, bound in zip(subsets, bounds, strict=True) if one in some) for one in members]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_is_the_closed_test(values: list[float]) -> None:
    assert holm(values) == pytest.approx(closed(values))


def test_what_could_not_be_tested_is_no_member() -> None:
    found = holm([0.01, math.nan, 0.03])
    assert found[[0, 2]] == pytest.approx([0.02, 0.03])
    assert np.isnan(found[1])
    assert holm([]).size == 0


def test_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.2, 1.2])
