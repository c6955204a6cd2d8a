"""What is wrong with a download or a disk ends in one sentence; the rest is prepared, nothing half-written stays."""

from __future__ import annotations

import csv
import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.datasets import mslub
from uadbench.datasets.downloads import one_scan, people_tables, prepare
from uadbench.datasets.downloads.prepare import prepare_set
from uadbench.datasets.downloads.raw_layouts import RawSet, find_raw
from uadbench.datasets.downloads.recipe import PreparationRecipe
from uadbench.datasets.downloads.set_summary import PreparedSet
from uadbench.datasets.modality import Modality
from uadbench.errors import DataError
from uadbench.files import locked
from uadbench.stopping import Stop, signals_stop

NOBODY = 65534
KINDS = ("t2", "mask", "seg")

#: `bench` with the miniature numbers, in a process of its own.
PROGRAM = """
import sys
from dataclasses import replace
from uadbench.benchmarks.commands.app import app
from uadbench.datasets.downloads import prepare
from uadbench.datasets.scans.bias import BiasSettings
from uadbench.datasets.scans.registration import RegistrationSettings
from uadbench.datasets.scans.scan_preparation import ScanSettings
coarse = ScanSettings(
    voxel=4.0,
    registration=RegistrationSettings(voxels=(8.0,), iterations=20, turns=(0.0,), starts=1),
    bias=BiasSettings(shrink=2, iterations=(5, 5)),
)
prepare_set = prepare.prepare_set
prepare.prepare_set = lambda raw, out, recipe, *rest: prepare_set(raw, out, replace(recipe, settings=coarse), *rest)
if __name__ == "__main__":
    app(sys.argv[1:])
"""


@pytest.fixture
def bench(coarse, atlas_file, monkeypatch):
    """Run `bench prepare` with the miniature numbers; returns exit code and output, which never is a traceback."""

    def prepare_coarsely(raw: RawSet, out: Path, recipe: PreparationRecipe, *rest: object) -> PreparedSet:
        return prepare_set(raw, out, replace(recipe, settings=coarse), *rest)

    def run(name: str, raw: Path, out: Path, *options: str) -> tuple[int, str]:
        monkeypatch.setattr(prepare, "prepare_set", prepare_coarsely)
        command = ["prepare", name, str(raw), "--out", str(out), "--atlas", str(atlas_file), *options]
        result = CliRunner().invoke(app, command)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result.exit_code, result.output

    return run


