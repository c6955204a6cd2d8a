"""A run has one modality and one healthy set; a directory may hold more of both, and of lesion sets any number."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uadbench.datasets import HEALTHY, DataSet, Modality, NamePattern, Role, data_sets, ixi, mslub, register, registry
from uadbench.datasets.check.check import check_directory
from uadbench.datasets.check.rules import Kind, Limits
from uadbench.datasets.cohort import Data
from uadbench.datasets.downloads.prepare import PrepareOptions, plan_download, prepare_set
from uadbench.datasets.downloads.raw_layouts import find_raw
from uadbench.datasets.layout import scan_path
from uadbench.datasets.load import load_disk
from uadbench.datasets.scans.preparation import PreparationSettings, prepare_volume
from uadbench.errors import DataError

IXI = [f"IXI{number:03d}-{site}-{1000 + number}" for number, site in enumerate(["Guys", "HH", "IOP"] * 3)]
PATIENTS = ["patient07", "patient19", "patient21"]


@pytest.fixture
def directory(tmp_path: Path, write_scan: Callable[..., None]) -> Path:
    """Nine healthy scans and three patients in T2; the T1 of each lies beside it and shows another image."""
    root = tmp_path / "clinic"
    for data_set, scans, seed in ((ixi.DATA_SET, IXI, 0), (mslub.DATA_SET, PATIENTS, 50)):
        for number, scan in enumerate(scans):
            write_scan(root, data_set, scan, seed=seed + number)
            add_t1(root, data_set, scan, write_scan, seed + number)
    return root


def add_t1(root: Path, data_set: DataSet, scan: str, write_scan: Callable[..., None], seed: int) -> None:
    """The image of another seed, in the same ellipsoid, under the T1's name."""
    other = root.parent / "other"
    write_scan(other, data_set, scan, seed=1000 + seed)
    target = scan_path(root, data_set, Modality.T1, scan)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(scan_path(other, data_set, Modality.T2, scan), target)


@pytest.fixture
def load(directory: Path, tmp_path: Path, small: PreparationSettings) -> Callable[..., Data]:
    def run(modality: Modality = Modality.T2, splits: str | None = None) -> Data:
        known = tuple(data_sets().values())
        return load_disk(directory, tmp_path / "cache", small, splits, 1, known=known, modality=modality)

    return run


@pytest.fixture
def two_more(tmp_path: Path) -> Iterator[tuple[DataSet, DataSet]]:
    """A healthy set and a set with lesions that only this test knows."""
    recognise = NamePattern(r"(?P<scan>c\d+)_(?P<kind>\w+)")
    with registry.REGISTRY.isolated():
        yield tuple(
            register(
                DataSet(name, name.title(), "Doe 2024", "us", role, {Modality.T2: "c1_t2.nii.gz"}, recognise=recognise)
            )
            for name, role in (("volunteers", Role.HEALTHY), ("strokes", Role.LESIONS))
        )  # type: ignore[misc]


def test_each_modality_has_its_own_volumes_and_masks_in_common(
    load: Callable[..., Data], brain: Callable[..., tuple[np.ndarray, ...]], small: PreparationSettings
) -> None:
    t1, t2 = load(Modality.T1), load(Modality.T2)
    assert {cohort.modality for cohort in t1.cohorts} == {t1.modality} == {Modality.T1}
    image, _, _ = brain(1051)
    _, mask, lesion = brain(51)
    expected = prepare_volume(image, mask, lesion, small)
    assert np.array_equal(t1.lesions["ms"].store.volume("patient19"), expected.volume)
    assert not np.array_equal(t2.lesions["ms"].store.volume("patient19"), expected.volume)
    assert np.array_equal(t1.lesions["ms"].store.lesion_mask("patient19"), expected.lesion_mask)
    assert t1.healthy.store.manifest["recipe"]["manifest"]["modality"] == "t1"  # type: ignore[attr-defined]
    assert t1.splits == t2.splits and t1.fingerprint != t2.fingerprint


def test_scans_of_two_modalities_never_meet(load: Callable[..., Data]) -> None:
    data = load()
    other = replace(data.lesions["ms"], modality=Modality.FLAIR)
    with pytest.raises(DataError, match=r"MSLUB is FLAIR and IXI is T2; a run has one modality"):
        replace(data, lesions={"ms": other})


def test_a_modality_that_is_not_there_is_one_sentence_with_those_that_are(load: Callable[..., Data]) -> None:
    with pytest.raises(DataError, match=r"no healthy scans in FLAIR, but in T1, T2; choose --modality t1"):
        load(Modality.FLAIR)


def test_a_lesion_set_without_the_modality_is_simply_not_there(load: Callable[..., Data], directory: Path) -> None:
    shutil.rmtree(directory / "Test/MSLUB/t1")
    assert set(load(Modality.T1).lesions) == set() and set(load(Modality.T2).lesions) == {"ms"}


