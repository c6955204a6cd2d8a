"""Surfaces and their distances against brute force over all pairs, and against masks whose distances are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from uadbench.metrics.lesions import hd95, surface_dice, surface_distances

SPACING = (3.0, 1.0, 0.5)


def surface(mask):
    """Voxels of a mask with a face neighbour that is not in it."""
    padded = np.pad(mask, 1)
    places = []
    for place in np.argwhere(mask):
        steps = [step for axis in range(3) for step in (np.eye(3, dtype=int)[axis], -np.eye(3, dtype=int)[axis])]
        if not all(padded[tuple(place + 1 + step)] for step in steps):
            places.append(place)
    return np.array(places)


@pytest.mark.parametrize("seed", range(6))
def test_distances_are_those_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random((2, 9, 14, 12)), (0, 1.5, 1.5, 1.5))
    found, truth = smooth > np.quantile(smooth, [0.8, 0.7][seed % 2])
    pairs = cdist(surface(found) * SPACING, surface(truth) * SPACING)
    measured = surface_distances(found, truth, SPACING)
    assert measured.found == pytest.approx(pairs.min(axis=1))
    assert measured.truth == pytest.approx(pairs.min(axis=0))
    both = [np.percentile(pairs.min(axis=axis), 95) for axis in (0, 1)]
    assert measured.hd95 == hd95(found, truth, SPACING) == pytest.approx(max(both))
    for tolerance in (0.0, 1.0, 3.0):
        near = (pairs.min(axis=1) <= tolerance).sum() + (pairs.min(axis=0) <= tolerance).sum()
        assert surface_dice(found, truth, SPACING, tolerance) == pytest.approx(near / sum(pairs.shape))


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_a_distance_transform(seed):
    rng = np.random.default_rng(seed)
    found, truth = rng.random((2, 12, 20, 20)) < 0.02
    # Scattered voxels without a face neighbour in the mask: each is its own surface.
    found, truth = (mask & ~ndimage.binary_dilation(np.roll(mask, 1, 2)) for mask in (found, truth))
    to_truth = ndimage.distance_transform_edt(~truth, sampling=SPACING)
    assert surface_distances(found, truth, SPACING).found == pytest.approx(to_truth[found])


def box(*spans, shape=(12, 20, 20)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


def test_a_shift_is_its_length():
    truth, found = box((2, 8), (4, 10), (4, 10)), box((2, 8), (4, 10), (7, 13))
    assert hd95(found, truth, (1, 1, 2)) == 6.0
    assert hd95(truth, truth, (1, 1, 2)) == 0.0
    assert surface_dice(truth, truth, (1, 1, 2), 0.0) == 1.0
    assert surface_dice(found, truth, (1, 1, 2), 6.0) == 1.0
    assert surface_dice(found, truth, (1, 1, 2), 5.9) < 1.0


def test_what_lies_beyond_the_border_is_outside():
    whole = np.ones((3, 3, 3), bool)
    assert surface_distances(whole, whole, (1, 1, 1)).found.size == 26


def test_the_larger_direction_counts():
    truth = box((0, 1), (0, 1), (0, 1))
    found = truth | box((0, 1), (0, 1), (15, 17))
    assert hd95(found, truth, (1, 1, 1)) == hd95(truth, found, (1, 1, 1))
    assert hd95(found, truth, (1, 1, 1)) == pytest.approx(np.percentile([0, 15, 16], 95))


def test_empty_masks():
    empty, some = box((0, 0), (0, 0), (0, 0)), box((1, 3), (1, 3), (1, 3))
    for found, truth in ((empty, some), (some, empty), (empty, empty)):
        assert math.isnan(hd95(found, truth, SPACING))
    assert surface_dice(empty, empty, SPACING, 1.0) == 1.0
    assert surface_dice(some, empty, SPACING, 1.0) == surface_dice(empty, some, SPACING, 1e9) == 0.0


def test_refuses_what_cannot_be_measured():
    some = box((1, 3), (1, 3), (1, 3))
    with pytest.raises(ValueError, match="three positive edges"):
        surface_distances(some, some, (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="not negative"):
        surface_dice(some, some, SPACING, -1.0)
    with pytest.raises(ValueError, match="truth must be a bool"):
        hd95(some, some.astype(np.uint8), SPACING)
    with pytest.raises(ValueError, match="they must be equal"):
        hd95(some, some[1:], SPACING)
