"""What the values of a segmentation mean is kept from the raw file to the volumes that are scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from uadbench.datasets import DataSet, Labels, Modality, Role, wmh2017
from uadbench.datasets.check.facts import ScanFiles, examine_scan
from uadbench.datasets.check.rules import Kind, Limits, Severity, scan_defects
from uadbench.datasets.downloads.prepare import prepare_set
from uadbench.datasets.downloads.raw_layouts import find_raw
from uadbench.datasets.downloads.recipe import PreparationRecipe
from uadbench.datasets.scans.nifti import as_lesions
from uadbench.datasets.scans.preparation import PreparationSettings
from uadbench.datasets.scans.space import Grid
from uadbench.errors import DataError

GRID = Grid((1, 1, 5), np.eye(4))
SCANS = ("Utrecht/0", "Utrecht/1")


def values(*labels: float) -> tuple[np.ndarray, Grid]:
    return np.array([[labels]], dtype=np.float32), GRID


@pytest.mark.parametrize(
    ("lesion", "ignored", "lesions", "nothing"),
    [
        ((), (), [0, 1, 1, 1, 1], None),
        ((1,), (2,), [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]),
        ((), (2,), [0, 1, 0, 1, 1], [0, 0, 1, 0, 0]),
        ((1, 3), (2, 4), [0, 1, 0, 1, 0], [0, 0, 1, 0, 1]),
        ((3,), (), [0, 0, 0, 1, 0], None),
    ],
)
def test_a_value_is_lesion_ignored_or_background(lesion, ignored, lesions, nothing) -> None:
    found = as_lesions(values(0, 1, 2, 3, 4), "seg", "image", GRID, lesion=lesion, ignored=ignored)
    assert found[0].ravel().astype(int).tolist() == lesions
    assert (None if found[1] is None else found[1].ravel().astype(int).tolist()) == nothing


def test_values_between_labels_are_refused_where_labels_differ() -> None:
    """Between 2, which is ignored, and 0 a linear warp leaves 1, which would be lesion."""
    warped = values(0, 0.4, 1, 1.6, 2)
    assert as_lesions(warped, "seg", "image", GRID)[0].sum() == 3  # one label: one half is the outline
    with pytest.raises(DataError, match="seg holds values between its labels.*nearest neighbour"):
        as_lesions(warped, "seg", "image", GRID, lesion=(1,), ignored=(2,))
    stored = values(0, 1.0000001, 2, 1.9999999, 0)  # as floats are scaled in files
    assert as_lesions(stored, "seg", "image", GRID, lesion=(1,), ignored=(2,))[0].sum() == 1


def test_what_a_prepared_segmentation_holds() -> None:
    assert wmh2017.DATA_SET.labels.prepared == Labels(lesion=(1,), ignored=(2,))
    assert Labels(lesion=(1, 3), ignored=(7,)).prepared == Labels(lesion=(1,), ignored=(2,))
    assert Labels(lesion=(3,)).prepared == Labels()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, write_head: Callable[..., object]) -> Path:
    """Two people of WMH 2017: the left half of the first one's lesion is another pathology, of the second one's all."""
    root = tmp_path_factory.mktemp("raw")
    for number, scan in enumerate(SCANS):
        seg = root / scan / "wmh.nii.gz"
        write_head(root / scan / "pre/FLAIR.nii.gz", None, seg, skull=False)
        image = nib.load(seg)
        marked = np.asarray(image.dataobj) > 0
        middle = int(np.mean(np.nonzero(marked)[0]))
        left = np.arange(marked.shape[0])[:, None, None] < (middle if number == 0 else marked.shape[0])
        labels = (marked * np.where(left, 2, 1)).astype(np.float32)  # floats, as they come
        nib.save(nib.Nifti1Image(labels, image.affine), seg)
    return root


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory, recipe_for: Callable[[str], PreparationRecipe]):
    """The two, prepared as WMH 2017 and as a set all of whose labels are lesions."""
    plain = DataSet(
        name="plain",
        title="Plain",
        citation="Nobody, 2024",
        source="nowhere",
        role=Role.LESIONS,
        modalities={Modality.FLAIR: "Utrecht/0/pre/FLAIR.nii.gz"},
        recognise=wmh2017.recognise,
    )
    out = tmp_path_factory.mktemp("out")
    found = {}
    for data_set in (wmh2017.DATA_SET, plain):
        found[data_set.name] = prepare_set(find_raw(data_set, raw, Modality.FLAIR), out, recipe_for("brats21"))
    return out, found


def _written(out: Path, name: str) -> np.ndarray:
    return np.asarray(nib.load(out / f"Test/{name}/seg/Utrecht-0_seg.nii.gz").dataobj)


def test_the_prepared_file_keeps_both(prepared) -> None:
    out, _ = prepared
    labels, plain = _written(out, "wmh2017"), _written(out, "plain")
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 1, 2} and set(np.unique(plain)) == {0, 1}
    assert np.array_equal(labels > 0, plain > 0)  # by nearest neighbour, through the same transform
    for value in (1, 2):
        assert 0.3 < (labels == value).sum() / (labels > 0).sum() < 0.7
    row = json.loads((out / "prepared/wmh2017/Utrecht-0.json").read_text())
    affine = nib.load(out / "Test/wmh2017/seg/Utrecht-0_seg.nii.gz").affine
    assert row["lesions_ml"] == pytest.approx((labels == 1).sum() * abs(np.linalg.det(affine[:3, :3])) / 1000, abs=1e-3)


def test_a_scan_that_marks_only_another_pathology_marks_no_lesion(prepared) -> None:
    _, found = prepared
    (failure,) = found["wmh2017"].failures
    assert failure.scan == "Utrecht-1" and "marks no lesion" in failure.reason
    assert not found["plain"].failures


def test_the_check_counts_lesions_alone(tmp_path: Path, write_nifti: Callable[..., None], small) -> None:
    image = np.zeros((20, 20, 20), np.float32)
    image[2:18, 2:18, 2:18] = np.random.default_rng(0).uniform(50, 100, (16, 16, 16))
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:8, 5:8, 5:8], labels[10:14, 10:14, 10:14] = 1, 2
    meanings = Labels(lesion=(1,), ignored=(2,))
    assert _examined(tmp_path / "a", write_nifti, small, image, labels, meanings).lesions.ml == pytest.approx(0.027)
    assert _examined(tmp_path / "b", write_nifti, small, image, labels, Labels()).lesions.ml == pytest.approx(0.091)
    only_other = _examined(tmp_path / "c", write_nifti, small, image, np.where(labels == 2, 2, 0), meanings)
    kinds = {defect.kind: defect.severity for defect in scan_defects(only_other, Limits())}
    assert kinds[Kind.NO_LESION] is Severity.ERROR


def _examined(folder: Path, write_nifti, small: PreparationSettings, image, labels, meanings: Labels):
    arrays = {"flair": image, "mask": image > 0, "seg": labels.astype(np.uint8)}
    for kind, array in arrays.items():
        write_nifti(folder / f"x_{kind}.nii.gz", array)
    paths = {kind: folder / f"x_{kind}.nii.gz" for kind in arrays}
    return examine_scan(ScanFiles("wmh2017", Modality.FLAIR, "x", paths, {}, meanings), small)