@pytest.fixture
def start(atlas_file, tmp_path):
    """Start `bench prepare mslub` in a process of its own."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    processes: list[subprocess.Popen[str]] = []

    def begin(raw: Path, out: Path, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(program), "prepare", "mslub", str(raw), "--out", str(out), *options]
        process = subprocess.Popen(
            [*command, "--atlas", str(atlas_file)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def patient(tmp_path_factory, write_head) -> dict[str, Path]:
    """A good scan of MSLUB: its three files."""
    folder = tmp_path_factory.mktemp("patient")
    files = {kind: folder / f"patient01_{kind}.nii.gz" for kind in KINDS}
    write_head(*files.values())
    return files


@pytest.fixture
def copies(patient, tmp_path):
    """Make a download of so many copies of the good scan."""

    def make(count: int, raw: Path | None = None) -> Path:
        raw = raw or tmp_path / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            for kind, path in patient.items():
                shutil.copy(path, raw / f"patient{number:02d}_{kind}.nii.gz")
        return raw

    return make


def failures(out: Path, name: str = "mslub") -> dict[str, str]:
    with (out / "prepared" / name / "failures.csv").open(encoding="utf-8") as file:
        return {row["scan"]: row["reason"] for row in csv.DictReader(file)}


def assert_tidy(out: Path, name: str = "mslub", folder: str = "Test/MSLUB", kinds: tuple[str, ...] = KINDS) -> set[str]:
    """No part of a file, no result without its row, no row without its results; returns the scans."""
    files = {path for path in out.rglob("*") if path.is_file()}
    left = [path for path in files if path.name.startswith(".") and path.name != ".lock"]
    assert not left, left
    rows = {path.stem for path in (out / "prepared" / name).glob("*.json") if path.name != "set.json"}
    expected = {out / folder / kind / f"{scan}_{kind}.nii.gz" for scan in rows for kind in kinds}
    assert {path for path in files if path.name.endswith(".nii.gz")} == expected
    for path in expected:
        nib.load(path).get_fdata()
    return rows


# ------------------------------------------------------------------------------------------------------ bad scans


def cut(path: Path, count: int = 900) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def edited(change):
    """Change voxels and affine of a file."""

    def edit(path: Path) -> None:
        image = nib.load(path)
        values, affine = change(np.asarray(image.dataobj).astype(np.float32), image.affine.copy())
        nib.save(nib.Nifti1Image(values, affine), path)

    return edit


def unpacked(change):
    """Change the bytes of a file inside its gzip stream."""

    def spoil(path: Path) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        change(content)
        path.write_bytes(gzip.compress(content))

    return spoil


def zeroed(*fields: tuple[int, int]):
    def zero(content: bytearray) -> None:
        for first, last in fields:
            content[first:last] = bytes(last - first)

    return unpacked(zero)


def wrong_checksum(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)


def claims(side: int):
    """A header that speaks of side³ voxels before a kilobyte of content."""

    def spoil(path: Path) -> None:
        content = gzip.decompress(path.read_bytes())
        sizes = np.array([side] * 3, dtype="<i2").tobytes()
        path.write_bytes(gzip.compress(content[:42] + sizes + content[48:1400]))

    return spoil


def colours(path: Path) -> None:
    image = nib.load(path)
    values = np.zeros(image.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(values, image.affine), path)


def complex_numbers(path: Path) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(np.complex64), image.affine), path)


def scaled(factor: float):
    return edited(lambda v, a: (v, np.diag([factor, factor, factor, 1.0]) @ a))


def sheared(v: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return v, a @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


BAD = {
    "truncated image": ("t2", cut, "is cut short"),
    "end of the gzip stream missing": ("t2", lambda path: cut(path, 4), "is cut short"),
    "wrong checksum": ("t2", wrong_checksum, "CRC check failed"),
    "no NIfTI at all": ("t2", lambda path: path.write_bytes(b"<html>404</html>"), "is no gzip file.*html"),
    "unpacked under its old name": (
        "t2",
        lambda path: path.write_bytes(gzip.decompress(path.read_bytes())),
        "rename it to .nii",
    ),
    "gzipped text": ("t2", lambda path: path.write_bytes(gzip.compress(b"text " * 99)), "no readable NIfTI"),
    "empty file": ("t2", lambda path: path.write_bytes(b""), "is empty .0 bytes."),
    "zero voxel size": ("t2", zeroed((76, 108), (252, 256), (280, 328)), "voxels of 0 x 0 x 0 mm"),
    "zero voxel size, turned by a quaternion": ("t2", zeroed((88, 92), (254, 256)), "voxels of 4 x 4 x 0 mm"),
    "singular affine": ("t2", zeroed((312, 328)), "singular"),
    "sheared affine": (KINDS, edited(sheared), "sheared"),
    "voxels in metres": (KINDS, scaled(0.001), "spans 0.236 x .* mm, which no head does"),
    "voxels in microns": (KINDS, scaled(1000.0), "spans 2.36e.05 x .* mm, which no head does"),
    "claims that 30000³ voxels follow": ("t2", claims(30000), "has 30000 x 30000 x 30000 voxels, more than the 25"),
    "claims that 100³ voxels follow": ("seg", claims(100), "its header promises 1000352 bytes, there are 1400"),
    "NaN": ("t2", edited(lambda v, a: (np.where(v > v.mean(), np.nan, v), a)), "not-a-number"),
    "infinite": ("t2", edited(lambda v, a: (np.where(v == v.max(), np.inf, v), a)), "not-a-number or infinite"),
    "constant": ("t2", edited(lambda v, a: (v * 0 + 7, a)), r"constant \(value 7\)"),
    "all zero": ("t2", edited(lambda v, a: (v * 0, a)), r"constant \(value 0\)"),
    "three frames": ("t2", edited(lambda v, a: (np.stack([v, v, v], -1), a)), "one 3-D volume"),
    "one slice": ("t2", edited(lambda v, a: (v[:, :, 0], a)), "one 3-D volume"),
    "colours": ("t2", colours, "colours"),
    "complex numbers": ("t2", complex_numbers, "complex numbers"),
    "an animal's brain": (KINDS, scaled(0.4), "brain has only [0-9]+ ml"),
    "image elsewhere": ("t2", edited(lambda v, a: (v, a + 50 * np.eye(4, k=3))), "elsewhere in space"),
    "mask of another shape": ("mask", edited(lambda v, a: (v[:-1], a)), "has shape"),
    "mask elsewhere": ("mask", edited(lambda v, a: (v, np.diag([4.0, 4, 5, 1]))), "elsewhere in space"),
    "mask of larger voxels": ("mask", edited(lambda v, a: (v, a @ np.diag([1, 1.2, 1, 1]))), "elsewhere in space"),
    "mask with NaN": ("mask", edited(lambda v, a: (np.where(v > 0, np.nan, v), a)), "not-a-number"),
    "empty mask": ("mask", edited(lambda v, a: (v * 0, a)), "only 0 ml"),
    "mask of everything": ("mask", edited(lambda v, a: (v * 0 + 1, a)), "holds more than the brain"),
    "tiny mask": ("mask", edited(lambda v, a: (v * (np.arange(v.shape[0]) == 30)[:, None, None], a)), "ml after"),
    "truncated mask": ("mask", cut, "is cut short"),
    "missing mask": ("mask", Path.unlink, "no brain mask"),
    "missing segmentation": ("seg", Path.unlink, "no segmentation"),
    "missing image": ("t2", Path.unlink, "no T2 image"),
    "segmentation of another shape": ("seg", edited(lambda v, a: (v[:, :-2], a)), "has shape"),
    "segmentation with NaN": ("seg", edited(lambda v, a: (np.where(v > 0, np.nan, v), a)), "not-a-number"),
    "segmentation of nothing": ("seg", edited(lambda v, a: (v * 0, a)), "marks no lesion"),
    "negative labels": ("seg", edited(lambda v, a: (-v, a)), "negative values"),
    "lesions outside the atlas": (
        "seg",
        edited(lambda v, a: (np.where(np.indices(v.shape).max(0) < 2, 1, 0).astype(np.float32), a)),
        "every lesion voxel is lost",
    ),
    "truncated segmentation": ("seg", lambda path: path.write_bytes(path.read_bytes()[:300]), "is cut short"),
    "a link to nothing": ("t2", lambda path: (path.unlink(), path.symlink_to("not-fetched.nii.gz")), "No such file"),
}


def test_every_bad_scan_is_one_sentence_and_the_good_one_is_prepared(copies, bench, tmp_path):
    raw, out = copies(1 + len(BAD)), tmp_path / "out"
    cases = {f"patient{number:02d}": case for number, case in enumerate(BAD, start=2)}
    for scan, case in cases.items():
        kinds, spoil, _ = BAD[case]
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            spoil(raw / f"{scan}_{kind}.nii.gz")
    code, output = bench("mslub", raw, out)
    assert code == 1
    assert f"1 prepared, 0 were prepared already, {len(BAD)} failed" in output
    assert f"All {len(BAD)} failures: {out}/prepared/mslub/failures.csv" in output
    listed = failures(out)
    assert set(listed) == set(cases)
    for scan, case in cases.items():
        assert re.search(BAD[case][2], listed[scan]), (case, listed[scan])
        assert scan in listed[scan]  # where
        assert "\n" not in listed[scan]
        assert len(listed[scan]) < 500
    assert assert_tidy(out) == {"patient01"}
    code, output = bench("mslub", raw, out)
    assert (code, "0 prepared, 1 were prepared already" in output) == (1, True)


def in_microns(path: Path) -> None:
    image = nib.load(path)
    affine = np.diag([1000.0, 1000.0, 1000.0, 1.0]) @ image.affine
    turned = nib.Nifti1Image(np.asarray(image.dataobj), affine)
    turned.header.set_xyzt_units("micron")
    nib.save(turned, path)


def as_mgz(path: Path) -> None:
    image = nib.load(path)
    nib.save(nib.MGHImage(np.asarray(image.dataobj), image.affine), path.with_name(path.name.replace("nii.gz", "mgz")))
    path.unlink()


def as_pair(path: Path) -> None:
    image = nib.load(path)
    nib.save(
        nib.Nifti1Pair(np.asarray(image.dataobj), image.affine), path.with_name(path.name.replace("nii.gz", "img"))
    )
    path.unlink()


def singular_sform(path: Path) -> None:
    image = nib.load(path)
    image.set_qform(image.affine, 1)
    content = bytearray(image.to_bytes())
    content[280:328] = bytes(48)
    path.write_bytes(gzip.compress(content))


def test_other_formats_and_units_give_the_same_results_and_are_not_done_twice(copies, bench, tmp_path):
    raw, out = copies(5), tmp_path / "out"
    for number, change in enumerate((in_microns, as_mgz, as_pair, singular_sform), start=2):
        for kind in KINDS:
            change(raw / f"patient{number:02d}_{kind}.nii.gz")
    code, output = bench("mslub", raw, out)
    assert (code, "5 prepared" in output) == (0, True), output
    assert "the header of patient05 has a singular sform; its qform is read" in output
    images = {n: nib.load(out / f"Test/MSLUB/t2/patient0{n}_t2.nii.gz") for n in range(1, 6)}
    for image in images.values():
        np.testing.assert_allclose(image.affine, images[1].affine, atol=1e-3)
        np.testing.assert_allclose(image.get_fdata(), images[1].get_fdata(), rtol=1e-2, atol=2)
    assert "5 were prepared already" in bench("mslub", raw, out)[1]
    voxels = raw / "patient04_t2.img"
    content = bytearray(voxels.read_bytes())
    content[len(content) // 2] ^= 1
    voxels.write_bytes(content)
    assert "1 prepared, 4 were prepared already" in bench("mslub", raw, out)[1]


def test_what_has_no_end_is_one_sentence_and_the_limit_is_an_option(copies, bench, tmp_path):
    raw, out = copies(5), tmp_path / "out"
    claims(600)(raw / "patient02_t2.nii.gz")
    for number, make in ((3, os.mkfifo), (4, lambda path: path.symlink_to("/dev/zero")), (5, Path.mkdir)):
        (raw / f"patient0{number}_t2.nii.gz").unlink()
        make(raw / f"patient0{number}_t2.nii.gz")
    code, output = bench("mslub", raw, out, "--max-voxels", "200000000")
    assert (code, "1 prepared" in output) == (1, True), output
    reasons = failures(out)
    assert "has 600 x 600 x 600 voxels, more than the 200000000 that are read; crop" in reasons["patient02"]
    assert "is a pipe and no file" in reasons["patient03"]
    assert "is a device and no file" in reasons["patient04"]
    assert "patient05" in reasons
    assert "5 failed" in bench("mslub", raw, tmp_path / "other", "--max-voxels", "1000")[1]


def test_a_sparse_tar_is_prepared_like_a_plain_one(copies, bench, tmp_path):
    raw, out = copies(2), tmp_path / "out"
    for path in raw.glob("patient02*"):
        content = gzip.decompress(path.read_bytes())
        path.with_suffix("").write_bytes(content)
        path.unlink()
        with path.with_suffix("").open("r+b") as file:  # a hole behind the voxels, as a file system leaves it
            file.truncate(len(content) + (2 << 20))
    subprocess.run(["tar", "-S", "-cf", tmp_path / "MSLUB.tar", "-C", raw, "."], check=True)
    code, output = bench("mslub", tmp_path / "MSLUB.tar", out)
    assert (code, "2 prepared" in output) == (0, True), output
    assert assert_tidy(out) == {"patient01", "patient02"}


def test_no_header_however_damaged_is_more_than_a_sentence(patient, tmp_path):
    """Bytes of header and gzip stream at random: readable, or a DataError; never another error, never a crash."""
    from uadbench.datasets.scans.nifti import read_volume

    content, packed = gzip.decompress(patient["seg"].read_bytes()), patient["seg"].read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for attempt in range(400):
        path = tmp_path / ("scan.nii.gz" if attempt % 4 == 0 else "scan.nii")
        spoilt = bytearray(packed if attempt % 4 == 0 else content)
        for place in rng.integers(0, len(spoilt) if attempt % 4 == 0 else 352, size=rng.integers(1, 8)):
            spoilt[place] = rng.integers(0, 256)
        path.write_bytes(spoilt)
        try:
            array, grid = read_volume(path)
            assert array.shape == grid.shape
        except DataError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 100


def test_a_linearly_warped_segmentation_keeps_its_place_and_is_said(copies, bench, tmp_path):
    raw, out = copies(2), tmp_path / "out"
    soften = edited(lambda v, a: (ndimage.gaussian_filter((v > 0).astype(np.float32), 0.5), a))
    soften(raw / "patient02_seg.nii.gz")
    code, output = bench("mslub", raw, out)
    assert code == 0
    assert "1 scans, such as patient02, have a mask or segmentation with fractions" in output
    exact, warped = (nib.load(out / f"Test/MSLUB/seg/patient0{n}_seg.nii.gz").get_fdata() > 0 for n in (1, 2))
    assert 2 * (exact & warped).sum() / (exact.sum() + warped.sum()) > 0.9
    assert json.loads((out / "prepared/mslub/patient02.json").read_text())["fractional"] == ["seg"]


def test_the_atlas_of_a_directory_is_kept(copies, bench, tmp_path, atlas_file):
    raw, out = copies(1), tmp_path / "out"
    assert bench("mslub", raw, out)[0] == 0
    code, output = bench("mslub", raw, out, "--atlas", "auto")
    assert code == 2
    assert f"lie in the atlas {atlas_file.name} (T1, sha256" in " ".join(output.split())
    assert "give that file by --atlas FILE" in " ".join(output.split())
    other = tmp_path / "other_t1.nii.gz"
    other.write_bytes(gzip.compress(gzip.decompress(atlas_file.read_bytes()), 1))
    _, output = bench("mslub", raw, out, "--atlas", str(other))
    assert f"lie in another atlas, {atlas_file.name}" in " ".join(output.split())


def test_the_modality_of_an_atlas_is_named_in_the_manifest(copies, bench, tmp_path, atlas_file):
    raw, out, plain = copies(1), tmp_path / "out", tmp_path / "plain.nii.gz"
    shutil.copy(atlas_file, plain)
    code, output = bench("mslub", raw, out, "--atlas", str(plain))
    assert (code, output.count("\n")) == (2, 1)
    assert "the atlas plain.nii.gz does not say whether it is a T1 or a T2; say it by --atlas-modality t1" in output
    code, output = bench("mslub", raw, out, "--atlas", str(plain), "--atlas-modality", "pd")
    assert (code, "--atlas-modality pd: choose t1 or t2" in output) == (2, True)
    assert bench("mslub", raw, out, "--atlas", str(plain), "--atlas-modality", "t2")[0] == 0
    (scan,) = json.loads((out / "manifest.json").read_text())["sets"][0]["scans"]
    step = next(step for step in scan["recipe"]["steps"] if step["step"] == "register")
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    assert (step["atlas_file"], step["atlas_sha256"], step["atlas_modality"]) == ("plain.nii.gz", digest, "t2")
    output = bench("mslub", raw, out, "--atlas", str(plain), "--atlas-modality", "t1")[1]
    assert "lie in another atlas, plain.nii.gz (T2, sha256" in " ".join(output.split())


def test_a_row_of_a_version_that_named_no_modality_is_not_made_anew(copies, bench, tmp_path, atlas_file):
    raw, out = copies(1), tmp_path / "out"
    assert bench("mslub", raw, out)[0] == 0
    row = out / "prepared/mslub/patient01.json"
    content = json.loads(row.read_text())
    for step in content["recipe"]["steps"]:
        step.pop("atlas_modality", None)
        step.pop("atlas_file", None)
    row.write_text(json.dumps(content))
    code, output = bench("mslub", raw, out)
    assert (code, "0 prepared, 1 were prepared already" in output) == (0, True)
    assert "another atlas" not in output
    content["recipe"]["steps"][2]["atlas_sha256"] = "0" * 64
    row.write_text(json.dumps(content))
    assert "1 prepared, 0 were prepared already" in bench("mslub", raw, out)[1]


def test_an_orientation_that_had_to_be_assumed_is_said(copies, bench, tmp_path, forget_orientation):
    raw, out = copies(2), tmp_path / "out"
    for path in raw.glob("patient02*.nii.gz"):
        forget_orientation(path)
    _, output = bench("mslub", raw, out)
    assert "the header of patient02 does not say which way its axes point" in output
    rows = {path.stem: json.loads(path.read_text()) for path in (out / "prepared/mslub").glob("patient*.json")}
    assert rows["patient01"]["orientation"] == "from the header"
    assert rows["patient02"]["orientation"] == "assumed: LAS"


def test_if_no_scan_is_complete_all_are_listed(copies, bench, tmp_path):
    raw, out = copies(2), tmp_path / "out"
    for path in raw.glob("*_seg.nii.gz"):
        path.unlink()
    code, output = bench("mslub", raw, out)
    assert code == 1
    assert "0 prepared, 0 were prepared already, 2 failed" in output
    assert all("no segmentation" in reason for reason in failures(out).values())
    assert assert_tidy(out) == set()


def test_two_files_of_one_scan_are_said(copies, bench, tmp_path):
    raw, out = copies(1), tmp_path / "out"
    copies(1, raw / "again")
    code, output = bench("mslub", raw, out)
    assert code == 0
    assert f"{raw}/again/patient01_t2.nii.gz and {raw}/patient01_t2.nii.gz are the same by their names" in output
    assert assert_tidy(out) == {"patient01"}


def test_odd_names_are_no_obstacle(copies, bench, tmp_path):
    raw = copies(2, tmp_path / os.fsdecode(b"d\xe9j\xe0 vu \n [1]"))
    (raw / "patient02_mask.nii.gz").write_bytes(b"")
    (raw / "a\tb (copy).nii.gz").write_bytes(b"")
    out = tmp_path / "out put"
    code, output = bench("mslub", raw, out)
    assert code == 1
    assert r"d\udce9j\udce0 vu \n [1]/a\tb (copy).nii.gz" in output
    assert "is empty (0 bytes)" in failures(out)["patient02"]
    assert assert_tidy(out) == {"patient01"}
    code, output = bench("mslub", raw, out)
    assert "0 prepared, 1 were prepared already" in output


# ------------------------------------------------------------------------------------------------ bad downloads


def write_text(path: Path, text: str = "nothing of use") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("ixi", lambda root: root / "absent", "does not exist; give the folder or the .tar"),
        ("mslub", lambda root: root / "a" / "b" / "absent.tar", "does not exist"),
        ("ixi", lambda root: root, "is empty; give the folder or the .tar"),
        ("ixi", lambda root: write_text(root / "notes.txt"), "neither a folder nor a plain .tar"),
        ("ixi", lambda root: write_text(root / "IXI-T2.tar.gz"), "neither a folder nor a plain .tar; unpack it"),
        ("ixi", lambda root: write_text(root / "down/IXI-T2.tar.gz").parent, "unpack .*IXI-T2.tar.gz first"),
        ("ixi", lambda root: write_text(root / "IXI-T2.tar"), "is no plain tar"),
        ("brats21", lambda root: write_text(root / "down/notes.txt").parent, "no BraTS21 download; it holds 1 other"),
        (
            "ixi",
            lambda root: write_text(root / "BraTS2021_00000/BraTS2021_00000_t2.nii.gz").parent,
            "it looks like BraTS21: bench prepare brats21",
        ),
    ],
)
def test_with_nothing_to_prepare_the_command_says_so_and_writes_nothing(bench, tmp_path, name, make, words):
    (tmp_path / "raw").mkdir()
    code, output = bench(name, make(tmp_path / "raw"), tmp_path / "out", "--skull-strip", "none")
    assert code == 2
    assert re.search(f"^error: .*{words}", output), output
    assert output.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture
def tar(patient, tmp_path) -> Path:
    """A download of three scans in a tar."""
    path = tmp_path / "MSLUB.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(1, 4):
            for kind, file in patient.items():
                archive.add(file, arcname=f"MSLUB/patient{number:02d}/patient{number:02d}_{kind}.nii.gz")
    return path


def test_of_a_tar_cut_short_the_whole_members_are_prepared(tar, bench, tmp_path):
    out = tmp_path / "out"
    with tarfile.open(tar) as archive:
        member = archive.getmember("MSLUB/patient03/patient03_seg.nii.gz")
    whole = tar.read_bytes()
    tar.write_bytes(whole[: member.offset_data + 99])
    code, output = bench("mslub", tar, out)
    assert code == 1
    assert "2 prepared, 0 were prepared already, 2 failed" in output
    reasons = failures(out)
    assert "has no end mark; download it again for the scans that it lacks" in reasons[str(tar)]
    assert "ends in the middle of MSLUB/patient03/patient03_seg.nii.gz" in reasons["patient03"]
    assert assert_tidy(out) == {"patient01", "patient02"}
    tar.write_bytes(whole)
    code, output = bench("mslub", tar, out)
    assert (code, "1 prepared, 2 were prepared already, 0 failed" in output) == (0, True)


def test_a_corrupt_member_costs_only_its_scan(tar, bench, tmp_path):
    out = tmp_path / "out"
    with tarfile.open(tar) as archive:
        member = archive.getmember("MSLUB/patient02/patient02_t2.nii.gz")
    with tar.open("r+b") as file:
        file.seek(member.offset_data + member.size // 2)
        file.write(bytes(200))
    code, _ = bench("mslub", tar, out)
    assert code == 1
    reason = failures(out)["patient02"]
    assert f"{tar}:MSLUB/patient02/patient02_t2.nii.gz is no readable NIfTI file" in reason
    assert assert_tidy(out) == {"patient01", "patient03"}


def test_a_scan_in_a_folder_and_in_a_tar_is_prepared_once(copies, tar, bench, tmp_path):
    raw, out = copies(1), tmp_path / "out"
    shutil.move(tar, raw / "MSLUB.tar")
    code, output = bench("mslub", raw, out)
    assert (code, "3 prepared" in output) == (0, True)
    row = json.loads((out / "prepared/mslub/patient01.json").read_text())
    assert row["sources"]["t2"]["file"] == str(raw / "patient01_t2.nii.gz")
    assert assert_tidy(out) == {"patient01", "patient02", "patient03"}


def test_links_in_a_circle_end(copies, bench, tmp_path):
    raw, out = copies(1, tmp_path / "raw" / "deep"), tmp_path / "out"
    (raw / "circle").symlink_to(tmp_path / "raw")
    (raw / "patient02_t2.nii.gz").symlink_to(raw / "patient02_t2.nii.gz")
    code, _ = bench("mslub", tmp_path / "raw", out)
    assert code == 1
    assert "no segmentation" in failures(out)["patient02"]
    assert assert_tidy(out) == {"patient01"}


# ------------------------------------------------------------------------------------------------- permissions


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, if the tests have them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(atlas_file) -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own is not, with the atlas in it."""
    folder = Path(tempfile.mkdtemp(prefix="uadbench-test-", dir="/tmp"))
    folder.chmod(0o755)
    shutil.copy(atlas_file, folder / "atlas_t1.nii.gz")
    yield folder
    for place in (folder, *folder.rglob("*")):
        if place.is_dir():
            place.chmod(0o755)
    shutil.rmtree(folder)


