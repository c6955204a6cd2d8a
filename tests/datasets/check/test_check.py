"""`check_directory` finds every kind of defect that we could think of, and nothing in a directory that has none."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from uadbench.datasets import brats21, ixi, mslub
from uadbench.datasets.check.check import check_directory
from uadbench.datasets.check.rules import Kind, Limits, Severity
from uadbench.datasets.layout import scan_path
from uadbench.datasets.modality import Modality
from uadbench.datasets.registry import data_sets
from uadbench.datasets.scans.pose import mask_shape, pose_of
from uadbench.datasets.scans.space import Grid
from uadbench.errors import DataError

HEALTHY = [f"IXI{number:03d}-{site}-{1000 + number}" for number, site in enumerate(["Guys", "HH", "IOP"] * 4)]
TUMOURS = [f"BraTS2021_{number:05d}" for number in range(3)]
PATIENTS = ["patient07", "patient19", "patient21"]
TUMOUR, PATIENT, SCAN = TUMOURS[0], PATIENTS[0], HEALTHY[0]
#: For brains of some 20 ml.
SMALL = Limits(brain_ml=(5, 60), side=(16, 100), field_mm=60)
ERROR, REMARK = Severity.ERROR, Severity.REMARK


@pytest.fixture
def root(tmp_path, write_scan):
    """Twelve healthy scans, three tumours, three patients with MS, and all ages: nothing to find."""
    root = tmp_path / "clinic"
    sets = ((ixi.DATA_SET, HEALTHY, 0), (brats21.DATA_SET, TUMOURS, 100), (mslub.DATA_SET, PATIENTS, 200))
    for info, scans, seed in sets:
        for number, scan in enumerate(scans):
            write_scan(root, info, scan, seed=seed + number)
    ages = [f"{scan},{30 + number}" for number, scan in enumerate([*HEALTHY, *TUMOURS, *PATIENTS])]
    (root / "splits").mkdir()
    (root / "splits" / "ages.csv").write_text("\n".join(["img_name,age", *ages]) + "\n")
    return root


@pytest.fixture
def check(root, small):
    def run(splits=None, jobs=1, limits=SMALL, progress=None, directory=root):
        known = tuple(data_sets().values())
        return check_directory(directory, splits, jobs, progress, known=known, limits=limits, settings=small)

    return run


@pytest.fixture
def edit(root):
    """Change the array [x, y, z] or the affine of a file in place."""

    def run(info, kind, scan, array=None, affine=None):
        path = scan_path(root, info, kind, scan)
        image = nib.load(path)
        values, place = np.asarray(image.dataobj), image.affine
        image = nib.Nifti1Image(
            values if array is None else array(values), place if affine is None else affine(place.copy())
        )
        nib.save(image, path)

    return run


def told(report):
    """What was found, as {(kind, severity): names}."""
    return {
        (finding.kind, finding.severity): {defect.scan for defect in finding.defects} for finding in report.findings
    }


def test_a_sound_directory_has_no_findings(check):
    report = check()
    assert [str(finding) for finding in report.findings] == []
    assert report.is_sound
    assert report.split == "own"
    healthy, tumours = report.summaries["healthy"], report.summaries["tumours"]
    assert (healthy.title, healthy.scans, healthy.complete, healthy.duplicates) == ("IXI", 12, 12, 0)
    assert healthy.lesion_ml is None
    assert tumours.scans == 3


def test_volumes_and_intensities_are_those_of_the_files(check, brain):
    report = check()
    images, masks, lesions = zip(*(brain(200 + number) for number in range(3)), strict=True)
    summary = report.summaries["ms"]
    volumes = [mask.sum() / 1000 for mask in masks]
    assert (summary.brain_ml.median, summary.brain_ml.low, summary.brain_ml.high) == pytest.approx(
        (np.median(volumes), min(volumes), max(volumes))
    )
    assert summary.lesion_ml.median == pytest.approx(np.median([lesion.sum() / 1000 for lesion in lesions]))
    percentiles = [np.percentile(image[mask], (1, 99)) for image, mask in zip(images, masks, strict=True)]
    assert summary.intensities == pytest.approx(tuple(np.median(percentiles, axis=0)))


# ------------------------------------------------------------------------------------------------ a scan by itself


def _every_file(edit, info, scan, **change):
    for kind in info.kinds(Modality.T2):
        edit(info, kind, scan, **change)


def _truncate(root, edit):
    path = scan_path(root, ixi.DATA_SET, "t2", SCAN)
    path.write_bytes(path.read_bytes()[:3000])


def _second_file(root, edit):
    path = scan_path(root, ixi.DATA_SET, "t2", SCAN)
    path.with_name(path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))


def _shear(affine):
    affine[0, 1] = 0.1
    affine[1, 1] = np.sqrt(1 - 0.01)
    return affine


def _tilt(affine):
    turn = np.radians(5)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return affine


def _moved(distance):
    def move(affine):
        affine[0, 3] += distance
        return affine

    return move


def _nan_inside(values):
    values = values.copy()
    values[tuple(size // 2 for size in values.shape)] = np.nan
    return values


def _shell(width, grey):
    """Something bright round the brain."""

    def grow(values):
        brain = values != 0
        return np.where(ndimage.binary_dilation(brain, iterations=width) & ~brain, grey, values).astype(np.float32)

    return grow


def _speck(values):
    """A few bright voxels outside the brain."""
    values = values.copy()
    values[:5, :5, :5] = 100
    return values


def _one_corner(values):
    """A lesion where no slice is kept: at the very top of the brain."""
    top = np.zeros_like(values)
    top[values.shape[0] // 2, values.shape[1] // 2, 2:4] = 1
    return top


def _half_out(share):
    """Move so much of the lesion to the box's corner, where no brain is."""

    def move(values):
        values = values.copy()
        lesion = np.argwhere(values)
        gone = lesion[: int(share * len(lesion))]
        values[tuple(gone.T)] = 0
        flat = np.argwhere(np.indices(values.shape).sum(0) < 12)[: len(gone)]
        values[tuple(flat.T)] = 1
        return values

    return move


