"""Miniature downloads of all three sets, from raw heads that are turned and thick-sliced to the shared layout."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from uadbench.datasets import brats21, ixi, mslub
from uadbench.datasets.cohort import Provenance
from uadbench.datasets.downloads.prepare import prepare_set
from uadbench.datasets.downloads.raw_layouts import find_raw
from uadbench.datasets.found import find_sets
from uadbench.datasets.modality import Modality
from uadbench.datasets.registry import data_sets
from uadbench.datasets.rows import find_outliers, provenance_of
from uadbench.datasets.scans.bias import BiasSettings
from uadbench.datasets.splits.own import read_ages

IXI_SCANS = ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI035-IOP-0873")


@pytest.fixture(scope="session")
def downloads(tmp_path_factory, write_head) -> Path:
    """IXI as a tar with masks, BraTS21 as a stripped folder, MSLUB as a folder; one scan in an odd orientation."""
    root = tmp_path_factory.mktemp("downloads")
    for scan, axes in zip(IXI_SCANS[:2], ("LAS", "PIR"), strict=True):
        write_head(root / f"unpacked/{scan}-T2.nii.gz", root / f"unpacked/{scan}_mask.nii.gz", None, axes)
    (root / "ixi").mkdir()
    with tarfile.open(root / "ixi" / "IXI-T2.tar", "w") as archive:
        archive.add(root / "unpacked", arcname="IXI-T2")
    (root / "ixi" / "IXI.csv").write_text("IXI_ID,AGE\n2,35.8\n12,38.8\n")
    case = root / "brats21" / "BraTS2021_00000" / "BraTS2021_00000"
    write_head(Path(f"{case}_t2.nii.gz"), None, Path(f"{case}_seg.nii.gz"), skull=False)
    case = root / "mslub" / "patient07" / "patient07"
    names = [Path(f"{case}_{kind}.nii.gz") for kind in ("T2W", "brainmask", "consensus_gt")]
    write_head(*names)
    return root


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, downloads, recipe_for):
    out = tmp_path_factory.mktemp("prepared")
    outcomes = {}
    for info in (ixi.DATA_SET, brats21.DATA_SET, mslub.DATA_SET):
        raw = find_raw(info, downloads / info.name, Modality.T2)
        outcomes[info.name] = prepare_set(raw, out, recipe_for(info.name))
    return out, outcomes


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_three_set_download_becomes_the_shared_layout(prepared):
    out, outcomes = prepared
    assert [outcome.failures for outcome in outcomes.values()] == [(), (), ()]
    found = {
        one.data_set.name: (one.scans, len(one.complete))
        for one in find_sets(out, tuple(data_sets().values()), Modality.T2).values()
    }
    assert found == {"ixi": (IXI_SCANS[:2], 2), "brats21": (("BraTS2021_00000",), 1), "mslub": (("patient07",), 1)}
    assert read_ages(out / "splits") == {IXI_SCANS[0]: 35.8, IXI_SCANS[1]: 38.8}


@pytest.mark.parametrize("place", ["Test/Brats21/{}/BraTS2021_00000_{}", "Test/MSLUB/{}/patient07_{}"])
def test_affines_stay_true_and_image_and_labels_move_alike(prepared, downloads, place, head):
    out, _ = prepared
    image, mask, seg = (nib.load(out / f"{place.format(kind, kind)}.nii.gz") for kind in ("t2", "mask", "seg"))
    values, brain, lesion = (np.asarray(one.dataobj) for one in (image, mask, seg))
    assert set(np.unique(brain)) == set(np.unique(lesion)) == {0, 1}
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert np.allclose(nib.affines.voxel_sizes(image.affine), 4)
    assert np.array_equal(image.affine, seg.affine)
    assert np.array_equal(image.affine, mask.affine)
    assert all(brain.any(axis=axes)[[0, -1]].all() for axes in ((1, 2), (0, 2), (0, 1)))  # cropped to the brain
    assert (values[brain == 0] == 0).all()
    centre = nib.affines.apply_affine(seg.affine, ndimage.center_of_mass(lesion))
    assert np.linalg.norm(centre - head.LESION) < 6  # the registration
    bright = np.where(values > 0.85 * values[lesion > 0].max(), values, 0)
    labelled, _ = ndimage.label(ndimage.binary_opening(bright > 0) & ndimage.binary_dilation(lesion, iterations=2))
    assert (lesion[labelled > 0] > 0).mean() > 0.8  # what is bright there is labelled there


@pytest.mark.parametrize(("kind", "source"), [("seg", "consensus_gt"), ("mask", "brainmask")])
def test_labels_are_where_the_manifest_says(prepared, downloads, kind, source):
    """Every voxel, by nibabel and SciPy: through the matrix of the row to the nearest voxel of the raw labels."""
    out, _ = prepared
    row = json.loads((out / "prepared" / "mslub" / "patient07.json").read_text())
    raw = nib.load(downloads / f"mslub/patient07/patient07_{source}.nii.gz")
    moved = nib.load(out / row["results"][kind]["file"])
    labels = np.asarray(moved.dataobj) > 0
    to_raw = np.linalg.inv(raw.affine) @ np.array(row["registration"]["atlas_to_scan_mm"]) @ moved.affine
    voxels = nib.affines.apply_affine(to_raw, np.stack(np.indices(moved.shape), axis=-1))
    expected = ndimage.map_coordinates(np.asarray(raw.dataobj), np.moveaxis(voxels, -1, 0), order=0) > 0
    assert np.count_nonzero(expected != labels) <= 1  # two voxels may be equally near
    if kind == "seg":
        assert row["lesions_ml"] == pytest.approx(np.count_nonzero(labels) * 4**3 / 1000, abs=1e-3)


def test_the_manifest_is_complete(prepared, atlas_file):
    out, _ = prepared
    manifest = json.loads((out / "manifest.json").read_text())
    assert [one["set"] for one in manifest["sets"]] == ["brats21", "ixi", "mslub"]
    rows = [row for one in manifest["sets"] for row in one["scans"]]
    assert [row["scan"] for row in rows] == ["BraTS2021_00000", *IXI_SCANS[:2], "patient07"]
    for row in rows:
        assert set(row["sources"]) >= {"t2"}
        for result in row["results"].values():
            assert hashlib.sha256((out / result["file"]).read_bytes()).hexdigest() == result["sha256"]
        assert {"read", "resample", "strip", "register", "move", "bias", "write"} == set(row["seconds"])
        assert [step["step"] for step in row["recipe"]["steps"]][:3] == ["resample", "skull strip", "register"]
        assert row["recipe"]["steps"][2]["atlas_sha256"] == hashlib.sha256(atlas_file.read_bytes()).hexdigest()
        assert row["registration"]["mask_dice"] > 0.8
        assert {"SimpleITK", "nibabel", "numpy"} <= set(row["made_with"])
    masks = {one["set"]: set(one["scans"][0]["sources"]) for one in manifest["sets"]}
    assert masks == {"ixi": {"t2", "mask"}, "brats21": {"t2", "seg"}, "mslub": {"t2", "mask", "seg"}}


def test_how_a_set_was_prepared_is_known_of_the_files_themselves_only(prepared, atlas_file, coarse, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(prepared[0], out)
    images = {scan: _sha256(out / ixi.DATA_SET.folder / "t2" / f"{scan}_t2.nii.gz") for scan in IXI_SCANS[:2]}
    levels = len(coarse.bias.iterations)
    known = Provenance(atlas_file.name, _sha256(atlas_file), levels)
    assert provenance_of(out, "ixi", Modality.T2, images) == known
    assert provenance_of(out, "ixi", Modality.T2, {**images, IXI_SCANS[0]: "0" * 64}) is None
    assert provenance_of(out, "ixi", Modality.T2, {**images, IXI_SCANS[2]: "0" * 64}) is None
    row = out / "prepared" / "ixi" / f"{IXI_SCANS[1]}.json"
    text = row.read_text()
    row.write_text(text.replace(known.atlas_sha256, "f" * 64))
    assert provenance_of(out, "ixi", Modality.T2, images) is None
    row.write_text(text.replace('"N4 in the brain mask"', '"another step"'))
    assert provenance_of(out, "ixi", Modality.T2, images) is None
    row.write_text(text)
    assert provenance_of(out, "ixi", Modality.T2, images) == known
    shutil.rmtree(out / "prepared")
    assert provenance_of(out, "ixi", Modality.T2, images) is None


def test_a_second_run_does_nothing_and_a_changed_source_only_itself(tmp_path, write_head, recipe_for):
    raw = tmp_path / "raw"
    for number in ("01", "02"):
        names = [raw / f"patient{number}_{kind}.nii.gz" for kind in ("t2", "mask", "seg")]
        write_head(*names)
    recipe, out = recipe_for("mslub"), tmp_path / "out"
    assert prepare_set(find_raw(mslub.DATA_SET, raw, Modality.T2), out, recipe).prepared == ("patient01", "patient02")
    before = {path: path.stat().st_mtime_ns for path in (out / "Test").rglob("*.nii.gz")}
    again = prepare_set(find_raw(mslub.DATA_SET, raw, Modality.T2), out, recipe)
    assert (again.prepared, again.kept) == ((), ("patient01", "patient02"))
    assert before == {path: path.stat().st_mtime_ns for path in (out / "Test").rglob("*.nii.gz")}
    seg = nib.load(raw / "patient02_seg.nii.gz")
    nib.save(nib.Nifti1Image(np.roll(np.asarray(seg.dataobj), 1, 0), seg.affine), raw / "patient02_seg.nii.gz")
    assert prepare_set(find_raw(mslub.DATA_SET, raw, Modality.T2), out, recipe).prepared == ("patient02",)
    (out / "Test/MSLUB/t2/patient01_t2.nii.gz").unlink()
    assert prepare_set(find_raw(mslub.DATA_SET, raw, Modality.T2), out, recipe).prepared == ("patient01",)
    other = replace(recipe, settings=replace(recipe.settings, bias=BiasSettings(shrink=2, iterations=(1,))))
    assert len(prepare_set(find_raw(mslub.DATA_SET, raw, Modality.T2), out, other).prepared) == 2


def test_processes_write_the_same_bytes(prepared, downloads, recipe_for, tmp_path):
    first, _ = prepared
    outcome = prepare_set(find_raw(ixi.DATA_SET, downloads / "ixi", Modality.T2), tmp_path, recipe_for("ixi"), jobs=2)
    assert outcome.prepared == IXI_SCANS[:2]
    for path in (first / "Train").rglob("*.nii.gz"):
        assert (tmp_path / path.relative_to(first)).read_bytes() == path.read_bytes()


def test_outliers_stand_out_from_the_set():
    def row(information: float, dice: float) -> dict:
        return {"registration": {"mutual_information": information, "mask_dice": dice}}

    rows = {f"scan{number}": row(1.2 + 0.004 * number, 0.94) for number in range(9)}
    assert find_outliers(rows) == {}
    found = find_outliers({**rows, "turned": row(1.12, 0.93), "missed": row(1.21, 0.7), "better": row(1.5, 0.99)})
    assert set(found) == {"turned", "missed"}
    assert "mutual information 1.120" in found["turned"]
    assert "Dice" in found["missed"]
    assert "below 0.9" in found["missed"]
    assert set(find_outliers({"alone": row(1.1, 0.5), "other": row(1.3, 0.9)})) == {"alone"}


def test_a_brain_that_no_human_has_is_suspect_in_the_scans_own_space():
    """In atlas space a head's mask has a brain's volume; the registration's scale tells what it was."""
    grown = {"mutual_information": 1.2, "mask_dice": 0.9, "atlas_to_scan_mm": np.diag([1.16, 1.16, 1.16, 1]).tolist()}
    usual = {**grown, "atlas_to_scan_mm": np.eye(4).tolist()}
    rows = {"grown": {"registration": grown, "brain_ml": 1450.0}, "usual": {"registration": usual, "brain_ml": 1450.0}}
    assert find_outliers(rows) == {"grown": "a brain of 2263 ml, beyond 800 to 2100"}