def test_what_must_not_be_read_is_said(copies, bench, open_folder):
    raw, out = copies(3, open_folder / "raw"), open_folder / "out"
    copies(1, raw / "closed")
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    (raw / "patient02_t2.nii.gz").chmod(0)
    (raw / "patient03_seg.nii.gz").chmod(0)
    (raw / "closed").chmod(0)
    with as_nobody():
        code, output = bench("mslub", raw, out, "--atlas", str(open_folder / "atlas_t1.nii.gz"))
    assert code == 1
    assert "1 prepared, 0 were prepared already, 3 failed" in output
    reasons = failures(out)
    assert "patient02_t2.nii.gz cannot be read (Permission denied); check its permissions" in reasons["patient02"]
    assert "patient03_seg.nii.gz cannot be read (Permission denied)" in reasons["patient03"]
    assert "closed cannot be read (Permission denied)" in reasons[str(raw / "closed")]
    assert assert_tidy(out) == {"patient01"}


def test_a_download_that_must_not_be_entered_is_refused(copies, bench, open_folder):
    raw = copies(1, open_folder / "raw" / "inner")
    raw.parent.chmod(0)
    with as_nobody():
        code, output = bench("mslub", raw, open_folder / "out", "--atlas", str(open_folder / "atlas_t1.nii.gz"))
    assert (code, output.count("\n")) == (2, 1)
    assert "cannot be read (Permission denied); check its permissions" in output