def _linear(label):
    return lambda values: ndimage.gaussian_filter(values.astype(np.float32) * label, 0.7)


H, T, M = ixi.DATA_SET, brats21.DATA_SET, mslub.DATA_SET
#: kind, severity, scan, and what is done to the directory.
CASES = {
    "truncated": (Kind.UNREADABLE, ERROR, SCAN, _truncate),
    "not 3-D": (
        Kind.UNREADABLE,
        ERROR,
        SCAN,
        lambda root, edit: edit(H, "t2", SCAN, lambda a: np.stack([a, a], axis=-1)),
    ),
    "mask unreadable": (
        Kind.UNREADABLE,
        ERROR,
        SCAN,
        lambda root, edit: scan_path(root, H, "mask", SCAN).write_bytes(b"no mask"),
    ),
    "no mask": (Kind.INCOMPLETE, ERROR, SCAN, lambda root, edit: scan_path(root, H, "mask", SCAN).unlink()),
    "no segmentation": (
        Kind.INCOMPLETE,
        ERROR,
        PATIENT,
        lambda root, edit: scan_path(root, M, "seg", PATIENT).unlink(),
    ),
    "no image": (Kind.NO_IMAGE, ERROR, PATIENT, lambda root, edit: scan_path(root, M, "t2", PATIENT).unlink()),
    "two files": (Kind.DOUBLED, ERROR, "", _second_file),
    "mask of another shape": (Kind.MISFIT, ERROR, SCAN, lambda root, edit: edit(H, "mask", SCAN, lambda a: a[:-1])),
    "mask moved": (Kind.MISFIT, ERROR, SCAN, lambda root, edit: edit(H, "mask", SCAN, affine=_moved(3))),
    "segmentation moved": (Kind.MISFIT, ERROR, TUMOUR, lambda root, edit: edit(T, "seg", TUMOUR, affine=_moved(3))),
    "mask with NaN": (
        Kind.MISFIT,
        ERROR,
        SCAN,
        lambda root, edit: edit(H, "mask", SCAN, lambda a: _nan_inside(a.astype(np.float32))),
    ),
    "three slices": (
        Kind.SIZE,
        ERROR,
        SCAN,
        lambda root, edit: _every_file(edit, H, SCAN, array=lambda a: a[..., 12:15]),
    ),
    "2 mm": (
        Kind.VOXELS,
        ERROR,
        SCAN,
        lambda root, edit: _every_file(edit, H, SCAN, affine=lambda a: a @ np.diag([2, 1, 1, 1])),
    ),
    "sheared": (Kind.SHEARED, ERROR, SCAN, lambda root, edit: _every_file(edit, H, SCAN, affine=_shear)),
    "tilted": (Kind.TILTED, REMARK, SCAN, lambda root, edit: _every_file(edit, H, SCAN, affine=_tilt)),
    "elsewhere": (Kind.PLACE, REMARK, SCAN, lambda root, edit: _every_file(edit, H, SCAN, affine=_moved(40))),
    "empty mask": (Kind.EMPTY_MASK, ERROR, SCAN, lambda root, edit: edit(H, "mask", SCAN, lambda a: 0 * a)),
    "small mask": (
        Kind.BRAIN_VOLUME,
        ERROR,
        SCAN,
        lambda root, edit: edit(H, "mask", SCAN, lambda a: ndimage.binary_erosion(a, iterations=6).astype(np.uint8)),
    ),
    "full mask": (Kind.LEAKING_MASK, ERROR, SCAN, lambda root, edit: edit(H, "mask", SCAN, np.ones_like)),
    "grown mask": (
        Kind.LEAKING_MASK,
        ERROR,
        SCAN,
        lambda root, edit: edit(H, "mask", SCAN, lambda a: ndimage.binary_dilation(a, iterations=2).astype(np.uint8)),
    ),
    "mask warped": (Kind.MASK_FRACTIONS, REMARK, SCAN, lambda root, edit: edit(H, "mask", SCAN, _linear(1))),
    "skull": (Kind.NOT_STRIPPED, ERROR, SCAN, lambda root, edit: edit(H, "t2", SCAN, _shell(3, 80))),
    "rim": (Kind.RIM, REMARK, SCAN, lambda root, edit: edit(H, "t2", SCAN, _speck)),
    "NaN inside": (Kind.NOT_FINITE, ERROR, SCAN, lambda root, edit: edit(H, "t2", SCAN, _nan_inside)),
    "constant": (Kind.CONSTANT, ERROR, SCAN, lambda root, edit: edit(H, "t2", SCAN, lambda a: 7 * np.sign(a))),
    "few values": (Kind.FEW_VALUES, REMARK, SCAN, lambda root, edit: edit(H, "t2", SCAN, lambda a: np.round(a / 20))),
    "another contrast": (
        Kind.UNLIKE,
        REMARK,
        SCAN,
        lambda root, edit: edit(H, "t2", SCAN, lambda a: np.where(a > 0, np.abs(a) ** 5, 0).astype(np.float32)),
    ),
    "no lesion": (Kind.NO_LESION, ERROR, TUMOUR, lambda root, edit: edit(T, "seg", TUMOUR, np.zeros_like)),
    "lesion out of view": (
        Kind.LESION_OUT_OF_VIEW,
        REMARK,
        TUMOUR,
        lambda root, edit: edit(T, "seg", TUMOUR, _one_corner),
    ),
    "lesion partly outside": (
        Kind.LESION_OUTSIDE,
        REMARK,
        TUMOUR,
        lambda root, edit: edit(T, "seg", TUMOUR, _half_out(0.1)),
    ),
    "lesion outside": (Kind.LESION_OUTSIDE, ERROR, TUMOUR, lambda root, edit: edit(T, "seg", TUMOUR, _half_out(0.5))),
    "label 1 warped": (Kind.LABEL_FRACTIONS, REMARK, TUMOUR, lambda root, edit: edit(T, "seg", TUMOUR, _linear(1))),
    "label 4 warped": (Kind.LABEL_FRACTIONS, ERROR, TUMOUR, lambda root, edit: edit(T, "seg", TUMOUR, _linear(4))),
}


