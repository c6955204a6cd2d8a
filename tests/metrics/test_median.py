"""The median filter against SciPy value by value, and against loops on a tiny volume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from uadbench.metrics import median
from uadbench.metrics.median import median_filter


def mirrored(index, length):
    """d c b a | a b c d | d c b a, as often as needed."""
    index %= 2 * length
    return index if index < length else 2 * length - 1 - index


def median_by_loops(volume, size):
    radius = size // 2
    out = np.empty_like(volume)
    offsets = range(-radius, radius + 1)
    for place in np.ndindex(volume.shape):
        window = [
            volume[tuple(mirrored(i + d, n) for i, d, n in zip(place, offset, volume.shape, strict=True))]
            for offset in ((dz, dy, dx) for dz in offsets for dy in offsets for dx in offsets)
        ]
        out[place] = sorted(window)[len(window) // 2]
    return out


def brain_like(shape, seed):
    """Noise inside an ellipsoid that touches the first and last slice, zero outside, as a masked residual is."""
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = (grid[0] / 1.4) ** 2 + (grid[1] / 0.9) ** 2 + (grid[2] / 0.7) ** 2 < 1
    return np.random.default_rng(seed).random(shape, dtype=np.float32) * inside


@pytest.mark.parametrize("size", [3, 5])
def test_equals_loops(size):
    volume = np.random.default_rng(1).random((4, 6, 7)).round(1)
    assert np.array_equal(median_filter(volume, size), median_by_loops(volume, size))


@pytest.mark.parametrize("shape", [(12, 96, 96), (50, 40, 44), (1, 96, 96)])
def test_equals_scipy_on_a_brain(shape):
    volume = brain_like(shape, seed=2)
    filtered = median_filter(volume, 5)
    assert filtered.dtype == np.float32
    assert np.array_equal(filtered, ndimage.median_filter(volume, 5))
    assert filtered.any()


@settings(deadline=None, max_examples=120)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 12)),
    size=st.sampled_from([1, 3, 5, 7, 9]),
    density=st.sampled_from([0.0, 0.1, 0.5, 0.8, 1.0]),
    levels=st.sampled_from([2, 7, 10**6]),
    dtype=st.sampled_from([np.float32, np.float64]),
    block=st.integers(4, 200),
    threads=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32 - 1),
)
@example(shape=(2, 2, 2), size=9, density=1.0, levels=10**6, dtype=np.float32, block=4, threads=3, seed=0)
def test_equals_scipy_on_any_volume(*, shape, size, density, levels, dtype, block, threads, seed):
    rng = np.random.default_rng(seed)
    volume = (rng.integers(-levels, levels, shape) * (rng.random(shape) < density)).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(median, "_BLOCK_CELLS", block)
        filtered = median_filter(volume, size, threads)
    assert filtered.dtype == dtype
    assert np.array_equal(filtered, ndimage.median_filter(volume, size))


@settings(deadline=None)
@given(hnp.array_shapes(min_dims=3, max_dims=3, min_side=3, max_side=8), st.data())
def test_boxes_at_the_border_reach_beyond_themselves(shape, data):
    """Mirroring counts voxels near a face twice: a box that ends near it can hold the majority outside itself."""
    corner = [data.draw(st.integers(0, n - 1)) for n in shape]
    volume = np.zeros(shape, np.float32)
    volume[corner[0] :, corner[1] :, : corner[2] + 1] = 1.0
    assert np.array_equal(median_filter(volume, 5), ndimage.median_filter(volume, 5))


def test_does_not_write_to_its_input():
    volume = brain_like((6, 20, 20), seed=4)
    before = volume.copy()
    volume.setflags(write=False)
    median_filter(volume, 5)
    unfiltered = median_filter(volume, 1)
    assert unfiltered is not volume
    assert np.array_equal(unfiltered, before)


def test_non_contiguous_volume():
    volume = brain_like((20, 24, 16), seed=6).transpose(2, 0, 1)[:, ::2]
    assert np.array_equal(median_filter(volume, 3), ndimage.median_filter(volume, 3))


def test_refuses_bad_input():
    volume = np.zeros((3, 4, 5), np.float32)
    with pytest.raises(ValueError, match="must be odd"):
        median_filter(volume, 4)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        median_filter(volume, 0)
    with pytest.raises(ValueError, match=r"one volume \[D, H, W\]"):
        median_filter(volume[0], 3)
    with pytest.raises(ValueError, match="finite"):
        median_filter(volume + np.nan, 3)
