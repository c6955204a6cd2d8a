"""Bias correction against a field that is known."""

from __future__ import annotations

import numpy as np
import pytest

from uadbench.datasets.scans.bias import BiasSettings, correct_bias
from uadbench.datasets.scans.space import Grid
from uadbench.errors import DataError

SETTINGS = BiasSettings(shrink=2, iterations=(30, 30, 30))


@pytest.fixture(scope="module")
def scan(head, oriented, grid_points):
    shape, affine = oriented("RAS", (5, 5, 5))
    points = grid_points(shape, affine)
    brain = head.brain(points)
    # Its darkest tissue is at a tenth of the span, as on real T2 scans, where true zero is.
    clean = np.where(brain, np.maximum(head.sample(points, "t2", skull=False) - 280, 10), 0)
    field = np.exp(0.006 * points[..., 0] - 0.004 * points[..., 1] + 0.00003 * points[..., 2] ** 2)
    return clean, brain, field, Grid(shape, affine)


def test_a_smooth_field_is_mostly_removed(scan):
    clean, brain, field, grid = scan
    corrected = correct_bias((clean * field).astype(np.float32), brain, grid, SETTINGS)
    core = brain & (clean > 100)  # a guessed offset counts for little where it is bright
    left = np.log(corrected[core] / clean[core])
    assert np.std(np.log(field[core])) > 0.2
    assert np.std(left) < 0.45 * np.std(np.log(field[core]))
    assert corrected.dtype == np.float32


def test_outside_is_zero_and_does_not_matter(scan):
    clean, brain, field, grid = scan
    image = (clean * field).astype(np.float32)
    noisy = np.where(brain, image, np.random.default_rng(0).uniform(-500, 5000, image.shape)).astype(np.float32)
    quiet, loud = (correct_bias(one, brain, grid, SETTINGS) for one in (image, noisy))
    assert (quiet[~brain] == 0).all()
    assert np.array_equal(quiet, loud)


def test_negative_voxels_stay_finite(scan):
    clean, brain, field, grid = scan
    image = (clean * field).astype(np.float32)
    image[tuple(np.argwhere(brain)[::50].T)] = -3
    corrected = correct_bias(image, brain, grid, SETTINGS)
    assert np.isfinite(corrected).all()
    assert (corrected >= 0).all()


def test_a_constant_brain_is_refused(scan):
    _, brain, _, grid = scan
    with pytest.raises(DataError, match="constant inside the brain"):
        correct_bias(np.zeros(brain.shape, np.float32), brain, grid, SETTINGS)


def test_no_iterations_leave_the_bias_in(scan):
    clean, brain, grid = scan[0], scan[1], scan[-1]
    kept = correct_bias(clean.astype(np.float32), brain, grid, BiasSettings(iterations=()))
    first, last = np.percentile(clean[brain], (1, 99))
    expected = np.where(brain, np.maximum((clean - first) / (last - first) + 0.1, 0.01), 0)
    np.testing.assert_allclose(kept, expected, atol=1e-5)
