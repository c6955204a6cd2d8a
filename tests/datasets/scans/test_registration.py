"""Registration of a head given by formulas, moved by known affines; quality figures against scikit-learn."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from sklearn.metrics import mutual_info_score

from uadbench.datasets.scans import registration
from uadbench.datasets.scans.registration import (
    Atlas,
    RegistrationSettings,
    normalised_mutual_information,
    register_affine,
)
from uadbench.datasets.scans.space import Grid
from uadbench.errors import DataError
from uadbench.workers import one_itk_thread

COARSE = RegistrationSettings(voxels=(10.0, 4.0))
QUICK = RegistrationSettings(voxels=(8.0,), turns=(0.0,), starts=1)


@pytest.fixture(autouse=True)
def one_thread():
    """As `bench prepare` and `bench predict` register: sums over several threads differ in their last bits."""
    with one_itk_thread():
        yield


@pytest.fixture(scope="module")
def atlas(head, oriented, grid_points):
    shape, affine = oriented("RAS", (4, 4, 4))
    points = grid_points(shape, affine)
    image = head.sample(points, "t1", skull=False)
    mask = head.brain(points)
    return Atlas("synthetic", np.where(mask, image, np.float32(0)), mask, Grid(shape, affine), "")


def misaligned(angles: tuple[float, float, float], scales: tuple[float, float, float], shift: tuple[float, ...]):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(scales)
    matrix[:3, 3] = shift
    return matrix


@pytest.mark.parametrize(
    ("angles", "scales", "shift", "axes", "sizes"),
    [
        ((-8, 12, -15), (0.85, 0.95, 1.1), (-10, 15, -20), "LAS", (2, 2, 6)),
        ((18, -15, 20), (1.1, 0.9, 1.0), (0, -25, 5), "PIR", (5, 3, 4)),
    ],
)
def test_a_known_affine_is_recovered(angles, scales, shift, axes, sizes, atlas, head, oriented, grid_points):
    to_scan = misaligned(angles, scales, shift)
    shape, affine = oriented(axes, sizes, 10, extent=260)
    in_atlas = nib.affines.apply_affine(np.linalg.inv(to_scan), grid_points(shape, affine))
    image, brain = head.sample(in_atlas, "t2"), head.brain(in_atlas)
    found = register_affine(image, brain, Grid(shape, affine), atlas, COARSE)
    points = grid_points(atlas.grid.shape, atlas.grid.affine)[atlas.mask]
    missed = nib.affines.apply_affine(found.to_scan, points) - nib.affines.apply_affine(to_scan, points)
    before = points - nib.affines.apply_affine(to_scan, points)
    assert np.linalg.norm(before, axis=1).mean() > 15
    assert np.linalg.norm(missed, axis=1).mean() < 2.5  # about half a voxel of this coarse, smooth head
    assert found.mask_dice > 0.95


@pytest.fixture
def scan(head, oriented, grid_points):
    shape, affine = oriented("RAS", (4, 4, 4), extent=260)
    points = nib.affines.apply_affine(
        np.linalg.inv(misaligned((5, -6, 4), (1, 1.1, 0.95), (8, -6, 4))), grid_points(shape, affine)
    )
    return head.sample(points, "t2"), head.brain(points), Grid(shape, affine)


def test_what_lies_outside_the_brain_has_no_say(atlas, scan):
    image, brain, grid = scan
    rng = np.random.default_rng(0)
    noisy = np.where(brain, image, rng.normal(800, 300, image.shape)).astype(np.float32)
    found, again = (register_affine(one, brain, grid, atlas, QUICK).to_scan for one in (image, noisy))
    assert np.array_equal(found, again)


def test_the_points_are_the_same_every_time(atlas, scan):
    few = QUICK.__class__(voxels=(8.0, 4.0), turns=(0.0,), starts=1, points=2000)
    found = [register_affine(*scan, atlas, few).to_scan for _ in range(2)]
    assert np.array_equal(found[0], found[1])
    points = atlas.grid.world(np.argwhere(atlas.mask).astype(float))
    true = misaligned((5, -6, 4), (1, 1.1, 0.95), (8, -6, 4))
    missed = nib.affines.apply_affine(found[0], points) - nib.affines.apply_affine(true, points)
    assert np.linalg.norm(missed, axis=1).mean() < 2.5


@pytest.mark.parametrize("leap", ["out of the image", "to a worse place"])
def test_a_search_that_leaps_is_tried_in_smaller_steps_and_else_undone(leap, atlas, scan, monkeypatch):
    few = RegistrationSettings(voxels=(8.0,), turns=(0.0,), starts=1)
    good, search, steps = register_affine(*scan, atlas, few), registration._Level._search, []

    def leaps(level, start, step):
        steps.append(step)
        if len(steps) > leaping:
            return search(level, start, step)
        if leap == "out of the image":
            return None
        end = sitk.AffineTransform(start)
        end.SetTranslation([shift + 60 for shift in start.GetTranslation()])
        return end

    monkeypatch.setattr(registration._Level, "_search", leaps)
    leaping = 1
    assert register_affine(*scan, atlas, few).mask_dice > 0.8
    assert steps == [8.0, pytest.approx(1.6)]
    steps.clear()
    leaping = 2
    kept = register_affine(*scan, atlas, few)  # the start: centroid on centroid, of equal volume, unturned
    np.testing.assert_allclose(kept.to_scan[:3, :3], kept.to_scan[0, 0] * np.eye(3), atol=1e-12)
    assert kept.mutual_information < good.mutual_information


def test_quality_falls_when_the_scan_is_upside_down(atlas, head, oriented, grid_points):
    shape, affine = oriented("RAS", (4, 4, 4))
    points = grid_points(shape, affine)
    image, brain = head.sample(points, "t2"), head.brain(points)
    right = register_affine(image, brain, Grid(shape, affine), atlas, QUICK)
    wrong = register_affine(image[::-1], brain[::-1], Grid(shape, affine), atlas, QUICK)
    assert wrong.mutual_information < right.mutual_information - 0.02
    assert wrong.mask_dice < right.mask_dice


def test_mutual_information_is_studholmes():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 8, 5000).astype(np.float32)
    other = (one + rng.integers(0, 3, 5000)).astype(np.float32)
    joint = mutual_info_score(one, other)
    entropies = [mutual_info_score(values, values) for values in (one, other)]
    expected = sum(entropies) / (sum(entropies) - joint)
    assert normalised_mutual_information(one, other) == pytest.approx(expected)
    assert normalised_mutual_information(one, one) == pytest.approx(2)
    assert normalised_mutual_information(one, np.zeros_like(one)) == pytest.approx(1)


def test_an_empty_mask_is_refused(atlas):
    image = np.ones((4, 4, 4), np.float32)
    with pytest.raises(DataError, match="brain mask is empty"):
        register_affine(image, image < 0, Grid((4, 4, 4), np.eye(4)), atlas, COARSE)
