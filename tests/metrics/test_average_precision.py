"""Average precision against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score

from uadbench.metrics import average_precision

TIED = st.sampled_from([-0.5, 0.0, 0.0, 0.125, 0.5, 1.0])
FREE = st.floats(-1.0, 1.0, width=32)


@pytest.mark.parametrize("elements", [TIED, FREE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_scikit_learn(elements, dtype):
    @settings(deadline=None)
    @given(st.data(), st.integers(1, 50))
    def check(data, size):
        scores = data.draw(hnp.arrays(dtype, size, elements=elements))
        labels = data.draw(hnp.arrays(bool, size).filter(np.any))
        expected = average_precision_score(labels, scores)
        assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)

    check()


def test_equals_scikit_learn_on_a_volume_of_mostly_zeros():
    rng = np.random.default_rng(3)
    labels = np.zeros((10, 48, 48), bool)
    labels[2:8, 10:30, 12:35] = True
    scores = (rng.gamma(2.0, 0.05, labels.shape) + 0.2 * labels).astype(np.float32)
    scores[rng.random(labels.shape) < 0.6] = 0.0
    expected = average_precision_score(labels.ravel(), scores.ravel())
    assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < expected < 0.9


def test_by_hand():
    # From high to low: lesion (precision 1), other, lesion (precision 2/3).
    assert average_precision(np.array([0.9, 0.5, 0.2]), np.array([True, False, True])) == pytest.approx((1 + 2 / 3) / 2)


def test_extremes():
    labels = np.arange(10) < 3
    assert average_precision(np.zeros(10), labels) == pytest.approx(0.3)
    assert average_precision(labels.astype(np.float32), labels) == 1.0
    assert average_precision(np.linspace(0, 1, 10), np.ones(10, bool)) == 1.0


def test_leaves_its_input_alone():
    scores, labels = np.array([0.3, 0.1, 0.2]), np.array([True, False, True])
    scores.setflags(write=False)
    labels.setflags(write=False)
    assert average_precision(scores, labels) == 1.0


def test_refuses_what_cannot_be_scored():
    scores, labels = np.array([0.2, 0.4]), np.array([False, True])
    with pytest.raises(ValueError, match="labels mark no lesion voxel"):
        average_precision(scores, labels & False)
    with pytest.raises(ValueError, match="scores has shape"):
        average_precision(scores[:1], labels)
    with pytest.raises(ValueError, match="scores must be finite"):
        average_precision(np.array([0.2, np.nan]), labels)
    with pytest.raises(ValueError, match="labels must be a bool"):
        average_precision(scores, np.array([0, 1]))
    with pytest.raises(ValueError, match="not one of float16"):
        average_precision(scores.astype(np.float16), labels)
