"""Data from disk: a small directory in the field's layout, whole and broken in every way we could think of."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from uadbench.datasets import ixi, mslub
from uadbench.datasets.cohort import Fold, Part
from uadbench.datasets.findings import LeakError, Problem
from uadbench.datasets.layout import scan_path
from uadbench.datasets.load import load_disk
from uadbench.datasets.registry import data_sets
from uadbench.datasets.scans.nifti import read_image
from uadbench.datasets.scans.preparation import PreparationSettings, prepare_volume
from uadbench.errors import DataError

HEALTHY = [f"IXI{number:03d}-{site}-{1000 + number}" for number, site in enumerate(["Guys", "HH", "IOP"] * 3)]
PATIENTS = ["patient07", "patient19", "patient21"]
KNOWN = tuple(data_sets().values())


@pytest.fixture
def directory(tmp_path, write_scan):
    """Nine healthy scans and three patients, no split files."""
    root = tmp_path / "clinic"
    for number, scan in enumerate(HEALTHY):
        write_scan(root, ixi.DATA_SET, scan, seed=number)
    for number, scan in enumerate(PATIENTS):
        write_scan(root, mslub.DATA_SET, scan, seed=50 + number)
    return root


@pytest.fixture
def load(directory, tmp_path, small):
    def run(splits=None, jobs=1, progress=None, settings=small):
        return load_disk(directory, tmp_path / "cache", settings, splits, jobs, progress, known=KNOWN)

    return run


@pytest.fixture
def publish(directory, write_csv):
    """Write split files of one fold in the published format."""

    def run(train=HEALTHY[:5], val=HEALTHY[5:7], test=HEALTHY[7:], ms=(PATIENTS[:1], PATIENTS[1:2])):
        folder = directory / "splits"
        write_csv(folder / "IXI_train_fold0.csv", train, {scan: 30.0 + n for n, scan in enumerate(HEALTHY)})
        write_csv(folder / "IXI_val_fold0.csv", val)
        write_csv(folder / "IXI_test.csv", test)
        if ms:
            write_csv(folder / "MSLUB_val.csv", ms[0])
            write_csv(folder / "MSLUB_test.csv", ms[1])
        return folder

    return run


def test_reads_prepares_and_splits(load, directory, brain, small):
    data = load()
    assert (data.name, data.title) == ("clinic", "IXI, MSLUB")
    assert data.splits.name == "own"
    assert set(data.lesions) == set(data.splits.lesion) == {"ms"}  # no tumours here: simply not there
    assert data.healthy.store.ids == tuple(sorted(HEALTHY))
    assert {subject.site for subject in data.healthy.store.subjects} == {"Guys", "HH", "IOP"}
    assert not data.healthy.store.has_lesions
    expected = prepare_volume(*brain(51), small)
    store = data.lesions["ms"].store
    assert np.array_equal(store.volume("patient19"), expected.volume)
    assert np.array_equal(store.brain_mask("patient19"), expected.brain_mask)
    assert np.array_equal(store.lesion_mask("patient19"), expected.lesion_mask)
    assert expected.lesion_mask.any()


@pytest.mark.parametrize("axes", ["LAS", "PIR", "ASL", "LPS", "SRA"])
def test_orientation_on_disk_does_not_matter(tmp_path, brain, write_nifti, axes):
    image, _, _ = brain(4)
    write_nifti(tmp_path / "turned.nii.gz", image, axes=axes)
    assert nib.aff2axcodes(nib.load(tmp_path / "turned.nii.gz").affine) == tuple(axes)
    array, grid = read_image(tmp_path / "turned.nii.gz")
    assert np.array_equal(array, image)
    assert grid.shape == image.shape


def test_files_of_different_orientation_give_the_same_volumes(load, directory, write_scan, write_nifti, brain):
    before = load().lesions["ms"].store
    write_scan(directory, mslub.DATA_SET, "patient07", seed=50, axes="LAS")
    image, mask, _ = brain(51)
    write_nifti(scan_path(directory, mslub.DATA_SET, "t2", "patient19"), image, axes="PIR")
    write_nifti(scan_path(directory, mslub.DATA_SET, "mask", "patient19"), mask, axes="LPS")
    after = load().lesions["ms"].store
    assert after.folder != before.folder
    for scan in PATIENTS:
        assert np.array_equal(after.volume(scan), before.volume(scan))
        assert np.array_equal(after.lesion_mask(scan), before.lesion_mask(scan))


def test_frame_axis_label_numbers_and_plain_nii_are_accepted(load, directory, brain, small):
    image, mask, lesion = brain(50)
    for kind, array in (("t2", image), ("mask", mask * 255.0), ("seg", lesion * 4.0)):
        path = scan_path(directory, mslub.DATA_SET, kind, "patient07")
        affine = nib.load(path).affine
        path.unlink()
        frames = np.moveaxis(array, (0, 1, 2), (2, 1, 0))[..., None].astype(np.float32)
        nib.save(nib.Nifti1Image(frames, affine), path.with_name(path.name.removesuffix(".gz")))
    store = load().lesions["ms"].store
    expected = prepare_volume(image, mask, lesion, small)
    assert np.array_equal(store.volume("patient07"), expected.volume)
    assert np.array_equal(store.lesion_mask("patient07"), expected.lesion_mask)


def test_second_load_prepares_nothing_and_another_preparation_does(load, small):
    seen = []
    first = load(progress=lambda *done: seen.append(done))
    assert seen == [(n, 9) for n in range(10)] + [(n, 3) for n in range(4)]
    seen.clear()
    assert load(progress=lambda *done: seen.append(done)).fingerprint == first.fingerprint
    assert seen == []
    other = load(progress=lambda *done: seen.append(done), settings=replace(small, iterations=1))
    assert len(seen) == 14
    assert other.fingerprint != first.fingerprint


def test_changed_source_file_is_prepared_again(load, directory, write_scan):
    before = load()
    write_scan(directory, ixi.DATA_SET, HEALTHY[0], seed=99)
    after = load()
    assert after.fingerprint != before.fingerprint
    assert not np.array_equal(after.healthy.store.volume(HEALTHY[0]), before.healthy.store.volume(HEALTHY[0]))
    assert after.lesions["ms"].store.fingerprint == before.lesions["ms"].store.fingerprint


def test_touched_source_file_is_not(load, directory):
    before = load()
    os.utime(scan_path(directory, ixi.DATA_SET, "t2", HEALTHY[0]))
    assert load().healthy.store.folder == before.healthy.store.folder


@pytest.mark.slow
def test_worker_processes_give_the_same_numbers(load, directory, tmp_path, small):
    alone = load()
    together = load_disk(directory, tmp_path / "other", small, None, 2, known=KNOWN)
    assert together.fingerprint == alone.fingerprint


# ---------------------------------------------------------------------------------------------------- the split


def test_split_files_are_used_and_name_who_is_needed(load, publish):
    publish()
    data = load()
    assert data.splits.name == "published"
    assert data.splits.folds == (Fold(tuple(HEALTHY[:5]), tuple(HEALTHY[5:7])),)
    assert data.splits.healthy_test == tuple(HEALTHY[7:])
    assert data.splits.lesion == {"ms": Part(("patient07",), ("patient19",))}
    assert data.lesions["ms"].store.ids == ("patient07", "patient19")  # 21 stands in no part
    assert [subject.age for subject in data.healthy.store.subjects[:5]] == [30, 31, 32, 33, 34]


def test_leak_stops_unless_it_is_chosen(load, publish, tmp_path):
    publish(train=[*HEALTHY[:5], HEALTHY[8], HEALTHY[0]])
    with pytest.raises(LeakError, match=f"train and test.*{HEALTHY[8]}.*--splits deleaked") as caught:
        load()
    assert [finding.scans for finding in caught.value.findings] == [(HEALTHY[8],)]
    assert not (tmp_path / "cache").exists()  # found before any work

    accepted = load("published").splits
    assert accepted.folds[0].train == (*HEALTHY[:5], HEALTHY[8], HEALTHY[0])
    assert {one.kind for one in accepted.findings} == {Problem.SCAN_IN_TWO_PARTS, Problem.DUPLICATE_ROWS}
    clean = load("deleaked").splits
    assert (clean.name, clean.folds[0].train, clean.findings) == ("deleaked", tuple(HEALTHY[:5]), ())
    own = load("own").splits
    assert (own.name, len(own.folds), own.findings) == ("own", 5, ())


def test_leak_between_lesion_parts_stops_too(load, publish):
    publish(ms=(PATIENTS[:2], PATIENTS[1:]))
    with pytest.raises(LeakError, match=r"ms val and ms test.*patient19"):
        load()


def test_duplicate_rows_alone_do_not_stop(load, publish):
    publish(train=[*HEALTHY[:5], HEALTHY[0]])
    assert [one.kind for one in load().splits.findings] == [Problem.DUPLICATE_ROWS]


def test_available_t2_drops_rows_without_one(load, publish):
    folder = publish(train=[*HEALTHY[:5], "IXI500-Guys-1017"])
    with pytest.raises(DataError, match=r"lacks files.*Train/ixi/t2/IXI500-Guys-1017_t2\.nii\.gz"):
        load()
    (folder / "avail_t2.csv").write_text(
        "\n".join([",0", *(f"{n},{scan}_t2.nii.gz" for n, scan in enumerate(HEALTHY))])
    )
    splits = load().splits
    assert splits.folds[0].train == tuple(HEALTHY[:5])
    assert any("IXI500-Guys-1017" in note for note in splits.notes)


def test_lesion_set_without_split_files_gets_our_own(load, publish):
    publish(ms=None)
    splits = load().splits
    assert splits.name == "published"
    assert (len(splits.lesion["ms"].val), len(splits.lesion["ms"].test)) == (1, 2)
    assert any("MSLUB has no split files" in note for note in splits.notes)


def test_split_files_of_a_set_that_is_not_there_are_noted(load, publish, write_csv):
    folder = publish()
    write_csv(folder / "Brats21_val.csv", ["BraTS2021_00538"])
    data = load()
    assert set(data.lesions) == {"ms"}
    assert any("BraTS21" in note for note in data.splits.notes)


def test_choices_that_cannot_be(load):
    with pytest.raises(DataError, match="holds no split files"):
        load("published")
    with pytest.raises(DataError, match="--splits best is unknown"):
        load("best")


def test_phantom_exports_are_called_so(load, directory):
    (directory / ixi.DATA_SET.folder / "PHANTOM.json").write_text("{}")
    mixed = load()
    assert (mixed.healthy.name, mixed.healthy.title, mixed.name) == ("phantom-healthy", "phantom healthy", "clinic")
    assert mixed.lesions["ms"].title == "MSLUB"
    (directory / mslub.DATA_SET.folder / "PHANTOM.json").write_text("{}")
    assert load().name == "phantom-clinic"
    assert load().lesions["ms"].name == "phantom-ms"


def test_a_name_may_not_claim_to_be_the_phantom(load, directory, tmp_path, small):
    directory.rename(tmp_path / "phantom-like")
    assert (
        load_disk(tmp_path / "phantom-like", tmp_path / "cache", small, None, 1, known=KNOWN).name
        == "mixed-phantom-like"
    )


# ------------------------------------------------------------------------------------------------ what is broken


def edit(path, change):
    image = nib.load(path)
    array, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
    nib.save(nib.Nifti1Image(array, affine), path)


def moved(array, affine):
    affine[2, 3] += 5
    return array, affine


def poisoned(array, affine):
    array[array.shape[0] // 2, array.shape[1] // 2, array.shape[2] // 2] = np.nan
    return array, affine


BROKEN = {
    "nan": ("t2", lambda path: edit(path, poisoned), "not-a-number"),
    "half": ("t2", lambda path: edit(path, lambda a, f: (a[:-3], f)), "has shape"),
    "coarse": (
        "t2",
        lambda path: edit(path, lambda a, f: (a, f @ np.diag([1, 1, 2, 1]))),
        "voxels of 1.00 x 1.00 x 2.00",
    ),
    "frames": ("t2", lambda path: edit(path, lambda a, f: (np.stack([a, a], -1), f)), "one 3-D volume"),
    "constant": ("t2", lambda path: edit(path, lambda a, f: (a * 0 + 5, f)), "constant"),
    "cut short": ("t2", lambda path: path.write_bytes(path.read_bytes()[:-200]), "cut short"),
    "cut header": ("t2", lambda path: path.write_bytes(gzip.compress(b"\0" * 100)), "no readable"),
    "text": ("t2", lambda path: path.write_text("not found"), "no gzip file"),
    "empty file": ("mask", lambda path: path.write_bytes(b""), "is empty"),
    "mask moved": ("mask", lambda path: edit(path, moved), "elsewhere in space"),
    "mask empty": ("mask", lambda path: edit(path, lambda a, f: (a * 0, f)), "brain mask is empty"),
    "mask nan": ("mask", lambda path: edit(path, lambda a, f: poisoned(a.astype(np.float32), f)), "not-a-number"),
    "no mask": ("mask", lambda path: path.unlink(), "lacks files"),
    "no seg": ("seg", lambda path: path.unlink(), "lacks files"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_named_with_its_problem(load, directory, name):
    kind, damage, words = BROKEN[name]
    path = scan_path(directory, mslub.DATA_SET, kind, "patient19")
    damage(path)
    with pytest.raises(DataError, match=words) as caught:
        load()
    assert "patient19" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_scan_without_a_lesion_is_loaded_for_the_preset_to_judge(load, directory):
    edit(scan_path(directory, mslub.DATA_SET, "seg", "patient19"), lambda a, f: (a * 0, f))
    store = load().lesions["ms"].store
    assert "patient19" in store.ids and not store.lesion_mask("patient19").any()


def test_mended_file_is_enough_to_go_on(load, directory, write_scan):
    path = scan_path(directory, ixi.DATA_SET, "t2", HEALTHY[4])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError):
        load()
    write_scan(directory, ixi.DATA_SET, HEALTHY[4], seed=4)
    assert len(load().healthy.store.ids) == 9


def test_same_scan_twice_is_named(load, directory):
    path = scan_path(directory, ixi.DATA_SET, "t2", HEALTHY[0])
    path.with_name(f"{HEALTHY[0]}.nii").write_bytes(b"")
    with pytest.raises(DataError, match="the same scan"):
        load()


def as_pair(path):
    """Make a pair of a scan's file, which goes; its header."""
    image = nib.load(path)
    header = path.with_name(path.name.replace(".nii.gz", ".hdr"))
    nib.save(nib.Nifti1Pair(np.asarray(image.dataobj), image.affine), header.with_suffix(".img"))
    path.unlink()
    return header


