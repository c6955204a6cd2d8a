"""No result depends on a scan's scale, its offset or what lies outside its brain, be that not-a-number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from uadbench.datasets.check.facts import ScanFiles, examine_scan
from uadbench.datasets.check.rules import Limits, scan_defects
from uadbench.datasets.cohort import HEALTHY
from uadbench.datasets.modality import Modality
from uadbench.datasets.scans.atlases import read_atlas
from uadbench.datasets.scans.bias import BiasSettings, correct_bias
from uadbench.datasets.scans.intensities import canonical, canonical_head, common_value
from uadbench.datasets.scans.native import open_scan
from uadbench.datasets.scans.new_scan import ready_scan
from uadbench.datasets.scans.preparation import PreparationSettings, prepare_volume
from uadbench.datasets.scans.scan_preparation import RawVolumes, prepare_scan
from uadbench.datasets.scans.skull_strip import MaskFile, Stripped
from uadbench.datasets.scans.space import Grid
from uadbench.errors import DataError

SMALL = PreparationSettings(side=32, depth=16)
BACKGROUNDS = (0.0, -1024.0, 200.0, -0.3, float("nan"))
changes = st.tuples(
    st.floats(0.0625, 64, width=32), st.integers(-300, 300), st.sampled_from([*BACKGROUNDS, "z-scored", "its own"])
)
few = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a failure is not looked into for minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
fewer = settings(few, max_examples=4)


def changed(image: np.ndarray, brain: np.ndarray, change: tuple[float, int, float | str]) -> np.ndarray:
    """Another scale and offset in the brain, another background around it."""
    scale, offset, background = change
    if background == "its own":
        return (image * scale + offset * scale).astype(np.float32)
    if background == "z-scored":
        return np.where(brain, (image - image[brain].mean()) / image[brain].std(), 0).astype(np.float32)
    return np.where(brain, image * scale + offset * scale, background).astype(np.float32)


@pytest.fixture(scope="module")
def stripped(head, oriented, grid_points):
    """A stripped head of 4 mm: image, brain, grid."""
    shape, affine = oriented("RAS", (4, 4, 4))
    points = grid_points(shape, affine)
    brain = head.brain(points)
    texture = np.random.default_rng(0).normal(0, 5, shape)
    image = np.where(brain, head.sample(points, "t2", lesion=14) + texture, 0)
    return image.astype(np.float32), brain, Grid(shape, affine)


@few
@given(changes)
def test_volumes_at_load_do_not_change(brain, change):
    image, mask, _ = brain(4)
    expected = prepare_volume(image, mask, None, SMALL)
    found = prepare_volume(changed(image, mask, change), mask, None, SMALL)
    np.testing.assert_allclose(found.volume, expected.volume, atol=2e-4)
    assert np.array_equal(found.brain_mask, expected.brain_mask)


@few
@given(changes)
def test_the_brain_of_a_stripped_scan_is_what_differs_from_the_background(stripped, change):
    image, brain, grid = stripped
    assert np.array_equal(Stripped().brain_mask(changed(image, brain, change), grid), brain)


@few
@given(changes)
def test_bias_correction_does_not_change(stripped, change):
    image, brain, grid = stripped
    numbers = BiasSettings(shrink=2, iterations=(5, 5))
    expected = correct_bias(image, brain, grid, numbers)
    found = correct_bias(changed(image, brain, change), brain, grid, numbers)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert (found[brain] > 0).all()
    assert (found[~brain] == 0).all()


@pytest.fixture(scope="module")
def prepare(stripped, atlas_file, coarse):
    """Prepares a scan with the mask, or as a stripped one; the scan as it is was prepared already."""
    _, brain, grid = stripped
    atlas = read_atlas(atlas_file)

    def run(image, has_mask):
        given_mask, stripper = ((brain, grid), MaskFile()) if has_mask else (None, Stripped())
        return prepare_scan(RawVolumes(image, grid, given_mask, None), atlas, stripper, coarse)

    return run, {has_mask: run(stripped[0], has_mask) for has_mask in (True, False)}


@fewer
@given(changes, st.booleans())
def test_a_prepared_scan_does_not_change(stripped, prepare, change, has_mask):
    image, brain, _ = stripped
    run, plain = prepare
    found, expected = run(changed(image, brain, change), has_mask), plain[has_mask]
    np.testing.assert_allclose(found.registration.to_scan, expected.registration.to_scan, atol=1e-2)
    assert found.brain.shape == expected.brain.shape
    np.testing.assert_allclose(found.image, expected.image, atol=1e-2)


@pytest.fixture(scope="module")
def make_ready(stripped, atlas_file, coarse, save_raw, tmp_path_factory):
    """The same of `ready_scan`."""
    image, brain, grid = stripped
    folder, atlas = tmp_path_factory.mktemp("ready"), read_atlas(atlas_file)
    small = PreparationSettings(side=64, depth=48)
    save_raw(folder / "mask.nii.gz", brain, grid.affine)

    def run(image, has_mask):
        save_raw(folder / "scan.nii.gz", image, grid.affine)
        mask = folder / "mask.nii.gz" if has_mask else None
        return ready_scan(open_scan(folder / "scan.nii.gz"), mask, atlas, "auto", coarse, small)

    return run, {has_mask: run(image, has_mask) for has_mask in (True, False)}


@fewer
@given(changes, st.booleans())
def test_a_scan_made_ready_does_not_change(stripped, make_ready, change, has_mask):
    image, brain, _ = stripped
    run, plain = make_ready
    ready = [run(changed(image, brain, change), has_mask), plain[has_mask]]
    np.testing.assert_allclose(ready[0].volume.volume, ready[1].volume.volume, atol=1e-2)
    spans = [np.percentile(one.image[brain], (1, 99)) for one in ready]
    pictures = [(one.image - low) / (high - low) for one, (low, high) in zip(ready, spans, strict=True)]
    np.testing.assert_allclose(np.clip(pictures[0], 0, 1), np.clip(pictures[1], 0, 1), atol=1e-3)


@few
@given(changes)
def test_what_is_checked_does_not_change(brain, write_nifti, tmp_path, change):
    image, mask, _ = brain(5)
    paths = {"t2": tmp_path / "t2.nii.gz", "mask": tmp_path / "mask.nii.gz"}
    write_nifti(paths["mask"], mask)
    facts = []
    for one in (image, changed(image, mask, change)):
        write_nifti(paths["t2"], one)
        facts.append(examine_scan(ScanFiles(HEALTHY, Modality.T2, "scan", paths, {}), SMALL))
    first, second = facts
    assert second.intensities.scaled_middle == pytest.approx(first.intensities.scaled_middle, abs=1e-4)
    for fact in ("not_finite", "background_share", "outside_share"):
        assert getattr(second.intensities, fact) == getattr(first.intensities, fact)
    assert second.voxels.distinct == pytest.approx(first.voxels.distinct, rel=0.01)
    bounds = Limits(brain_ml=(5, 60), side=(16, 100))
    assert scan_defects(second, bounds) == scan_defects(first, bounds) == ()


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_pocket_of_background_in_the_brain_is_dark(stripped, background):
    image, brain, grid = stripped
    pocket = np.zeros_like(brain)
    pocket[tuple(slice(size // 2 - 2, size // 2 + 2) for size in brain.shape)] = True
    assert brain[pocket].all()
    plain, other = (np.where(brain & ~pocket, image, value).astype(np.float32) for value in (0, background))
    assert np.array_equal(Stripped().brain_mask(other, grid), brain)
    np.testing.assert_array_equal(canonical(other, brain), canonical(plain, brain))
    assert canonical(other, brain)[pocket].max() < 0.02


def test_a_background_that_is_a_grey_value_of_whole_numbers_takes_none_away(stripped):
    image, brain, _ = stripped
    whole = np.where(brain, image.round(), 0).astype(np.float32)
    among = np.where(brain, whole, np.median(whole[brain])).astype(np.float32)
    np.testing.assert_array_equal(canonical(among, brain), canonical(whole, brain))


@pytest.mark.parametrize("power", [0, -12])
def test_what_an_interpolation_leaves_around_a_brain_is_no_brain(stripped, power):
    image, brain, grid = stripped
    ringing = 1.5 * np.random.default_rng(1).normal(size=image.shape)
    around = ~brain
    around[0], around[-1], around[:, 0], around[:, -1], around[:, :, 0], around[:, :, -1] = (False,) * 6
    rung = (np.where(around, ringing, image) * 2.0**power).astype(np.float32)
    assert (Stripped().brain_mask(rung, grid) ^ brain).mean() < 1e-3


def test_not_a_number_inside_the_brain_is_refused(stripped, atlas_file, coarse):
    image, brain, grid = stripped
    hurt = image.copy()
    hurt[tuple(size // 2 for size in image.shape)] = np.nan
    for mask, stripper in (((brain, grid), MaskFile()), (None, Stripped())):
        with pytest.raises(DataError, match="not-a-number or infinite v.* inside the brain"):
            prepare_scan(RawVolumes(hurt, grid, mask, None), read_atlas(atlas_file), stripper, coarse)


@pytest.mark.parametrize("padding", [0.0, -1024.0, 200.0, float("nan")])
def test_a_stripper_sees_no_padding_no_scale_and_no_offset(head, oriented, grid_points, padding):
    shape, affine = oriented("RAS", (5, 5, 5), extent=230)
    whole = head.sample(grid_points(shape, affine), "t2") + np.random.default_rng(0).rayleigh(20, shape)
    plain, moved = whole.astype(np.float32), (0.1 * whole - 300).astype(np.float32)
    plain[:8], moved[:8] = 0, padding
    plain[:, :8], moved[:, :8] = 0, padding
    plain[:, :, :8], moved[:, :, :8] = 0, padding
    np.testing.assert_allclose(canonical_head(moved), canonical_head(plain), atol=0.05)
    assert canonical_head(moved)[0].max() == 0


def test_an_atlas_may_have_any_background(atlas_file, stripped, save_raw, tmp_path):
    expected = read_atlas(atlas_file)
    image, brain, grid = expected.image, expected.mask, expected.grid
    for number, background in enumerate(BACKGROUNDS):
        path = tmp_path / f"{number}.nii.gz"
        save_raw(path, np.where(brain, 10 * image - 7, background).astype(np.float32), grid.affine)
        found = read_atlas(path)
        assert np.array_equal(found.mask, brain)
        np.testing.assert_allclose(found.image, image, atol=1e-3)


def test_the_common_value_counts_what_is_no_number_as_one():
    assert common_value(np.array([1, 2, 2, 3], np.float32)) == 2
    assert common_value(np.array([1, 2, 3], np.float32)) is None
    assert np.isnan(common_value(np.array([np.nan, np.inf, 2], np.float32)))
    assert common_value(np.zeros(0, np.float32)) is None
