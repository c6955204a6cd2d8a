"""Dice against scikit-learn's F1, which is the same number on flat labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score

from uadbench.metrics import dice


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(st.just(2), st.integers(1, 40))))
def test_equals_f1_score(masks):
    prediction, truth = masks
    expected = f1_score(truth, prediction, zero_division=1.0)
    assert dice(prediction, truth) == pytest.approx(expected, abs=1e-12)


def test_by_hand():
    prediction = np.array([[True, True, True], [False, False, False]])
    truth = np.array([[True, False, False], [True, False, False]])
    assert dice(prediction, truth) == 2 * 1 / (3 + 2)


def test_empty_masks_agree_but_silence_on_a_lesion_scores_zero():
    empty = np.zeros((2, 3, 4), bool)
    assert dice(empty, empty) == 1.0
    assert dice(empty, ~empty) == 0.0
    assert dice(~empty, empty) == 0.0


def test_large_masks_do_not_overflow():
    full = np.ones(3_000_000, bool)
    assert dice(full, full) == 1.0


def test_refuses_other_types_and_shapes():
    mask = np.ones((2, 3), bool)
    with pytest.raises(ValueError, match=r"prediction must be a bool NumPy array, not one of uint8.*> 0"):
        dice(mask.astype(np.uint8), mask)
    with pytest.raises(ValueError, match="truth must be a bool NumPy array, not list"):
        dice(mask, [[True]])
    with pytest.raises(ValueError, match=r"prediction has shape \(2, 3\) but truth has shape \(1, 3\)"):
        dice(mask, mask[:1])