def test_a_data_directory_that_must_not_be_written_is_refused(copies, bench, open_folder):
    raw = copies(1, open_folder / "raw")
    (open_folder / "out").mkdir(mode=0o555)
    with as_nobody():
        code, output = bench("mslub", raw, open_folder / "out", "--atlas", str(open_folder / "atlas_t1.nii.gz"))
    assert (code, output.count("\n")) == (2, 1)
    assert re.search("error: .*/out/prepared cannot be written: Permission denied; .*choose another --out", output)
    assert not list((open_folder / "out").iterdir())


def test_a_data_directory_below_a_file_or_in_the_download_is_refused(copies, bench, tmp_path):
    raw = copies(1)
    file = write_text(tmp_path / "file")
    for out, words in (
        (file, "cannot be written: Not a directory|cannot be written: File exists"),
        (file / "deeper", "cannot be written: Not a directory"),
        (raw, "lies inside the download"),
        (raw / "out", "lies inside the download .* choose a folder outside of it"),
    ):
        code, output = bench("mslub", raw, out)
        assert (code, output.count("\n")) == (2, 1)
        assert re.search(f"^error: .*({words})", output), output
    assert not (raw / "out").exists()


def test_a_place_with_somebody_elses_scans_is_refused(copies, bench, tmp_path):
    write_text(tmp_path / "out/Test/MSLUB/t2/patient01_t2.nii.gz")
    code, output = bench("mslub", copies(1), tmp_path / "out")
    assert code == 2
    assert "holds files that were not prepared here; choose another --out" in output


