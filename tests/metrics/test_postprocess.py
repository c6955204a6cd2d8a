"""Post-processing against SciPy's own filters and a flood fill by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from uadbench.metrics import erode_brain_mask, postprocess, remove_small_components


def eroded_by_distance(mask, iterations):
    """A voxel stays if all of its slice's voxels within that city-block distance are brain (outside the image: not)."""
    padded = np.pad(mask, ((0, 0), (iterations, iterations), (iterations, iterations)))
    kept = np.ones_like(mask)
    height, width = mask.shape[1:]
    for dy, dx in itertools.product(range(-iterations, iterations + 1), repeat=2):
        if abs(dy) + abs(dx) <= iterations:
            y, x = iterations + dy, iterations + dx
            kept &= padded[:, y : y + height, x : x + width]
    return kept


def components_by_flood_fill(mask):
    """Connected components as sets of voxels; two voxels touch if no coordinate differs by more than one."""
    left = {tuple(map(int, voxel)) for voxel in np.argwhere(mask)}
    found = []
    while left:
        component, front = set(), [left.pop()]
        while front:
            z, y, x = voxel = front.pop()
            component.add(voxel)
            near = {(z + a, y + b, x + c) for a, b, c in itertools.product((-1, 0, 1), repeat=3)} & left
            left -= near
            front.extend(near)
        found.append(component)
    return found


@pytest.fixture
def brain():
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in (8, 40, 36)], indexing="ij")
    return (grid[0] / 1.4) ** 2 + (grid[1] / 0.9) ** 2 + (grid[2] / 0.8) ** 2 < 1


@pytest.fixture
def residual(brain):
    return np.random.default_rng(11).random(brain.shape, dtype=np.float32)


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))), st.integers(0, 4))
def test_erosion_takes_off_a_city_block_distance(mask, iterations):
    # Random masks erode to nothing at once: fill them up.
    for solid in (mask, mask | (np.arange(mask.shape[2]) < 9)):
        assert np.array_equal(erode_brain_mask(solid, iterations), eroded_by_distance(solid, iterations))


def test_erosion_equals_scipy_slice_by_slice(brain):
    cross = ndimage.generate_binary_structure(2, 1)
    expected = np.stack([ndimage.binary_erosion(image, cross, iterations=3) for image in brain])
    assert expected.any()
    assert np.array_equal(erode_brain_mask(brain), expected)


def test_erosion_keeps_single_slices_and_eats_from_the_image_border():
    one_slice = np.zeros((3, 9, 9), bool)
    one_slice[1] = True
    eroded = erode_brain_mask(one_slice, 3)
    assert eroded.sum() == 9
    assert eroded[1, 3:6, 3:6].all()


def test_no_erosion_is_a_copy(brain):
    same = erode_brain_mask(brain, 0)
    assert np.array_equal(same, brain)
    assert same is not brain


@pytest.mark.parametrize(("erosion", "median"), [(3, 5), (0, 3), (2, 1)])
def test_postprocess_is_mask_then_median(residual, brain, erosion, median):
    inside = residual * eroded_by_distance(brain, erosion)
    expected = ndimage.median_filter(inside, median)
    score = postprocess(residual, brain, erosion, median)
    assert score.dtype == np.float32
    assert np.array_equal(score, expected)


def test_postprocess_defaults_are_the_protocols(residual, brain):
    assert np.array_equal(postprocess(residual, brain), postprocess(residual, brain, erosion=3, median=5))


def test_rim_and_outside_do_not_leak_into_the_score(residual, brain):
    eroded = eroded_by_distance(brain, 3)
    wild = np.where(eroded, residual, 1e6).astype(np.float32)
    assert np.array_equal(postprocess(wild, brain), postprocess(residual, brain))


def test_postprocess_leaves_its_input_alone(residual, brain):
    before = residual.copy()
    residual.setflags(write=False)
    brain.setflags(write=False)
    postprocess(residual, brain)
    assert np.array_equal(residual, before)


def test_an_empty_brain_scores_zero(residual, brain):
    assert not postprocess(residual, brain & False).any()


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7)),
    st.sampled_from([0.05, 0.15, 0.3, 1.0]),
    st.integers(0, 9),
    st.integers(0, 2**32 - 1),
)
def test_small_components_equal_flood_fill(shape, density, min_voxels, seed):
    mask = np.random.default_rng(seed).random(shape) < density
    expected = np.zeros_like(mask)
    for component in components_by_flood_fill(mask):
        if len(component) >= min_voxels:
            expected[tuple(np.array(sorted(component)).T)] = True
    assert np.array_equal(remove_small_components(mask, min_voxels), expected)


def test_seven_voxels_stay_and_six_go():
    mask = np.zeros((5, 10, 20), bool)
    mask[0, 0, :7] = True
    mask[4, 9, :6] = True
    expected = mask.copy()
    expected[4] = False
    assert np.array_equal(remove_small_components(mask), expected)


def test_voxels_that_share_a_corner_are_connected():
    mask = np.zeros((7, 7, 7), bool)
    np.fill_diagonal(mask, True)
    assert np.array_equal(remove_small_components(mask, 7), mask)
    mask[3, 3, 3] = False
    assert not remove_small_components(mask, 7).any()


def test_a_mask_without_background_stays_and_one_without_lesion_stays_empty():
    full = np.ones((2, 2, 2), bool)
    assert remove_small_components(full, 7).all()
    assert not remove_small_components(full, 9).any()
    assert not remove_small_components(~full, 0).any()


def test_refuses_bad_input(residual, brain):
    with pytest.raises(ValueError, match="negative"):
        postprocess(residual - 0.5, brain)
    with pytest.raises(ValueError, match="residual must be finite"):
        postprocess(residual * np.nan, brain)
    with pytest.raises(ValueError, match="residual has shape"):
        postprocess(residual, brain[1:])
    with pytest.raises(ValueError, match="brain_mask must be a bool"):
        postprocess(residual, residual)
    with pytest.raises(ValueError, match=r"one volume \[D, H, W\]"):
        postprocess(residual[None], brain[None])
    with pytest.raises(ValueError, match="must be odd"):
        postprocess(residual, brain, median=2)
    with pytest.raises(ValueError, match="iterations must be at least 0, not -1"):
        erode_brain_mask(brain, -1)
    with pytest.raises(ValueError, match=r"one volume \[D, H, W\]"):
        remove_small_components(brain[0])
    with pytest.raises(ValueError, match="min_voxels must be at least 0"):
        remove_small_components(brain, -1)
