"""Means inside and outside lesions by masked arrays; SSIM against its formula, window by window."""

from __future__ import annotations

import math

import numpy as np
import pytest

from uadbench.metrics.lesions import inside_outside, ssim_map


def test_means_of_both_parts():
    values = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    lesions = values > 5
    brain = values != 7
    assert inside_outside(values, lesions, brain) == (6.0, np.mean([0, 1, 2, 3, 4, 5]))


def test_a_part_without_a_voxel_is_nan():
    values, none, all_ = np.ones((2, 2, 2), np.float32), np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    healthy = inside_outside(values, none, all_)
    assert math.isnan(healthy.inside)
    assert healthy.outside == 1.0
    filled = inside_outside(values, all_, all_)
    assert filled.inside == 1.0
    assert math.isnan(filled.outside)


def ssim_at(x, y, place):
    """The formula of Wang et al. 2004 in one window of 11 x 11 voxels; slices are mirrored beyond their borders."""
    z, row, column = place
    windows = [np.pad(image[z], 5, mode="symmetric")[row : row + 11, column : column + 11] for image in (x, y)]
    gauss = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(gauss, gauss) / gauss.sum() ** 2
    mean_x, mean_y = (float((weights * window).sum()) for window in windows)
    var_x, var_y = (
        float((weights * (window - mean) ** 2).sum()) for window, mean in zip(windows, (mean_x, mean_y), strict=True)
    )
    cov = float((weights * (windows[0] - mean_x) * (windows[1] - mean_y)).sum())
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))


@pytest.mark.parametrize("margins", [(0, 0, 0, 0), (7, 9, 8, 6), (2, 0, 12, 3), (1, 4, 0, 30)])
def test_ssim_is_its_formula_around_every_voxel(margins):
    rng = np.random.default_rng(1)
    top, bottom, left, right = margins
    x, y = np.pad(rng.random((2, 3, 9, 10)), [(0, 0), (1, 1), (top, bottom), (left, right)])
    found = ssim_map(x.astype(np.float32), y.astype(np.float32))
    places = list(np.ndindex(x.shape))
    expected = [ssim_at(x.astype(np.float32).astype(float), y.astype(np.float32).astype(float), at) for at in places]
    assert [found[at] for at in places] == pytest.approx(expected, abs=1e-9)


def test_ssim_of_the_same_and_of_nothing_is_one():
    image = np.random.default_rng(0).random((2, 20, 20), dtype=np.float32)
    assert ssim_map(image, image) == pytest.approx(1.0)
    assert (ssim_map(np.zeros_like(image), np.zeros_like(image)) == 1.0).all()


def test_refuses_what_does_not_belong_together():
    image = np.zeros((2, 4, 4), np.float32)
    with pytest.raises(ValueError, match="they must be equal"):
        ssim_map(image, image[:1])
    with pytest.raises(ValueError, match="must be one volume"):
        ssim_map(image[0], image[0])
    with pytest.raises(ValueError, match="brain must be a bool"):
        inside_outside(image, image > 0, image)