# ---------------------------------------------------------------------------------------------------- full disk


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_full_disk_keeps_what_is_done_and_the_command_goes_on_once_there_is_room(copies, bench, small_disk, jobs):
    raw, out = copies(6), small_disk / "out"
    code, output = bench("mslub", raw, out, "--jobs", jobs)
    assert (code, output.count("\n")) == (2, 1)
    assert "cannot be written: No space left on device; make room or choose another --out, then start again" in output
    done = assert_tidy(out)
    assert 1 <= len(done) < 6
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    code, output = bench("mslub", raw, out)
    assert code == 0
    assert f"{6 - len(done)} prepared, {len(done)} were prepared already, 0 failed" in output
    assert len(assert_tidy(out)) == 6


def test_a_disk_that_fills_between_the_files_of_a_scan_keeps_none_of_them(copies, recipe_for, tmp_path, monkeypatch):
    write = one_scan.write_volume

    def full(path: Path, *rest: object) -> None:
        if path.name == "patient02_seg.nii.gz":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, *rest)

    monkeypatch.setattr(one_scan, "write_volume", full)
    raw = find_raw(mslub.DATA_SET, copies(3), Modality.T2)
    with pytest.raises(DataError, match="No space left on device"):
        prepare_set(raw, tmp_path / "out", recipe_for("mslub"))
    assert assert_tidy(tmp_path / "out") == {"patient01"}
    monkeypatch.undo()
    outcome = prepare_set(raw, tmp_path / "out", recipe_for("mslub"))
    assert (outcome.prepared, outcome.kept) == (("patient02", "patient03"), ("patient01",))


