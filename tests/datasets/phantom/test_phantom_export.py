"""The phantom as files, and its stores: the disk reader sees the very same cohort."""

from __future__ import annotations

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from uadbench.datasets.load import load_disk
from uadbench.datasets.modality import Modality
from uadbench.datasets.phantom import export as phantom_export
from uadbench.datasets.phantom import load as phantom
from uadbench.datasets.phantom.load import PhantomSize, SimulatedScan, export_nifti, load_phantom, phantom_splits
from uadbench.datasets.phantom.subjects import PhantomSet, subjects
from uadbench.datasets.registry import data_sets
from uadbench.datasets.scans.preparation import PreparationSettings
from uadbench.errors import DataError

TINY = PhantomSize("tiny", 5, 1, 1, 1, 1, 1)
SMALL = PreparationSettings(side=32, depth=16)


@pytest.fixture(autouse=True)
def quick_brains(monkeypatch, brain):
    """Files and stores are what is tested here: ellipsoids stand in for brains (test_phantom has the real ones)."""

    def simulate(subject, role, seed, modality):
        image, mask, lesion = brain(int.from_bytes(f"{seed}{subject.id}".encode()[-6:]))
        if modality is Modality.T1:
            image = np.where(mask, 200 - image, 0)
        return SimulatedScan(np.rint(image), mask, None if role is PhantomSet.HEALTHY else lesion)

    for module in (phantom, phantom_export):
        monkeypatch.setattr(module, "simulate", simulate)
    monkeypatch.setattr(phantom_export, "load_atlas", lambda: SimpleNamespace(origin=(-17.0, -19.0, -11.0)))


@pytest.fixture
def exported(tmp_path):
    seen: list[tuple[int, int]] = []
    export_nifti(TINY, tmp_path / "brains", 0, 1, lambda done, total: seen.append((done, total)))
    return tmp_path / "brains", seen


def test_the_layout_is_the_fields(exported) -> None:
    directory, seen = exported
    assert seen == [(done, 10) for done in range(11)]
    for folder, kinds, count in (
        ("Train/ixi", {"t2", "mask"}, 6),
        ("Test/Brats21", {"t2", "mask", "seg"}, 2),
        ("Test/MSLUB", {"t2", "mask", "seg"}, 2),
    ):
        assert {path.name for path in (directory / folder).iterdir()} == {*kinds, "PHANTOM.json"}
        assert all(len(list((directory / folder / kind).iterdir())) == count for kind in kinds)
        assert json.loads((directory / folder / "PHANTOM.json").read_text())["seed"] == 0
    image = nib.load(next((directory / "Train/ixi/t2").iterdir()))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S") and image.header.get_zooms() == (1, 1, 1)


def test_read_from_disk_it_is_the_built_in_phantom(exported, tmp_path) -> None:
    directory, _ = exported
    seen: list[tuple[int, int]] = []
    built = load_phantom(TINY, tmp_path / "cache", 0, 1, lambda done, total: seen.append((done, total)), settings=SMALL)
    read = load_disk(directory, tmp_path / "disk", SMALL, None, 1, known=tuple(data_sets().values()))
    assert seen[0] == (0, 10) and seen[-1] == (10, 10) and seen == sorted(seen)
    assert built.name.startswith("phantom") and built.title == "phantom (tiny)" and read.name.startswith("phantom")
    assert read.splits.name == built.splits.name == "phantom"
    assert read.splits.folds == built.splits.folds == phantom_splits(TINY).folds
    assert dict(read.splits.lesion) == dict(built.splits.lesion)
    assert not read.splits.findings
    for mine, its in (
        (built.healthy, read.healthy),
        *((built.lesions[role], read.lesions[role]) for role in built.lesions),
    ):
        for scan in mine.store.ids:
            assert np.array_equal(mine.store.volume(scan), its.store.volume(scan))
            assert np.array_equal(mine.store.brain_mask(scan), its.store.brain_mask(scan))
            if mine.store.has_lesions:
                assert np.array_equal(mine.store.lesion_mask(scan), its.store.lesion_mask(scan))
    again = load_phantom(TINY, tmp_path / "cache", 0, 1, settings=SMALL)
    assert again.fingerprint == built.fingerprint


