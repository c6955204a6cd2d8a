"""`bench check`: one table, the findings, a verdict; exit code 0 or 2; a contact sheet with the scans on it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from uadbench.benchmarks.commands.app import app
from uadbench.datasets import ixi, mslub
from uadbench.datasets.base import DataSet
from uadbench.datasets.layout import scan_path
from uadbench.datasets.modality import Modality

HEALTHY = [f"IXI{number:03d}-HH-{1000 + number}" for number in range(6)]
PATIENTS = ["patient07", "patient19"]
SHAPE = (110, 130, 100)  # an ellipsoid in it has the volume of a brain


def _write(root: Path, info: DataSet, scan: str, seed: int) -> None:
    axes = np.meshgrid(*(np.linspace(-1.05, 1.05, size) for size in SHAPE), indexing="ij")
    brain = sum(axis**2 for axis in axes) < 1
    lesion = sum((axis - 0.3) ** 2 for axis in axes) < 0.03
    noise = np.random.default_rng(seed).normal(0, 20, SHAPE)
    image = np.where(brain, 300 + 100 * axes[0] + noise + 200 * lesion, 0)
    arrays = {"t2": image.astype(np.int16), "mask": brain.astype(np.uint8), "seg": lesion.astype(np.uint8)}
    for kind in info.kinds(Modality.T2):
        path = scan_path(root, info, kind, scan)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(nib.Nifti1Image(arrays[kind], np.eye(4)).to_bytes(), 1))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    for number, scan in enumerate(HEALTHY):
        _write(root, ixi.DATA_SET, scan, number)
    for number, scan in enumerate(PATIENTS):
        _write(root, mslub.DATA_SET, scan, 50 + number)
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """A copy to hurt."""
    return shutil.copytree(template, tmp_path / "clinic")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("COLUMNS", "80")  # as in a pipe

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, ["check", *map(str, words), "--jobs", "1"])

    return run


def _replace(path: Path, change: Callable[[NDArray[np.int16]], NDArray[np.int16]]) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), path)


def _row(output: str, title: str) -> list[str]:
    lines = [line for line in output.splitlines() if line.strip().startswith(f"{title} ")]
    assert len(lines) == 1, output
    return lines[0].split()


def test_sound_data_leave_with_0(root: Path, bench: Callable[..., Result]) -> None:
    answer = bench(root)
    assert answer.exit_code == 0, answer.output
    millilitres = 4 / 3 * np.pi * np.prod([(size - 1) / 2.1 for size in SHAPE]) / 1000
    row = _row(answer.stdout, "IXI")
    assert row[1:3] == ["6", "6"]
    assert float(row[3]) == pytest.approx(millilitres, rel=0.01)
    assert row[-3:] == ["0", "0", "0"]
    lesion = 4 / 3 * np.pi * np.prod([(size - 1) / 2.1 * np.sqrt(0.03) for size in SHAPE]) / 1000
    assert float(_row(answer.stdout, "MSLUB")[7]) == pytest.approx(lesion, abs=0.2)
    assert answer.stdout.count("median (range)") == 2  # one table
    last = answer.stdout.strip().splitlines()[-1]
    assert "is fit for a run (0 errors, 2 remarks, split: own)" in last
    assert "BraTS21" not in answer.stdout  # a set that is not there is not missed while another is


def test_errors_leave_with_2_and_the_reasons(root: Path, bench: Callable[..., Result]) -> None:
    _replace(scan_path(root, mslub.DATA_SET, "seg", PATIENTS[0]), np.zeros_like)
    copy = scan_path(root, ixi.DATA_SET, "t2", HEALTHY[0])
    copy.write_bytes(scan_path(root, mslub.DATA_SET, "t2", PATIENTS[1]).read_bytes())
    scan_path(root, ixi.DATA_SET, "mask", HEALTHY[1]).write_bytes(b"")
    answer = bench(root)
    assert answer.exit_code == 2
    errors = [line for line in answer.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    for words in ((PATIENTS[0], "marks nothing"), (HEALTHY[0], PATIENTS[1], "same voxels"), (HEALTHY[1], "0 bytes")):
        assert any(all(word in line for word in words) for line in errors), errors
    assert _row(answer.stdout, "IXI")[-3:] == ["1", "2", "0"]  # duplicates, errors, remarks
    assert _row(answer.stdout, "MSLUB")[-3:] == ["1", "2", "0"]
    last = answer.stdout.strip().splitlines()[-1]
    assert "is not fit for a run (3 errors" in last
    assert answer.stdout.index("error: ") < answer.stdout.index("remark: ")


@pytest.mark.parametrize("words", [("nowhere",), (".",), (".", "--splits", "mine")])
def test_what_cannot_be_checked_is_one_sentence(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Callable[..., Result]
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = bench(*words)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert len(answer.stderr.strip().splitlines()) == 1
    assert answer.stderr.startswith("error: ")


def test_the_sheet_shows_scans_outlines_and_findings(root: Path, tmp_path: Path, bench: Callable[..., Result]) -> None:
    pictures = [tmp_path / "sound.png", tmp_path / "hurt.png"]
    assert bench(root, "--figure", pictures[0]).exit_code == 0
    _replace(scan_path(root, ixi.DATA_SET, "mask", HEALTHY[0]), np.ones_like)
    _replace(scan_path(root, ixi.DATA_SET, "mask", HEALTHY[1]), lambda values: values[:-3])
    scan_path(root, ixi.DATA_SET, "t2", HEALTHY[2]).write_bytes(b"nothing")
    scan_path(root, ixi.DATA_SET, "mask", HEALTHY[3]).unlink()
    assert bench(root, "--figure", pictures[1]).exit_code == 2
    sound, hurt = (_pixels(path) for path in pictures)
    assert min(sound.shape[:2]) > 300
    assert sound[..., 0].std() > 40  # brains on black on white
    for colour, least in (((255, 214, 10), 500), ((52, 208, 88), 50)):
        assert _count(sound, colour) > least
    red = (255, 59, 48)
    assert _count(sound, red) == 0
    assert _count(hurt, red) > 50


def test_a_sheet_that_cannot_be_written_is_one_sentence(
    root: Path, tmp_path: Path, bench: Callable[..., Result]
) -> None:
    (tmp_path / "file").write_text("")
    answer = bench(root, "--figure", tmp_path / "file" / "sheet.png")
    assert answer.exit_code == 2
    assert "cannot write" in answer.stderr.strip().splitlines()[-1]


def _pixels(path: Path) -> NDArray[np.int64]:
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    return np.asarray(np.round(imread(path)[..., :3] * 255), dtype=np.int64)


def _count(picture: NDArray[np.int64], colour: tuple[int, int, int]) -> int:
    """Pixels that are nearly of a colour: thin lines are blended with what is below."""
    return int((np.abs(picture - np.array(colour)).max(axis=-1) < 40).sum())


def test_what_is_too_large_or_no_file_is_a_finding_and_the_limit_is_an_option(root: Path, bench: Callable[..., Result]):
    path = scan_path(root, mslub.DATA_SET, "t2", PATIENTS[0])
    path.unlink()
    path.symlink_to("/dev/zero")
    answer = bench(root)
    assert answer.exit_code == 2
    assert "is a device and no file" in " ".join(answer.output.split())
    answer = bench(root, "--max-voxels", "1000000")
    assert "has 110 x 130 x 100 voxels, more than the 1000000 that are read" in " ".join(answer.output.split())


def test_other_formats_are_checked_and_a_singular_sform_is_a_remark(root: Path, bench: Callable[..., Result]):
    first, second = (scan_path(root, mslub.DATA_SET, "t2", scan) for scan in PATIENTS)
    image = nib.load(first)
    nib.save(nib.Nifti1Pair(np.asarray(image.dataobj), image.affine), first.with_name("patient07_t2.img"))
    first.unlink()
    image = nib.load(second)
    image.set_qform(image.affine, 1)
    content = bytearray(image.to_bytes())
    content[280:328] = bytes(48)
    second.write_bytes(gzip.compress(content))
    answer = bench(root)
    assert "headers whose sform is singular; their qform is read" in " ".join(answer.output.split())
    assert "patient19" in answer.output
    assert "are missing" not in answer.output