# ------------------------------------------------------------------------------- processes that end or meet


def wait_for(condition, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.01)


def rows_of(out: Path) -> list[Path]:
    return list((out / "prepared/mslub").glob("patient*.json"))


def children_of(process: int) -> list[int]:
    """All processes below one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found = [child for child, parent in parents.items() if parent == process]
    return found + [below for child in found for below in children_of(child)]


def finish(start, raw: Path, out: Path, done: int, total: int) -> None:
    """The same command goes on with what is not done."""
    process = start(raw, out)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"{total - done} prepared, {done} were prepared already, 0 failed" in output
    assert len(assert_tidy(out)) == total


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_stops_at_once_with_a_sentence_and_leaves_nothing_half_written(copies, start, tmp_path, jobs):
    raw, out = copies(10), tmp_path / "out"
    process = start(raw, out, "--jobs", jobs)
    wait_for(lambda: rows_of(out))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Stopped. The same command goes on where it stopped." in output
    assert "Traceback" not in output
    done = assert_tidy(out)
    assert 1 <= len(done) < 10
    if jobs == "2":
        finish(start, raw, out, len(done), 10)


def test_a_stop_that_a_library_swallows_comes_after_the_scan(copies, recipe_for, tmp_path, monkeypatch):
    seen = []

    def swallow(place, scan):
        seen.append(scan.id)
        with suppress(KeyboardInterrupt):  # as a callback of a C++ library does
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    monkeypatch.setattr(prepare, "prepare_one", swallow)
    raw = find_raw(mslub.DATA_SET, copies(3), Modality.T2)
    with pytest.raises(Stop), signals_stop():
        prepare_set(raw, tmp_path / "out", recipe_for("mslub"))
    assert len(seen) == 1


def kill_a_worker(process):
    def kill():
        workers = [pid for pid in children_of(process.pid) if not children_of(pid)]
        os.kill(max(workers), signal.SIGKILL)

    return kill


def test_a_worker_that_is_killed_costs_a_sentence_and_no_scan(copies, start, tmp_path):
    raw, out = copies(10), tmp_path / "out"
    process = start(raw, out, "--jobs", "2")
    wait_for(lambda: rows_of(out))
    kill_a_worker(process)()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert output.count("warning: a worker process died, ") == 1 and "it goes on with 1 instead of 2" in output
    assert "10 prepared" in output and "Traceback" not in output
    assert len(assert_tidy(out)) == 10


def test_a_second_worker_that_is_killed_is_one_sentence_and_the_command_goes_on(copies, start, tmp_path):
    raw, out = copies(12), tmp_path / "out"
    process = start(raw, out, "--jobs", "2")
    wait_for(lambda: rows_of(out))
    kill_a_worker(process)()
    done = len(rows_of(out))
    wait_for(lambda: len(rows_of(out)) > done + 2)
    kill_a_worker(process)()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert output.splitlines()[-1].startswith("error: a worker process died, "), output
    assert output.splitlines()[-1].endswith("what is done is kept") and "Traceback" not in output
    assert 1 <= len(assert_tidy(out)) < 12


def test_after_kill_9_of_everything_the_next_run_tidies_up(copies, start, tmp_path):
    raw, out = copies(12), tmp_path / "out"
    process = start(raw, out, "--jobs", "2")
    wait_for(lambda: rows_of(out))
    process.kill()
    process.communicate()
    wait_for(lambda: not _locked(out))
    time.sleep(0.5)  # its workers notice
    for path in (out / "Test/MSLUB/t2/.patient11_t2.nii.gz.abc.partial", out / "Test/MSLUB/mask/patient12_mask.nii.gz"):
        path.write_bytes(b"half a file")
    (out / "prepared/mslub/.uadbench-xyz").mkdir()
    done = len([path for path in rows_of(out) if path.stem not in ("patient11", "patient12")])
    finish(start, raw, out, done, 12)


def _locked(out: Path) -> bool:
    try:
        with locked(out / "prepared/mslub/.lock", wait=False):
            return False
    except BlockingIOError:
        return True


def test_a_second_run_on_the_same_set_stops_with_a_sentence(copies, bench, start, tmp_path):
    raw, out = copies(10), tmp_path / "out"
    process = start(raw, out)
    wait_for(lambda: rows_of(out))
    code, output = bench("mslub", raw, out)
    assert (code, output.count("\n")) == (2, 1)
    assert "another `bench prepare mslub` is writing to" in output
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert_tidy(out)


def test_two_sets_are_prepared_side_by_side_and_the_manifest_holds_both(copies, patient, recipe_for, tmp_path):
    from uadbench.datasets import brats21

    raw, out = copies(1), tmp_path / "out"
    case = tmp_path / "brats" / "BraTS2021_00000" / "BraTS2021_00000"
    case.parent.mkdir(parents=True)
    image, mask = nib.load(patient["t2"]), nib.load(patient["mask"])
    nib.save(nib.Nifti1Image(image.get_fdata() * (mask.get_fdata() > 0), image.affine), f"{case}_t2.nii.gz")
    shutil.copy(patient["seg"], f"{case}_seg.nii.gz")
    (out / "prepared/mslub").mkdir(parents=True)
    with locked(out / "prepared/mslub/.lock"):
        prepare_set(find_raw(brats21.DATA_SET, tmp_path / "brats", Modality.T2), out, recipe_for("brats21"))
    prepare_set(find_raw(mslub.DATA_SET, raw, Modality.T2), out, recipe_for("mslub"))
    manifest = json.loads((out / "manifest.json").read_text())
    assert [(one["set"], len(one["scans"])) for one in manifest["sets"]] == [("brats21", 1), ("mslub", 1)]


# --------------------------------------------------------------------------------------------------------- ages


def test_ages_are_added_to_those_that_are_known_and_a_foreign_table_stays(tmp_path):
    path = tmp_path / "splits" / "ages.csv"
    assert people_tables.add_ages(path, {}) == 0
    assert not path.exists()
    assert people_tables.add_ages(path, {"IXI012-HH-1211": 38.8}) == 1
    path.write_text(path.read_text().replace("38.8", "39") + "IXI035-IOP-0873_t1.nii.gz,44\n")
    assert people_tables.add_ages(path, {"IXI002-Guys-0828": 35.8, "IXI012-HH-1211": 1.0, "IXI035-IOP-0873": 2.0}) == 1
    with path.open(newline="") as file:
        assert dict(list(csv.reader(file))[1:]) == {
            "IXI002-Guys-0828": "35.8",
            "IXI012-HH-1211": "39",
            "IXI035-IOP-0873_t1.nii.gz": "44",
        }
    for foreign in ("scan;age\na;1\n", "img_name,age\nx\n", "", "\0"):
        path.write_text(foreign)
        assert people_tables.add_ages(path, {"IXI002-Guys-0828": 35.8}) is None
        assert path.read_text() == foreign
