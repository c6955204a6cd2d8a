"""A BIDS directory: which file is whose, and what a pattern of one's own finds."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from uadbench.datasets import MASK, SEGMENTATION, Modality, Role, brats21, mslub
from uadbench.datasets.base import OTHER
from uadbench.datasets.bids import DATA_SET, LESIONS, bids_set, with_lesion_masks
from uadbench.datasets.downloads.raw_layouts import find_raw
from uadbench.errors import DataError


@pytest.mark.parametrize(
    ("path", "scan", "kind"),
    [
        ("sub-01/anat/sub-01_T2w.nii.gz", "sub-01", Modality.T2),
        ("deep/er/sub-01/ses-b/anat/sub-01_ses-b_FLAIR.nii", "sub-01_ses-b", Modality.FLAIR),
        ("sub-x1/ses-2/anat/sub-x1_ses-2_acq-tse_run-02_PDw.nii.gz", "sub-x1_ses-2", Modality.PD),
        ("sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz", "sub-01", Modality.T1CE),
        ("sub-01/anat/sub-01_part-phase_T2w.nii.gz", "sub-01", OTHER),
        ("sub-01/anat/sub-01_T2starw.nii.gz", "sub-01", OTHER),
        ("sub-01/func/sub-01_task-rest_bold.nii.gz", "sub-01", OTHER),
        ("derivatives/x/sub-01/anat/sub-01_T1w.nii.gz", "sub-01", OTHER),
        ("sourcedata/sub-01/anat/sub-01_T1w.nii.gz", "sub-01", OTHER),
        ("derivatives/x/sub-01/anat/sub-01_label-lesion_mask.nii.gz", "sub-01", SEGMENTATION),
        ("derivatives/sub-01_ses-1_space-T2w_label-lesion_mask.nii", "sub-01_ses-1", SEGMENTATION),
        ("derivatives/x/y/sub-01_desc-brain_mask.nii.gz", "sub-01", MASK),
        ("sub-01/anat/sub-01_label-lesion_mask.nii.gz", "sub-01", OTHER),  # masks are derivatives
    ],
)
def test_whose_file_it_is(path: str, scan: str, kind: str) -> None:
    placed = LESIONS.recognise(PurePosixPath(path))
    assert placed is not None and (placed.scan, placed.kind) == (scan, kind)


@pytest.mark.parametrize("path", ["readme.nii.gz", "anat/T1w.nii.gz", "IXI002-Guys-0828-T2.nii.gz"])
def test_what_names_nobody_is_none_of_it(path: str) -> None:
    assert DATA_SET.recognise(PurePosixPath(path)) is None


def test_a_healthy_set_asks_for_no_lesions() -> None:
    placed = DATA_SET.recognise(PurePosixPath("derivatives/x/sub-01_label-lesion_mask.nii.gz"))
    assert placed is not None and placed.kind == OTHER


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_of_several_images_the_plain_first_run_is_taken(tmp_path: Path) -> None:
    start = "sub-01/anat/sub-01"
    raw = _touch(tmp_path, *(f"{start}_{end}_T2w.nii.gz" for end in ("run-2", "run-1", "acq-a_run-1", "run-10")))
    (scan,) = find_raw(DATA_SET, raw, Modality.T2).scans
    assert scan.files["t2"].path.name == "sub-01_run-1_T2w.nii.gz"
    _touch(raw, f"{start}_T2w.nii.gz")
    (scan,) = find_raw(DATA_SET, raw, Modality.T2).scans
    assert scan.files["t2"].path.name == "sub-01_T2w.nii.gz"


def test_the_mask_on_the_images_own_grid_is_taken(tmp_path: Path) -> None:
    masks = [f"derivatives/a/sub-01_{end}label-lesion_mask.nii.gz" for end in ("space-MNI152NLin6Asym_", "")]
    raw = _touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", *masks)
    (scan,) = find_raw(LESIONS, raw, Modality.T1).scans
    assert scan.files["seg"].path == raw / masks[1]


def test_a_person_without_a_mask_is_said(tmp_path: Path) -> None:
    raw = _touch(tmp_path, *(f"sub-0{number}/anat/sub-0{number}_T1w.nii.gz" for number in (1, 2)))
    _touch(raw, "derivatives/a/sub-01_label-lesion_mask.nii.gz")
    found = find_raw(LESIONS, raw, Modality.T1)
    assert [scan.id for scan in found.scans] == ["sub-01"]
    assert "no segmentation" in found.incomplete["sub-02"]


def test_a_pattern_of_ones_own(tmp_path: Path) -> None:
    """As sets on OpenNeuro have it: `_roi` beside the image, or a word in the middle."""
    raw = _touch(
        tmp_path,
        "sub-01/anat/sub-01_acq-T2sel_FLAIR.nii.gz",
        "sub-01/anat/sub-01_acq-T2sel_FLAIR_roi.nii.gz",
        "derivatives/lesion_masks/sub-02/anat/sub-02_T2w_desc-lesion_mask.nii.gz",
        "sub-02/anat/sub-02_FLAIR.nii.gz",
    )
    beside = bids_set(
        "beside",
        "Beside",
        Role.LESIONS,
        citation="Nobody, 2024",
        source="nowhere",
        lesion_masks="sub-*/**/*_roi.nii.gz",
    )
    assert [scan.id for scan in find_raw(beside, raw, Modality.FLAIR).scans] == ["sub-01"]
    other = with_lesion_masks(LESIONS, "derivatives/lesion_masks/**/*_desc-lesion_mask.nii.gz")
    assert [scan.id for scan in find_raw(other, raw, Modality.FLAIR).scans] == ["sub-02"]
    for data_set in (DATA_SET, mslub.DATA_SET):
        with pytest.raises(DataError, match="is no BIDS set with lesions"):
            with_lesion_masks(data_set, "*_mask.nii.gz")


def test_another_sets_command_says_that_it_looks_like_bids(tmp_path: Path) -> None:
    raw = _touch(tmp_path, "sub-01/anat/sub-01_T2w.nii.gz")
    with pytest.raises(DataError, match="it looks like BIDS: bench prepare bids or BIDS lesions: bench prepare"):
        find_raw(brats21.DATA_SET, raw, Modality.T2, (brats21.DATA_SET, DATA_SET, LESIONS))
