"""`bench predict` on DICOM: the maps that the same scan gives as NIfTI, and not a word of the patient anywhere."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import SECRETS, STUDY, save_all, slices_of
from typer.testing import CliRunner, Result

import uadbench
from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.prediction import scan_recipe
from uadbench.benchmarks.prediction.inputs import DicomScan, find_scans
from uadbench.datasets.scans.bias import BiasSettings
from uadbench.datasets.scans.registration import RegistrationSettings
from uadbench.datasets.scans.scan_preparation import ScanSettings
from uadbench.errors import UserError

QUICK = ScanSettings(
    registration=RegistrationSettings(voxels=(8.0, 5.0), iterations=20, turns=(0.0,), starts=1),
    bias=BiasSettings(shrink=4, iterations=(2,)),
)
FOLDER = "ZWEIFEL_ANNEGRET_PID4711XY"


@pytest.fixture(autouse=True)
def quick_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_recipe, "ScanSettings", lambda: QUICK)


@pytest.fixture(scope="module")
def results(tiny_data, tiny_preset, tmp_path_factory) -> Path:
    """One finished cell, of a method that needs no training."""
    folder = tmp_path_factory.mktemp("results")
    for job in jobs_for(select_rows(["thresh"]), (0,), tiny_data, tiny_preset, 0):
        run_job(job, folder / "runs", "cpu", SilentReporter())
    return folder


@pytest.fixture(scope="module")
def scan(tmp_path_factory, head, oriented, grid_points) -> Path:
    """One scan as NIfTI, as DICOM, and its brain mask; and the atlas. Folder and files are called by the patient."""
    root = tmp_path_factory.mktemp("scan")
    shape, affine = oriented("LPS", (3, 3, 4), 5)
    points = grid_points(shape, affine)
    image = head.sample(points, "t2", lesion=10.0).round().astype(np.uint16)
    nib.save(nib.Nifti1Image(image.transpose(2, 1, 0), affine), root / "same.nii.gz")
    nib.save(
        nib.Nifti1Image(head.brain(points).astype(np.uint8).transpose(2, 1, 0), affine), root / "Zweifel_mask.nii.gz"
    )
    save_all(slices_of(image, affine), root / FOLDER / "DICOM")
    shape, affine = oriented("RAS", (3, 3, 3))
    points = grid_points(shape, affine)
    atlas = np.where(head.brain(points), head.sample(points, "t1", skull=False), 0).astype(np.float32)
    nib.save(nib.Nifti1Image(atlas.transpose(2, 1, 0), affine), root / "atlas.nii.gz")
    return root


def predict(scan: Path, what: Path, out: Path, results: Path, mask: Path | None = None) -> Result:
    shared = ("--run", "thresh", "--threshold", "0.3", "--atlas", scan / "atlas.nii.gz", "--results", results)
    words = ("predict", what, "--mask", mask or scan / "Zweifel_mask.nii.gz", "--out", out, *shared)
    return CliRunner().invoke(app, [str(word) for word in words])


def secrets_below(*folders: Path) -> list[str]:
    """Files whose name or content, unpacked, holds a word on the patient."""
    found = []
    for path in (path for folder in folders for path in folder.rglob("*")):
        content = b""
        if path.is_file():
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        words = [secret for secret in SECRETS if secret.encode() in content.lower() or secret in path.name.lower()]
        found += [f"{path}: {word}" for word in words]
    return found


@pytest.fixture(scope="module")
def predicted(scan, results, tmp_path_factory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_recipe, "ScanSettings", lambda: QUICK)
        return out, predict(scan, scan / FOLDER, out, results)


def test_the_maps_are_those_of_the_same_scan_as_nifti(predicted, scan, results, tmp_path):
    out, answer = predicted
    assert answer.exit_code == 0, answer.output
    assert predict(scan, scan / "same.nii.gz", tmp_path, results).exit_code == 0
    for kind in ("input", "reconstruction", "score", "lesions"):
        ours, theirs = (nib.load(path) for path in (out / f"series-3_{kind}.nii.gz", tmp_path / f"same_{kind}.nii.gz"))
        turned = [nib.as_closest_canonical(image) for image in (ours, theirs)]
        np.testing.assert_allclose(turned[0].affine, turned[1].affine, atol=1e-4)
        values = [np.asarray(image.dataobj, dtype=float) for image in turned]
        assert np.abs(values[0] - values[1]).max() <= 1e-3
        assert values[0].any() or kind == "reconstruction"  # which is nothing, of a method that only looks
    assert (out / "series-3_components.csv").read_text() == (tmp_path / "same_components.csv").read_text()


def test_nothing_that_is_written_or_said_names_the_patient(predicted, results, capfd):
    out, answer = predicted
    assert {path.name for path in out.iterdir()} == {
        *(f"series-3_{kind}.nii.gz" for kind in ("input", "reconstruction", "score", "lesions")),
        *("series-3_components.csv", "series-3_overlay.png", "series-3.json"),
    }
    assert secrets_below(out, results) == []
    assert not [secret for secret in SECRETS if secret in answer.output.lower()]
    account = json.loads((out / "series-3.json").read_text())
    assert account["scan"] == "DICOM series 3: t2 tse tra, TR 4000 ms, TE 90 ms, 52 slices of 70 x 70"
    assert account["mask"] == "given" and "skull strip: the given mask" in account["steps"]


def test_the_search_for_the_patient_finds_one(scan, tmp_path):
    """The test above can fail."""
    assert len(secrets_below(scan)) > 50
    with gzip.open(tmp_path / "a.gz", "wb") as file:
        file.write(b"of Zweifel")
    assert secrets_below(tmp_path) == [f"{tmp_path / 'a.gz'}: zweifel"]


def test_a_scan_of_another_patient_does_not_overwrite_the_first(predicted, scan, results, oriented, tmp_path):
    out, _ = predicted
    before = (out / "series-3.json").read_bytes()
    assert "1 were predicted already" in predict(scan, scan / FOLDER, out, results).output
    shape, affine = oriented("LPS", (3, 3, 4), 5)
    save_all(slices_of(np.ones(shape, dtype=np.uint16), affine), tmp_path / "other")
    answer = predict(scan, tmp_path / "other", out, results)
    assert answer.exit_code == 2 and "series-3.json is of another scan; give this one a --name" in " ".join(
        answer.output.split()
    )
    assert (out / "series-3.json").read_bytes() == before


@pytest.mark.parametrize("wrong", ["mask", "missing slice", "cut", "gone"])
def test_what_is_wrong_is_told_without_the_patient(wrong, scan, results, tmp_path, oriented):
    shape, affine = oriented("LPS", (3, 3, 4), 5)
    files = slices_of(np.random.default_rng(0).integers(0, 99, shape).astype(np.uint16), affine)
    if wrong == "missing slice":
        del files[20]
    folder = save_all(files, tmp_path / FOLDER)
    if wrong == "cut":
        path = folder / "Zweifel_0009"
        path.write_bytes(path.read_bytes()[:-999])
    if wrong == "gone":
        folder = folder / "Zweifel"
    broken = tmp_path / "Zweifel_mask.nii.gz"
    broken.write_text("no mask")
    answer = predict(scan, folder, tmp_path / "out", results, broken if wrong == "mask" else None)
    said = " ".join(answer.output.split())
    assert answer.exit_code == 2
    assert {
        "mask": "its mask is no gzip file",
        "missing slice": "1 slice missing between slices 20 and 21 of 51",
        "cut": "cannot be decoded",
        "gone": "scan 1 of those given does not exist",
    }[wrong] in said
    assert not [secret for secret in SECRETS if secret in said.lower().replace(str(scan).lower(), "")]


def test_the_front_door_takes_a_folder_and_a_series(scan, results):
    answer = uadbench.predict(
        scan / FOLDER,
        "thresh",
        mask=scan / "Zweifel_mask.nii.gz",
        series=3,
        name="first",
        threshold=0.3,
        atlas=str(scan / "atlas.nii.gz"),
        results=results,
        quiet=True,
    )
    assert answer.name == "first" and answer.score.any() and answer.account["mask"] == "given"
    with pytest.raises(UserError, match=r"--series 4 is none of the DICOM input, which holds: 3: t2 tse tra"):
        uadbench.predict(scan / FOLDER, "thresh", series=4, results=results, quiet=True)


def test_files_called_by_numbers_leave_the_numbers_of_a_message_alone(scan, tmp_path):
    for number, path in enumerate(sorted((scan / FOLDER / "DICOM").iterdir())):
        (tmp_path / str(number)).write_bytes(path.read_bytes())
    (found,) = find_scans([tmp_path]).scans
    assert found.told("12 of 52 slices in 1 file") == "12 of 52 slices in 1 file"
    assert found.told(f"ITK cannot read {tmp_path / '7'}: 1") == "ITK cannot read one of its files: 1"


# ------------------------------------------------------------------------------------------------ which scans are meant


def test_folders_files_and_nifti_are_told_apart(scan, tmp_path):
    files = sorted((scan / FOLDER / "DICOM").iterdir())
    inputs = [scan / FOLDER, scan / "same.nii.gz", *files]
    found = find_scans(inputs, names=["a", "", "b.1"]).scans
    assert [one.name for one in found] == ["a", "same", "b.1"]
    assert [one.title for one in found] == ["DICOM input 1, series 3", str(inputs[1]), "DICOM input 2, series 3"]
    assert isinstance(found[0], DicomScan) and found[0].fingerprint == found[2].fingerprint  # type: ignore[union-attr]
    with pytest.raises(
        UserError, match=r"DICOM input 1, series 3 and DICOM input 2, series 3 would both write series-3_"
    ):
        find_scans(inputs)


def test_a_dicom_file_is_known_by_its_content(scan, tmp_path):
    """Scanners call files as they like, .img too."""
    for number, path in enumerate(sorted((scan / FOLDER / "DICOM").iterdir())):
        (tmp_path / f"{number:03d}.img").write_bytes(path.read_bytes())
    (found,) = find_scans(sorted(tmp_path.iterdir())).scans
    assert found.name == "series-3" and len(found.series.slices) == 52  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"names": ["a", "b"]}, "1 scans and 2 names were given"),
        ({"names": ["../a"]}, "--name ../a: take letters, digits"),
        ({"masks": [Path("a"), Path("b")]}, "1 scans and 2 masks were given"),
        ({"series": ["9"]}, "--series 9 is none of the DICOM input"),
        ({"series": [STUDY]}, "is none of the DICOM input"),
    ],
)
def test_what_does_not_fit_is_one_sentence(more, words, scan):
    with pytest.raises(UserError) as caught:
        find_scans([scan / FOLDER], **more)
    assert words in str(caught.value)


def test_series_needs_dicom(scan):
    with pytest.raises(UserError, match=r"no DICOM file or folder was given"):
        find_scans([scan / "same.nii.gz"], series=["3"])


def test_what_is_neither_is_told_by_its_place(tmp_path):
    (tmp_path / "Zweifel.doc").write_text("Zweifel")
    with pytest.raises(UserError) as caught:
        find_scans([Path("a.nii.gz"), tmp_path / "Zweifel.doc"])
    assert str(caught.value) == "scan 2 of those given is no DICOM by its content and no other scan by its name"
