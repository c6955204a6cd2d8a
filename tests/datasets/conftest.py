"""Tiny brains, and data directories made of them in the field's layout."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from uadbench.datasets.layout import DataSetInfo, scan_path
from uadbench.datasets.preparation import PreparationSettings

Brain = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]


def _brain(seed: int, shape: tuple[int, int, int] = (26, 40, 36)) -> Brain:
    """An asymmetric ellipsoid of textured tissue on zero background, with a lesion: image, brain mask, lesion mask."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    radius = (axes[0] / 0.9) ** 2 + (axes[1] / 0.85) ** 2 + (axes[2] / 0.7) ** 2
    brain = radius + 0.2 * axes[1] * axes[2] < 1
    lesion = sum((axis - place) ** 2 for axis, place in zip(axes, (0.1, 0.2, -0.2), strict=True)) < 0.06
    image = 100 + 40 * axes[0] + 30 * axes[1] + 20 * axes[2] + rng.normal(0, 5, shape) + 80 * lesion
    return np.where(brain, image, 0).astype(np.float32), brain, lesion & brain


@pytest.fixture
def brain() -> Callable[..., Brain]:
    return _brain


@pytest.fixture
def small() -> PreparationSettings:
    """A preparation whose volumes have 8×16×16 voxels."""
    return PreparationSettings(side=32, depth=16)


def _write_nifti(path: Path, array: NDArray[np.generic], *, axes: str = "RAS", voxel: float = 1.0) -> None:
    """Write a (z, y, x) array of RAS order as a NIfTI file stored in another orientation."""
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = (-17.0, -19.0, -11.0)
    dtype = np.uint8 if array.dtype == np.bool_ else array.dtype
    image = nib.Nifti1Image(np.moveaxis(array.astype(dtype), (0, 1, 2), (2, 1, 0)), affine)
    target = nib.orientations.axcodes2ornt(axes)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), target)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turn), path)


@pytest.fixture
def write_nifti() -> Callable[..., None]:
    return _write_nifti


def _write_scan(root: Path, info: DataSetInfo, scan: str, seed: int = 0, axes: str = "RAS") -> None:
    image, mask, lesion = _brain(seed)
    files = {"t2": image, "mask": mask, "seg": lesion}
    for kind in info.kinds:
        _write_nifti(scan_path(root, info, kind, scan), files[kind], axes=axes)


@pytest.fixture
def write_scan() -> Callable[..., None]:
    return _write_scan


def _write_csv(path: Path, scans: Sequence[str], ages: Mapping[str, float] | None = None) -> None:
    """Write a split file with the columns that the published ones have; their names and paths say t1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "img_name", "age", "label", "img_path", "mask_path", "seg_path", "Agegroup"])
        for number, scan in enumerate(scans):
            age = (ages or {}).get(scan, "")
            writer.writerow([number, f"{scan}_t1.nii.gz", age, 0, f"/t1/{scan}_t1.nii.gz", "", "", ""])


@pytest.fixture
def write_csv() -> Callable[..., None]:
    return _write_csv


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans and published split files, beside the project; absent in a plain clone."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: no published split files and no real scans to test with")
    return folder
