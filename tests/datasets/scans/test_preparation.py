"""Preparation at load, step by step against NumPy, SciPy and SimpleITK called directly."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from uadbench.datasets.scans.preparation import (
    PreparationSettings,
    bounding_box,
    crop_or_pad,
    downsample_image,
    downsample_mask,
    prepare_volume,
    prepared_grid,
    scale_to_percentiles,
)
from uadbench.datasets.scans.space import Grid
from uadbench.errors import DataError

UNSMOOTHED = PreparationSettings(side=32, depth=16, iterations=0)


def reference(image, brain, numbers):
    """The protocol written down once more, with nothing of ours: whole-box smoothing, np.pad, spline by SciPy.

    Outside the brain is a tenth of its span below its 1st percentile, where the background of a stripped T2 lies.
    """
    where = np.argwhere(brain)
    low, high = where.min(0), where.max(0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    flow = sitk.CurvatureFlowImageFilter()
    flow.SetNumberOfIterations(numbers.iterations)
    flow.SetTimeStep(numbers.time_step)
    first, last = np.percentile(image[brain], (1, 99))
    dark = first - 0.1 * (last - first)
    stripped = np.where(brain, np.maximum(image, dark + 0.01 * (last - first)), dark).astype(np.float32)
    smooth = sitk.GetArrayFromImage(flow.Execute(sitk.GetImageFromArray(stripped[box])))
    inside = brain[box]
    for axis, size in enumerate((numbers.depth, numbers.side, numbers.side)):
        missing = size - smooth.shape[axis]
        if missing >= 0:
            width = [(0, 0)] * 3
            width[axis] = (missing // 2, missing - missing // 2)
            smooth, inside = np.pad(smooth, width, constant_values=dark), np.pad(inside, width)
        else:
            kept = np.arange(-missing // 2, -missing // 2 + size)
            smooth, inside = smooth.take(kept, axis), inside.take(kept, axis)
    low, high = np.percentile(smooth[inside], (1, 99))
    scaled = np.where(inside, np.clip((smooth - low) / (high - low), 0, 1), 0)
    centres = np.meshgrid(*(np.arange(size // 2) * 2 + 0.5 for size in scaled.shape), indexing="ij")
    coarse = np.clip(ndimage.map_coordinates(scaled, centres, order=3, mode="mirror"), 0, 1)
    return coarse, inside


@pytest.mark.parametrize("shape", [(26, 40, 36), (27, 25, 45), (12, 20, 18)])
def test_equals_the_protocol_written_with_other_libraries(brain, small, shape):
    image, mask, lesion = brain(3, shape)
    prepared = prepare_volume(image, mask, lesion, small)
    coarse, inside = reference(image, mask, small)
    assert prepared.volume.shape == prepared.brain_mask.shape == prepared.lesion_mask.shape == (8, 16, 16)
    assert prepared.volume.dtype == np.float32
    assert np.array_equal(prepared.brain_mask, inside[1::2, 1::2, 1::2])
    np.testing.assert_allclose(prepared.volume, np.where(prepared.brain_mask, coarse, 0), atol=2e-5)
    assert prepared.volume.max() > 0.9


def test_protocol_geometry_is_the_default():
    numbers = PreparationSettings()
    assert numbers.shape == (50, 96, 96)
    assert (numbers.iterations, numbers.time_step) == (3, 0.125)
    assert (numbers.lower_percentile, numbers.upper_percentile) == (1, 99)


@pytest.mark.parametrize("height", [120, 132, 160, 178])
def test_depth_is_160_around_the_centre_less_30_at_each_end(height):
    slices = np.arange(1, height + 1)
    missing = max(0, 160 - height) // 2
    surplus = max(0, height - 160) // 2
    expected = np.pad(slices[surplus : height - surplus], missing)[30:130]
    kept = crop_or_pad(slices.astype(np.float32)[:, None, None], (100, 1, 1))
    assert np.array_equal(kept.ravel(), expected)


def test_even_block_lands_exactly_where_its_mask_lands():
    image = np.full((16, 32, 32), 10, dtype=np.float32)
    block = np.zeros(image.shape, dtype=np.bool_)
    block[4:8, 10:18, 20:28] = True
    image[block] = 20
    prepared = prepare_volume(image, np.ones_like(block), block, UNSMOOTHED)
    expected = np.zeros((8, 16, 16), dtype=np.bool_)
    expected[2:4, 5:9, 10:14] = True
    assert np.array_equal(prepared.lesion_mask, expected)
    assert np.array_equal(prepared.volume > 0.5, expected)


def test_coarse_grid_is_centred_on_the_fine_one():
    """A linear ramp sampled at coarse centres is the mean of the two fine voxels that each covers."""
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32), (16, 32, 32)).copy()
    coarse = downsample_image(ramp, 2)
    np.testing.assert_allclose(coarse[4, 8, 2:-2], ramp[8, 16].reshape(16, 2).mean(1)[2:-2], atol=1e-3)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_mask_sampling_is_itk_nearest_neighbour(factor):
    mask = np.random.default_rng(0).random((8, 16, 24)) > 0.5
    resample = sitk.ResampleImageFilter()
    resample.SetSize([24 // factor, 16 // factor, 8 // factor])
    resample.SetOutputSpacing([float(factor)] * 3)
    resample.SetOutputOrigin([(factor - 1) / 2] * 3)
    resample.SetInterpolator(sitk.sitkNearestNeighbor)
    expected = sitk.GetArrayFromImage(resample.Execute(sitk.GetImageFromArray(mask.astype(np.uint8))))
    assert np.array_equal(downsample_mask(mask, factor), expected.astype(np.bool_))


def test_crops_to_the_brain_so_that_margins_and_shifts_do_not_matter(brain, small):
    image, mask, lesion = brain(1)
    width = ((5, 0), (2, 9), (0, 4))
    moved = prepare_volume(np.pad(image, width), np.pad(mask, width), np.pad(lesion, width), small)
    still = prepare_volume(image, mask, lesion, small)
    assert np.array_equal(moved.volume, still.volume)
    assert np.array_equal(moved.lesion_mask, still.lesion_mask)


def test_intensity_scale_does_not_matter(brain, small):
    image, mask, _ = brain(2)
    plain = prepare_volume(image, mask, None, small)
    scaled = prepare_volume(image * 7.5, mask, None, small)
    np.testing.assert_allclose(scaled.volume, plain.volume, atol=1e-4)


def test_background_is_zero_even_where_the_scan_is_not(brain, small):
    image, mask, _ = brain(2)
    image[~mask] = -3
    prepared = prepare_volume(image, mask, None, small)
    assert not prepared.volume[~prepared.brain_mask].any()
    assert prepared.lesion_mask is None


def test_percentiles_are_those_inside_the_mask():
    image = np.random.default_rng(0).gamma(2, 50, (6, 9, 9)).astype(np.float32)
    mask = np.zeros(image.shape, dtype=np.bool_)
    mask[1:5, 2:8, 2:8] = True
    image[~mask] = 1e6
    scaled = scale_to_percentiles(image, mask, 5, 90)
    low, high = np.percentile(image[mask].astype(np.float64), (5, 90))
    np.testing.assert_allclose(scaled[mask], np.clip((image[mask] - low) / (high - low), 0, 1), atol=1e-5)
    assert scaled.min() == 0
    assert scaled.max() == 1


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.integers(1, 9)),
    st.tuples(*[st.integers(1, 8)] * 3),
)
def test_crop_or_pad_keeps_the_centre(array, shape):
    result = crop_or_pad(array, shape)
    assert result.shape == shape
    for axis in range(3):
        where = [index for index in range(3) if index != axis]
        kept = np.flatnonzero(result.any(axis=tuple(where)))
        assert len(kept) == min(array.shape[axis], shape[axis])
        assert 0 <= (shape[axis] - 1 - kept[-1]) - kept[0] <= 1
    assert np.array_equal(crop_or_pad(result, shape), result)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)))
def test_bounding_box_is_the_smallest(mask):
    if not mask.any():
        with pytest.raises(DataError, match="empty"):
            bounding_box(mask)
        return
    where = np.argwhere(mask)
    box = bounding_box(mask)
    assert [(one.start, one.stop) for one in box] == list(zip(where.min(0), where.max(0) + 1, strict=True))


def test_nan_outside_the_brain_is_background(brain, small):
    image, mask, _ = brain(0)
    hurt = image.copy()
    hurt[~mask] = np.nan
    assert np.array_equal(
        prepare_volume(hurt, mask, None, small).volume, prepare_volume(image, mask, None, small).volume
    )


def broken(brain, name):
    image, mask, lesion = brain(0)
    match name:
        case "nan":
            image[tuple(np.argwhere(mask)[100])] = np.nan
        case "empty mask":
            mask = np.zeros_like(mask)
        case "brain shape":
            mask = mask[1:]
        case "lesion shape":
            lesion = lesion[:, 1:]
        case "constant":
            image = np.full_like(image, 7)
        case "four dimensions":
            image = image[None]
    return image, mask, lesion


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nan", "not-a-number"),
        ("empty mask", "brain mask is empty"),
        ("brain shape", r"brain mask has shape \(25, 40, 36\)"),
        ("lesion shape", "lesion mask has shape"),
        ("constant", "constant"),
        ("four dimensions", "4 dimensions"),
    ],
)
def test_bad_input_is_named(brain, small, name, words):
    with pytest.raises(DataError, match=words):
        prepare_volume(*broken(brain, name), small)


@pytest.mark.parametrize(
    "wrong", [{"side": 33}, {"factor": 0}, {"lower_percentile": 99.0}, {"upper_percentile": 101.0}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(DataError):
        PreparationSettings(**wrong)


@pytest.mark.parametrize("shape", [(130, 150, 140), (61, 201, 93), (150, 210, 215), (99, 193, 191)])
def test_the_grid_says_where_every_voxel_of_the_prepared_volume_lies(shape):
    """Soft balls at known world points come out with their centres there, whatever is cropped or padded."""
    affine = nib.affines.from_matvec(np.eye(3), (-70.0, -100.5, -33.0))
    axes = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    middle = (np.array(shape) - 1) / 2
    mask = sum(((axis - c) / (0.47 * n)) ** 2 for axis, c, n in zip(axes, middle, shape, strict=True)) < 1
    for offset in ((4, -7, 9), (-12, 20, -15)):
        place = np.round(middle) + offset
        ball = np.exp(-sum((axis - p) ** 2 for axis, p in zip(axes, place, strict=True)) / 2 / 4**2)
        ball += 1e-3 * np.random.default_rng(0).random(shape)  # so that the 1st percentile is not the minimum
        numbers = PreparationSettings(upper_percentile=100)
        prepared = prepare_volume(ball.astype(np.float32), mask, None, numbers)
        grid = prepared_grid(Grid(shape, affine), mask, numbers)
        weights = np.where(prepared.volume > 0.1, prepared.volume, 0)
        coarse = np.stack(np.meshgrid(*(np.arange(size) for size in weights.shape), indexing="ij"), axis=-1)
        world = nib.affines.apply_affine(grid.affine, coarse[..., ::-1])
        found = (world * weights[..., None]).sum((0, 1, 2)) / weights.sum()
        assert grid.shape == weights.shape
        np.testing.assert_allclose(found, nib.affines.apply_affine(affine, place[::-1]), atol=0.1)