def test_other_formats_and_spellings_give_the_same_volumes(load, directory, small):
    before = load()
    paths = [scan_path(directory, mslub.DATA_SET, kind, PATIENTS[0]) for kind in ("t2", "mask", "seg")]
    as_pair(paths[0])
    paths[1].rename(paths[1].with_name(f"{PATIENTS[0]}_mask.NII.GZ"))
    image = nib.load(paths[2])
    nib.save(nib.MGHImage(np.asarray(image.dataobj), image.affine), paths[2].with_name(f"{PATIENTS[0]}_seg.mgz"))
    paths[2].unlink()
    after = load()
    for one in ("volume", "lesion_mask"):
        same = (getattr(data.lesions["ms"].store, one)(PATIENTS[0]) for data in (before, after))
        np.testing.assert_array_equal(*same)


def test_a_pair_that_changed_in_either_file_is_prepared_again(load, directory):
    header = as_pair(scan_path(directory, mslub.DATA_SET, "t2", PATIENTS[0]))
    folders = {load().lesions["ms"].store.folder}
    for path in (header.with_suffix(".img"), header):
        content = bytearray(path.read_bytes())
        content[-1 if path.suffix == ".img" else 150] ^= 1  # a voxel, a letter of the description
        path.write_bytes(content)
        folders.add(load().lesions["ms"].store.folder)
    assert len(folders) == 3