def test_the_healthy_scans_that_have_the_modality_are_listed_for_each(
    load: Callable[..., Data], directory: Path, write_csv: Callable[..., None]
) -> None:
    for name, scans in (("IXI_train_fold0", IXI[:5]), ("IXI_val_fold0", IXI[5:7]), ("IXI_test", IXI[7:])):
        write_csv(directory / "splits" / f"{name}.csv", scans)
    (directory / "splits/avail_t1.csv").write_text("n,name\n" + "".join(f"0,{scan}_t1.nii.gz\n" for scan in IXI[1:]))
    data = load(Modality.T1)
    assert data.splits.folds[0].train == tuple(IXI[1:5]) and load(Modality.T2).splits.folds[0].train == tuple(IXI[:5])
    assert "1 listed scans have no T1 and are left out" in " ".join(data.splits.notes)


def test_the_check_looks_at_one_modality(directory: Path, small: PreparationSettings) -> None:
    def check(modality: Modality) -> set[tuple[Kind, str]]:
        known, limits = tuple(data_sets().values()), Limits(brain_ml=(5, 60), side=(16, 100), field_mm=60)
        report = check_directory(directory, known=known, modality=modality, limits=limits, settings=small)
        assert report.modality is modality
        return {(one.kind, defect.scan) for one in report.findings for defect in one.defects if defect.scan}

    scan_path(directory, ixi.DATA_SET, Modality.T1, IXI[0]).write_bytes(b"nothing")
    scan_path(directory, ixi.DATA_SET, Modality.T1, IXI[1]).unlink()
    assert check(Modality.T1) == {(Kind.UNREADABLE, IXI[0]), (Kind.NO_IMAGE, IXI[1])}
    assert check(Modality.T2) == set()


def test_two_healthy_sets_are_refused_and_both_are_named(
    load: Callable[..., Data],
    directory: Path,
    two_more: tuple[DataSet, DataSet],
    write_scan: Callable[..., None],
    small: PreparationSettings,
) -> None:
    write_scan(directory, two_more[0], "c1")
    words = r"2 healthy sets, .*IXI \(Train/ixi\) and Volunteers \(Train/volunteers\), but a run learns from one; move"
    with pytest.raises(DataError, match=words):
        load()
    with pytest.raises(DataError, match=words):
        check_directory(directory, known=tuple(data_sets().values()), settings=small)
    assert load(Modality.T1).healthy.name == "ixi"  # the other one has no T1


def test_any_number_of_lesion_sets(
    load: Callable[..., Data], directory: Path, two_more: tuple[DataSet, DataSet], write_scan: Callable[..., None]
) -> None:
    for number in range(4):
        write_scan(directory, two_more[1], f"c{number}", seed=70 + number)
    data = load()
    assert set(data.lesions) == set(data.splits.lesion) == {"ms", "strokes"}
    assert data.title == "IXI, MSLUB, Strokes"
    assert data.cohorts[0].key == HEALTHY
    assert len(data.splits.scans_of("strokes")) == 4 and len(data.splits.lesion["strokes"].val) == 1  # a quarter


def test_scans_of_a_set_whose_file_was_not_given_are_told(
    load: Callable[..., Data], directory: Path, small: PreparationSettings
) -> None:
    """Else who forgets --data-set would read a table without these scans, and no word about them."""
    (directory / "Test/MSLUB").rename(directory / "Test/clinic")
    words = "Test/clinic belongs to no known data set and is left out; give its file by --data-set FILE.py"
    data = load()
    assert data.splits.notes[-1] == words and not data.lesions
    report = check_directory(directory, known=tuple(data_sets().values()), settings=small)
    assert words in [str(one) for one in report.findings if one.kind is Kind.UNKNOWN]
    (directory / "Train/ixi").rename(directory / "Train/volunteers")
    with pytest.raises(DataError, match=r"no healthy scans; .* Test/clinic, Train/volunteers belong to no known"):
        load()


def test_another_modality_of_a_set_needs_a_directory_of_its_own(
    tmp_path: Path, write_head: Callable[..., object], recipe_for: Callable[[str], object]
) -> None:
    """Its masks are made anew, and would take the place of those that belong to the first one's images."""
    case = tmp_path / "raw/patient07/patient07"
    write_head(*(Path(f"{case}_{kind}.nii.gz") for kind in ("T2W", "brainmask", "consensus_gt")))
    shutil.copy(f"{case}_T2W.nii.gz", f"{case}_T1W.nii.gz")
    recipe, out = recipe_for("mslub"), tmp_path / "out"
    t2, t1 = (find_raw(mslub.DATA_SET, tmp_path / "raw", modality) for modality in (Modality.T2, Modality.T1))
    assert prepare_set(t2, out, recipe).prepared == ("patient07",)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="holds MSLUB prepared as T2, .* prepare T1 to another --out"):
        prepare_set(t1, out, recipe)  # type: ignore[arg-type]
    elsewhere = tmp_path / "elsewhere"
    assert prepare_set(t1, elsewhere, recipe).prepared == ("patient07",)  # type: ignore[arg-type]
    assert {path.name for path in (elsewhere / "Test/MSLUB").iterdir()} == {"t1", "mask", "seg"}


def test_a_set_without_the_modality_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"MSLUB has no PD; choose --modality of t1, t1ce, t2, flair"):
        plan_download(mslub.DATA_SET, tmp_path / "nowhere", tmp_path, PrepareOptions(modality=Modality.PD), ())
