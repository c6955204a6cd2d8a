"""A scan made ready: which steps are done, which are skipped, and where every voxel of the result lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from uadbench.datasets.scans import skull_strip
from uadbench.datasets.scans.atlases import read_atlas
from uadbench.datasets.scans.bias import BiasSettings
from uadbench.datasets.scans.native import open_scan
from uadbench.datasets.scans.new_scan import ready_scan
from uadbench.datasets.scans.nifti import read_volume
from uadbench.datasets.scans.preparation import PreparationSettings, bounding_box, prepare_volume
from uadbench.datasets.scans.registration import RegistrationSettings
from uadbench.datasets.scans.scan_preparation import RawVolumes, ScanSettings, prepare_scan
from uadbench.datasets.scans.skull_strip import Stripped
from uadbench.errors import DataError

RADIUS = 10.0
QUICK = ScanSettings(
    registration=RegistrationSettings(voxels=(8.0, 5.0), iterations=20, turns=(0.0,), starts=1),
    bias=BiasSettings(shrink=4, iterations=(2,)),
)
LOAD = PreparationSettings()


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    values = array.astype(np.uint8) if array.dtype == np.bool_ else array
    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), affine), path)
    return path


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, head, oriented, grid_points):
    shape, affine = oriented("RAS", (3, 3, 3))
    points = grid_points(shape, affine)
    image = np.where(head.brain(points), head.sample(points, "t1", skull=False), 0).astype(np.float32)
    return read_atlas(save(tmp_path_factory.mktemp("atlas") / "atlas.nii.gz", image, affine))


@pytest.fixture(scope="module")
def stripped(tmp_path_factory, head, oriented, grid_points):
    """A stripped head at 1 mm in atlas space: as it is, and cropped to its brain; image, mask and affine of each."""
    shape, affine = oriented("RAS", (1, 1, 1))
    points = grid_points(shape, affine)
    brain = head.brain(points)
    image = np.where(brain, head.sample(points, "t2", lesion=RADIUS), 0).astype(np.float32)
    box = bounding_box(brain)
    cropped = affine.copy()
    cropped[:3, 3] = nib.affines.apply_affine(affine, [part.start for part in box][::-1])
    folder = tmp_path_factory.mktemp("stripped")
    save(folder / "whole.nii.gz", image, affine)
    save(folder / "cropped.nii.gz", image[box], cropped)
    save(folder / "cropped_mask.nii.gz", brain[box], cropped)
    return folder, image[box], brain[box]


def test_a_prepared_scan_goes_through_untouched(stripped, atlas):
    folder, image, brain = stripped
    ready = ready_scan(open_scan(folder / "cropped.nii.gz"), folder / "cropped_mask.nii.gz", atlas, "auto", QUICK, LOAD)
    expected = prepare_volume(image, brain, None, LOAD)
    np.testing.assert_allclose(ready.volume.volume, expected.volume, atol=1e-5)
    np.testing.assert_array_equal(ready.volume.brain_mask, expected.brain_mask)
    np.testing.assert_array_equal(ready.to_scan, np.eye(4))
    assert ready.registration is None
    assert [step.partition(":")[0] for step in ready.steps] == ["skull strip", "registration", "N4"]
    assert all("skipped" in step for step in ready.steps[1:])


def test_a_stripped_scan_in_atlas_space_is_cropped_and_corrected_only(stripped, atlas):
    folder, image, brain = stripped
    ready = ready_scan(open_scan(folder / "whole.nii.gz"), None, atlas, "auto", QUICK, LOAD)
    assert ready.steps == (
        "skull strip: skipped, the scan is stripped",
        "registration: skipped, the scan lies in atlas space",
        "N4 in the brain mask",
    )
    expected = prepare_volume(image, brain, None, LOAD)
    assert (ready.volume.brain_mask == expected.brain_mask).mean() > 0.999


def test_an_orientation_that_had_to_be_assumed_is_a_step(stripped, atlas, tmp_path, forget_orientation):
    path = tmp_path / "whole.nii.gz"
    path.write_bytes((stripped[0] / "whole.nii.gz").read_bytes())
    forget_orientation(path)
    ready = ready_scan(open_scan(path), None, atlas, "auto", QUICK, LOAD)
    assert ready.steps[0] == "orientation: the header gives none (sform and qform code 0); LAS is assumed"


def test_a_turned_scan_is_registered_and_its_lesion_found_where_it_is(tmp_path, head, oriented, grid_points, atlas):
    to_scan = np.eye(4)
    to_scan[:3, :3] = 1.06 * Rotation.from_euler("xyz", (7, -5, 9), degrees=True).as_matrix()
    to_scan[:3, 3] = (11, -8, 14)
    shape, affine = oriented("PIR", (1.5, 4, 1.5), 8, extent=240)
    in_atlas = nib.affines.apply_affine(np.linalg.inv(to_scan), grid_points(shape, affine))
    values = head.sample(in_atlas, "t2", lesion=RADIUS)
    path = save(tmp_path / "scan.nii.gz", np.where(head.brain(in_atlas), values, 0).astype(np.float32), affine)
    ready = ready_scan(open_scan(path), None, atlas, "auto", QUICK, LOAD)
    assert "affine to atlas.nii.gz" in ready.steps[1]
    pieces, count = ndimage.label(ready.volume.volume > 0.8)
    centres = ready.grid.world(np.array(ndimage.center_of_mass(pieces > 0, pieces, range(1, count + 1))))
    in_world = nib.affines.apply_affine(ready.to_scan, centres)
    truth = nib.affines.apply_affine(to_scan, np.array(head.LESION))
    assert np.linalg.norm(in_world - truth, axis=1).min() < 1.5
    assert np.linalg.norm(centres - truth, axis=1).min() > 5  # in atlas space it is elsewhere
    assert ready.volume_factor == pytest.approx(1.06**3, rel=0.08)


def test_a_head_without_a_stripper_is_told_what_to_do(tmp_path, head, oriented, grid_points, atlas, monkeypatch):
    monkeypatch.setattr(skull_strip, "LEARNED", ())
    shape, affine = oriented("RAS", (4, 4, 4))
    path = save(tmp_path / "head.nii.gz", head.sample(grid_points(shape, affine), "t2"), affine)
    with pytest.raises(DataError, match=r"head\.nii\.gz needs .*no skull stripper .*pip install deepbet, or .*--mask"):
        ready_scan(open_scan(path), None, atlas, "auto", QUICK, LOAD)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("missing", "is missing"),
        ("nan", "not-a-number"),
        ("constant", "is constant"),
        ("text", "is no gzip file"),
        ("mask of another shape", "has shape"),
        ("mask elsewhere", "lies elsewhere"),
        ("empty mask", "is empty"),
        ("mask-file without a mask", "give it with --mask"),
    ],
)
def test_bad_scans_and_masks_are_named(wrong, words, tmp_path, head, oriented, grid_points, atlas):
    shape, affine = oriented("RAS", (8, 8, 8))
    points = grid_points(shape, affine)
    image, brain = head.sample(points, "t2", skull=False), head.brain(points)
    choice, with_mask, shifted = "auto", "mask" in wrong and "mask-file" not in wrong, affine.copy()
    if wrong == "nan":
        image[tuple(size // 2 for size in shape)] = np.nan
    if wrong == "constant":
        image[:] = 7
    if wrong == "mask of another shape":
        brain = brain[1:]
    if wrong == "mask elsewhere":
        shifted[0, 3] += 30
    if wrong == "empty mask":
        brain = np.zeros_like(brain)
    if wrong == "mask-file without a mask":
        choice = "mask-file"
    path = tmp_path / "scan.nii.gz"
    if wrong == "text":
        path.write_text("this is no scan")
    elif wrong != "missing":
        save(path, image, affine)
    mask = save(tmp_path / "mask.nii.gz", brain, shifted) if with_mask else None
    with pytest.raises(DataError, match=words) as caught:
        ready_scan(open_scan(path), mask, atlas, choice, QUICK, LOAD)
    assert "mask.nii.gz" in str(caught.value) if with_mask else "scan.nii.gz" in str(caught.value)


def test_the_background_of_a_stripped_scan_does_not_darken_its_rim(tmp_path, head, oriented, grid_points, atlas):
    """A brain of nothing but a gradient keeps that gradient up to its rim."""
    shape, affine = oriented("LAS", (1.2, 1.2, 4), 9, extent=230)
    points = grid_points(shape, affine)
    brain = head.brain(points)
    image = np.where(brain, 500 + points[..., 0] / 10, 0).astype(np.float32)
    path = save(tmp_path / "even.nii.gz", image, affine)
    raw = RawVolumes(*read_volume(path), None, None)
    scan = prepare_scan(raw, atlas, Stripped(), replace(QUICK, bias=BiasSettings(iterations=())))
    voxels = np.argwhere(scan.brain)
    values = scan.image[scan.brain]
    middle = (values > 0.2) & (values < 1.0)  # of the tails some are clipped
    design = np.c_[voxels[middle], np.ones(middle.sum())]
    fit = np.linalg.lstsq(design, values[middle], rcond=None)[0]
    assert scan.brain.sum() > 1e6
    assert np.abs(design @ fit - values[middle]).max() < 0.05