def test_a_pair_beside_another_file_of_the_scan_is_twice(load, directory):
    path = scan_path(directory, mslub.DATA_SET, "t2", PATIENTS[0])
    content = path.read_bytes()
    header = as_pair(path)
    for name, twin in ((path.name, content), (f"{header.stem}.img.gz", b""), (f"{header.stem}.MGZ", b"")):
        path.with_name(name).write_bytes(twin)
        with pytest.raises(DataError, match="the same scan"):
            load()
        path.with_name(name).unlink()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_what_is_no_file_does_not_hang(load, directory, make):
    path = scan_path(directory, mslub.DATA_SET, "t2", PATIENTS[0])
    path.unlink()
    make(path)
    with pytest.raises(DataError, match="patient07_t2.nii.gz is a .* and no file; give the file itself"):
        load()


def test_directory_that_is_none_of_ours(tmp_path, small):
    with pytest.raises(DataError, match="no directory"):
        load_disk(tmp_path / "nowhere", tmp_path / "cache", small, None, 1, known=KNOWN)
    with pytest.raises(DataError, match=r"as t2/<scan>_t2.nii.gz in .*Train/ixi"):
        load_disk(tmp_path, tmp_path / "cache", small, None, 1, known=KNOWN)


# ------------------------------------------------------------------------------------------------- real patients