@pytest.mark.parametrize("case", CASES)
def test_a_defect_of_a_scan_is_found_and_the_rest_is_checked_on(case, root, check, edit):
    kind, severity, scan, hurt = CASES[case]
    hurt(root, edit)
    report = check()
    assert told(report).get((kind, severity)) == {scan}, told(report)
    assert report.is_sound == (severity is REMARK)
    named = {name for names in told(report).values() for name in names}
    assert named <= {scan, ""}  # nobody else is blamed
    assert len(report.facts) == 17 + (kind is not Kind.NO_IMAGE)


@pytest.mark.parametrize("axes", ["LAS", "PIR"])
def test_other_axes_are_a_remark(axes, root, check, write_scan):
    write_scan(root, mslub.DATA_SET, PATIENT, seed=200, axes=axes)
    assert told(check()) == {(Kind.AXES, REMARK): {PATIENT}}
    assert axes in str(check().findings[0])


def test_a_header_without_orientation_is_a_remark(root, check, forget_orientation):
    for kind in mslub.DATA_SET.kinds(Modality.T2):
        forget_orientation(scan_path(root, mslub.DATA_SET, kind, PATIENT))
    assert told(check()) == {(Kind.UNPLACED, REMARK): {PATIENT}}
    assert "LAS is assumed" in str(check().findings[0])


