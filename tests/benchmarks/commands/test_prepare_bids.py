"""`bench prepare` of a BIDS directory whose lesion masks are called otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for name in ("sub-01/anat/sub-01_T1w.nii.gz", "derivatives/m/sub-01_T1w_desc-lesion_mask.nii.gz"):
        (tmp_path / "raw" / name).parent.mkdir(parents=True)
        (tmp_path / "raw" / name).write_bytes(b"no scan")
    return tmp_path / "raw"


def _prepare(raw: Path, *words: str) -> str:
    words = ("prepare", *words, "--modality", "t1", "--skull-strip", "none", "--atlas", "mni152")
    return CliRunner().invoke(app, [*words, "--out", str(raw.parent / "data")], env={"COLUMNS": "300"}).output


def test_a_pattern_finds_the_masks(raw: Path) -> None:
    pattern = "derivatives/**/*_desc-lesion_mask.nii.gz"
    assert "BIDS lesions: 0 complete scans, 1 incomplete" in _prepare(raw, "bids-lesions", str(raw))
    assert "BIDS lesions: 1 complete scans, 0 incomplete" in _prepare(
        raw, "bids-lesions", str(raw), "--lesion-masks", pattern
    )


def test_a_set_that_is_no_bids_set_takes_none(raw: Path) -> None:
    said = _prepare(raw, "mslub", str(raw), "--lesion-masks", "*_mask.nii.gz")
    assert "mslub is no BIDS set with lesions" in said