def _same_volumes(mine, its) -> bool:
    return all(np.array_equal(mine.store.volume(scan), its.store.volume(scan)) for scan in mine.store.ids)


def test_modalities_lie_side_by_side_and_are_read_apart(exported, tmp_path) -> None:
    """T1 joins T2 in the same directory, masks and segmentations serve both, and each reads as the built-in one."""
    directory, _ = exported
    before = {path: path.read_bytes() for path in directory.rglob("*.nii.gz")}
    export_nifti(TINY, directory, 0, 1, modality=Modality.T1)
    assert all(path.read_bytes() == content for path, content in before.items())
    new = {path.relative_to(directory).parts[:3] for path in directory.rglob("*.nii.gz") if path not in before}
    assert new == {("Train", "ixi", "t1"), ("Test", "Brats21", "t1"), ("Test", "MSLUB", "t1")}
    known = tuple(data_sets().values())
    data = {}
    for modality in (Modality.T1, Modality.T2):
        built = load_phantom(TINY, tmp_path / "cache", 0, 1, settings=SMALL, modality=modality)
        read = load_disk(directory, tmp_path / "disk", SMALL, None, 1, known=known, modality=modality)
        assert built.modality is read.modality is modality
        assert read.splits.folds == built.splits.folds and dict(read.splits.lesion) == dict(built.splits.lesion)
        for mine, its in zip(built.cohorts, read.cohorts, strict=True):
            assert mine.key == its.key and _same_volumes(mine, its)
        data[modality] = built
    t1, t2 = data[Modality.T1], data[Modality.T2]
    assert t1.fingerprint != t2.fingerprint
    assert t1.healthy.store.folder.parent.name.startswith("phantom-tiny-t1-seed0-")
    assert t1.healthy.store.manifest["recipe"]["manifest"]["modality"] == "t1"
    assert not _same_volumes(t1.healthy, t2.healthy)


def test_a_modality_that_the_phantom_has_not_is_refused_before_anything_is_written(tmp_path) -> None:
    for make in (load_phantom, export_nifti):
        with pytest.raises(DataError, match="no pd scans; choose one of t1, t2, flair"):
            make(TINY, tmp_path / "new", 0, 1, modality=Modality.PD)
    assert not (tmp_path / "new").exists()


def test_an_interrupted_export_goes_on(exported, monkeypatch) -> None:
    directory, _ = exported
    lost = next((directory / "Test/MSLUB/seg").iterdir())
    content = lost.read_bytes()
    lost.unlink()
    written: list[str] = []
    plain = phantom_export.simulate
    monkeypatch.setattr(
        phantom_export,
        "simulate",
        lambda subject, *rest: (written.append(subject.id), plain(subject, *rest))[1],
    )
    export_nifti(TINY, directory, 0, 1)
    assert written == [lost.name.removesuffix("_seg.nii.gz")]
    assert lost.read_bytes() == content
    assert not [path for path in directory.rglob("*") if path.name.endswith(".new")]


def test_another_phantom_or_real_scans_are_never_mixed(exported, tmp_path) -> None:
    directory, _ = exported
    with pytest.raises(DataError, match="already holds other scans"):
        export_nifti(TINY, directory, 1, 1)
    (tmp_path / "Test/MSLUB/t2").mkdir(parents=True)
    with pytest.raises(DataError, match="MSLUB already holds other scans"):
        export_nifti(TINY, tmp_path, 0, 1)


def test_a_place_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file.* cannot be written"):
        export_nifti(TINY, tmp_path / "file", 0, 1)


def test_split_files_have_the_published_columns(exported) -> None:
    directory, _ = exported
    files = sorted(path.name for path in (directory / "splits").iterdir())
    folds = [f"IXI_{part}_fold{fold}.csv" for part in ("train", "val") for fold in range(5)]
    assert files == sorted(
        [*folds, "IXI_test.csv", *(f"{s}_{p}.csv" for s in ("Brats21", "MSLUB") for p in ("val", "test"))]
    )
    header = (directory / "splits/IXI_test.csv").read_text().splitlines()[0].split(",")
    assert {"img_name", "age", "Agegroup", "img_path", "mask_path", "seg_path"} <= set(header)
    assert subjects(TINY, PhantomSet.MS)[0].id in (directory / "splits/MSLUB_val.csv").read_text()