def test_a_brain_larger_than_the_others_and_than_the_view(root, check, brain, write_nifti):
    for kind, array in zip(("t2", "mask"), brain(5, (26, 80, 36)), strict=False):
        write_nifti(scan_path(root, ixi.DATA_SET, kind, SCAN), array)
    found = told(check())
    assert found[Kind.EXTENT, REMARK] == found[Kind.CUT, REMARK] == {SCAN}


def test_whole_brains_are_measured_against_usual_volumes(check):
    report = check(limits=Limits())
    assert {Kind.BRAIN_VOLUME, Kind.SIZE} == {finding.kind for finding in report.of(ERROR)}
    assert all(len(finding.defects) in (12, 3) for finding in report.of(ERROR))
    text = str(report.findings[0])
    assert "(12 in all)" in text  # one line for all of them
    assert len(text) < 300


# ---------------------------------------------------------------------------------------------------------- the pose


@pytest.fixture
def head_mask(head, grid_points):
    """A brain on a coarse grid, (z, y, x)."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-90.0, -120.0, -90.0)
    return head.brain(grid_points((46, 56, 46), affine))


@pytest.mark.parametrize("size", [1.0, 4.0])
@pytest.mark.parametrize(
    ("turn", "way"),
    [
        (lambda mask: mask, ""),
        (lambda mask: mask[:, :, ::-1], ""),  # left and right look alike
        (lambda mask: mask[::-1], "up-down turned round"),
        (lambda mask: mask[:, ::-1], "front-back turned round"),
        (lambda mask: mask[::-1, ::-1], "front-back and up-down turned round"),
        (lambda mask: mask.transpose(1, 0, 2), "axes exchanged"),
    ],
)
def test_a_brain_that_lies_wrongly_is_seen_by_its_mask(head_mask, turn, way, size):
    mask = np.ascontiguousarray(turn(head_mask))
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = (200.0, -30.0, 5.0)  # neither size nor place matters
    pose = pose_of(mask_shape(mask, Grid(mask.shape, affine)))
    assert pose.way == way
    assert (pose.best - pose.likeness > SMALL.pose_margin) == bool(way)


def test_an_upside_down_scan_is_a_remark(root, check, head_mask, write_nifti):
    limits = Limits(brain_ml=(5, 60), side=(16, 100))
    for scan, mask in ((HEALTHY[0], head_mask), (HEALTHY[1], head_mask[::-1])):
        image = np.where(mask, 100 + np.random.default_rng(3).normal(0, 20, mask.shape), 0).astype(np.float32)
        write_nifti(scan_path(root, ixi.DATA_SET, "t2", scan), image)
        write_nifti(scan_path(root, ixi.DATA_SET, "mask", scan), mask)
    assert told(check(limits=limits))[Kind.POSE, REMARK] == {HEALTHY[1]}


# ------------------------------------------------------------------------------------------------------- compared


def test_a_site_unlike_another_is_a_remark(root, check, edit, write_scan):
    for number in range(12, 18):
        write_scan(root, ixi.DATA_SET, f"IXI{number:03d}-Elsewhere-1", seed=number)
        edit(ixi.DATA_SET, "t2", f"IXI{number:03d}-Elsewhere-1", lambda a: np.where(a > 0, np.abs(a) ** 4, 0))
    for number in range(20, 23):
        write_scan(root, ixi.DATA_SET, f"IXI{number:03d}-Guys-1", seed=number)
    report = check(splits="own")
    found = [finding for finding in report.findings if finding.kind is Kind.SITES]
    assert len(found) == 1
    assert found[0].severity is REMARK
    assert "Elsewhere" in str(found[0])
    assert "Guys" in str(found[0])


def _copy(root, info, old, new):
    for kind in info.kinds(Modality.T2):
        shutil.copy(scan_path(root, info, kind, old), scan_path(root, info, kind, new))


def _copied(root, edit, write_nifti, brain):
    shutil.copy(scan_path(root, ixi.DATA_SET, "t2", HEALTHY[1]), scan_path(root, ixi.DATA_SET, "t2", SCAN))


def _gzipped_again(root, edit, write_nifti, brain):
    content = gzip.decompress(scan_path(root, ixi.DATA_SET, "t2", HEALTHY[1]).read_bytes())
    scan_path(root, ixi.DATA_SET, "t2", SCAN).write_bytes(gzip.compress(content, 1))


def _stored_las(root, edit, write_nifti, brain):
    write_nifti(scan_path(root, ixi.DATA_SET, "t2", SCAN), brain(1)[0], axes="LAS")


def _other_type(root, edit, write_nifti, brain):
    write_nifti(scan_path(root, ixi.DATA_SET, "t2", SCAN), brain(1)[0].astype(np.float64))


def _elsewhere(root, edit, write_nifti, brain):
    _copied(root, edit, write_nifti, brain)
    edit(ixi.DATA_SET, "t2", SCAN, affine=_moved(0.5))


@pytest.mark.parametrize("copy", [_copied, _gzipped_again, _stored_las, _other_type, _elsewhere])
def test_the_same_voxels_under_another_name_are_found(copy, root, check, edit, write_nifti, brain):
    copy(root, edit, write_nifti, brain)
    report = check()
    assert told(report)[Kind.DUPLICATE, ERROR] == {SCAN, HEALTHY[1]}
    assert report.summaries["healthy"].duplicates == 2
    assert not report.is_sound


def test_the_same_voxels_in_another_set_are_found(root, check):
    shutil.copy(scan_path(root, ixi.DATA_SET, "t2", SCAN), scan_path(root, mslub.DATA_SET, "t2", PATIENT))
    report = check()
    assert told(report)[Kind.DUPLICATE, ERROR] == {SCAN, PATIENT}
    assert [report.summaries[role].duplicates for role in ("healthy", "tumours", "ms")] == [1, 0, 1]
    assert "IXI and MSLUB" in str(report.of(ERROR)[0])


def test_an_empty_margin_hides_no_duplicate(root, check, brain, write_nifti):
    image, mask, _ = brain(1)
    for kind, array in (("t2", image), ("mask", mask)):
        write_nifti(scan_path(root, ixi.DATA_SET, kind, SCAN), np.pad(array, ((2, 3), (1, 0), (4, 4))))
    assert told(check())[Kind.DUPLICATE, ERROR] == {SCAN, HEALTHY[1]}


@pytest.mark.parametrize("turn", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a[::-1, ::-1, ::-1]])
def test_a_mirrored_copy_is_found(turn, root, check, edit, brain, write_nifti):
    image, mask, _ = brain(1)
    for kind, array in (("t2", image), ("mask", mask)):
        write_nifti(scan_path(root, ixi.DATA_SET, kind, SCAN), turn(array))
    found = told(check())
    assert found[Kind.TURNED_DUPLICATE, ERROR] == {SCAN, HEALTHY[1]}
    assert (Kind.DUPLICATE, ERROR) not in found


def test_one_voxel_makes_another_scan(root, check, edit):
    _copy(root, ixi.DATA_SET, HEALTHY[1], SCAN)

    def change(values):
        values = values.copy()
        values[18, 20, 13] += 1
        return values

    edit(ixi.DATA_SET, "t2", SCAN, change)
    assert check().findings == ()


def test_copies_are_no_leak_where_a_run_reads_only_one(root, check, write_csv):
    _copy(root, ixi.DATA_SET, HEALTHY[1], SCAN)
    _publish(root, write_csv, train=HEALTHY[1:7])
    assert told(check())[Kind.DUPLICATE, REMARK] == {SCAN, HEALTHY[1]}
    assert check().is_sound
    assert not check(splits="own").is_sound


# ------------------------------------------------------------------------------------------------------------- splits


def _publish(root, write_csv, train=HEALTHY[:7], val=HEALTHY[7:9], test=HEALTHY[9:], folds=1):
    folder = root / "splits"
    for fold in range(folds):
        write_csv(folder / f"IXI_train_fold{fold}.csv", train)
        write_csv(folder / f"IXI_val_fold{fold}.csv", val)
    write_csv(folder / "IXI_test.csv", test)
    for name, scans in (("Brats21", TUMOURS), ("MSLUB", PATIENTS)):
        write_csv(folder / f"{name}_val.csv", scans[:1])
        write_csv(folder / f"{name}_test.csv", scans[1:])


def test_published_splits_that_are_clean(root, check, write_csv):
    _publish(root, write_csv)
    report = check()
    assert (report.split, report.findings) == ("published", ())


@pytest.mark.parametrize("splits", [None, "published"])
def test_a_leak_is_an_error_whatever_is_accepted(splits, root, check, write_csv):
    _publish(root, write_csv, train=[*HEALTHY[:7], HEALTHY[10], HEALTHY[0]])
    report = check(splits=splits)
    leaks = [finding for finding in report.of(ERROR) if finding.kind is Kind.LEAK]
    assert len(leaks) == 1
    assert HEALTHY[10] in str(leaks[0])
    assert "duplicate-rows in 1 place" in str(report.of(REMARK)[0])
    assert check(splits="deleaked").is_sound
    assert check(splits="own").findings == ()


def test_a_scan_in_the_split_that_is_not_there(root, check, write_csv):
    _publish(root, write_csv, train=[*HEALTHY[:7], "IXI999-HH-1"])
    assert told(check()) == {(Kind.NOT_THERE, ERROR): {"IXI999-HH-1"}}
    assert told(check(splits="own")) == {}


def test_what_is_wrong_with_a_scan_that_no_run_reads_is_a_remark(root, check, edit, write_csv):
    _publish(root, write_csv, train=HEALTHY[1:7])
    edit(ixi.DATA_SET, "mask", SCAN, np.zeros_like)
    assert told(check()) == {(Kind.EMPTY_MASK, REMARK): {SCAN}}
    assert told(check(splits="own")) == {(Kind.EMPTY_MASK, ERROR): {SCAN}}


def test_malformed_split_files_and_too_few_scans_are_one_finding(root, check, write_csv):
    _publish(root, write_csv)
    (root / "splits" / "IXI_test.csv").write_text("nonsense\n")
    report = check()
    assert [finding.kind for finding in report.of(ERROR)] == [Kind.SPLIT]
    assert report.split is None
    shutil.rmtree(root / "splits")
    for scan in HEALTHY[3:]:
        for kind in ("t2", "mask"):
            scan_path(root, ixi.DATA_SET, kind, scan).unlink()
    assert [finding.kind for finding in check().of(ERROR)] == [Kind.SPLIT]
    assert "3 people" in str(check().of(ERROR)[0])


def test_unknown_ages_are_a_remark(root, check):
    (root / "splits" / "ages.csv").unlink()
    assert {finding.kind for finding in check().findings} == {Kind.SPLIT}
    assert check().is_sound


def test_the_published_files_leak_and_their_scans_are_not_here(root, check, shared_data):
    for path in (shared_data / "behrendt2023-splits").glob("*.csv"):
        shutil.copy(path, root / "splits")
    report = check()
    leaks = [str(finding) for finding in report.of(ERROR) if finding.kind is Kind.LEAK]
    assert sum("train and test" in leak and "scan-in-two-parts" in leak for leak in leaks) == 5  # every fold
    absent = {finding.keys[0]: len(finding.defects) for finding in report.of(ERROR) if finding.kind is Kind.NOT_THERE}
    for role, prefix, scans in (("tumours", "Brats21", TUMOURS), ("ms", "MSLUB", PATIENTS)):
        listed = set()
        for part in ("val", "test"):
            with (root / "splits" / f"{prefix}_{part}.csv").open(newline="") as file:
                listed |= {row["img_name"].partition("_t1")[0] for row in csv.DictReader(file)}
        assert absent[role] == len(listed - set(scans)) > 20
    assert len(report.findings) < 40
    assert not [f for f in check(splits="deleaked").findings if f.kind is Kind.LEAK]


# ---------------------------------------------------------------------------------------------- sets, directories


def test_that_no_lesion_set_is_there_is_a_remark(root, check):
    shutil.rmtree(root / "Test" / "Brats21")
    report = check()
    assert not report.findings  # one of them is enough
    assert set(report.summaries) == {"healthy", "ms"}
    shutil.rmtree(root / "Test" / "MSLUB")
    assert told(check()) == {(Kind.ABSENT, REMARK): {""}}


def test_masks_without_images_of_a_lesion_set_are_told(root, check):
    shutil.rmtree(root / "Test" / "Brats21" / "t2")
    sentences = [str(finding) for finding in check().findings if finding.kind is Kind.ABSENT]
    assert len(sentences) == 1 and "BraTS21 has no images here" in sentences[0]


def test_a_directory_without_healthy_scans_is_checked_all_the_same(root, check, edit):
    shutil.rmtree(root / "Train")
    edit(mslub.DATA_SET, "mask", PATIENT, np.zeros_like)
    assert told(check()) == {(Kind.NO_HEALTHY, ERROR): {""}, (Kind.EMPTY_MASK, ERROR): {PATIENT}}


def test_masks_alone_are_no_healthy_set(root, check):
    shutil.rmtree(root / "Train" / "ixi" / "t2")
    found = told(check())
    assert found[Kind.NO_IMAGE, ERROR] == set(HEALTHY)
    assert (Kind.NO_HEALTHY, ERROR) in found


def test_a_directory_with_nothing_is_one_sentence(tmp_path, check):
    with pytest.raises(DataError, match="is no directory"):
        check(directory=tmp_path / "nowhere")
    (tmp_path / "empty" / "Train" / "ixi" / "t2").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no scans"):
        check(directory=tmp_path / "empty")


def test_an_unknown_choice_of_splits_is_one_sentence(check):
    with pytest.raises(DataError, match="choose one of"):
        check(splits="mine")


def test_processes_find_the_same_and_report_progress(root, check, edit):
    edit(ixi.DATA_SET, "t2", SCAN, _nan_inside)
    _truncate(root, edit)
    seen = []
    together = check(jobs=2, progress=lambda *done: seen.append(done))
    assert together == check()
    assert seen == [(done, 18) for done in range(19)]


# ---------------------------------------------------------------------------------------------- what was prepared


@pytest.fixture
def prepared(root):
    """Rows as `bench prepare` writes them."""

    def write(info, scan, source="", atlas="a" * 64, dice=0.97):
        results = {}
        for kind in info.kinds(Modality.T2):
            path = scan_path(root, info, kind, scan)
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            results[kind] = {"file": str(path.relative_to(root)), "sha256": digest, "bytes": len(content)}
        row = {
            "scan": scan,
            "sources": {"t2": {"file": f"{scan}.nii", "sha256": source or hashlib.sha256(scan.encode()).hexdigest()}},
            "results": results,
            "recipe": {
                "steps": [
                    {"step": "register", "atlas": "atlas", "atlas_sha256": atlas},
                    {"step": "N4 in the brain mask", "iterations": [50]},
                ]
            },
            "registration": {"mutual_information": 0.5, "mask_dice": dice},
        }
        path = root / "prepared" / info.name / f"{scan}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row))

    for info, scans in ((ixi.DATA_SET, HEALTHY), (brats21.DATA_SET, TUMOURS), (mslub.DATA_SET, PATIENTS)):
        for scan in scans:
            write(info, scan)
    return write


def test_prepared_rows_that_agree(check, prepared):
    assert check().findings == ()


def test_a_file_changed_since_it_was_prepared(check, prepared, edit):
    edit(mslub.DATA_SET, "seg", PATIENT, lambda values: ndimage.binary_dilation(values).astype(np.uint8))
    report = check()
    assert told(report) == {(Kind.CHANGED, ERROR): {PATIENT}}
    assert "(seg)" in str(report.findings[0])


def test_rows_whose_files_are_gone_and_files_without_rows(root, check, prepared):
    for kind in ("t2", "mask"):
        scan_path(root, ixi.DATA_SET, kind, SCAN).unlink()
    (root / "prepared" / "mslub" / f"{PATIENT}.json").unlink()
    assert told(check()) == {(Kind.LOST, ERROR): {SCAN}, (Kind.NO_ROW, REMARK): {PATIENT}}


def test_two_scans_of_one_source(check, prepared):
    prepared(ixi.DATA_SET, SCAN, source="f" * 64)
    prepared(mslub.DATA_SET, PATIENT, source="f" * 64)
    report = check()
    assert told(report) == {(Kind.SAME_SOURCE, ERROR): {SCAN, PATIENT}}
    assert [report.summaries[role].duplicates for role in ("healthy", "tumours", "ms")] == [1, 0, 1]


def test_scans_brought_to_different_atlases(check, prepared):
    prepared(ixi.DATA_SET, SCAN, atlas="b" * 64)
    report = check()
    assert [finding.kind for finding in report.of(ERROR)] == [Kind.RECIPES]


def test_what_preparing_had_to_say_is_repeated(root, check, prepared):
    prepared(ixi.DATA_SET, SCAN, dice=0.92)  # the others have 0.97
    failures = [{"scan": "IXI555-HH-1", "reason": "cut short"}]
    (root / "prepared" / "ixi" / "set.json").write_text(json.dumps({"failures": failures}))
    assert told(check()) == {
        (Kind.REGISTRATION, REMARK): {SCAN},
        (Kind.NOT_PREPARED, REMARK): {"IXI555-HH-1"},
    }


def test_a_registration_that_failed_is_an_error(check, prepared):
    prepared(ixi.DATA_SET, SCAN, dice=0.454)
    report = check()
    assert told(report) == {(Kind.REGISTRATION, ERROR): {SCAN}}
    assert "Dice of the brains with the atlas 0.454, below 0.9" in str(report.findings[0])