@pytest.mark.slow
@pytest.mark.parametrize("scan", ["patient07", "patient19"])
def test_real_mslub_patient_at_full_size(shared_data, scan):
    """A real T2 with a background below zero; no brain mask comes with it (here: what is above zero, filled)."""
    folder = shared_data / "real" / "mslub"
    t2, grid = read_image(folder / f"{scan}_t2.nii.gz")
    lesions = read_image(folder / f"{scan}_seg.nii.gz")[0] > 0
    pieces, _ = ndimage.label(t2 > 0)
    brain = ndimage.binary_fill_holes(pieces == np.bincount(pieces[pieces > 0]).argmax())
    prepared = prepare_volume(t2, brain, lesions, PreparationSettings())
    assert grid.shape == (182, 218, 182)
    assert prepared.volume.shape == (50, 96, 96)
    assert prepared.lesion_mask.sum() * 8 == pytest.approx(lesions.sum(), rel=0.1)
    assert not (prepared.lesion_mask & ~prepared.brain_mask).any()

    low, high = np.percentile(t2[brain], (1, 99))
    at_1_mm = np.clip((t2[lesions] - low) / (high - low), 0, 1).mean()
    assert prepared.volume[prepared.lesion_mask].mean() == pytest.approx(at_1_mm, abs=0.02)
    # Lesions are brighter than what surrounds them, so the mask sits best where it is.
    for axis in range(3):
        for step in (-1, 1):
            beside = prepared.volume[np.roll(prepared.lesion_mask, step, axis)].mean()
            assert beside < prepared.volume[prepared.lesion_mask].mean()
