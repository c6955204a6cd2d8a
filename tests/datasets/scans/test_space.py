"""Grids and resampling against nibabel's affines, SciPy's sampling, and functions whose values are known anywhere."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from uadbench.datasets.scans.nifti import read_volume, write_volume
from uadbench.datasets.scans.space import (
    Grid,
    from_sitk_transform,
    isotropic_grid,
    resample,
    to_sitk,
    to_sitk_transform,
)
from uadbench.errors import DataError

ORIENTATIONS = [("RAS", (2, 3, 4), 0), ("LAS", (0.9, 0.9, 5.5), 0), ("PIR", (5, 2, 3), 0), ("LPS", (2, 2, 6), 25)]
POINT = np.array([21.0, -30.0, 17.0])


def mild_affine() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = [[1.1, 0.1, -0.05], [-0.08, 0.95, 0.12], [0.03, -0.1, 1.05]]
    matrix[:3, 3] = (4, -7, 3)
    return matrix


@pytest.mark.parametrize(("axes", "sizes", "turn"), ORIENTATIONS)
def test_world_points_are_nibabels(axes, sizes, turn, oriented):
    shape, affine = oriented(axes, sizes, turn, extent=40)
    grid = Grid(shape, affine)
    voxels = np.argwhere(np.ones(shape)).astype(float)
    assert np.allclose(grid.world(voxels), nib.affines.apply_affine(affine, voxels[:, ::-1]))
    assert np.allclose(grid.spacing, nib.affines.voxel_sizes(affine))
    assert grid.voxel_ml == pytest.approx(np.prod(sizes) / 1000)


def test_a_crop_leaves_every_voxel_where_it_was(oriented):
    shape, affine = oriented("LPS", (2, 3, 4), 25, extent=40)
    grid, box = Grid(shape, affine), (slice(2, 7), slice(3, 9), slice(5, 15))
    cropped = grid.cropped(box)
    assert cropped.shape == np.zeros(shape)[box].shape
    assert np.allclose(cropped.world(np.array([[1.0, 2.0, 3.0]])), grid.world(np.array([[3.0, 5.0, 8.0]])))


@pytest.mark.parametrize(("axes", "sizes", "turn"), ORIENTATIONS)
def test_the_isotropic_grid_covers_a_grid_and_no_more(axes, sizes, turn, oriented):
    shape, affine = oriented(axes, sizes, turn, extent=40)
    fine = isotropic_grid(Grid(shape, affine), 1.5)
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in shape[::-1]])).reshape(3, -1).T
    inside = nib.affines.apply_affine(np.linalg.inv(fine.affine), nib.affines.apply_affine(affine, corners))
    counts = np.array(fine.shape[::-1])
    assert np.allclose(fine.affine[:3, :3], 1.5 * np.eye(3))
    assert (inside.min(0) >= -0.5 - 1e-6).all()
    assert (inside.max(0) <= counts - 0.5 + 1e-6).all()
    assert (inside.max(0) - inside.min(0) > counts - 1 - 1e-6).all()


@pytest.mark.parametrize(("axes", "sizes", "turn"), ORIENTATIONS)
def test_linear_resampling_is_exact_on_a_linear_function(axes, sizes, turn, oriented, grid_points):
    slope = np.array([0.7, -1.3, 0.4])
    shape, affine = oriented(axes, sizes, turn, extent=80)
    image = (grid_points(shape, affine) @ slope + 500).astype(np.float32)
    target = Grid((9, 10, 11), np.array([[3.0, 0, 0, -12], [0, 3, 0, -20], [0, 0, 3, -8], [0, 0, 0, 1]]))
    moved = resample(image, Grid(shape, affine), target, mild_affine())
    there = nib.affines.apply_affine(mild_affine(), grid_points(target.shape, target.affine))
    within = nib.affines.apply_affine(np.linalg.inv(affine), there)
    inner = ((within >= 0) & (within <= np.array(shape[::-1]) - 1)).all(-1)
    assert inner.mean() > 0.9
    assert np.allclose(moved[inner], (there @ slope + 500)[inner], atol=1e-2)
    assert (
        resample(image, Grid(shape, affine), Grid((1, 1, 1), np.diag([1, 1, 1, 1.0]) + 900 * np.eye(4, k=3))) == 0
    ).all()


@pytest.mark.parametrize(("axes", "sizes", "turn"), ORIENTATIONS)
def test_a_marked_world_point_stays_there(axes, sizes, turn, oriented, grid_points):
    shape, affine = oriented(axes, sizes, turn, extent=120)
    away = grid_points(shape, affine) - POINT
    blob = np.exp(-0.5 * (away**2).sum(-1) / 36).astype(np.float32)
    fine = isotropic_grid(Grid(shape, affine), 1.0)
    moved = resample(blob, Grid(shape, affine), fine)
    centre = nib.affines.apply_affine(fine.affine, np.array(ndimage.center_of_mass(moved))[::-1])
    assert np.linalg.norm(centre - POINT) < 0.3


def test_masks_take_the_nearest_voxel(oriented, grid_points):
    shape, affine = oriented("PIR", (3, 2, 4), 20, extent=60)
    mask = np.random.default_rng(0).random(shape) < 0.5
    target = Grid((12, 13, 14), np.array([[1.7, 0, 0, -9], [0, 1.7, 0, -20], [0, 0, 1.7, -7], [0, 0, 0, 1]]))
    moved = resample(mask, Grid(shape, affine), target, mild_affine())
    there = nib.affines.apply_affine(mild_affine(), grid_points(target.shape, target.affine))
    voxels = nib.affines.apply_affine(np.linalg.inv(affine), there)[..., ::-1]
    expected = ndimage.map_coordinates(mask.astype(np.uint8), np.moveaxis(voxels, -1, 0), order=0) > 0
    between = np.abs(np.abs(voxels % 1) - 0.5).min(-1) < 1e-6  # two voxels equally near
    assert moved.dtype == np.bool_
    assert (moved == expected)[~between].all()
    assert 0.2 < moved.mean() < 0.8


def test_transforms_come_back_wherever_their_centre_is():
    transform = to_sitk_transform(mild_affine())
    lps = np.diag([-1.0, -1, 1])
    moved = lps @ np.array(transform.TransformPoint((lps @ POINT).tolist()))
    assert np.allclose(moved, nib.affines.apply_affine(mild_affine(), POINT))
    transform.SetCenter((10.0, -20.0, 30.0))
    turned = from_sitk_transform(transform)
    again = lps @ np.array(transform.TransformPoint((lps @ POINT).tolist()))
    assert np.allclose(nib.affines.apply_affine(turned, POINT), again)


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.array([[1, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "sheared"),
        (np.diag([1.0, 0.0, 1.0, 1.0]), "correct the header"),
    ],
)
def test_impossible_affines_are_refused(affine, words):
    with pytest.raises(DataError, match=words):
        to_sitk(np.zeros((2, 2, 2), np.float32), Grid((2, 2, 2), affine))


@pytest.mark.parametrize("axes", ["RAS", "LAS", "PIR", "SRA"])
def test_files_of_any_orientation_are_read_in_place(axes, oriented, grid_points, tmp_path):
    shape, affine = oriented(axes, (2, 3, 4), 12, extent=40)
    slope = np.array([1.0, 10.0, 100.0])
    values = (grid_points(shape, affine) @ slope).transpose(2, 1, 0).astype(np.float32)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    image, grid = read_volume(tmp_path / "scan.nii.gz")
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
    assert np.allclose(image, grid_points(grid.shape, grid.affine) @ slope, atol=0.05)


def test_scaled_integers_and_one_frame_are_read(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1)
    image = nib.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "scan.nii")
    read, _ = read_volume(tmp_path / "scan.nii")
    stored = np.asarray(nib.load(tmp_path / "scan.nii").dataobj)[..., 0]
    assert np.allclose(read, stored.transpose(2, 1, 0))
    assert read.shape == (4, 3, 2)


def test_what_is_written_is_read_again(tmp_path, oriented):
    shape, affine = oriented("RAS", (1, 2, 3), 0, extent=20)
    mask = np.random.default_rng(1).random(shape) < 0.5
    write_volume(tmp_path / "mask.nii.gz", mask, Grid(shape, affine))
    again, grid = read_volume(tmp_path / "mask.nii.gz")
    assert (again == mask).all()
    assert np.allclose(grid.affine, affine)
    assert np.asarray(nib.load(tmp_path / "mask.nii.gz").dataobj).dtype == np.uint8
