"""Thresholds by share of healthy voxels against a walk over every float; rankings of scans against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score

from uadbench.metrics.curves import ap, auroc, score_exceeded_by

_SCORES = st.sampled_from([0.0, 0.0, 0.1, 0.5, 0.7]) | st.floats(0, 1, width=32, allow_subnormal=False)


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=_SCORES),
    st.sampled_from([0.01, 0.05, 0.1, 0.5, 0.99]),
)
def test_it_is_the_smallest_that_few_enough_exceed(volumes, share):
    (found,) = score_exceeded_by(iter(volumes), [share])
    assert float(np.float32(found)) == found
    allowed = share * volumes.size + 1e-9
    assert (volumes > np.float32(found)).sum() <= allowed
    below = np.nextafter(np.float32(found), np.float32(-np.inf))
    assert (volumes > below).sum() > allowed


def test_shares_of_a_hundred_voxels():
    scores = np.random.default_rng(0).permutation(100).astype(np.float32)
    assert score_exceeded_by([scores[:30], scores[30:]], [0.01, 0.05, 0.1, 0.29]) == (98.0, 94.0, 89.0, 70.0)
    assert score_exceeded_by([scores], [0.001]) == (99.0,)
    assert score_exceeded_by([scores], []) == ()


def test_volumes_count_by_their_voxels():
    small, large = np.ones(10, np.float32), np.zeros(990, np.float32)
    assert score_exceeded_by([small, large], [0.01, 0.005]) == (0.0, 1.0)


def test_a_double_is_rounded_up_to_a_float():
    for value in (0.1, 0.3):
        (found,) = score_exceeded_by([np.full(10, value)], [0.1])
        assert found >= value
        assert float(np.nextafter(np.float32(found), np.float32(0))) < value


def test_it_changes_no_volume():
    scores = np.random.default_rng(0).random(50, dtype=np.float32)
    scores.setflags(write=False)
    score_exceeded_by([scores], [0.1])


def test_refuses_what_has_no_share():
    some = np.ones(3, np.float32)
    for share in (0.0, 1.0, 5, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            score_exceeded_by([some], [share])
    with pytest.raises(ValueError, match="no healthy volume"):
        score_exceeded_by([], [0.1])
    with pytest.raises(ValueError, match="scores must be finite"):
        score_exceeded_by([np.array([1.0, np.inf])], [0.1])


@pytest.mark.parametrize("digits", [1, 8])
@pytest.mark.parametrize("seed", range(4))
def test_rankings_are_those_of_scikit_learn(seed, digits):
    rng = np.random.default_rng(seed)
    labels = np.arange(40) % 3 == 0
    scores = np.round(rng.random(40) + 0.3 * labels, digits)
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    assert ap(scores, labels) == pytest.approx(average_precision_score(labels, scores))


def test_scans_of_one_kind_cannot_be_told_apart():
    scores = np.array([0.1, 0.2])
    for labels in (np.zeros(2, bool), np.ones(2, bool)):
        assert math.isnan(auroc(scores, labels))
        assert math.isnan(ap(scores, labels))
    assert auroc(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
