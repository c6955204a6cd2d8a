"""From the downloads of three sets, in miniature, to the table, by the commands of README."""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import pytest
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.datasets.downloads import prepare
from uadbench.datasets.downloads.prepare import prepare_set
from uadbench.datasets.downloads.raw_layouts import RawSet
from uadbench.datasets.downloads.recipe import PreparationRecipe
from uadbench.datasets.downloads.set_summary import PreparedSet
from uadbench.datasets.scans import registration
from uadbench.datasets.scans.bias import BiasSettings
from uadbench.datasets.scans.registration import RegistrationSettings
from uadbench.datasets.scans.scan_preparation import ScanSettings

SCRIPT = Path(__file__).parents[1] / "trials" / "make_miniature.py"

#: One climb from the moments to an atlas of 2 mm and a few rounds of N4: 2 s per scan instead of 20. What is
#: written has voxels of 1 mm all the same.
HASTY = ScanSettings(
    registration=RegistrationSettings(voxels=(8.0,), iterations=20, turns=(0.0,), starts=1),
    bias=BiasSettings(shrink=8, iterations=(5, 5)),
)

ATLAS = ("--atlas", "atlas_t1.nii.gz")
METHODS = ("--method", "thresh", "--method", "ae", "--folds", "0")
SHORT = ("--set", "train.epochs=2", "--set", "train.validate_every=1", "--set", "data.slices=8")


def prepare_hastily(raw: RawSet, out: Path, recipe: PreparationRecipe, *rest: object) -> PreparedSet:
    return prepare_set(raw, out, replace(recipe, settings=HASTY), *rest)  # type: ignore[arg-type]


def write_atlas(path: Path) -> None:
    template, brain = load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    nib.save(nib.Nifti1Image(template.get_fdata() * brain.get_fdata(), template.affine), path)


def bench(*words: str) -> str:
    """What a command prints; it must succeed."""
    result = CliRunner().invoke(app, words)
    assert result.exception is None, result.output
    return result.output


@pytest.mark.slow
def test_three_downloads_become_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(prepare, "prepare_set", prepare_hastily)
    monkeypatch.setattr(registration, "LEAST_DICE", 0.8)  # a single climb ends millimetres off, which is an error
    subprocess.run([sys.executable, str(SCRIPT), "raw"], check=True, capture_output=True)

    write_atlas(Path("atlas_t1.nii.gz"))

    said = bench("prepare", "ixi", "raw/IXI-T2.tar", "--out", "data", "--skull-strip", "none", *ATLAS)
    assert "6 prepared, 0 were prepared already, 0 failed" in said
    assert "1 of 6 IXI scans have no age in IXI.xls" in said
    assert "the ages of 5 scans are written to data/splits/ages.csv" in said
    said = bench("prepare", "brats21", "raw/BraTS2021_Training_Data.tar", "--out", "data", *ATLAS)
    assert "2 prepared, 0 were prepared already, 0 failed" in said
    assert "6 files not needed, 0 not recognised" in said
    said = bench("prepare", "mslub", "raw/MSLUB", "--out", "data", *ATLAS)
    assert "2 prepared, 0 were prepared already, 0 failed" in said
    assert not list(Path("data").rglob("*.partial"))

    bench("check", "data", "--figure", "sheet.png", "--jobs", "1")
    assert Path("sheet.png").read_bytes().startswith(b"\x89PNG")

    said = bench("run", *METHODS, "--data", "data", *SHORT, "--jobs", "1")
    assert "All cells are done" in said
    table = bench("table", "1", "--data", "data", *SHORT, "--format", "csv")
    numbers = {
        (row["row"], row["set"], row["metric"]): float(row["mean"])
        for row in csv.DictReader(io.StringIO(table))
        if row["mean"]
    }
    sets = {("BraTS21", "dice"), ("BraTS21", "auprc"), ("MSLUB", "dice"), ("MSLUB", "auprc"), ("IXI", "l1")}
    assert set(numbers) == {(method, *cell) for method in ("thresh", "ae") for cell in sets}
    # The lesions are the brightest there is, so whoever moved labels and images alike finds them by brightness alone.
    assert numbers["thresh", "BraTS21", "dice"] > 50
    assert numbers["thresh", "MSLUB", "dice"] > 15

    # A new scan goes where these scans went, and that needs the atlas's file.
    result = CliRunner().invoke(
        app, ["predict", "data/Test/MSLUB/t2/patient01_t2.nii.gz", "--run", "ae", "--out", "maps"]
    )
    assert result.exit_code == 2
    digest = hashlib.sha256(Path("atlas_t1.nii.gz").read_bytes()).hexdigest()
    assert f"atlas_t1.nii.gz (T1, sha256 {digest[:12]}" in result.output
