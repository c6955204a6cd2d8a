"""l1 error against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error

from uadbench.metrics import l1_error


@pytest.fixture
def pair():
    rng = np.random.default_rng(5)
    return rng.random((2, 6, 7, 8), dtype=np.float32)


def test_equals_mean_absolute_error(pair):
    x, x_rec = pair
    assert l1_error(x, x_rec) == pytest.approx(mean_absolute_error(x.ravel(), x_rec.ravel()), rel=1e-6)


def test_mask_restricts_the_mean(pair):
    x, x_rec = pair
    mask = x > 0.5
    expected = mean_absolute_error(x[mask], x_rec[mask])
    assert l1_error(x, x_rec, mask) == pytest.approx(expected, rel=1e-6)
    assert l1_error(x, x_rec, mask) != pytest.approx(l1_error(x, x_rec), rel=1e-3)


def test_background_counts_without_a_mask():
    x, x_rec = np.zeros((1, 2, 5)), np.zeros((1, 2, 5))
    x[0, 0, 0] = 1.0
    x_rec[0, 0, 1] = 0.5
    brain = np.zeros(x.shape, bool)
    brain[0, 0, :2] = True
    assert l1_error(x, x_rec) == pytest.approx(1.5 / 10)
    assert l1_error(x, x_rec, brain) == pytest.approx(1.5 / 2)


def test_many_float32_voxels_are_summed_exactly_enough():
    x = np.full(4_000_000, 0.1, np.float32)
    assert l1_error(x, np.zeros_like(x)) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_refuses_bad_input(pair):
    x, x_rec = pair
    with pytest.raises(ValueError, match="x has shape"):
        l1_error(x, x_rec[:1])
    with pytest.raises(ValueError, match="mask has shape"):
        l1_error(x, x_rec, np.ones((1, 1, 1), bool))
    with pytest.raises(ValueError, match="mask marks no voxel"):
        l1_error(x, x_rec, np.zeros(x.shape, bool))
    with pytest.raises(ValueError, match="x_rec must be finite"):
        l1_error(x, np.full_like(x, np.nan))
    with pytest.raises(ValueError, match="mask must be a bool"):
        l1_error(x, x_rec, np.ones(x.shape, np.uint8))
